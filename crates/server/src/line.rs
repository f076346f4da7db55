//! What a connection's bytes go over, and who may write there: its own task, and while that sleeps
//! those who bring it news.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustix::net::{Shutdown, shutdown};
use thoughtwire_hub::{Entry, Outlet, Proof, Wake};
use thoughtwire_proto::connection::Encoding;
use thoughtwire_proto::dialect::FrameLimit;
use thoughtwire_websocket::{MAX_HEADER_BYTES, OpCode, append_frame};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use crate::metrics::Metrics;
use crate::stalled::Impatient;

/// How many bytes are brought in one write; an entry that has more is left to the connection's own task.
const ONE_WRITE: usize = 64 << 10;

/// An upgraded connection's stream.
pub(crate) enum Transport {
    Plain(OwnedReadHalf, Arc<Line>),
    /// Over anything else, as TLS is, only the connection's own task can write.
    Tls(TokioIo<Upgraded>),
}

/// The writing half of a TCP connection, for more than one in turn.
pub(crate) struct Line {
    stream: OwnedWriteHalf,
    /// The rest of a frame of which a part was taken: to be sent before anything else is.
    rest: Mutex<Vec<u8>>,
}

impl Transport {
    /// The stream of an upgrade that was answered, and what was read of it already.
    pub(crate) fn new(upgraded: Upgraded) -> (Self, Box<[u8]>) {
        match upgraded.downcast::<TokioIo<Impatient<TcpStream>>>() {
            Ok(parts) => {
                let (reads, stream) = parts.io.into_inner().into_inner().into_split();
                (
                    Self::Plain(reads, Arc::new(Line { stream, rest: Mutex::default() })),
                    parts.read_buf.as_ref().into(),
                )
            }
            Err(upgraded) => (Self::Tls(TokioIo::new(upgraded)), Box::default()),
        }
    }

    /// The line, where others than the connection's own task can write.
    pub(crate) fn line(&self) -> Option<&Arc<Line>> {
        match self {
            Self::Plain(_, line) => Some(line),
            Self::Tls(_) => None,
        }
    }
}

impl Line {
    /// What has to be sent before anything else, once.
    pub(crate) fn take_rest(&self) -> Vec<u8> {
        std::mem::take(&mut self.rest.lock())
    }

    fn poll_write(
        &self,
        context: &mut Context<'_>,
        write: impl Fn(&OwnedWriteHalf) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.as_ref().poll_write_ready(context))?;
            match write(&self.stream) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                outcome => return Poll::Ready(outcome),
            }
        }
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream, _) => Pin::new(stream).poll_read(context, into),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, into),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(_, line) => line.poll_write(context, |stream| stream.try_write(bytes)),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(_, line) => {
                line.poll_write(context, |stream| stream.try_write_vectored(bytes))
            }
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(context, bytes),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(..) => true,
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(..) => Poll::Ready(Ok(())),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(_, line) => Poll::Ready(
                shutdown(line.stream.as_ref(), Shutdown::Write).map_err(io::Error::from),
            ),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

/// One attached session's news on a line, while the connection sleeps.
pub(crate) struct Lane {
    pub(crate) line: Arc<Line>,
    pub(crate) encoding: Encoding,
    pub(crate) limit: FrameLimit,
    /// An older wire's: what is written wants proof.
    pub(crate) proof: Option<Arc<Mutex<Proof>>>,
    pub(crate) wake: Wake,
    pub(crate) metrics: Metrics,
}

impl Outlet for Lane {
    fn take(&self, entries: &[Arc<Entry>]) -> usize {
        let mut rest = self.line.rest.lock();
        if !rest.is_empty() {
            return 0;
        }
        // Encoded before anything is written.
        let (bytes, taken) = self.frames(entries);
        if !bytes.is_empty() {
            match self.line.stream.try_write(&bytes) {
                Ok(written) => *rest = bytes.get(written..).unwrap_or_default().to_vec(),
                // It takes nothing now, or never again: the connection's own task finds out.
                Err(_) => return 0,
            }
        }
        let has_rest = !rest.is_empty();
        drop(rest);
        let entries = entries.get(..taken).unwrap_or_default();
        if let Some(first) = entries.first() {
            self.metrics.fan_out.observe(first.at().elapsed().as_secs_f64());
        }
        let looks_sooner = self.note_written(entries);
        if has_rest || looks_sooner {
            self.wake.notify_one();
        }
        taken
    }
}

impl Lane {
    /// The frames of the first entries, and how many entries these are: none when the first of all cannot
    /// be brought.
    fn frames(&self, entries: &[Arc<Entry>]) -> (Vec<u8>, usize) {
        let (mut bytes, mut count) = (Vec::new(), 0);
        for entry in entries {
            if self.encoding.is_for_machine(&entry.emitted().emission) {
                break;
            }
            let frames = entry.frames(&self.encoding, self.limit);
            if bytes.len()
                + frames.iter().map(|frame| frame.len() + MAX_HEADER_BYTES).sum::<usize>()
                > ONE_WRITE
            {
                break;
            }
            for frame in frames.iter() {
                append_frame(OpCode::Text, frame, &mut bytes);
            }
            count += 1;
        }
        (bytes, count)
    }

