//! The store of the tests' servers: the data directory, or with `THOUGHTWIRE_TEST_STORE=postgres` a
//! PostgreSQL database for each directory. A server that is started again on a directory has the
//! same database.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{LazyLock, Mutex};

/// Addresses of the databases by directory. `tools/postgres` deletes them after this process.
static DATABASES: LazyLock<Mutex<HashMap<PathBuf, String>>> = LazyLock::new(Mutex::default);

/// Whether the servers' data is in databases.
pub(crate) fn is_in_database() -> bool {
    std::env::var_os("THOUGHTWIRE_TEST_STORE").is_some()
}

/// The variable that names a directory's store to a server. Creates the database if the directory
/// has none yet.
pub(crate) fn new_store(dir: &Path) -> Option<(&'static str, String)> {
    let chosen = std::env::var("THOUGHTWIRE_TEST_STORE").ok()?;
    assert_eq!(chosen, "postgres", "THOUGHTWIRE_TEST_STORE names an unknown store");
    let mut databases = DATABASES.lock().unwrap();
    let url = databases.entry(dir.to_owned()).or_insert_with(new_database);
    Some(("THOUGHTWIRE_STORE", url.clone()))
}

/// The variable that names a directory's store to a command, if its data is in a database.
pub(crate) fn store_of(dir: &Path) -> Option<(&'static str, String)> {
    let databases = DATABASES.lock().unwrap();
    databases.get(dir).map(|url| ("THOUGHTWIRE_STORE", url.clone()))
}

/// The address of a new, empty database.
pub(crate) fn new_database() -> String {
    postgres_tool(&["create", &std::process::id().to_string()])
}

/// Runs `tools/postgres`. Gives its output.
pub(crate) fn postgres_tool(arguments: &[&str]) -> String {
    let tool = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tools/postgres");
    let output = Command::new(tool).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
