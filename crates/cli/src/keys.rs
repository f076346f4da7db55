//! `thoughtwire keys`.

use jiff::{Span, SpanRelativeTo};
use serde_json::json;
use thoughtwire_proto::rest::NewKey;
use thoughtwire_proto::{Key, Scope};

use crate::cli::{KeysCommand, Reach, ScopeChoice};
use crate::out::Look;
use crate::sessions::local_time;
use crate::story::clean;
use crate::{Outcome, Usage, out};

pub(crate) async fn run(reach: Reach, command: KeysCommand) -> anyhow::Result<Outcome> {
    match command {
        KeysCommand::Add { user, name, scopes, expires, form } => {
            let seconds = expires.as_deref().map(seconds).transpose()?;
            let scopes: Vec<Scope> = scopes.into_iter().map(scope).collect();
            let body = NewKey { user, name, scopes, expires_in_seconds: seconds };
            let made = reach.place().await?.add_key(&body).await?;
            if form.json {
                out::json(&made)?;
            } else {
                out::line(&made.secret)?;
                let said = format!(
                    "This is the only time that the key is shown. `thoughtwire keys revoke {}` \
                     takes it back.",
                    made.key.id
                );
                out::remark(Look::Dim, &said);
            }
        }
        KeysCommand::List { form } => {
            let keys = reach.place().await?.keys().await?;
            if form.json {
                out::json(&json!({"keys": keys}))?;
            } else if keys.is_empty() {
                out::remark(Look::Dim, "there are no keys; `thoughtwire keys add` makes one");
            } else {
                out::table(
                    ["KEY", "USER", "NAME", "SCOPES", "MADE", "EXPIRES"],
                    &keys.iter().map(row).collect::<Vec<_>>(),
                )?;
            }
        }
        KeysCommand::Revoke { key, form } => {
            reach.place().await?.revoke_key(&key).await?;
            if form.json {
                out::json(&json!({"revoked": key}))?;
            } else {
                out::line(&format!("{key} is revoked"))?;
            }
        }
        KeysCommand::Rotate { form } => {
            reach.place().await?.rotate_keys().await?;
            if form.json {
                out::json(&json!({"rotated": true}))?;
            } else {
                out::line("All logins and tickets have ended; keys are as they were.")?;
            }
        }
    }
    Ok(Outcome::Done)
}

fn row(key: &Key) -> [String; 6] {
    let scopes: Vec<&str> = key.scopes.iter().map(|scope| scope.as_str()).collect();
    [
        key.id.to_string(),
        clean(key.user.as_str()).into_owned(),
        clean(key.name.as_deref().unwrap_or_default()).into_owned(),
        scopes.join(" "),
        local_time(key.created_at),
        key.expires_at.map(local_time).unwrap_or_default(),
    ]
}

fn scope(choice: ScopeChoice) -> Scope {
    match choice {
        ScopeChoice::Chat => Scope::Chat,
        ScopeChoice::Agents => Scope::Agents,
        ScopeChoice::Offer => Scope::Offer,
        ScopeChoice::Admin => Scope::Admin,
    }
}

fn seconds(text: &str) -> anyhow::Result<u64> {
    let wrong = || Usage(format!("--expires {text:?} is no time such as 12h, 30d or \"1 year\""));
    // Relative to now, since months and years have no length of their own.
    let span: Span = text.parse().map_err(|_| wrong())?;
    let length =
        span.to_duration(SpanRelativeTo::from(&jiff::Zoned::now())).map_err(|_| wrong())?;
    u64::try_from(length.as_secs())
        .ok()
        .filter(|seconds| *seconds > 0)
        .ok_or_else(|| wrong().into())
}
