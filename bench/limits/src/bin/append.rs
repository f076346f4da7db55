//! A minimal durable log: many writers append to one file, and each waits until its bytes are on
//! disk. One thread writes batches, and waits for the disk once for each batch.
//!
//! `append FILE WRITERS BYTES SECONDS` prints the number of durable appends per second, and the
//! time of a single append in microseconds, the median of 200.

use std::fs::File;
use std::io::{self, Write as _};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

#[derive(Default)]
struct Log {
    waiting: Vec<u8>,
    /// Number of batches that were taken, and that are on disk.
    taken: u64,
    durable: u64,
    stopped: bool,
}

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, writers, bytes, seconds] = &arguments[..] else {
        return Err(io::Error::other("usage: append FILE WRITERS BYTES SECONDS"));
    };
    let number = |text: &String| text.parse::<u64>().map_err(io::Error::other);
    let (writers, bytes, seconds) = (number(writers)?, number(bytes)? as usize, number(seconds)?);
    let mut file = File::create(path)?;
    let mut alone = Vec::new();
    for _ in 0..200 {
        let begun = Instant::now();
        file.write_all(&vec![b'x'; bytes])?;
        file.sync_data()?;
        alone.push(begun.elapsed().as_micros());
    }
    alone.sort_unstable();
    let shared = Arc::new((Mutex::new(Log::default()), Condvar::new(), Condvar::new()));
    let ends = Instant::now() + Duration::from_secs(seconds);
    let threads: Vec<_> = (0..writers)
        .map(|_| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || append_until(&shared, bytes, ends))
        })
        .collect();
    let writer = {
        let shared = Arc::clone(&shared);
        std::thread::spawn(move || write(&shared, file))
    };
    let appended: u64 = threads.into_iter().filter_map(|thread| thread.join().ok()).sum();
    locked(&shared.0).stopped = true;
    shared.1.notify_one();
    writer.join().map_err(|_| io::Error::other("the writer failed"))??;
    println!(
        "{{\"appends_per_second\":{},\"alone_us\":{}}}",
        appended / seconds.max(1),
        alone[alone.len() / 2]
    );
    Ok(())
}

type Shared = (Mutex<Log>, Condvar, Condvar);

fn append_until((log, work, done): &Shared, bytes: usize, ends: Instant) -> u64 {
    let record = vec![b'x'; bytes];
    let mut appended = 0;
    while Instant::now() < ends {
        let mut log = locked(log);
        log.waiting.extend_from_slice(&record);
        let mine = log.taken + 1;
        work.notify_one();
        while log.durable < mine {
            log = done.wait(log).unwrap_or_else(PoisonError::into_inner);
        }
        appended += 1;
    }
    appended
}

fn write((log, work, done): &Shared, mut file: File) -> io::Result<()> {
    loop {
        let mut guard = locked(log);
        while guard.waiting.is_empty() {
            if guard.stopped {
                return Ok(());
            }
            guard = work.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
        let batch = std::mem::take(&mut guard.waiting);
        guard.taken += 1;
        let number = guard.taken;
        drop(guard);
        file.write_all(&batch)?;
        file.sync_data()?;
        locked(log).durable = number;
        done.notify_all();
    }
}

fn locked(log: &Mutex<Log>) -> std::sync::MutexGuard<'_, Log> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}
