//! A stream with a time limit for writes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use crate::takeover::ConnectionTakeover;

/// A stream that fails when its peer takes nothing for too long, so that an answer or an event
/// stream that nobody reads does not keep its connection.
pub(crate) struct Impatient<S> {
    stream: S,
    within: Duration,
    /// Runs while the peer takes nothing.
    timer: Option<Pin<Box<Sleep>>>,
    /// Is told of each flush.
    takeover: ConnectionTakeover,
}

impl<S> Impatient<S> {
    pub(crate) fn new(stream: S, within: Duration, takeover: ConnectionTakeover) -> Self {
        Self { stream, within, timer: None, takeover }
    }

    pub(crate) fn into_inner(self) -> S {
        self.stream
    }

    fn wait<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.timer = None;
            return written;
        }
        let within = self.within;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(within)));
        timer.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Impatient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Impatient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.wait(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, bytes);
        self.wait(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        if matches!(flushed, Poll::Ready(Ok(()))) {
            self.takeover.note_flushed();
        }
        self.wait(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ended = Pin::new(&mut self.stream).poll_shutdown(context);
        self.wait(context, ended)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const WITHIN: Duration = Duration::from_secs(40);

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_takes_nothing_is_left_and_a_slow_one_is_not() {
        let (near, mut far) = tokio::io::duplex(8);
        let mut near = Impatient::new(near, WITHIN, ConnectionTakeover::default());
        let slow = async {
            let mut byte = [0; 8];
            for _ in 0..4 {
                tokio::time::sleep(WITHIN / 2).await;
                far.read_exact(&mut byte).await.unwrap();
            }
            far
        };
        let (written, far) = tokio::join!(near.write_all(&[b'x'; 40]), slow);
        written.unwrap();
        let refused = near.write_all(b"more than it takes").await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::TimedOut);
        drop(far);
    }
}
