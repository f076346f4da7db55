//! Checks of a set-up, before or while a server runs on it, with advice on how to correct it.

mod database;

use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit};
use serde::Serialize;
use thoughtwire_agent::{ModelError, check_model, try_model};
use thoughtwire_hub::now;
use thoughtwire_store::{Contents, Store, StoreError};
use tokio::net::TcpListener;

use crate::access::Jwt;
use crate::config::{Auth, Config};
use crate::listener;
use crate::open_files::RESERVED;

/// Free bytes below which a disk will soon be full, and below which it as good as is.
const LITTLE_ROOM: u64 = 1 << 30;
const NO_ROOM: u64 = 64 << 20;
/// A wait for the disk that people notice in every answer.
const SLOW_DISK: Duration = Duration::from_millis(50);
/// How long a model is waited for, whatever the configuration says.
const PATIENCE: Duration = Duration::from_secs(60);
/// 2025-01-01: no clock that is right says less.
const NOT_BEFORE_MS: i64 = 1_735_689_600_000;
/// How far the newest event may lie ahead of the clock.
const AHEAD_MS: i64 = 60_000;

/// How well something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// As it should be.
    Good,
    /// It works, and should be looked at.
    Doubtful,
    /// It does not work.
    Bad,
}

/// Result of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Subject of the check.
    pub subject: String,
    /// How well it is.
    pub health: Health,
    /// Result, as a sentence.
    pub found: String,
    /// Advice to the owner.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

impl Finding {
    fn good(subject: impl Into<String>, found: impl Into<String>) -> Self {
        Self { subject: subject.into(), health: Health::Good, found: found.into(), mend: None }
    }

    fn doubtful(
        subject: impl Into<String>,
        found: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self {
            subject: subject.into(),
            health: Health::Doubtful,
            found: found.into(),
            mend: Some(mend.into()),
        }
    }

    fn bad(subject: impl Into<String>, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { health: Health::Bad, ..Self::doubtful(subject, found, mend) }
    }
}

/// Looks at all that a server with this configuration stands on. Changes nothing, but for a file in
/// the data directory that is gone again, and a short question to each model.
pub async fn examine(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    let dir = config.data_dir.clone();
    let (data, contents, running) = match &config.store {
        None => tokio::task::spawn_blocking(move || directory(&dir)).await.unwrap_or_default(),
        Some(url) => {
            let (data, contents) = database::examine(url).await;
            (data, contents, Store::is_locked(&dir).unwrap_or(false))
        }
    };
    findings.extend(data);
    for address in &config.listen {
        findings.push(port(*address, running).await);
    }
    findings.push(keys(config, contents));
    findings.push(proxy(config));
    findings.extend(config.tls.as_ref().map(|tls| match listener::tls(tls) {
        Ok(_) => Finding::good("tls", "the certificate and its key belong together"),
        Err(error) => {
            Finding::bad("tls", error, "correct tls.certificate and tls.key; both are PEM")
        }
    }));
    findings.extend(config.jwt.as_ref().map(|jwt| match Jwt::open(jwt) {
        Ok(_) => Finding::good("jwt", format!("tokens are checked as {}", jwt.algorithm)),
        Err(error) => Finding::bad("jwt", error, "correct the configuration's [jwt]"),
    }));
    findings.push(files(config));
    for name in std::iter::once(&config.model).chain(&config.agents.fallbacks) {
        findings.push(model(config, name).await);
    }
    findings.extend(embedding(config).await);
    findings.push(clock(contents));
    findings
}

