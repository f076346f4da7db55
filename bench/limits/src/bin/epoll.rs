//! A minimal WebSocket server: it upgrades all connections, waits for a `go`, and writes the same
//! bytes to every client. It has one thread and one epoll, encodes a frame once, and stores
//! nothing.
//!
//! `epoll PORT ITEMS BYTES RATE BATCH`: ITEMS pieces of BYTES bytes at RATE a second (0 for as fast
//! as it can), BATCH of them in each write.

use std::collections::HashMap;
use std::io::{self, Read as _, Write as _};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

const LISTENER: Token = Token(0);
/// Resolution of timers, which does not count as lateness; as in the `load:` model.
const TIMER: Duration = Duration::from_millis(2);

struct Client {
    stream: TcpStream,
    read: Vec<u8>,
    /// Bytes that the kernel has not taken yet.
    unsent: Vec<u8>,
    upgraded: bool,
}

struct Load {
    items: u64,
    bytes: usize,
    rate: u64,
    batch: u64,
}

struct Server {
    poll: Poll,
    listener: TcpListener,
    clients: HashMap<Token, Client>,
    next: usize,
    load: Load,
}

fn main() -> io::Result<()> {
    let numbers: Vec<u64> =
        std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let [port, items, bytes, rate, batch] = numbers[..] else {
        return Err(io::Error::other("usage: epoll PORT ITEMS BYTES RATE BATCH"));
    };
    let mut listener =
        TcpListener::bind(format!("127.0.0.1:{port}").parse().map_err(io::Error::other)?)?;
    let poll = Poll::new()?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    println!("ready");
    let load = Load {
        items,
        bytes: usize::try_from(bytes).map_err(io::Error::other)?,
        rate,
        batch: batch.max(1),
    };
    Server { poll, listener, clients: HashMap::new(), next: 1, load }.run()
}

impl Server {
    fn run(mut self) -> io::Result<()> {
        loop {
            if self.turn(None)? {
                self.send_load()?;
            }
        }
    }

    /// Waits for events. Returns whether a client sent `go`.
    fn turn(&mut self, wait: Option<Duration>) -> io::Result<bool> {
        let mut events = Events::with_capacity(1024);
        self.poll.poll(&mut events, wait)?;
        let mut go = false;
        for event in &events {
            if event.token() == LISTENER {
                self.accept()?;
            } else if let Some(client) = self.clients.get_mut(&event.token()) {
                let outcome = client.hear().and_then(|said| client.flush().map(|()| said));
                match outcome {
                    Ok(said) => go |= said,
                    Err(_) => drop(self.clients.remove(&event.token())),
                }
            }
        }
        Ok(go)
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            match self.listener.accept() {
                Ok((mut stream, _)) => {
                    stream.set_nodelay(true)?;
                    let token = Token(self.next);
                    self.next += 1;
                    self.poll.registry().register(
                        &mut stream,
                        token,
                        Interest::READABLE | Interest::WRITABLE,
                    )?;
                    self.clients.insert(
                        token,
                        Client { stream, read: Vec::new(), unsent: Vec::new(), upgraded: false },
                    );
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    fn send_load(&mut self) -> io::Result<()> {
        let begun = Instant::now();
        let wall = micros(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
        let mut n = 1;
        while n <= self.load.items {
            let due = match self.load.rate {
                0 => Instant::now(),
                rate => begun + Duration::from_nanos((n - 1) * 1_000_000_000 / rate),
            };
            loop {
                let left = due.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    break;
                }
                self.turn(Some(left))?;
            }
            let due = if due.elapsed() < TIMER { Instant::now() } else { due };
            let due = wall + micros(due.duration_since(begun));
            let mut frames = Vec::new();
            for piece in n..(n + self.load.batch).min(self.load.items + 1) {
                frames.extend(frame(piece, due, self.load.bytes));
            }
            n += self.load.batch;
            self.clients.retain(|_, client| !client.upgraded || client.send(&frames).is_ok());
            if self.load.rate == 0 {
                self.turn(Some(Duration::ZERO))?;
            }
        }
        Ok(())
    }
}

impl Client {
    /// Reads received bytes. Returns whether they are the `go`.
    fn hear(&mut self) -> io::Result<bool> {
        let mut buffer = [0; 4096];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => self.read.extend_from_slice(&buffer[..n]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        if self.upgraded {
            // Any later frame is `go`, or a close that an end of file follows.
            let go = self.read.first().is_some_and(|first| first & 0x0f == 1);
            self.read.clear();
            return Ok(go);
        }
        if let Some(end) = self.read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&self.read[..end]).into_owned();
            let key = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("sec-websocket-key").then(|| value.trim().to_owned())
            });
            let key = key.ok_or(io::ErrorKind::InvalidData)?;
            let digest =
                sha1_smol::Sha1::from(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
                    .digest()
                    .bytes();
            let accept = base64::engine::general_purpose::STANDARD.encode(digest);
            let answer = format!(
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                 Sec-WebSocket-Accept: {accept}\r\n\r\n"
            );
            self.read.clear();
            self.upgraded = true;
            self.send(answer.as_bytes())?;
        }
        Ok(false)
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if !self.unsent.is_empty() {
            self.unsent.extend_from_slice(bytes);
            return Ok(());
        }
        match self.stream.write(bytes) {
            Ok(sent) => self.unsent.extend_from_slice(&bytes[sent..]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.unsent.extend_from_slice(bytes)
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(sent) => drop(self.unsent.drain(..sent)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Writes a piece in a frame of Thoughtwire's native wire, so that sizes are the same.
fn frame(n: u64, due: u64, bytes: usize) -> Vec<u8> {
    let mut text = format!("~{n}~{due}~ ");
    while text.len() < bytes {
        text.push('x');
    }
    let id = "0123456789abcdef0123456789abcdef";
    let at = "2026-01-01T00:00:00.000Z";
    let payload = format!(
        "{{\"type\":\"event\",\"session\":\"{id}\",\"seq\":{n},\"at\":\"{at}\",\"turn\":\"{id}\",\
         \"event\":{{\"kind\":\"message\",\"item\":\"{id}\",\"text\":\"{text}\",\
         \"complete\":true}}}}"
    );
    let mut frame = vec![0x81];
    match u16::try_from(payload.len()) {
        Ok(length) if length < 126 => frame.push(payload.len() as u8),
        Ok(length) => {
            frame.push(126);
            frame.extend(length.to_be_bytes());
        }
        Err(_) => {
            frame.push(127);
            frame.extend((payload.len() as u64).to_be_bytes());
        }
    }
    frame.extend(payload.into_bytes());
    frame
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
