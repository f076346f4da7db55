//! The `load:` model: bulk text for load tests without an LLM.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::StreamExt;
use futures::stream::{self, BoxStream};
use thoughtwire_proto::Usage;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::{LanguageModel, ModelError, ReplyEnd, ReplyPiece};
use crate::Prompt;

/// A model that answers each input with `items` messages, or with one message in as many deltas.
///
/// Each piece begins with its number, counted from 1, so that a reader can verify the stream. With
/// `marks=yes` it begins with `~NUMBER~DUE~`, where `DUE` is the time it was due, in microseconds
/// since 1970. A reader on the same machine can then measure its delay, even if the server could
/// not keep up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LoadModel {
    items: u64,
    bytes: usize,
    /// Pieces per second; 0 means as fast as possible.
    rate: u64,
    shape: LoadShape,
    head: PieceHead,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LoadShape {
    Messages,
    Deltas,
}

/// The beginning of a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PieceHead {
    Number,
    Mark,
}

/// Resolution of timers, which does not count as delay.
const TIMER_RESOLUTION: Duration = Duration::from_millis(2);

const MAX_ITEMS: u64 = 10_000_000;
const MAX_BYTES: u64 = 1 << 20;
const MAX_RATE: u64 = 1_000_000;
/// Largest size of a message in deltas, in bytes. It becomes one event, which every reader holds in
/// memory.
const MAX_BYTES_OF_ONE_MESSAGE: u64 = 64 << 20;

impl LoadModel {
    pub(crate) fn parse(parameters: &str) -> Result<Self, ModelError> {
        let mut load = Self {
            items: 100,
            bytes: 200,
            rate: 0,
            shape: LoadShape::Messages,
            head: PieceHead::Number,
        };
        for parameter in
            parameters.split(',').map(str::trim).filter(|parameter| !parameter.is_empty())
        {
            let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            match key {
                "items" => load.items = number(key, value, 1, MAX_ITEMS)?,
                "bytes" => {
                    load.bytes =
                        usize::try_from(number(key, value, 1, MAX_BYTES)?).unwrap_or(usize::MAX);
                }
                "rate" => load.rate = number(key, value, 0, MAX_RATE)?,
                "deltas" => {
                    load.shape = match value {
                        "yes" => LoadShape::Deltas,
                        "no" => LoadShape::Messages,
                        _ => {
                            return Err(bad(&format!(
                                "`deltas` is `yes` or `no`, not `{}`",
                                value.escape_debug()
                            )));
                        }
                    }
                }
                "marks" => {
                    load.head = match value {
                        "yes" => PieceHead::Mark,
                        "no" => PieceHead::Number,
                        _ => {
                            return Err(bad(&format!(
                                "`marks` is `yes` or `no`, not `{}`",
                                value.escape_debug()
                            )));
                        }
                    }
                }
                _ => return Err(bad(&format!("it has no parameter `{}`", key.escape_debug()))),
            }
        }
        let whole = load.items.saturating_mul(u64::try_from(load.bytes).unwrap_or(u64::MAX));
        if load.shape == LoadShape::Deltas && whole > MAX_BYTES_OF_ONE_MESSAGE {
            return Err(bad(&format!(
                "items × bytes would make one message of {whole} bytes; \
                 it may have at most {MAX_BYTES_OF_ONE_MESSAGE}"
            )));
        }
        Ok(load)
    }

    fn interval(self) -> Option<Interval> {
        let period = Duration::from_secs(1).checked_div(u32::try_from(self.rate).ok()?)?;
        let mut interval = tokio::time::interval(period);
        // Timers are coarser than high rates: missed ticks are made up for, so that the average is
        // right.
        interval.set_missed_tick_behavior(MissedTickBehavior::Burst);
        Some(interval)
    }

    /// The text of a piece: its number or mark, padded to the requested length, with a space at its
    /// end.
    fn text(self, n: u64, due: u64) -> String {
        let mut text = match self.head {
            PieceHead::Number => format!("{n} "),
            PieceHead::Mark => format!("~{n}~{due}~ "),
        };
        if self.bytes > text.len() {
            text.extend(std::iter::repeat_n('x', self.bytes - text.len() - 1));
            text.push(' ');
        }
        text.truncate(self.bytes.max(text.len().saturating_sub(1)));
        text
    }

    fn done(self, last: Option<String>) -> ReplyPiece {
        let bytes = self.items.saturating_mul(u64::try_from(self.bytes).unwrap_or(u64::MAX));
        ReplyPiece::End(ReplyEnd {
            usage: Usage { input_tokens: 0, output_tokens: bytes / 4, cached_tokens: None },
            last,
            stopped: None,
        })
    }
}

/// The times at which the pieces of one reply are due.
struct PieceTimer {
    interval: Option<Interval>,
    begun: Instant,
    /// The wall-clock time of `begun`, in microseconds since 1970.
    wall: u64,
    last: u64,
}

impl PieceTimer {
    fn new(load: LoadModel) -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { interval: load.interval(), begun: Instant::now(), wall: micros(wall), last: 0 }
    }

    /// Waits until the next piece is due and returns that time. Times never decrease.
    async fn due(&mut self) -> u64 {
        let due = match &mut self.interval {
            Some(interval) => {
                let due = interval.tick().await;
                if due.elapsed() < TIMER_RESOLUTION { Instant::now() } else { due }
            }
            None => Instant::now(),
        };
        self.last = self.last.max(self.wall + micros(due.duration_since(self.begun)));
        self.last
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn number(key: &str, value: &str, least: u64, max: u64) -> Result<u64, ModelError> {
    match value.parse() {
        Ok(number) if (least..=max).contains(&number) => Ok(number),
        Ok(_) | Err(_) => Err(bad(&format!(
            "`{key}` is a whole number from {least} to {max}, not `{}`",
            value.escape_debug()
        ))),
    }
}

fn bad(what: &str) -> ModelError {
    ModelError::Unknown(format!(
        "the model `load:items=N,bytes=B,rate=R,deltas=yes|no,marks=yes|no` cannot be used: {what}"
    ))
}

impl LanguageModel for LoadModel {
    fn reply(&self, _prompt: Arc<Prompt>) -> BoxStream<'static, Result<ReplyPiece, ModelError>> {
        let load = *self;
        // The timer is created when the stream is first polled, because it needs a runtime.
        stream::unfold((1, None), move |(n, timer): (u64, Option<PieceTimer>)| async move {
            if n > load.items {
                // Invariant: a load of messages ended with its last message.
                return (n == load.items + 1 && load.shape == LoadShape::Deltas)
                    .then(|| (Ok(load.done(None)), (n + 1, timer)));
            }
            let mut timer = timer.unwrap_or_else(|| PieceTimer::new(load));
            let text = load.text(n, timer.due().await);
            let piece = match load.shape {
                LoadShape::Deltas => ReplyPiece::Message(text),
                LoadShape::Messages if n == load.items => load.done(Some(text)),
                LoadShape::Messages => ReplyPiece::Whole(text),
            };
            Some((Ok(piece), (n + 1, Some(timer))))
        })
        .boxed()
    }
}
