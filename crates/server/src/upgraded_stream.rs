//! The stream of a connection that HTTP has left, and its writing half for more than one writer.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use rustix::net::{Shutdown, shutdown};
use thoughtwire_fanout::PartialWrite;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio_rustls::server::TlsStream;

use crate::stalled::Impatient;

/// Slices of one vectored write.
const SLICES: usize = 64;

/// The stream of a connection that HTTP has left, by an upgrade or a takeover.
pub(crate) enum UpgradedStream {
    /// A TCP connection, whose writing half is shared.
    Plain(OwnedReadHalf, Arc<SharedWriter>),
    /// Anything else, such as TLS: only the connection's own task can write.
    Exclusive(Box<dyn ByteStream>),
}

/// A stream of bytes in both directions.
pub(crate) trait ByteStream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> ByteStream for S {}

/// The writing half of a TCP connection. The connection's task writes to it, and while that task is
/// parked, so do those who push to it.
pub(crate) struct SharedWriter {
    stream: OwnedWriteHalf,
    partial: PartialWrite,
}

impl UpgradedStream {
    /// Takes the stream of an upgrade that was answered, and the bytes that were read of it
    /// already.
    pub(crate) fn new(upgraded: Upgraded) -> (Self, Box<[u8]>) {
        match upgraded.downcast::<TokioIo<Impatient<TcpStream>>>() {
            Ok(parts) => {
                let (reads, writer) = parts.io.into_inner().into_inner().into_split();
                (Self::plain(reads, writer), parts.read_buf.as_ref().into())
            }
            Err(upgraded) => (Self::Exclusive(Box::new(TokioIo::new(upgraded))), Box::default()),
        }
    }

    pub(crate) fn plain(reads: OwnedReadHalf, stream: OwnedWriteHalf) -> Self {
        let partial = PartialWrite::default();
        Self::Plain(reads, Arc::new(SharedWriter { stream, partial }))
    }

    /// The writing half, where others than the connection's own task can write.
    pub(crate) fn writer(&self) -> Option<&Arc<SharedWriter>> {
        match self {
            Self::Plain(_, writer) => Some(writer),
            Self::Exclusive(_) => None,
        }
    }
}

impl From<TcpStream> for UpgradedStream {
    fn from(stream: TcpStream) -> Self {
        let (reads, writer) = stream.into_split();
        Self::plain(reads, writer)
    }
}

impl From<TlsStream<TcpStream>> for UpgradedStream {
    fn from(stream: TlsStream<TcpStream>) -> Self {
        Self::Exclusive(Box::new(stream))
    }
}

impl SharedWriter {
    /// Writes the first of these bytes without waiting, and removes what was taken.
    ///
    /// # Errors
    /// When the stream takes nothing now, or nothing more.
    pub(crate) fn try_write_queue(&self, queue: &mut VecDeque<Bytes>) -> io::Result<()> {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let filled = fill(&mut slices, queue);
        let slices = slices.get(..filled).unwrap_or_default();
        let sent = self.stream.try_write_vectored(slices)?;
        advance(queue, sent);
        Ok(())
    }

    /// Writes frames without waiting, or none of them. `frames` makes their bytes if it can be
    /// written now; the result is `None` if not, and else whether everything was taken. A rest is
    /// kept for the connection's task.
    pub(crate) fn try_write(&self, frames: impl FnOnce() -> Vec<u8>) -> Option<bool> {
        let turn = self.partial.begin()?;
        // An error is found by the connection's own task.
        turn.write(&frames(), |bytes| self.stream.try_write(bytes)).ok()
    }

    /// Takes the rest of a frame that was written in part. It has to be sent before anything else.
    pub(crate) fn take_rest(&self) -> Vec<u8> {
        self.partial.take_rest()
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

impl AsyncRead for UpgradedStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream, _) => Pin::new(stream).poll_read(context, into),
            Self::Exclusive(stream) => Pin::new(stream).poll_read(context, into),
        }
    }
}

impl AsyncWrite for UpgradedStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(_, writer) => writer.poll_write(context, |stream| stream.try_write(bytes)),
            Self::Exclusive(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(_, writer) => {
                writer.poll_write(context, |stream| stream.try_write_vectored(bytes))
            }
            Self::Exclusive(stream) => Pin::new(stream).poll_write_vectored(context, bytes),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(..) => true,
            Self::Exclusive(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(..) => Poll::Ready(Ok(())),
            Self::Exclusive(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(_, writer) => Poll::Ready(
                shutdown(writer.stream.as_ref(), Shutdown::Write).map_err(io::Error::from),
            ),
            Self::Exclusive(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

/// Writes queued bytes until none are left, and flushes.
///
/// # Errors
/// When the stream takes nothing more.
pub(crate) fn poll_write_queue(
    mut stream: Pin<&mut UpgradedStream>,
    queue: &mut VecDeque<Bytes>,
    context: &mut Context<'_>,
) -> Poll<io::Result<()>> {
    while !queue.is_empty() {
        let mut slices = [IoSlice::new(&[]); SLICES];
        let filled = fill(&mut slices, queue);
        let slices = slices.get(..filled).unwrap_or_default();
        let sent = ready!(stream.as_mut().poll_write_vectored(context, slices))?;
        if sent == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        advance(queue, sent);
    }
    stream.poll_flush(context)
}

/// Fills slices with the first of these bytes. The result is how many slices are filled.
fn fill<'a>(slices: &mut [IoSlice<'a>], queue: &'a VecDeque<Bytes>) -> usize {
    let mut filled = 0;
    for (slice, bytes) in slices.iter_mut().zip(queue) {
        *slice = IoSlice::new(bytes);
        filled += 1;
    }
    filled
}

/// Removes the first `sent` bytes.
fn advance(queue: &mut VecDeque<Bytes>, mut sent: usize) {
    while let Some(first) = queue.front_mut() {
        if sent < first.len() {
            first.advance(sent);
            return;
        }
        sent -= first.len();
        queue.pop_front();
    }
}

/// A stream with little room, and its other end.
#[cfg(test)]
pub(crate) async fn narrow() -> (UpgradedStream, TcpStream) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let (far, near) =
        tokio::join!(socket.connect(listener.local_addr().unwrap()), listener.accept());
    let (near, _) = near.unwrap();
    rustix::net::sockopt::set_socket_send_buffer_size(&near, 4096).unwrap();
    (near.into(), far.unwrap())
}
