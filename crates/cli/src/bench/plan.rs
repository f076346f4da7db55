//! What a run shall do: the flags, checked.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use http::{HeaderValue, Uri};
use tokio_websockets::Connector;

use super::wire::Wire;
use crate::Usage;
use crate::cli::{BenchDialect, BenchFlags};
use crate::rest::ServerAddress;
use crate::tls::install_tls;

/// Connections from one address to another: what Linux has ports for, with room to spare.
const PORTS: u32 = 20_000;

/// A run, before it is run.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) wire: Wire,
    pub(crate) target: Target,
    pub(crate) sessions: usize,
    pub(crate) connections: usize,
    /// The last of them, and never a session's first.
    pub(crate) stalled: usize,
    pub(crate) wakes: bool,
    pub(crate) load: Load,
    pub(crate) until: Until,
    /// Inputs a second over all sessions; else each follows its predecessor's end.
    pub(crate) arrivals: Option<f64>,
    /// Microseconds after the beginning between which latencies count.
    pub(crate) timed: RangeInclusive<u64>,
    pub(crate) hold: Duration,
    pub(crate) patience: Duration,
    pub(crate) addresses: u32,
    pub(crate) pid: Option<u32>,
    /// The load comes from a program that offers the agent, and not from the server.
    pub(crate) offers: bool,
    pub(crate) keeps: bool,
    /// What names made for this run have in common.
    pub(crate) name: String,
}

/// What each input makes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) items: u64,
    pub(crate) bytes: u64,
    pub(crate) rate: u64,
    pub(crate) deltas: bool,
}

/// How many inputs each session gets.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Until {
    Inputs(u64),
    Elapsed(Duration),
}

/// Where to connect.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    /// As the request names it, without a path.
    pub(crate) base: String,
    pub(crate) host: String,
    /// One for all connections: to make it reads the system's certificates.
    pub(crate) connector: Connector,
    pub(crate) authorization: Option<HeaderValue>,
}

impl Plan {
    pub(crate) async fn new(
        flags: &BenchFlags,
        server: Option<&ServerAddress>,
    ) -> anyhow::Result<Self> {
        let connections = match (flags.connections, flags.subscribers) {
            (Some(connections), _) => connections,
            (None, Some(each)) => each
                .checked_mul(flags.sessions)
                .ok_or_else(|| Usage("so many connections there cannot be".to_owned()))?,
            (None, None) => flags.sessions.max(100),
        };
        if connections < flags.sessions {
            return Err(Usage(format!(
                "{} sessions need as many connections at least, not {connections}",
                flags.sessions
            ))
            .into());
        }
        if connections - flags.sessions < flags.stalled {
            return Err(Usage(format!(
                "of {connections} connections, each session's first has to read: at most {} can be stalled",
                connections - flags.sessions
            ))
            .into());
        }
        if flags.deltas && flags.dialect != BenchDialect::Native {
            return Err(Usage("only the native wire has deltas".to_owned()).into());
        }
        if flags.offered && flags.dialect != BenchDialect::Native {
            return Err(Usage("--offered is for the native wire".to_owned()).into());
        }
        for seconds in [flags.seconds, flags.arrivals, Some(flags.hold)].into_iter().flatten() {
            if !(0.0..1e9).contains(&seconds) {
                return Err(Usage(format!(
                    "{seconds} is no number of seconds, or of inputs a second"
                ))
                .into());
            }
        }
        let target = match (server, &flags.reach.url) {
            (Some(server), _) => Target::new(&server.base, server.key.as_deref()).await?,
            (None, Some(url)) => Target::new(url, None).await?,
            (None, None) => {
                return Err(Usage(
                    "with `--dialect plain`, say which server with --url ws://HOST:PORT/PATH"
                        .to_owned(),
                )
                .into());
            }
        };
        let addresses = match flags.addresses.map(u32::from) {
            Some(1) | None if !target.is_loopback() => 0,
            Some(_) if !target.is_loopback() => {
                return Err(Usage(format!(
                    "{} is not on this machine, so it cannot be reached from several loopback addresses",
                    target.address
                ))
                .into());
            }
            Some(addresses) => addresses,
            // One address needs no choosing: then a port can serve other servers' connections as well.
            None => {
                Some(connections.div_ceil(PORTS)).filter(|addresses| *addresses > 1).unwrap_or(0)
            }
        };
        let name = format!("bench-{}", thoughtwire_hub::new_id::<()>().as_str());
        let wire = match flags.dialect {
            BenchDialect::Native => Wire::Native,
            BenchDialect::Memgpt => Wire::Memgpt,
            BenchDialect::Sparky => Wire::Sparky,
            BenchDialect::Plain => Wire::Plain { hello: flags.hello.clone(), go: flags.go.clone() },
        };
        let until = match flags.seconds {
            Some(seconds) => Until::Elapsed(Duration::from_secs_f64(seconds)),
            None => Until::Inputs(flags.inputs),
        };
        Ok(Self {
            wire,
            target,
            sessions: flags.sessions as usize,
            connections: connections as usize,
            stalled: flags.stalled as usize,
            wakes: flags.wake,
            load: Load {
                items: flags.items,
                bytes: flags.bytes,
                rate: flags.rate,
                deltas: flags.deltas,
            },
            until,
            arrivals: flags.arrivals.filter(|rate| *rate > 0.0),
            timed: flags
                .timed
                .as_ref()
                .map_or(0..=u64::MAX, |timed| micros(*timed.start())..=micros(*timed.end())),
            hold: Duration::from_secs_f64(flags.hold),
            patience: Duration::from_secs(flags.patience.max(1)),
            addresses,
            pid: flags.pid,
            offers: flags.offered,
            keeps: flags.keep,
            name,
        })
    }

