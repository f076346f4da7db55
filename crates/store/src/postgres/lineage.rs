//! The database's lineage: whether its data continue everything that was acknowledged.
//!
//! A database that was restored, or whose primary was lost, may lack events that clients have seen,
//! and give their numbers to others. Clients learn that from the epochs of their sessions. So the
//! first node that registers in such a database gives every session a new epoch.
//!
//! PostgreSQL tells the two cases apart. A promoted standby and a recovery to a point in time begin
//! a new timeline. A row that `pg_restore` or logical replication has copied was written by another
//! transaction than the one that is noted in it.
//!
//! Invariant: no session continues under its epoch without an event that was acknowledged.
//! Tests: `postgres::failover`, `postgres::backups`. Limits: docs/NODES.md.

use tokio_postgres::Client;

use super::sql::{args, execute, first_row};
use crate::StoreError;

/// The timeline on which the database writes: eight hexadecimal digits.
pub(super) const TIMELINE: &str = "left(pg_walfile_name(pg_current_wal_lsn()), 8)";

/// Whether a commit waits until a standby has it on disk.
const IS_SYNCHRONOUS: &str = "(current_setting('synchronous_standby_names') != ''
    AND current_setting('synchronous_commit') IN ('on', 'remote_apply'))";

/// Whether the row was written in this database, and not copied into it.
const IS_ORIGINAL: &str = "lineage.xmin::text::bigint = lineage.transaction % 4294967296
    AND lineage.database =
        (SELECT oid::bigint FROM pg_database WHERE datname = current_database())";

/// Number of the transaction that is under way.
const TRANSACTION: &str = "pg_current_xact_id()::text::bigint";

/// Name of the lock of the node that renews the epochs. "TW" and "origin" in ASCII.
const LOCK: i64 = 0x5457_6f72_6967_696e;

/// Minutes within which a failover with a synchronous standby is known as one. A recovery to an
/// earlier point in time looks the same otherwise.
const FAILOVER_MINUTES: u32 = 2;

/// How the data relate to those that were last written under this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lineage {
    /// The same.
    Same,
    /// Those of a synchronous standby, which has everything that was acknowledged.
    Promoted,
    /// Those of a standby or a recovery that may lack something.
    Diverged,
    /// A copy in another database, or one that nobody has written yet.
    Copied,
}

/// Checks the lineage as part of a registration. Where it is another one, no earlier node can write
/// any more, and sessions get new epochs unless nothing can be missing.
pub(super) async fn check(sql: &Client) -> Result<(), StoreError> {
    if read(sql).await? == Lineage::Same {
        return Ok(());
    }
    first_row(sql, "SELECT pg_advisory_xact_lock($1)::text", args![LOCK]).await?;
    // Another node may have done it meanwhile.
    let lineage = read(sql).await?;
    if lineage == Lineage::Same {
        return Ok(());
    }
    execute(sql, "UPDATE nodes SET state = 'dead' WHERE state = 'live'", args![]).await?;
    execute(sql, "UPDATE fences SET closed = true WHERE NOT closed", args![]).await?;
    if lineage == Lineage::Copied {
        // A copy grants nothing where the original does.
        execute(sql, "DELETE FROM secrets", args![]).await?;
        execute(sql, "DELETE FROM lineage", args![]).await?;
        let insert = format!(
            "INSERT INTO lineage
             SELECT {TRANSACTION}, oid::bigint, '', false, 0 FROM pg_database
             WHERE datname = current_database()"
        );
        execute(sql, &insert, args![]).await?;
    }
    let renewed = if lineage == Lineage::Promoted {
        tracing::warn!("a synchronous standby of the database was promoted; nothing is missing");
        ""
    } else {
        let epochs = "UPDATE sessions SET epoch = replace(gen_random_uuid()::text, '-', '')";
        let sessions = execute(sql, epochs, args![]).await?;
        if sessions > 0 {
            tracing::warn!(
                sessions,
                "the database was restored or promoted and may lack events: every session has a \
                 new epoch, and clients read it from its start"
            );
        }
        ", renewed = (SELECT coalesce(max(incarnation), 0) FROM nodes)"
    };
    let save = format!(
        "UPDATE lineage SET transaction = {TRANSACTION}, timeline = {TIMELINE},
                            synchronous = {IS_SYNCHRONOUS}{renewed}"
    );
    execute(sql, &save, args![]).await?;
    Ok(())
}

async fn read(sql: &Client) -> Result<Lineage, StoreError> {
    let found = first_row(
        sql,
        &format!(
            "SELECT timeline = {TIMELINE},
                    synchronous AND timeline < {TIMELINE}
                    AND EXISTS (SELECT 1 FROM nodes WHERE lease_until
                        > clock_timestamp() - interval '{FAILOVER_MINUTES} minutes')
                    AND NOT EXISTS (SELECT 1 FROM pg_settings WHERE setting != '' AND name IN
                        ('recovery_target', 'recovery_target_lsn', 'recovery_target_name',
                         'recovery_target_time', 'recovery_target_xid'))
             FROM lineage WHERE {IS_ORIGINAL}"
        ),
        args![],
    )
    .await?;
    let Some(row) = found else { return Ok(Lineage::Copied) };
    Ok(match (row.try_get(0)?, row.try_get(1)?) {
        (true, _) => Lineage::Same,
        (false, true) => Lineage::Promoted,
        (false, false) => Lineage::Diverged,
    })
}

/// Notes whether commits wait for a standby, where the database's settings have changed.
pub(super) async fn note_settings(sql: &Client) -> Result<(), StoreError> {
    let note = format!(
        "UPDATE lineage SET synchronous = {IS_SYNCHRONOUS}, transaction = {TRANSACTION}
         WHERE synchronous != {IS_SYNCHRONOUS} AND timeline = {TIMELINE} AND {IS_ORIGINAL}"
    );
    execute(sql, &note, args![]).await?;
    Ok(())
}

/// Compares a node's last flush in the database with the last one that the database acknowledged.
/// Where that one is missing, the next registration gives every session a new epoch.
pub(super) async fn find_loss(
    sql: &Client,
    node: i64,
    acknowledged: i64,
) -> Result<(), StoreError> {
    let found = execute(
        sql,
        &format!(
            "UPDATE lineage SET timeline = '', synchronous = false, transaction = {TRANSACTION}
             WHERE renewed < $1 AND {IS_ORIGINAL}
                 AND (EXISTS (SELECT 1 FROM fences WHERE incarnation = $1 AND number < $2)
                      OR NOT EXISTS (SELECT 1 FROM nodes WHERE incarnation >= $1))"
        ),
        args![node, acknowledged],
    )
    .await?;
    if found > 0 {
        tracing::error!("the database lacks writes that it has acknowledged");
    }
    Ok(())
}
