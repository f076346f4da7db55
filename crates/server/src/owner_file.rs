//! How owner commands on this machine reach the server that runs on a data directory.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// `server.json` in the data directory: how owner commands on this machine reach the server.
/// Removed when the server stops.
pub(crate) struct OwnerFile(PathBuf);

impl OwnerFile {
    pub(crate) fn write(dir: &Path, url: &str, token: &str) -> io::Result<Self> {
        let path = dir.join("server.json");
        let content = serde_json::json!({"url": url, "token": token}).to_string();
        // A file from a server that was killed is of no use.
        drop(fs::remove_file(&path));
        let mut file =
            fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(content.as_bytes())?;
        Ok(Self(path))
    }
}

impl Drop for OwnerFile {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.0));
    }
}
