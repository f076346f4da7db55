//! Checking a server that runs somewhere, from where its clients are.

use std::error::Error;
use std::time::Duration;

use reqwest::header::{DATE, HeaderMap, SERVER};
use serde_json::Value;
use thoughtwire_proto::dialect::native::ServerFrame;
use thoughtwire_server::{Finding, Health};

use crate::client::greeting;
use crate::rest::ServerAddress;
use crate::tls;

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// A difference between two clocks that people notice: keys, tickets and approvals end by the server's.
const CLOCK_MS: i64 = 60_000;
/// Headers of an answer that a proxy writes and this server does not.
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

/// Looks at a running server as its clients do. Changes nothing there.
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
                "check the address, the name, the firewall, and that the server runs",
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
            "check the address and the path; a proxy in front needs the whole of it",
        ));
        findings.push(proxy(&headers));
        return Ok(findings);
    }
    findings.push(finding("reachable", Health::Good, format!("{} answers", server.base), ""));
    findings.push(match http.get(at("readyz")).send().await {
        Ok(answer) if answer.status().is_success() => {
            finding("ready", Health::Good, "it takes requests", "")
        }
        Ok(answer) => {
            let text = answer.text().await.unwrap_or_default();
            finding("ready", Health::Bad, text.trim(), "look at the server's log and its disk")
        }
        Err(error) => finding("ready", Health::Bad, error.to_string(), "look at the server's log"),
    });
    findings.push(who(server, &http, &at("v1/whoami")).await);
    findings.extend(socket(server).await);
    findings.push(proxy(&headers));
    findings.push(clock(&headers));
    Ok(findings)
}

/// Why an HTTP request got no answer.
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

/// Whether the key opens it.
async fn who(server: &ServerAddress, http: &reqwest::Client, url: &str) -> Finding {
    const SUBJECT: &str = "access";
    let mut request = http.get(url);
    if let Some(key) = &server.key {
        request = request.bearer_auth(key);
    }
    let answer = match request.send().await {
        Ok(answer) => answer,
        Err(error) => {
            return finding(SUBJECT, Health::Bad, error.to_string(), "look at the server's log");
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
        return finding(SUBJECT, Health::Good, format!("{how} you are {user:?} there"), "");
    }
    let reason = body.pointer("/error/reason").and_then(Value::as_str).map(str::to_owned);
    let found = reason.unwrap_or_else(|| format!("it answers {status}"));
    let mend = match (&server.key, status.as_u16()) {
        (None, 401) => {
            "set THOUGHTWIRE_KEY; the server's owner makes keys with `thoughtwire keys add`"
        }
        (Some(_), 401) => "the key in THOUGHTWIRE_KEY is not one of this server's; ask for another",
        _ => "do what the server says",
    };
    finding(SUBJECT, Health::Bad, found, mend)
}

/// Whether WebSockets come through, and which version is there.
async fn socket(server: &ServerAddress) -> Vec<Finding> {
    match tokio::time::timeout(PATIENCE, greeting(server)).await {
        Ok(Ok(ServerFrame::Welcome { server: theirs, .. })) => {
            let ours = concat!("thoughtwire/", env!("CARGO_PKG_VERSION"));
            let (health, found) = if theirs.ends_with(env!("CARGO_PKG_VERSION")) {
                (Health::Good, theirs)
            } else {
                (Health::Doubtful, format!("it is {theirs}, and this is {ours}"))
            };
            vec![
                finding("websocket", Health::Good, "the server greets", ""),
                finding("version", health, found, "use the same version on both sides"),
            ]
        }
        Ok(Ok(_)) => vec![finding(
            "websocket",
            Health::Bad,
            "it says something else than a greeting",
            "check the address",
        )],
        Ok(Err(error)) => vec![finding(
            "websocket",
            Health::Bad,
            error.to_string(),
            "have the proxy in front pass `Upgrade` and `Connection` on, and speak HTTP/1.1",
        )],
        Err(_) => vec![finding(
            "websocket",
            Health::Bad,
            "no greeting came in time",
            "have the proxy in front pass WebSockets on without holding them back",
        )],
    }
}

/// Whether something stands between.
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
        return finding("proxy", Health::Good, "its answers show none", "");
    }
    finding(
        "proxy",
        Health::Doubtful,
        format!("one stands in front ({})", signs.join(", ")),
        "make keys and start the server with --auth keys; --trust-proxy if the proxy sets X-Forwarded-*",
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
        return finding(SUBJECT, Health::Good, "the server does not tell its time", "");
    };
    let ahead = theirs - jiff::Timestamp::now().as_millisecond();
    if ahead.abs() < CLOCK_MS {
        return finding(SUBJECT, Health::Good, "the server's and this machine's agree", "");
    }
    let side = if ahead > 0 { "ahead of" } else { "behind" };
    finding(
        SUBJECT,
        Health::Doubtful,
        format!("the server's is {} s {side} this machine's", ahead.abs() / 1000),
        "set both clocks (timedatectl): keys, tickets and approvals end by the server's",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_of_proxies_and_clocks() {
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
