//! Flags of `bench`.

use std::ops::RangeInclusive;

use clap::{Args, ValueEnum};

use super::{OutputFlags, TargetFlags};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  One session, 100 readers, 100 messages at 20 per second:
    thoughtwire bench
  As fast as possible:
    thoughtwire bench --connections 1000 --rate 0 --items 1000
  Another protocol:
    thoughtwire bench --dialect memgpt --connections 1000
  Streamed deltas in 1,000 sessions:
    thoughtwire bench --sessions 1000 --connections 1000 --deltas --items 200 --rate 10
  Turns in a closed loop, then 500 turns a second in an open loop:
    thoughtwire bench --sessions 100 --subscribers 1 --items 1 --seconds 10
    thoughtwire bench --sessions 100 --subscribers 1 --items 1 --seconds 10 --arrivals 500
  Two connections that stop reading and catch up at the end:
    thoughtwire bench --connections 10 --stalled 2 --wake
  Processor time of the server:
    thoughtwire bench --pid $(pidof thoughtwire) --json | jq .server.cpu_us_per_delivery

The command creates agents with the model `load:`, which needs no LLM. It connects its readers,
sends inputs over each session's first reader, and checks that every reader gets every piece
once and in order. At the end it deletes its agents. Use a separate server: other clients share
its speed.

The latency of a piece is the time from when it was due until it was read, so that a server
cannot hide that it falls behind. It compares two clocks and is valid on one machine only. The
latency of a turn is the time from when its input was due (`--arrivals`) or sent until its end.
The report says so if the load generator itself was the bottleneck.

`--dialect plain` tests any other WebSocket server. It searches each frame for marks
`~NUMBER~DUE~`, with NUMBER from 1 to `--items` and DUE in microseconds since 1970. `--hello` and
`--go` are the messages that it sends.

Exit code 1 if a piece was lost, doubled or out of order, or a connection broke.")]
pub(crate) struct BenchFlags {
    #[command(flatten)]
    pub(crate) target: TargetFlags,
    /// Protocol of the readers.
    #[arg(long, value_enum, default_value_t = BenchDialect::Native)]
    pub(crate) dialect: BenchDialect,
    /// Number of sessions.
    #[arg(long, value_name = "M", default_value_t = 1,
        value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) sessions: u32,
    /// Number of connections, spread over the sessions [default: 100, or one per session].
    #[arg(long, value_name = "N")]
    pub(crate) connections: Option<u32>,
    /// Number of connections per session.
    #[arg(long, value_name = "K", conflicts_with = "connections")]
    pub(crate) subscribers: Option<u32>,
    /// Number of messages (or deltas of one message) per input.
    #[arg(long, value_name = "N", default_value_t = 100,
        value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) items: u64,
    /// Size of a message or delta in bytes.
    #[arg(long, value_name = "B", default_value_t = 200)]
    pub(crate) bytes: u64,
    /// Messages or deltas per second and session; 0 for as fast as possible.
    #[arg(long, value_name = "R", default_value_t = 20)]
    pub(crate) rate: u64,
    /// Stream deltas instead of messages; native protocol only.
    #[arg(long)]
    pub(crate) deltas: bool,
    /// Number of inputs per session; 0 only connects.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) inputs: u64,
    /// Send inputs for S seconds instead of a fixed number.
    #[arg(long, value_name = "S", conflicts_with = "inputs")]
    pub(crate) seconds: Option<f64>,
    /// Send R inputs per second over all sessions, whether or not turns end (open loop) [default:
    /// send a session's next input when its turn has ended (closed loop)]. With `sparky`, an input
    /// ends the running turn, so choose a low rate.
    #[arg(long, value_name = "R")]
    pub(crate) arrivals: Option<f64>,
    /// Run the turns in an external worker instead of in the server, to measure what that costs.
    #[arg(long)]
    pub(crate) offered: bool,
    /// Number of connections that do not read.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) stalled: u32,
    /// Let the stalled connections read at the end, and check that they get everything in order.
    #[arg(long, requires = "stalled")]
    pub(crate) wake: bool,
    /// Count only the latencies between these seconds of the run, such as `5-15`, to leave out the
    /// start and the end.
    #[arg(long, value_name = "FROM-TO", value_parser = window)]
    pub(crate) timed: Option<RangeInclusive<f64>>,
    /// Stay connected and idle for S seconds before the end.
    #[arg(long, value_name = "S", default_value_t = 0.0)]
    pub(crate) hold: f64,
    /// Number of loopback addresses to connect from [default: as many as the connections need].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
    pub(crate) addresses: Option<u8>,
    /// Address of another node of the same cluster that owns the sessions of the run.
    #[arg(long, value_name = "URL")]
    pub(crate) owner: Option<String>,
    /// Process id of a server on this machine, to report its processor time and memory (Linux);
    /// may be repeated for several nodes, whose sum is reported.
    #[arg(long, value_name = "PID")]
    pub(crate) pid: Vec<u32>,
    /// Give up when no frame has arrived for S seconds.
    #[arg(long, value_name = "S", default_value_t = 30)]
    pub(crate) patience: u64,
    /// Keep the agents and sessions of the run.
    #[arg(long)]
    pub(crate) keep: bool,
    /// With `plain`: message that every connection sends first; may be repeated.
    #[arg(long, value_name = "TEXT")]
    pub(crate) hello: Vec<String>,
    /// With `plain`: message that the first connection of a session sends for each input.
    #[arg(long, value_name = "TEXT", default_value = "go")]
    pub(crate) go: String,
    #[command(flatten)]
    pub(crate) output: OutputFlags,
}

/// The values of `--dialect`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum BenchDialect {
    Native,
    Memgpt,
    Sparky,
    /// Any other server whose frames contain marks.
    Plain,
}

fn window(text: &str) -> Result<RangeInclusive<f64>, String> {
    let parsed =
        text.split_once('-').and_then(|(from, to)| Some(from.parse().ok()?..=to.parse().ok()?));
    parsed
        .filter(|window: &RangeInclusive<f64>| window.start() < window.end())
        .ok_or_else(|| format!("`{text}` is not a range of seconds such as `5-15`"))
}
