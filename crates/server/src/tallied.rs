//! A stream that counts what is read from it, and can wait for more with no buffer of anybody's.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What is read ahead while waiting: enough for most of what clients say.
const AHEAD: usize = 512;

pub(crate) struct Tallied<S> {
    stream: S,
    /// Read ahead, and not handed on yet.
    ahead: Box<[u8]>,
    handed_on: u64,
}

impl<S: AsyncRead + Unpin> Tallied<S> {
    /// A stream of which so much was read ahead.
    pub(crate) fn new(stream: S, ahead: Box<[u8]>) -> Self {
        Self { stream, ahead, handed_on: 0 }
    }

    /// How many bytes were read from it so far.
    pub(crate) fn handed_on(&self) -> u64 {
        self.handed_on
    }

    /// Waits until there is something to read, or the end. Can be dropped and called again.
    ///
    /// # Errors
    /// The stream's.
    pub(crate) async fn readable(&mut self) -> io::Result<()> {
        poll_fn(|context| {
            if self.ahead.is_empty() {
                // Here and not across the wait: who waits has no room for it either.
                let mut bytes = [0; AHEAD];
                let mut read = ReadBuf::new(&mut bytes);
                ready!(Pin::new(&mut self.stream).poll_read(context, &mut read))?;
                self.ahead = read.filled().into();
            }
            Poll::Ready(Ok(()))
        })
        .await
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Tallied<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        if self.ahead.is_empty() {
            ready!(Pin::new(&mut self.stream).poll_read(context, into))?;
        } else {
            let ahead = std::mem::take(&mut self.ahead);
            let (now, later) = ahead.split_at(ahead.len().min(into.remaining()));
            into.put_slice(now);
            self.ahead = later.into();
        }
        self.handed_on += (into.filled().len() - before) as u64;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Tallied<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn what_was_read_ahead_comes_first_and_is_counted_once() {
        let (mut near, far) = tokio::io::duplex(64);
        let mut far = Tallied::new(far, Box::default());
        assert!(
            tokio::time::timeout(std::time::Duration::from_millis(1), far.readable())
                .await
                .is_err()
        );
        near.write_all(b"one two").await.unwrap();
        far.readable().await.unwrap();
        far.readable().await.unwrap();
        assert_eq!(far.handed_on(), 0);
        let mut three = [0; 3];
        far.read_exact(&mut three).await.unwrap();
        assert_eq!((&three, far.handed_on()), (b"one", 3));
        near.write_all(b" three").await.unwrap();
        drop(near);
        let mut rest = String::new();
        far.read_to_string(&mut rest).await.unwrap();
        assert_eq!((rest.as_str(), far.handed_on()), (" two three", 13));
        far.readable().await.unwrap();
    }
}
