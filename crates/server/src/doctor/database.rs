//! Checks of a PostgreSQL database.

use thoughtwire_store::{Contents, DatabaseFacts, Store, StoreError};

use super::Finding;

/// Milliseconds by which the database's clock may differ.
const CLOCK_MS: i64 = 1_000;

/// Checks a database. Returns the findings, and the contents if there is data.
pub(super) async fn examine(url: &str) -> (Vec<Finding>, Option<Contents>) {
    match Store::examine(url).await {
        Ok(facts) => {
            let contents = facts.contents;
            (findings(&facts), contents)
        }
        Err(error) => {
            let mend = if matches!(error, StoreError::Invalid(_)) {
                "correct --store"
            } else {
                "check the address, the user and its password, and that PostgreSQL runs and takes \
                 connections from this machine (pg_hba.conf)"
            };
            (vec![Finding::bad("database", error.to_string(), mend)], None)
        }
    }
}

fn findings(facts: &DatabaseFacts) -> Vec<Finding> {
    vec![
        version(facts),
        data(facts),
        durability(facts),
        encoding(facts),
        clock(facts),
        pooler(facts),
    ]
}

fn version(facts: &DatabaseFacts) -> Finding {
    let found = format!("it answers, and is PostgreSQL {}", facts.version);
    if facts.is_supported {
        Finding::good("database", found)
    } else {
        Finding::bad("database", found, "upgrade it to version 14 or newer")
    }
}

fn data(facts: &DatabaseFacts) -> Finding {
    const SUBJECT: &str = "data";
    let DatabaseFacts { schema, known_schema, .. } = facts;
    let Some(Contents { agents, sessions, events, .. }) = facts.contents else {
        return Finding::good(SUBJECT, "there is none yet; the first start makes the tables");
    };
    let found = format!("{agents} agents, {sessions} sessions, {events} events");
    if schema > known_schema {
        return Finding::bad(
            SUBJECT,
            format!("{found}, written by a newer version (schema {schema}, known {known_schema})"),
            "run the version that wrote it, or a newer one",
        );
    }
    if schema < known_schema {
        let next = format!("{found}; the next start brings schema {schema} to {known_schema}");
        return Finding::good(SUBJECT, next);
    }
    Finding::good(SUBJECT, found)
}

fn durability(facts: &DatabaseFacts) -> Finding {
    const SUBJECT: &str = "durability";
    let found = format!("synchronous_commit is {}", facts.synchronous_commit);
    if !facts.fsync {
        return Finding::bad(
            SUBJECT,
            "fsync is off: a crash of the database's machine may destroy all data",
            "set fsync = on in postgresql.conf, and reload",
        );
    }
    if facts.synchronous_commit == "off" {
        return Finding::bad(
            SUBJECT,
            format!("{found}: events that were acknowledged are lost when the database crashes"),
            "set synchronous_commit = on (ALTER DATABASE … SET synchronous_commit = on)",
        );
    }
    Finding::good(SUBJECT, found)
}

fn encoding(facts: &DatabaseFacts) -> Finding {
    const SUBJECT: &str = "encoding";
    if facts.encoding == "UTF8" {
        return Finding::good(SUBJECT, "UTF8");
    }
    Finding::bad(
        SUBJECT,
        format!("texts are kept as {}, which lacks characters", facts.encoding),
        "make another database: CREATE DATABASE … TEMPLATE template0 ENCODING 'UTF8'",
    )
}

fn clock(facts: &DatabaseFacts) -> Finding {
    const SUBJECT: &str = "database clock";
    let ahead = facts.clock_ahead_ms;
    let seconds = format!("{:.1} s", ahead.unsigned_abs() as f64 / 1000.0);
    match ahead {
        ..0 if -ahead > CLOCK_MS => Finding::doubtful(
            SUBJECT,
            format!("it is {seconds} behind this machine's"),
            "set both clocks by NTP (timedatectl)",
        ),
        CLOCK_MS.. => Finding::doubtful(
            SUBJECT,
            format!("it is {seconds} ahead of this machine's"),
            "set both clocks by NTP (timedatectl)",
        ),
        _ => Finding::good(SUBJECT, format!("within {seconds} of this machine's")),
    }
}

fn pooler(facts: &DatabaseFacts) -> Finding {
    let found = if facts.is_pooled {
        "one in transaction mode is in front of the database, which works"
    } else {
        "none in transaction mode is in front of the database"
    };
    Finding::good("pooler", found)
}

#[cfg(test)]
mod tests {
    use super::super::Health;
    use super::*;

    fn facts() -> DatabaseFacts {
        DatabaseFacts {
            version: "16.3".to_owned(),
            is_supported: true,
            synchronous_commit: "on".to_owned(),
            fsync: true,
            encoding: "UTF8".to_owned(),
            clock_ahead_ms: 3,
            schema: 1,
            known_schema: 1,
            is_pooled: false,
            contents: Some(Contents { agents: 1, sessions: 2, events: 3, keys: 0, newest: None }),
        }
    }

    #[test]
    fn each_setting_that_endangers_data_is_found_with_its_correction() {
        assert!(findings(&facts()).iter().all(|finding| finding.health == Health::Good));
        let cases = [
            (DatabaseFacts { is_supported: false, ..facts() }, "database", "version 14"),
            (DatabaseFacts { fsync: false, ..facts() }, "durability", "fsync = on"),
            (
                DatabaseFacts { synchronous_commit: "off".to_owned(), ..facts() },
                "durability",
                "synchronous_commit = on",
            ),
            (DatabaseFacts { encoding: "LATIN1".to_owned(), ..facts() }, "encoding", "UTF8"),
            (DatabaseFacts { clock_ahead_ms: -9_000, ..facts() }, "database clock", "NTP"),
            (DatabaseFacts { clock_ahead_ms: 9_000, ..facts() }, "database clock", "NTP"),
            (DatabaseFacts { schema: 2, ..facts() }, "data", "newer"),
        ];
        for (facts, subject, mend) in cases {
            let wrong: Vec<_> = findings(&facts)
                .into_iter()
                .filter(|finding| finding.health != Health::Good)
                .collect();
            assert_eq!(wrong.len(), 1, "{facts:?}");
            assert_eq!(wrong[0].subject, subject);
            assert!(wrong[0].mend.as_deref().unwrap().contains(mend), "{:?}", wrong[0]);
        }
    }
}
