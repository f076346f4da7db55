//! `thoughtwire backup` and `thoughtwire restore`.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use thoughtwire_server::{ConfigError, usual_data_dir};
use thoughtwire_store::{Contents, Store};

use crate::cli::{BackupFlags, OutputFlags, RestoreFlags};
use crate::out::TextStyle;
use crate::target::env_var;
use crate::tls::install_tls;
use crate::{CommandStatus, out};

pub(crate) async fn back_up(flags: BackupFlags) -> anyhow::Result<CommandStatus> {
    let BackupFlags { file, target, output } = flags;
    anyhow::ensure!(
        !file.exists(),
        "{} already exists and was not changed; choose another name",
        file.display()
    );
    let dir = match file.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        Some(_) | None => Path::new("."),
    };
    // Gets its final name only when it is complete.
    let mut partial = NamedTempFile::new_in(dir)
        .with_context(|| format!("{} cannot be written", dir.display()))?;
    let place = target.rest().await?;
    let bar = ProgressBar::no_length();
    if let Ok(style) =
        ProgressStyle::with_template("{spinner} {bytes} of {total_bytes} copied, {eta} left")
    {
        bar.set_style(style);
    }
    let bytes = place
        .transport
        .back_up(partial.as_file_mut(), &bar)
        .await
        .context("no backup was written")?;
    bar.finish_and_clear();
    partial.as_file().sync_all().with_context(|| format!("{} cannot be saved", file.display()))?;
    let contents =
        Store::inspect(partial.path()).context("the copy is damaged; no backup was written")?;
    partial
        .persist_noclobber(&file)
        .with_context(|| format!("{} cannot be created", file.display()))?;
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .with_context(|| format!("{} cannot be saved", dir.display()))?;
    if output.json {
        let Contents { agents, sessions, events, keys, newest: _ } = contents;
        out::json(&json!({"file": file, "bytes": bytes, "agents": agents, "sessions": sessions,
                "events": events, "keys": keys}))?;
    } else {
        out::line(&format!(
            "{}: {}, {:.1} MB",
            file.display(),
            summary(contents),
            bytes as f64 / 1e6
        ))?;
    }
    Ok(CommandStatus::Done)
}

pub(crate) async fn restore(flags: RestoreFlags) -> anyhow::Result<CommandStatus> {
    let RestoreFlags { file, data_dir, store, output } = flags;
    let from_env = || env_var("THOUGHTWIRE_STORE").filter(|_| data_dir.is_none());
    if let Some(url) = store.or_else(from_env) {
        let contents = fill_database(&file, &url).await?;
        return tell(&json!({"restored": "database"}), "the database", contents, output);
    }
    let from_env = || env_var("THOUGHTWIRE_DATA_DIR").map(PathBuf::from);
    let dir = data_dir.or_else(from_env).or_else(usual_data_dir).ok_or(ConfigError::NoDataDir)?;
    let contents = Store::restore(&file, &dir)
        .with_context(|| format!("{} was not restored to {}", file.display(), dir.display()))?;
    tell(&json!({"data_dir": dir}), &dir.display().to_string(), contents, output)
}

/// Moves a backup into an empty database, with a copy of it in the temporary directory meanwhile.
async fn fill_database(file: &Path, url: &str) -> anyhow::Result<Contents> {
    install_tls();
    let failed = || format!("{} was not restored; the database is as it was", file.display());
    let events = Store::inspect(file).with_context(failed)?.events;
    let scratch = tempfile::tempdir().context("there is no temporary directory")?;
    let bar = ProgressBar::new(events);
    if let Ok(style) = ProgressStyle::with_template("{spinner} {pos} of {len} events, {eta} left") {
        bar.set_style(style);
    }
    let progress = |written| bar.set_position(written);
    let restored =
        Store::restore_database(file, scratch.path(), url, thoughtwire_hub::now(), progress).await;
    bar.finish_and_clear();
    restored.with_context(failed)
}

/// Tells what was restored.
fn tell(
    place: &Value,
    name: &str,
    contents: Contents,
    output: OutputFlags,
) -> anyhow::Result<CommandStatus> {
    if output.json {
        let Contents { agents, sessions, events, keys, newest: _ } = contents;
        let mut told = json!({"agents": agents, "sessions": sessions, "events": events,
                "keys": keys});
        if let (Some(told), Some(place)) = (told.as_object_mut(), place.as_object()) {
            told.extend(place.clone());
        }
        out::json(&told)?;
        return Ok(CommandStatus::Done);
    }
    out::line(&format!("{name}: {}", summary(contents)))?;
    if contents.keys > 0 {
        out::remark(
            TextStyle::Dim,
            "Keys that were revoked after the backup are valid again; `thoughtwire keys list` \
            lists all keys.",
        );
    }
    Ok(CommandStatus::Done)
}

fn summary(contents: Contents) -> String {
    let Contents { agents, sessions, events, .. } = contents;
    format!("{agents} agents, {sessions} sessions, {events} events")
}