/// Checks the data directory. Returns the findings, the contents of the data if there is any, and
/// whether a server runs on it.
fn directory(dir: &Path) -> (Vec<Finding>, Option<Contents>, bool) {
    const SUBJECT: &str = "data directory";
    // The ancestors of a relative name do not include where this process stands.
    let absolute = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    let dir = absolute.as_path();
    let shown = dir.display();
    let mut findings = Vec::new();
    // A missing directory is created in the nearest one that exists.
    let Some(base) = dir.ancestors().find(|dir| dir.is_dir()) else {
        return (
            vec![Finding::bad(
                SUBJECT,
                format!("{shown} cannot be made"),
                "say another --data-dir",
            )],
            None,
            false,
        );
    };
    match wait_for_disk(base) {
        Ok(waited) if waited > SLOW_DISK => findings.push(Finding::doubtful(
            "disk",
            format!("saving takes {} ms in {}", waited.as_millis(), base.display()),
            "every answer waits for the disk: choose a faster one with --data-dir",
        )),
        Ok(waited) => findings.push(Finding::good(
            "disk",
            format!("saving takes {:.1} ms", waited.as_secs_f64() * 1000.0),
        )),
        Err(error) => {
            let found = format!("nothing can be written in {}: {error}", base.display());
            findings.push(Finding::bad(
                "disk",
                found,
                "correct its permissions, or say another --data-dir",
            ));
        }
    }
    if let Ok(disk) = rustix::fs::statvfs(base) {
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        let found = format!("{:.1} GiB are free", free as f64 / f64::from(1 << 30));
        findings.push(match free {
            ..NO_ROOM => {
                Finding::bad("room", found, "make room: on a full disk every input is refused")
            }
            NO_ROOM..LITTLE_ROOM => Finding::doubtful(
                "room",
                found,
                "make room soon, or keep less: `thoughtwire agents edit --keep-days`",
            ),
            LITTLE_ROOM.. => Finding::good("room", found),
        });
    }
    let running = Store::is_locked(dir).unwrap_or(false);
    let file = Store::file(dir);
    if !file.exists() {
        findings.push(Finding::good(SUBJECT, format!("{shown} has no data yet")));
        return (findings, None, running);
    }
    if std::fs::metadata(&file).is_ok_and(|data| data.permissions().mode() & 0o077 != 0) {
        let mend = format!("chmod 600 {}", file.display());
        findings.push(Finding::doubtful(
            "privacy",
            format!("others may read {}", file.display()),
            mend,
        ));
    }
    let contents = match Store::inspect(&file) {
        Ok(contents) => {
            let Contents { agents, sessions, events, .. } = contents;
            let who = if running { "; a server runs on it" } else { "" };
            findings.push(Finding::good(
                SUBJECT,
                format!("{shown}: {agents} agents, {sessions} sessions, {events} events{who}"),
            ));
            Some(contents)
        }
        Err(error) => {
            let mend = if matches!(error, StoreError::Newer { .. }) {
                "run the version that wrote it, or a newer one"
            } else {
                "restore it from a backup: `thoughtwire restore FILE --data-dir NEW`"
            };
            findings.push(Finding::bad(SUBJECT, format!("{shown}: {error}"), mend));
            None
        }
    };
    (findings, contents, running)
}

/// How long it takes until a small write is on the disk: the middle one of several.
fn wait_for_disk(dir: &Path) -> std::io::Result<Duration> {
    let mut file = tempfile::tempfile_in(dir)?;
    let mut waits = [Duration::ZERO; 5];
    for wait in &mut waits {
        let begun = Instant::now();
        file.write_all(&[0; 4096])?;
        file.sync_data()?;
        *wait = begun.elapsed();
    }
    waits.sort();
    Ok(waits.get(2).copied().unwrap_or_default())
}

async fn port(address: SocketAddr, running: bool) -> Finding {
    let subject = format!("port {}", address.port());
    match TcpListener::bind(address).await {
        Ok(_) => Finding::good(subject, format!("{address} is free")),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse && running => Finding::good(
            subject,
            format!("{address} is taken, and a server runs on the data directory"),
        ),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Finding::bad(
            subject,
            format!("another program listens on {address}"),
            "stop it, or say another --listen",
        ),
        Err(error) => Finding::bad(
            subject,
            format!("{address} cannot be listened on: {error}"),
            "say another --listen",
        ),
    }
}

fn keys(config: &Config, contents: Option<Contents>) -> Finding {
    let exposed = config.listen.iter().find(|address| !address.ip().is_loopback());
    let made = contents.map_or(0, |contents| contents.keys);
    match (config.auth, exposed) {
        (Auth::None, None) => Finding::good("keys", "only this machine comes in, without a key"),
        (Auth::None, Some(address)) => Finding::doubtful(
            "keys",
            format!("everybody who reaches {address} is the owner, without a key"),
            "say --auth keys, unless that is meant",
        ),
        (Auth::Keys, _) if made > 0 => Finding::good("keys", format!("{made} keys open it")),
        (Auth::Keys, _) if config.jwt.is_some() => {
            Finding::good("keys", "tokens of another login open it")
        }
        (Auth::Keys, _) => {
            let store = config.store.as_ref().map_or("", |_| " --store …");
            let place = format!("--data-dir {}{store}", config.data_dir.display());
            let mend = format!("make one: `thoughtwire keys add {place}`");
            let found = "keys are asked for, and there is none";
            // Then it does not even start.
            if exposed.is_some() && !config.auth_is_said {
                Finding::bad("keys", found, mend)
            } else {
                Finding::doubtful("keys", found, mend)
            }
        }
    }
}

