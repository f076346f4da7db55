//! `thoughtwire backup` and `thoughtwire restore`.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use tempfile::NamedTempFile;
use thoughtwire_server::{ConfigError, usual_data_dir};
use thoughtwire_store::{Contents, Store};

use crate::cli::{BackupFlags, RestoreFlags};
use crate::out::Look;
use crate::{Outcome, out};

pub(crate) async fn back_up(flags: BackupFlags) -> anyhow::Result<Outcome> {
    let BackupFlags { file, reach, form } = flags;
    anyhow::ensure!(
        !file.exists(),
        "{} is there already, and it was left alone: choose another name",
        file.display()
    );
    let dir = match file.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        Some(_) | None => Path::new("."),
    };
    // Under its own name only once it is whole.
    let mut partial = NamedTempFile::new_in(dir)
        .with_context(|| format!("{} cannot be written", dir.display()))?;
    let place = reach.place().await?;
    let bar = ProgressBar::no_length();
    if let Ok(style) =
        ProgressStyle::with_template("{spinner} {bytes} of {total_bytes} copied, {eta} left")
    {
        bar.set_style(style);
    }
    let bytes =
        place.transport.back_up(partial.as_file_mut(), &bar).await.context("nothing was kept")?;
    bar.finish_and_clear();
    partial.as_file().sync_all().with_context(|| format!("{} cannot be saved", file.display()))?;
    let contents =
        Store::inspect(partial.path()).context("the copy is not whole; nothing was kept")?;
    partial
        .persist_noclobber(&file)
        .with_context(|| format!("{} cannot be made", file.display()))?;
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .with_context(|| format!("{} cannot be saved", dir.display()))?;
    if form.json {
        let Contents { agents, sessions, events, keys, newest: _ } = contents;
        out::json(
            &json!({"file": file, "bytes": bytes, "agents": agents, "sessions": sessions, "events": events, "keys": keys}),
        )?;
    } else {
        out::line(&format!(
            "{}: {}, {:.1} MB",
            file.display(),
            told(contents),
            bytes as f64 / 1e6
        ))?;
    }
    Ok(Outcome::Done)
}

pub(crate) fn restore(flags: RestoreFlags) -> anyhow::Result<Outcome> {
    let RestoreFlags { file, data_dir, form } = flags;
    let said = || {
        std::env::var_os("THOUGHTWIRE_DATA_DIR").filter(|dir| !dir.is_empty()).map(PathBuf::from)
    };
    let dir = data_dir.or_else(said).or_else(usual_data_dir).ok_or(ConfigError::NoDataDir)?;
    let contents = Store::restore(&file, &dir)
        .with_context(|| format!("{} was not restored to {}", file.display(), dir.display()))?;
    if form.json {
        let Contents { agents, sessions, events, keys, newest: _ } = contents;
        out::json(
            &json!({"data_dir": dir, "agents": agents, "sessions": sessions, "events": events, "keys": keys}),
        )?;
        return Ok(Outcome::Done);
    }
    out::line(&format!("{}: {}", dir.display(), told(contents)))?;
    if contents.keys > 0 {
        out::remark(
            Look::Dim,
            "Keys are as they were when the backup was made; `thoughtwire keys list` shows them.",
        );
    }
    Ok(Outcome::Done)
}

fn told(contents: Contents) -> String {
    let Contents { agents, sessions, events, .. } = contents;
    format!("{agents} agents, {sessions} sessions, {events} events")
}
