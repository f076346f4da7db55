//! A server on a machine whose disk does not sync, or whose clock is wrong, on demand.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::support::Live;
use super::test_store::new_store;

/// A library that is loaded in front of the system's, and the files that tell it what to do.
pub(crate) struct FaultyMachine {
    dir: TempDir,
}

impl FaultyMachine {
    /// Nothing where there is no C compiler, or libraries are not loaded in this way.
    pub(crate) fn make() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("shim.c"), include_str!("shim.c")).unwrap();
        let built = std::process::Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o", "shim.so", "shim.c", "-ldl"])
            .current_dir(dir.path())
            .status()
            .is_ok_and(|status| status.success());
        if built && cfg!(target_os = "linux") {
            return Some(Self { dir });
        }
        eprintln!("not run: it needs Linux and a C compiler");
        None
    }

    pub(super) async fn serve(&self, flags: &[&str]) -> Live {
        let variables = self.variables();
        let variables: Vec<_> =
            variables.iter().map(|(name, path)| (*name, path.as_path())).collect();
        Live::with_env(&self.data(), flags, &variables, &self.dir.path().join("errors")).await
    }

    /// A start that fails: what it says.
    pub(super) async fn refused(&self) -> String {
        let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_thoughtwire"))
            .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
            .arg(self.data())
            .envs(new_store(&self.data()))
            .envs(self.variables())
            .kill_on_drop(true)
            .output();
        let output = output.await.unwrap();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    }

    fn variables(&self) -> [(&'static str, PathBuf); 3] {
        [("LD_PRELOAD", self.library()), ("FAULT_SYNC", self.sync()), ("FAULT_CLOCK", self.clock())]
    }

    /// The library, for the variable `LD_PRELOAD`.
    pub(crate) fn library(&self) -> PathBuf {
        self.dir.path().join("shim.so")
    }

    pub(super) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// The servers' standard error so far.
    pub(super) fn errors(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("errors")).unwrap()
    }

    /// The next syncs fail: so many, or all from now on.
    pub(super) fn fail_syncs(&self, count: Option<u32>) {
        let count = count.map(|count| count.to_string()).unwrap_or_default();
        replace(&self.sync(), &count);
    }

    pub(super) fn are_syncs_failing(&self) -> bool {
        self.sync().exists()
    }

    pub(super) fn heal_syncs(&self) {
        std::fs::remove_file(self.sync()).unwrap();
    }

    /// The wall clock is wrong by so many seconds from now on.
    pub(super) fn set_clock(&self, seconds: i64) {
        replace(&self.clock(), &seconds.to_string());
    }

    fn sync(&self) -> PathBuf {
        self.dir.path().join("sync")
    }

    fn clock(&self) -> PathBuf {
        self.dir.path().join("clock")
    }
}

/// In one step, so that nobody reads a half of it.
fn replace(file: &Path, content: &str) {
    let fresh = file.with_extension("fresh");
    std::fs::write(&fresh, content).unwrap();
    std::fs::rename(fresh, file).unwrap();
}
