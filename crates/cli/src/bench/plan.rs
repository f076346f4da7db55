//! The plan of a run: the checked flags.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use http::{HeaderValue, Uri};
use tokio_websockets::Connector;

use super::dialect::BenchWire;
use crate::UsageError;
use crate::cli::{BenchDialect, BenchFlags};
use crate::rest::ServerAddress;
use crate::tls::install_tls;

/// Connections per source address: fewer than Linux has ephemeral ports for.
const PORTS: u32 = 20_000;

/// The plan of a run.
#[derive(Debug)]
pub(crate) struct BenchPlan {
    pub(crate) wire: BenchWire,
    pub(crate) target: BenchTarget,
    pub(crate) sessions: usize,
    pub(crate) connections: usize,
    /// Number of stalled connections: the last ones, never a session's first.
    pub(crate) stalled: usize,
    pub(crate) wakes: bool,
    pub(crate) load: BenchLoad,
    pub(crate) until: InputLimit,
    /// Inputs per second over all sessions (open loop); `None` for a closed loop.
    pub(crate) arrivals: Option<f64>,
    /// Part of the run in which latencies count, in microseconds after its start.
    pub(crate) timed: RangeInclusive<u64>,
    pub(crate) hold: Duration,
    pub(crate) patience: Duration,
    pub(crate) addresses: u32,
    pub(crate) pids: Vec<u32>,
    /// Whether another node owns the sessions.
    pub(crate) has_owner: bool,
    /// Whether an external worker runs the turns.
    pub(crate) offers: bool,
    pub(crate) keeps: bool,
    /// Prefix of all names that the run creates.
    pub(crate) name: String,
}

/// The load of one input.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BenchLoad {
    pub(crate) items: u64,
    pub(crate) bytes: u64,
    pub(crate) rate: u64,
    pub(crate) deltas: bool,
}

/// The limit for inputs: a number per session, or a time.
#[derive(Debug, Clone, Copy)]
pub(crate) enum InputLimit {
    Inputs(u64),
    Elapsed(Duration),
}

/// The address to connect to.
#[derive(Debug)]
pub(crate) struct BenchTarget {
    pub(crate) address: SocketAddr,
    /// The URL without a path.
    pub(crate) base: String,
    pub(crate) host: String,
    /// Shared by all connections, because creating it reads the system's certificates.
    pub(crate) connector: Connector,
    pub(crate) authorization: Option<HeaderValue>,
}

impl BenchPlan {
    pub(crate) async fn new(
        flags: &BenchFlags,
        server: Option<&ServerAddress>,
    ) -> anyhow::Result<Self> {
        let connections = match (flags.connections, flags.subscribers) {
            (Some(connections), _) => connections,
            (None, Some(each)) => each.checked_mul(flags.sessions).ok_or_else(|| {
                UsageError("--sessions times --subscribers is too large".to_owned())
            })?,
            (None, None) => flags.sessions.max(100),
        };
        if connections < flags.sessions {
            return Err(UsageError(format!(
                "{} sessions need at least as many connections, not {connections}",
                flags.sessions
            ))
            .into());
        }
        if connections - flags.sessions < flags.stalled {
            return Err(UsageError(format!(
                "each session's first connection must read: at most {} of {connections} can be \
                stalled",
                connections - flags.sessions
            ))
            .into());
        }
        if flags.deltas && flags.dialect != BenchDialect::Native {
            return Err(UsageError("--deltas needs --dialect native".to_owned()).into());
        }
        if flags.owner.is_some() && flags.dialect != BenchDialect::Native {
            return Err(UsageError("--owner needs --dialect native".to_owned()).into());
        }
        if flags.offered && flags.dialect != BenchDialect::Native {
            return Err(UsageError("--offered needs --dialect native".to_owned()).into());
        }
        for seconds in [flags.seconds, flags.arrivals, Some(flags.hold)].into_iter().flatten() {
            if !(0.0..1e9).contains(&seconds) {
                return Err(UsageError(format!(
                    "{seconds} is not a valid number of seconds or inputs per second"
                ))
                .into());
            }
        }
        let target = match (server, &flags.target.url) {
            (Some(server), _) => BenchTarget::new(&server.base, server.key.as_deref()).await?,
            (None, Some(url)) => BenchTarget::new(url, None).await?,
            (None, None) => {
                return Err(UsageError(
                    "`--dialect plain` needs --url ws://HOST:PORT/PATH".to_owned(),
                )
                .into());
            }
        };
        let addresses = match flags.addresses.map(u32::from) {
            Some(1) | None if !target.is_loopback() => 0,
            Some(_) if !target.is_loopback() => {
                return Err(UsageError(format!(
                    "--addresses needs a server on this machine, and {} is not",
                    target.address
                ))
                .into());
            }
            Some(addresses) => addresses,
            // Without a bound source address the kernel can reuse a port for other destinations.
            None => {
                Some(connections.div_ceil(PORTS)).filter(|addresses| *addresses > 1).unwrap_or(0)
            }
        };
        let name = format!("bench-{}", thoughtwire_hub::new_id::<()>().as_str());
        let wire = match flags.dialect {
            BenchDialect::Native => BenchWire::Native,
            BenchDialect::Memgpt => BenchWire::Memgpt,
            BenchDialect::Sparky => BenchWire::Sparky,
            BenchDialect::Plain => {
                BenchWire::Plain { hello: flags.hello.clone(), go: flags.go.clone() }
            }
        };
        let until = match flags.seconds {
            Some(seconds) => InputLimit::Elapsed(Duration::from_secs_f64(seconds)),
            None => InputLimit::Inputs(flags.inputs),
        };
        Ok(Self {
            wire,
            target,
            sessions: flags.sessions as usize,
            connections: connections as usize,
            stalled: flags.stalled as usize,
            wakes: flags.wake,
            load: BenchLoad {
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
            pids: flags.pid.clone(),
            has_owner: flags.owner.is_some(),
            offers: flags.offered,
            keeps: flags.keep,
            name,
        })
    }

    /// The model name of the agent that produces the load.
    pub(crate) fn model(&self) -> String {
        if self.offers {
            return thoughtwire_proto::OFFERED.to_owned();
        }
        let BenchLoad { items, bytes, rate, deltas } = self.load;
        format!(
            "load:items={items},bytes={bytes},rate={rate},deltas={},marks=yes",
            if deltas { "yes" } else { "no" }
        )
    }

    pub(crate) fn is_stalled(&self, who: usize) -> bool {
        who >= self.connections - self.stalled
    }

    /// The source address of a connection; `None` lets the kernel choose.
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

impl BenchTarget {
    async fn new(url: &str, key: Option<&str>) -> anyhow::Result<Self> {
        let wrong = |why: &str| UsageError(format!("{url:?} is not a server address: {why}"));
        let base = url.replacen("http", "ws", 1);
        let uri: Uri =
            base.parse().map_err(|error: http::uri::InvalidUri| wrong(&error.to_string()))?;
        let is_tls = match uri.scheme_str() {
            Some("ws") => false,
            Some("wss") => true,
            Some(_) | None => return Err(wrong("it must begin with ws:// or wss://").into()),
        };
        let host =
            uri.host().ok_or_else(|| wrong("it has no host"))?.trim_matches(['[', ']']).to_owned();
        let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let mut addresses: Vec<_> = tokio::net::lookup_host((host.as_str(), port)).await?.collect();
        addresses.sort_by_key(SocketAddr::is_ipv6);
        let address = *addresses.first().ok_or_else(|| wrong("the host name has no address"))?;
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
