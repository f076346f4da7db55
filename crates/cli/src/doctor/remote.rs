//! Checks a running server from a client's point of view.

use std::error::Error;
use std::time::Duration;

use reqwest::header::{DATE, HeaderMap, SERVER};
use serde_json::Value;
use thoughtwire_proto::dialect::native::ServerFrame;
use thoughtwire_server::{Finding, Health};

use crate::client::greeting;
use crate::rest::ServerAddress;
use crate::tls;

/// Time limit for one answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Largest tolerated clock difference in ms. Keys, tickets and approvals expire by the server's
/// clock.
const CLOCK_MS: i64 = 60_000;
/// Response headers that proxies add and this server never sends.
const PROXIES: [&str; 9] = [
    "via",
    "cf-ray",
    "x-cache",
    "x-served-by",
    "x-varnish",
    "x-amz-cf-id",
    "x-envoy-upstream-service-time",
    "fly-request-id",
    "x-vercel-id",
];

fn finding(subject: &str, health: Health, found: impl Into<String>, mend: &str) -> Finding {
    let mend = (health != Health::Good).then(|| mend.to_owned());
    Finding { subject: subject.to_owned(), health, found: found.into(), mend }
}

/// Checks a running server. Changes nothing on it.
pub(super) async fn examine(server: &ServerAddress) -> anyhow::Result<Vec<Finding>> {
    tls::install_tls();
    let http = reqwest::Client::builder()
        .timeout(PATIENCE)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()?;
    let at = |path: &str| format!("{}/{path}", server.base);
    let mut findings = Vec::new();
    let healthz = match http.get(at("healthz")).send().await {
        Ok(answer) => answer,
        Err(error) => {
            findings.push(finding(
                "reachable",
                Health::Bad,
                cause(&server.base, &error),
                "check the address, DNS and the firewall, and that the server is running",
            ));
            return Ok(findings);
        }
    };
    let headers = healthz.headers().clone();
    if !healthz.status().is_success() {
        let found = format!("{} answers {} to /healthz", server.base, healthz.status());
        findings.push(finding(
            "reachable",
            Health::Bad,
            found,
            "check the address and the path; a proxy must pass the whole path on",
        ));
        findings.push(proxy(&headers));
        return Ok(findings);
    }
    findings.push(finding("reachable", Health::Good, format!("{} answers", server.base), ""));
    findings.push(match http.get(at("readyz")).send().await {
        Ok(answer) if answer.status().is_success() => {
            finding("ready", Health::Good, "it accepts requests", "")
        }
        Ok(answer) => {
            let text = answer.text().await.unwrap_or_default();
            finding("ready", Health::Bad, text.trim(), "check the server's log and its disk")
        }
        Err(error) => finding("ready", Health::Bad, error.to_string(), "check the server's log"),
    });
    findings.push(access(server, &http, &at("v1/whoami")).await);
    findings.extend(socket(server).await);
    findings.push(proxy(&headers));
    findings.push(clock(&headers));
    Ok(findings)
}

/// Explains why an HTTP request got no answer.
fn cause(base: &str, error: &reqwest::Error) -> String {
    if let Some(trouble) = tls::trouble(base, error) {
        return trouble.to_string();
    }
    let mut innermost: &dyn Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    format!("nothing answers at {base}: {innermost}")
}

/// Checks whether the key gives access.
async fn access(server: &ServerAddress, http: &reqwest::Client, url: &str) -> Finding {
    const SUBJECT: &str = "access";
    let mut request = http.get(url);
    if let Some(key) = &server.key {
        request = request.bearer_auth(key);
    }
    let answer = match request.send().await {
        Ok(answer) => answer,
        Err(error) => {
            return finding(SUBJECT, Health::Bad, error.to_string(), "check the server's log");
        }
    };
    let status = answer.status();
    let body: Value = answer.json().await.unwrap_or_default();
    if status.is_success() {
        let user = body.get("user").and_then(Value::as_str).unwrap_or("?");
        let how = if body.get("auth").is_some_and(|auth| auth == "none") {
            "without a key"
        } else {
            "with the key"
        };
        return finding(SUBJECT, Health::Good, format!("{how} you are the user {user:?}"), "");
    }
    let reason = body.pointer("/error/reason").and_then(Value::as_str).map(str::to_owned);
    let found = reason.unwrap_or_else(|| format!("it answers {status}"));
    let mend = match (&server.key, status.as_u16()) {
        (None, 401) => {
            "set THOUGHTWIRE_KEY; the server's owner creates keys with `thoughtwire keys add`"
        }
        (Some(_), 401) => {
            "the server does not know the key in THOUGHTWIRE_KEY; ask its owner for a valid one"
        }
        _ => "follow the server's message",
    };
    finding(SUBJECT, Health::Bad, found, mend)
}

