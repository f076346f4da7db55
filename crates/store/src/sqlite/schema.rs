//! Schema of the SQLite file, as numbered migrations that only go forward.

use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;

use crate::StoreError;

/// Migration N takes a file from `user_version` N-1 to N. A released one is never edited.
const MIGRATIONS: [&str; 12] = [
    include_str!("migrations/1.sql"),
    include_str!("migrations/2.sql"),
    include_str!("migrations/3.sql"),
    include_str!("migrations/4.sql"),
    include_str!("migrations/5.sql"),
    include_str!("migrations/6.sql"),
    include_str!("migrations/7.sql"),
    include_str!("migrations/8.sql"),
    include_str!("migrations/9.sql"),
    include_str!("migrations/10.sql"),
    include_str!("migrations/11.sql"),
    include_str!("migrations/12.sql"),
];

/// Reads the schema version of a file; 0 where it has none. A newer one than ours is refused.
pub(super) fn check(connection: &Connection) -> Result<i64, StoreError> {
    let known = MIGRATIONS.len() as i64;
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found > known { Err(StoreError::Newer { found, known }) } else { Ok(found) }
}

/// Migrates a file to the newest schema.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let found = check(connection)?;
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    // Migration 9 calls it for an index that migration 12 drops.
    connection.create_scalar_function("indexed_text", 1, flags, |_| Ok(None::<String>))?;
    for (number, migration) in (1_i64..).zip(MIGRATIONS).filter(|(number, _)| *number > found) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(migration)?;
        transaction.pragma_update(None, "user_version", number)?;
        transaction.commit()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_keep_their_numbers_and_a_deleted_ones_is_not_given_again() {
        let mut connection = Connection::open_in_memory().unwrap();
        for (number, migration) in (1_i64..).zip(MIGRATIONS).take(3) {
            connection.execute_batch(migration).unwrap();
            connection.pragma_update(None, "user_version", number).unwrap();
        }
        let insert = |connection: &Connection, id: &str| {
            connection
                .execute(
                    "INSERT INTO sessions (id, user, agent, epoch, first, head, state, running,
                                           queued, created_at, updated_at)
                     VALUES (?, 'local', 'a-1', 'e-1', 1, 0, '', 0, 0, 0, 0)",
                    [id],
                )
                .unwrap();
            connection.last_insert_rowid()
        };
        let old = [insert(&connection, "s-1"), insert(&connection, "s-2")];
        migrate(&mut connection).unwrap();
        let kept: Vec<i64> = connection
            .prepare("SELECT num FROM sessions ORDER BY id")
            .unwrap()
            .query_map([], |row| row.get(0))
            .unwrap()
            .flatten()
            .collect();
        assert_eq!(kept, old);
        connection.execute("DELETE FROM sessions WHERE id = 's-2'", []).unwrap();
        assert_eq!(insert(&connection, "s-3"), old[1] + 1);
    }

    #[test]
    fn what_a_sparky_user_had_without_keys_is_the_owners() {
        let mut connection = Connection::open_in_memory().unwrap();
        for (number, migration) in (1_i64..).zip(MIGRATIONS).take(5) {
            connection.execute_batch(migration).unwrap();
            connection.pragma_update(None, "user_version", number).unwrap();
        }
        connection
            .execute_batch(
                "INSERT INTO agents (id, user, name, spec, main_session, created_at) VALUES
                     ('a-1', '~u1', 'sparky:u1', '', 's-1', 0),
                     ('a-2', 'ada', 'sparky', '', 's-2', 0);
                 INSERT INTO sessions (id, user, agent, epoch, first, head, state, running, queued,
                                       created_at, updated_at) VALUES
                     ('s-1', '~u1', 'a-1', 'e', 1, 0, '', 0, 0, 0, 0),
                     ('s-2', 'ada', 'a-2', 'e', 1, 0, '', 0, 0, 0, 0);
                 INSERT INTO chats (user, space, chat, session) VALUES ('~u1', 'u1', 'c1', 's-1');
                 INSERT INTO peers (user, wire, space, name, selected, created_at)
                 VALUES ('~u1', 'sparky', 'u1', 'p', 'c1', 0);",
            )
            .unwrap();
        migrate(&mut connection).unwrap();
        for (table, users) in [
            ("agents", &["ada", "local"][..]),
            ("sessions", &["ada", "local"]),
            ("chats", &["local"]),
            ("peers", &["local"]),
        ] {
            let found: Vec<String> = connection
                .prepare(&format!("SELECT user FROM {table} ORDER BY user"))
                .unwrap()
                .query_map([], |row| row.get(0))
                .unwrap()
                .flatten()
                .collect();
            assert_eq!(found, users, "{table}");
        }
    }
}