    /// The model of the agent that makes the load.
    pub(crate) fn model(&self) -> String {
        if self.offers {
            return thoughtwire_proto::OFFERED.to_owned();
        }
        let Load { items, bytes, rate, deltas } = self.load;
        format!(
            "load:items={items},bytes={bytes},rate={rate},deltas={},marks=yes",
            if deltas { "yes" } else { "no" }
        )
    }

    pub(crate) fn is_stalled(&self, who: usize) -> bool {
        who >= self.connections - self.stalled
    }

    /// The address that a connection comes from, where that is ours to choose.
    pub(crate) fn source(&self, who: usize) -> Option<SocketAddr> {
        let number = u32::try_from(who).unwrap_or_default().checked_rem(self.addresses)?;
        Some(SocketAddr::new(
            IpAddr::V4(Ipv4Addr::from(u32::from(Ipv4Addr::LOCALHOST) + number)),
            0,
        ))
    }
}

fn micros(seconds: f64) -> u64 {
    u64::try_from(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX).as_micros())
        .unwrap_or(u64::MAX)
}

impl Target {
    async fn new(url: &str, key: Option<&str>) -> anyhow::Result<Self> {
        let wrong = |why: &str| Usage(format!("{url:?} is no address of a server: {why}"));
        let base = url.replacen("http", "ws", 1);
        let uri: Uri =
            base.parse().map_err(|error: http::uri::InvalidUri| wrong(&error.to_string()))?;
        let is_tls = match uri.scheme_str() {
            Some("ws") => false,
            Some("wss") => true,
            Some(_) | None => return Err(wrong("it should begin with ws:// or wss://").into()),
        };
        let host = uri
            .host()
            .ok_or_else(|| wrong("it names no host"))?
            .trim_matches(['[', ']'])
            .to_owned();
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let mut addresses: Vec<_> = tokio::net::lookup_host((host.as_str(), port)).await?.collect();
        addresses.sort_by_key(SocketAddr::is_ipv6);
        let address = *addresses.first().ok_or_else(|| wrong("the host has no address"))?;
        let authorization =
            key.map(|key| HeaderValue::from_str(&format!("Bearer {key}"))).transpose()?;
        let connector = if is_tls {
            install_tls();
            Connector::new()?
        } else {
            Connector::Plain
        };
        Ok(Self {
            address,
            base: base.trim_end_matches('/').to_owned(),
            host,
            connector,
            authorization,
        })
    }

    fn is_loopback(&self) -> bool {
        matches!(self.address.ip(), IpAddr::V4(ip) if ip.is_loopback())
    }
}
