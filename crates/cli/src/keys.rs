//! `thoughtwire keys`.

use jiff::{Span, SpanRelativeTo};
use serde_json::json;
use thoughtwire_proto::rest::NewKey;
use thoughtwire_proto::{Key, Scope};

use crate::cli::{KeysCommand, ScopeChoice, TargetFlags};
use crate::out::TextStyle;
use crate::render::clean;
use crate::sessions::local_time;
use crate::{CommandStatus, UsageError, out};

pub(crate) async fn run(
    target: TargetFlags,
    command: KeysCommand,
) -> anyhow::Result<CommandStatus> {
    match command {
        KeysCommand::Add { user, name, scopes, expires, output } => {
            let seconds = expires.as_deref().map(seconds).transpose()?;
            let scopes: Vec<Scope> = scopes.into_iter().map(scope).collect();
            let body = NewKey { user, name, scopes, expires_in_seconds: seconds };
            let made = target.rest().await?.add_key(&body).await?;
            if output.json {
                out::json(&made)?;
            } else {
                out::line(&made.secret)?;
                let hint = format!(
                    "The key is shown only now. `thoughtwire keys revoke {}` revokes it.",
                    made.key.id
                );
                out::remark(TextStyle::Dim, &hint);
            }
        }
        KeysCommand::List { output } => {
            let keys = target.rest().await?.keys().await?;
            if output.json {
                out::json(&json!({"keys": keys}))?;
            } else if keys.is_empty() {
                out::remark(
                    TextStyle::Dim,
                    "there are no keys; create one with `thoughtwire keys add`",
                );
            } else {
                out::table(
                    ["KEY", "USER", "NAME", "SCOPES", "MADE", "EXPIRES"],
                    &keys.iter().map(row).collect::<Vec<_>>(),
                )?;
            }
        }
        KeysCommand::Revoke { key, output } => {
            target.rest().await?.revoke_key(&key).await?;
            if output.json {
                out::json(&json!({"revoked": key}))?;
            } else {
                out::line(&format!("revoked {key}"))?;
            }
        }
        KeysCommand::Rotate { output } => {
            target.rest().await?.rotate_keys().await?;
            if output.json {
                out::json(&json!({"rotated": true}))?;
            } else {
                out::line("All logins and tickets have ended; keys remain valid.")?;
            }
        }
    }
    Ok(CommandStatus::Done)
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
    let wrong = || {
        UsageError(format!("--expires {text:?} is not a duration such as 12h, 30d or \"1 year\""))
    };
    // Relative to now, because months and years vary in length.
    let span: Span = text.parse().map_err(|_| wrong())?;
    let length =
        span.to_duration(SpanRelativeTo::from(&jiff::Zoned::now())).map_err(|_| wrong())?;
    u64::try_from(length.as_secs())
        .ok()
        .filter(|seconds| *seconds > 0)
        .ok_or_else(|| wrong().into())
}
