//! Measures Thoughtwire's codecs: processor time to read and to write a frame, in nanoseconds,
//! without connections.
//!
//! `codec native|memgpt|sparky FILE`, where each line of the file is a valid frame of the wire.

use std::hint::black_box;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use thoughtwire_proto::dialect::{memgpt, native, sparky};

/// Number of slices for each direction, and their length. The median is reported.
const SLICES: usize = 51;
const SLICE: Duration = Duration::from_millis(10);

fn main() -> Result<(), String> {
    let mut arguments = std::env::args().skip(1);
    let (Some(dialect), Some(file), None) = (arguments.next(), arguments.next(), arguments.next())
    else {
        return Err("codec native|memgpt|sparky FILE".to_owned());
    };
    let text = std::fs::read_to_string(&file).map_err(|error| format!("{file}: {error}"))?;
    let frames: Vec<&str> = text.lines().collect();
    let cost = match dialect.as_str() {
        "native" => {
            // Each side reads only its own frames. Sorting them does not count.
            let is_clients = |text: &&str| native::ClientFrame::decode(text).is_ok();
            let (from_clients, from_server): (Vec<&str>, Vec<&str>) =
                frames.into_iter().partition(is_clients);
            let clients = both(
                &from_clients,
                |text| native::ClientFrame::decode(text).ok(),
                native::ClientFrame::encode,
            )?;
            let server = both(
                &from_server,
                |text| native::ServerFrame::decode(text).ok(),
                native::ServerFrame::encode,
            )?;
            clients.and(server)
        }
        "memgpt" => both(
            &frames,
            |text| memgpt::MemgptFrame::decode(text).ok(),
            memgpt::MemgptFrame::encode,
        )?,
        "sparky" => both(
            &frames,
            |text| sparky::WsMessage::from_text(text).ok(),
            sparky::WsMessage::to_text,
        )?,
        other => return Err(format!("unknown wire {other:?}; it is native, memgpt or sparky")),
    };
    let Cost { decode, encode, .. } = cost;
    println!("{{\"decode\":{decode:.1},\"encode\":{encode:.1}}}");
    Ok(())
}

/// Costs in nanoseconds per frame, as the mean over a number of frames.
struct Cost {
    frames: usize,
    decode: f64,
    encode: f64,
}

impl Cost {
    /// Combines the costs of two sets of frames.
    fn and(self, other: Self) -> Self {
        let frames = self.frames + other.frames;
        let mean = |one: f64, two: f64| {
            (one * self.frames as f64 + two * other.frames as f64) / frames as f64
        };
        Self {
            frames,
            decode: mean(self.decode, other.decode),
            encode: mean(self.encode, other.encode),
        }
    }
}

/// Measures reading and writing.
fn both<F>(
    frames: &[&str],
    decode: impl Fn(&str) -> Option<F>,
    encode: impl Fn(&F) -> String,
) -> Result<Cost, String> {
    let mut parsed = Vec::new();
    for text in frames {
        parsed.push(decode(text).ok_or_else(|| format!("not a frame of this wire: {text}"))?);
    }
    let decode = median(frames.len(), || {
        for text in frames {
            black_box(decode(black_box(*text)));
        }
    });
    let encode = median(frames.len(), || {
        for frame in &parsed {
            black_box(encode(black_box(frame)));
        }
    });
    Ok(Cost { frames: frames.len(), decode, encode })
}

/// Measures passes over `frames` frames. Returns the median in nanoseconds per frame.
fn median(frames: usize, pass: impl Fn()) -> f64 {
    let mut slices: Vec<f64> = (0..SLICES)
        .map(|_| {
            let begun = spent();
            let mut passes = 0_u32;
            while spent() - begun < SLICE {
                pass();
                passes += 1;
            }
            (spent() - begun).as_secs_f64() * 1e9 / f64::from(passes) / frames as f64
        })
        .collect();
    slices.sort_by(f64::total_cmp);
    slices[SLICES / 2]
}

/// Processor time that this process has used.
fn spent() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default()
}