/// Checks whether WebSockets work, and compares versions.
async fn socket(server: &ServerAddress) -> Vec<Finding> {
    match tokio::time::timeout(PATIENCE, greeting(server)).await {
        Ok(Ok(ServerFrame::Welcome { server: theirs, .. })) => {
            let ours = concat!("thoughtwire/", env!("CARGO_PKG_VERSION"));
            let (health, found) = if theirs.ends_with(env!("CARGO_PKG_VERSION")) {
                (Health::Good, theirs)
            } else {
                (Health::Doubtful, format!("the server is {theirs}, this client is {ours}"))
            };
            vec![
                finding("websocket", Health::Good, "the server sends its greeting", ""),
                finding("version", health, found, "install the same version on both sides"),
            ]
        }
        Ok(Ok(_)) => vec![finding(
            "websocket",
            Health::Bad,
            "the first frame is not a greeting",
            "check the address",
        )],
        Ok(Err(error)) => vec![finding(
            "websocket",
            Health::Bad,
            error.to_string(),
            "make the proxy pass on `Upgrade` and `Connection`, with HTTP/1.1",
        )],
        Err(_) => vec![finding(
            "websocket",
            Health::Bad,
            "no greeting arrived in time",
            "make the proxy pass on WebSockets without buffering",
        )],
    }
}

/// Checks whether a proxy is in between.
fn proxy(headers: &HeaderMap) -> Finding {
    let mut signs: Vec<String> = headers
        .get(SERVER)
        .and_then(|server| server.to_str().ok())
        .map(|server| format!("server: {server}"))
        .into_iter()
        .collect();
    signs.extend(PROXIES.iter().filter(|name| headers.contains_key(**name)).map(|name| {
        let value = headers.get(*name).and_then(|value| value.to_str().ok());
        format!("{name}: {}", value.unwrap_or("…"))
    }));
    if signs.is_empty() {
        return finding("proxy", Health::Good, "no sign of one", "");
    }
    finding(
        "proxy",
        Health::Doubtful,
        format!("there is one in front ({})", signs.join(", ")),
        "create keys and start the server with --auth keys; add --trust-proxy if the proxy sets \
        X-Forwarded-*",
    )
}

fn clock(headers: &HeaderMap) -> Finding {
    const SUBJECT: &str = "clock";
    let theirs = headers
        .get(DATE)
        .and_then(|date| date.to_str().ok())
        .and_then(|date| jiff::fmt::rfc2822::parse(date).ok())
        .map(|date| date.timestamp().as_millisecond());
    let Some(theirs) = theirs else {
        return finding(SUBJECT, Health::Good, "the server sends no time", "");
    };
    let ahead = theirs - jiff::Timestamp::now().as_millisecond();
    if ahead.abs() < CLOCK_MS {
        return finding(SUBJECT, Health::Good, "the clocks agree", "");
    }
    let side = if ahead > 0 { "ahead of" } else { "behind" };
    finding(
        SUBJECT,
        Health::Doubtful,
        format!("the server's clock is {} s {side} this machine's", ahead.abs() / 1000),
        "set both clocks (timedatectl); keys, tickets and approvals expire by the server's clock",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_and_wrong_clocks_are_found() {
        let headers = |pairs: &[(&'static str, &str)]| -> HeaderMap {
            pairs
                .iter()
                .map(|(name, value)| ((*name).parse().unwrap(), value.parse().unwrap()))
                .collect()
        };
        assert_eq!(proxy(&headers(&[("date", "x")])).health, Health::Good);
        for sign in [("server", "nginx"), ("via", "1.1 caddy"), ("cf-ray", "1")] {
            assert_eq!(proxy(&headers(&[sign])).health, Health::Doubtful, "{sign:?}");
        }
        let now = jiff::Zoned::now().with_time_zone(jiff::tz::TimeZone::UTC);
        let date = |at: &jiff::Zoned| jiff::fmt::rfc2822::to_string(at).unwrap();
        assert_eq!(clock(&headers(&[("date", &date(&now))])).health, Health::Good);
        let ahead = &now + jiff::Span::new().hours(2);
        let found = clock(&headers(&[("date", &date(&ahead))]));
        assert_eq!(found.health, Health::Doubtful);
        assert!(found.found.contains("ahead of"), "{}", found.found);
    }
}