    /// Notes what was written for the proof of it, and tells whether the connection has to look sooner
    /// than it is going to.
    fn note_written(&self, entries: &[Arc<Entry>]) -> bool {
        let Some(proof) = &self.proof else { return false };
        let mut proof = proof.lock();
        let before = proof.look_at();
        for entry in entries {
            proof.wants(&entry.emitted().emission);
        }
        proof.look_at() != before
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::future::BoxFuture;
    use thoughtwire_hub::{Agent, AgentError, Hub, HubOptions, Presence, Read, Turn, now};
    use thoughtwire_proto::{AgentSpec, Cursor, Policy, Seq, SessionCommand, Start};
    use thoughtwire_store::Store;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    /// Says messages of all sizes, some of them too large to be brought.
    struct Talker;

    impl Agent for Talker {
        fn run(&self, turn: Turn) -> BoxFuture<'static, Result<(), AgentError>> {
            Box::pin(async move {
                for n in 1..200 {
                    turn.interface.assistant_message("x".repeat(n * 7919 % 70_000)).await?;
                }
                turn.interface.finish(None, None).await?;
                Ok(())
            })
        }
    }

    /// All that a turn of it says.
    async fn entries(hub: &Hub) -> Vec<Arc<Entry>> {
        let user = "local".parse().unwrap();
        let spec = AgentSpec { name: "ada".to_owned(), ..AgentSpec::default() };
        let session =
            hub.directory().create_agent(&user, None, spec).await.unwrap().thing.main_session;
        let (text, policy) = ("go".to_owned(), Policy::Queue);
        let send = SessionCommand::Send { text, attachments: vec![], policy };
        hub.execute(&user, None, None, session.clone(), send).await.unwrap();
        let wake = Wake::default();
        let start = Start::After(Cursor { epoch: None, seq: Seq::ZERO });
        let (_, mut subscription) =
            hub.attach(&user, &session, start, Arc::clone(&wake), Presence::Unseen).await.unwrap();
        let mut entries = Vec::new();
        while entries.len() < 200 {
            if subscription.has_news() {
                if let Read::Entries { entries: more, .. } = subscription.next().await.unwrap() {
                    entries.extend(more);
                }
            } else {
                wake.notified().await;
            }
        }
        entries
    }

    /// A line with little room, and its other end.
    async fn narrow() -> (Transport, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let (far, near) =
            tokio::join!(socket.connect(listener.local_addr().unwrap()), listener.accept());
        let (near, _) = near.unwrap();
        rustix::net::sockopt::set_socket_send_buffer_size(&near, 4096).unwrap();
        let (reads, stream) = near.into_split();
        (Transport::Plain(reads, Arc::new(Line { stream, rest: Mutex::default() })), far.unwrap())
    }

    #[tokio::test]
    async fn what_a_line_takes_in_pieces_is_whole_at_its_other_end() {
        let dir = tempfile::tempdir().unwrap();
        let hub = Hub::new(
            Arc::new(Store::open(dir.path(), now()).unwrap()),
            Arc::new(Talker),
            HubOptions::default(),
        )
        .await
        .unwrap();
        let entries = entries(&hub).await;
        let (mut transport, mut far) = narrow().await;
        let line = Arc::clone(transport.line().unwrap());
        let lane = Lane {
            line: Arc::clone(&line),
            encoding: Encoding::Native,
            limit: FrameLimit::default(),
            proof: None,
            wake: Wake::default(),
            metrics: Metrics::new(&hub, &thoughtwire_agent::ModelMetrics::default()),
        };
        let mut expected = Vec::new();
        for frame in entries
            .iter()
            .flat_map(|entry| entry.frames(&Encoding::Native, FrameLimit::default()).to_vec())
        {
            append_frame(OpCode::Text, &frame, &mut expected);
        }
        let (mut in_pieces, mut alone) = (0, 0);
        let write = async {
            let mut place = 0;
            while place < entries.len() {
                let taken = lane.take(&entries[place..entries.len().min(place + 3)]);
                place += taken;
                if !line.rest.lock().is_empty() {
                    assert_eq!(lane.take(&entries), 0, "nothing goes in front of the rest");
                }
                let rest = line.take_rest();
                if !rest.is_empty() {
                    // As a connection does that was woken: the rest of what was begun first.
                    tokio::time::timeout(Duration::from_secs(10), lane.wake.notified())
                        .await
                        .expect("it is woken");
                    in_pieces += 1;
                    transport.write_all(&rest).await.unwrap();
                } else if taken == 0 {
                    // Too large to be brought, or no room at all: its own task writes.
                    let mut bytes = Vec::new();
                    for frame in entries[place].frames(&Encoding::Native, lane.limit).iter() {
                        append_frame(OpCode::Text, frame, &mut bytes);
                    }
                    transport.write_all(&bytes).await.unwrap();
                    place += 1;
                    alone += 1;
                }
            }
            transport.shutdown().await.unwrap();
        };
        let mut read = Vec::new();
        let (_, outcome) = tokio::join!(write, far.read_to_end(&mut read));
        outcome.unwrap();
        assert!(read == expected, "{} bytes of {}", read.len(), expected.len());
        assert!(in_pieces > 10 && alone > 10, "{in_pieces} in pieces, {alone} alone");
    }
}
