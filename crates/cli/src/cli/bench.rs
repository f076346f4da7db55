//! `bench`.

use std::ops::RangeInclusive;

use clap::{Args, ValueEnum};

use super::{OutputFlags, TargetFlags};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  thoughtwire bench                                        100 readers of one session, 100 messages at 20/s
  thoughtwire bench --connections 1000 --rate 0 --items 1000      as fast as it can
  thoughtwire bench --dialect memgpt --connections 1000           the same over another wire
  thoughtwire bench --sessions 1000 --connections 1000 --deltas --items 200 --rate 10
  thoughtwire bench --sessions 100 --subscribers 1 --items 1 --seconds 10       turns, one behind the other
  thoughtwire bench --sessions 100 --subscribers 1 --items 1 --seconds 10 --arrivals 500    500 a second, come what may
  thoughtwire bench --connections 10 --stalled 2 --wake           two that do not read, and catch up at the end
  thoughtwire bench --pid $(pidof thoughtwire) --json | jq .server.cpu_us_per_delivery

It makes agents of its own with the model `load:` (which needs no LLM), connects its readers, has the
first reader of each session say something, and checks what every reader gets: each piece once, in
order, none left out. At the end it deletes its agents. Run it against a server of its own: what it
measures is the server's speed, and that is shared.

Latency is counted from when a piece was due to when it was read, so a server that falls behind cannot
hide it; both clocks must agree, so it means something on one machine only. That of turns is from when
an input was due (`--arrivals`) or sent to the end of its turn. When the generator itself had no time
left it says so: then the figures are its own.

`--dialect plain` reads any other server: each frame is searched for marks `~NUMBER~DUE~`, DUE in
microseconds since 1970, NUMBER from 1 to `--items`; `--hello` and `--go` are what it is told.

Exit code 1 when anything was lost, doubled or out of order, or a connection broke.")]
pub(crate) struct BenchFlags {
    #[command(flatten)]
    pub(crate) target: TargetFlags,
    /// The wire to speak.
    #[arg(long, value_enum, default_value_t = BenchDialect::Native)]
    pub(crate) dialect: BenchDialect,
    /// How many sessions.
    #[arg(long, value_name = "M", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) sessions: u32,
    /// How many connections in all, spread over the sessions [default: 100, or one a session].
    #[arg(long, value_name = "N")]
    pub(crate) connections: Option<u32>,
    /// How many connections each session has.
    #[arg(long, value_name = "K", conflicts_with = "connections")]
    pub(crate) subscribers: Option<u32>,
    /// How many messages, or deltas of one, each input makes.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) items: u64,
    /// How many bytes each has.
    #[arg(long, value_name = "B", default_value_t = 200)]
    pub(crate) bytes: u64,
    /// How many a second in each session; 0 for as fast as it can.
    #[arg(long, value_name = "R", default_value_t = 20)]
    pub(crate) rate: u64,
    /// Stream each reply in deltas, instead of sending messages; only the native wire has them.
    #[arg(long)]
    pub(crate) deltas: bool,
    /// How many inputs each session gets; 0 only connects.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) inputs: u64,
    /// Send inputs for so long, instead of a number of them.
    #[arg(long, value_name = "S", conflicts_with = "inputs")]
    pub(crate) seconds: Option<f64>,
    /// Send so many inputs a second over all sessions, whether their turns end or not (an open loop)
    /// [default: each session's next one when its turn has ended, a closed loop]. On Sparky's wire an input
    /// ends the turn before it: there it takes so few that turns have ended by then.
    #[arg(long, value_name = "R")]
    pub(crate) arrivals: Option<f64>,
    /// Have the load made by a program that offers the agent over a connection of its own, and not by the
    /// server: what an agent outside costs beside one that is built in.
    #[arg(long)]
    pub(crate) offered: bool,
    /// How many of the connections never read.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) stalled: u32,
    /// At the end those read after all, and must get everything in order.
    #[arg(long, requires = "stalled")]
    pub(crate) wake: bool,
    /// Count the latencies of what comes between these seconds alone, such as `5-15`: not of all
    /// sessions' beginning and end at the same time.
    #[arg(long, value_name = "FROM-TO", value_parser = window)]
    pub(crate) timed: Option<RangeInclusive<f64>>,
    /// Stay connected for so long, with nothing said, before the end.
    #[arg(long, value_name = "S", default_value_t = 0.0)]
    pub(crate) hold: f64,
    /// From how many loopback addresses to connect [default: as many as the connections need].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..))]
    pub(crate) addresses: Option<u8>,
    /// The server's process on this machine: its CPU time and memory are told as well.
    #[arg(long, value_name = "PID")]
    pub(crate) pid: Option<u32>,
    /// Give up when nothing has come for so many seconds.
    #[arg(long, value_name = "S", default_value_t = 30)]
    pub(crate) patience: u64,
    /// Leave the agents and sessions that it made.
    #[arg(long)]
    pub(crate) keep: bool,
    /// plain: what every connection sends first; may be repeated.
    #[arg(long, value_name = "TEXT")]
    pub(crate) hello: Vec<String>,
    /// plain: what the first connection sends for each input.
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
    /// Any other server whose frames carry marks.
    Plain,
}

fn window(text: &str) -> Result<RangeInclusive<f64>, String> {
    let parsed =
        text.split_once('-').and_then(|(from, to)| Some(from.parse().ok()?..=to.parse().ok()?));
    parsed
        .filter(|window: &RangeInclusive<f64>| window.start() < window.end())
        .ok_or_else(|| format!("`{text}` is not two seconds, as in `5-15`"))
}