fn proxy(config: &Config) -> Finding {
    const SUBJECT: &str = "proxy";
    match (config.trust_proxy, config.auth) {
        (true, Auth::Keys) => {
            Finding::good(SUBJECT, "one may stand in front, and keys are asked for")
        }
        (true, Auth::None) => Finding::doubtful(
            SUBJECT,
            "everybody behind the proxy in front is the owner, without a key",
            "say --auth keys, and make a key with `thoughtwire keys add`",
        ),
        (false, Auth::None) => Finding::good(
            SUBJECT,
            "requests that came through one are refused; if one is to stand in front, say \
             --trust-proxy and make a key",
        ),
        (false, Auth::Keys) => Finding::good(
            SUBJECT,
            "none is expected in front; behind one say --trust-proxy, so that cookies are for TLS \
             alone",
        ),
    }
}

fn files(config: &Config) -> Finding {
    let wanted = config.limits.connections as u64 + RESERVED;
    match getrlimit(Resource::Nofile).maximum {
        Some(most) if most < wanted => Finding::doubtful(
            "open files",
            format!(
                "this process may open {most} files, which is fewer than \
                 limits.connections ({}) needs",
                config.limits.connections
            ),
            "raise `ulimit -Hn` (LimitNOFILE= with systemd), or lower limits.connections",
        ),
        Some(_) | None => Finding::good(
            "open files",
            format!("enough for {} connections", config.limits.connections),
        ),
    }
}

async fn model(config: &Config, name: &str) -> Finding {
    let subject = format!("model {name}");
    if let Err(error) = check_model(name, &config.providers) {
        return unusable(subject, &error);
    }
    let begun = Instant::now();
    match tokio::time::timeout(PATIENCE, try_model(name, &config.providers, config.agents.timeouts))
        .await
    {
        Ok(Ok(())) => {
            Finding::good(subject, format!("it answered in {:.1} s", begun.elapsed().as_secs_f64()))
        }
        Ok(Err(error)) => unusable(subject, &error),
        Err(_) => Finding::bad(
            subject,
            format!("it did not answer within {} s", PATIENCE.as_secs()),
            "check its address and its load",
        ),
    }
}

/// Asks the embedding model, if there is one, for the vectors of a text and of a query.
async fn embedding(config: &Config) -> Option<Finding> {
    let subject = format!("embedding {}", config.embedding.as_ref()?);
    let wanted = config.clone();
    let embedder = match tokio::task::spawn_blocking(move || wanted.embedder()).await {
        Ok(Ok(embedder)) => embedder?,
        Ok(Err(error)) => return Some(unusable(subject, &error)),
        Err(error) => {
            let mend = "report this: it is a defect";
            return Some(Finding::bad(subject, error.to_string(), mend));
        }
    };
    let asking = async {
        let texts = embedder.embed(vec!["Are you there?".to_owned()]).await?;
        let query = embedder.embed_query("Are you there?").await?;
        Ok((texts.first().map_or(0, Vec::len), query.len()))
    };
    Some(match tokio::time::timeout(PATIENCE, asking).await {
        Ok(Ok((text, query))) if text != query => Finding::bad(
            subject,
            format!("vectors of texts have {text} numbers and those of queries {query}"),
            "name another embedding model: these two cannot be compared",
        ),
        Ok(Ok((text, _))) => Finding::good(subject, format!("it answered with {text} numbers")),
        Ok(Err(error)) => unusable(subject, &error),
        Err(_) => Finding::bad(
            subject,
            format!("it did not answer within {} s", PATIENCE.as_secs()),
            "check its address and its load",
        ),
    })
}

fn unusable(subject: String, error: &ModelError) -> Finding {
    let mend = if matches!(error, ModelError::Unset(_)) {
        "set the key in its variable, or name another model with --model"
    } else {
        "check the provider's address, key and the model's name; `thoughtwire config show` prints \
         them"
    };
    Finding::bad(subject, error.to_string(), mend)
}

fn clock(contents: Option<Contents>) -> Finding {
    let (now, newest) = (now(), contents.and_then(|contents| contents.newest));
    const MEND: &str = "set the clock (timedatectl): keys, tickets and approvals end by it";
    if now.as_millis() < NOT_BEFORE_MS {
        return Finding::bad("clock", format!("it says {now}, which has long been"), MEND);
    }
    match newest {
        Some(newest) if newest.as_millis() > now.as_millis() + AHEAD_MS => Finding::doubtful(
            "clock",
            format!("it says {now}, and something was said at {newest}"),
            MEND,
        ),
        Some(_) | None => Finding::good("clock", now.to_string()),
    }
}
