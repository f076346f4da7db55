//! The one file that holds a WebSocket: messages in, messages out, an end, and how long each may take.

use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use futures::{SinkExt, StreamExt, poll};
use thoughtwire_proto::connection::Close;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio_websockets::proto::ProtocolError;
use tokio_websockets::{CloseCode, Error, Limits, Message, Payload, ServerBuilder, WebSocketStream};

/// How long a peer may take to take what is written to it.
pub(crate) const TAKEN_WITHIN: Duration = Duration::from_secs(40);
/// How long a close may take.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);

/// The server's side of one WebSocket.
pub(crate) struct WebSocket<S> {
    stream: WebSocketStream<S>,
    /// Something was written since the last flush.
    unflushed: bool,
}

/// What a peer sent.
pub(crate) enum Heard {
    /// A whole message, text or binary.
    Message(Message),
    /// A ping; the library answers it.
    Ping,
    /// The answer to a ping of ours.
    Pong(Payload),
}

/// Why a connection ended.
pub(crate) enum End {
    /// The peer takes or gives nothing more.
    Gone,
    /// The peer closes: the library has its answer ready.
    Answered,
    /// The peer sent what it must not: this is the last it is told, and nothing more is read.
    Broken(Close),
    /// We close it, and say why.
    Close(Close, &'static str),
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// Over a stream whose upgrade is answered; no message may have more bytes than `frame_bytes`.
    pub(crate) fn new(stream: S, frame_bytes: usize) -> Self {
        let limits = Limits::default().max_payload_len(Some(frame_bytes));
        Self { stream: ServerBuilder::new().limits(limits).serve(stream), unflushed: false }
    }

    /// The next thing the peer sends. Can be dropped and called again.
    pub(crate) async fn next(&mut self) -> Result<Heard, End> {
        match self.stream.next().await {
            Some(Ok(message)) if message.is_ping() => Ok(Heard::Ping),
            Some(Ok(message)) if message.is_pong() => Ok(Heard::Pong(message.into_payload())),
            Some(Ok(message)) if message.is_close() => Err(End::Answered),
            Some(Ok(message)) => Ok(Heard::Message(message)),
            Some(Err(error)) => {
                tracing::debug!(%error, "a connection broke");
                Err(if let Error::Protocol(ProtocolError::InvalidUtf8) = error {
                    End::Broken(Close::NotText)
                } else if let Error::Protocol(_) = error {
                    End::Broken(Close::Protocol)
                } else if let Error::PayloadTooLong { .. } = error {
                    End::Broken(Close::TooLarge)
                } else {
                    End::Gone
                })
            }
            None => Err(End::Gone),
        }
    }

    /// Puts a message on its way; [`WebSocket::flush`] sends it off.
    pub(crate) async fn write(&mut self, message: Message) -> Result<(), End> {
        self.unflushed = true;
        match in_time(self.stream.feed(message)).await {
            Some(Ok(())) => Ok(()),
            Some(Err(_)) | None => Err(End::Gone),
        }
    }

    pub(crate) async fn flush(&mut self) -> Result<(), End> {
        if !self.unflushed {
            return Ok(());
        }
        self.unflushed = false;
        match in_time(self.stream.flush()).await {
            Some(Ok(())) => Ok(()),
            // It takes nothing: dropped, it resumes where it was when it comes back.
            Some(Err(_)) | None => Err(End::Gone),
        }
    }

    /// Ends the connection as it has to be.
    pub(crate) async fn end(mut self, end: End) {
        match end {
            End::Gone => {}
            End::Answered => self.last_words(None).await,
            End::Broken(close) => self.last_words(Some(close)).await,
            End::Close(close, reason) => self.close(close, reason).await,
        }
    }

    /// Sends the close frame, and reads on until the peer has it: a socket that is closed with bytes
    /// unread is reset, and the reset would overtake the frame.
    async fn last_words(&mut self, close: Option<Close>) {
        let farewell = async {
            // The library has put its own close frame on the way after most of what breaks a
            // connection, but not after a message that grew too large frame by frame.
            if let Some(close) = close {
                match self.stream.feed(message(close, close.reason())).await {
                    Ok(()) | Err(Error::AlreadyClosed) => {}
                    Err(error) => return Err(error),
                }
            }
            self.stream.flush().await?;
            let stream = self.stream.get_mut();
            stream.shutdown().await?;
            let mut rest = vec![0; 16 * 1024];
            while stream.read(&mut rest).await? > 0 {}
            Ok::<(), Error>(())
        };
        // Who goes on sending after its end is left.
        drop(tokio::time::timeout(CLOSE_WITHIN, farewell).await);
    }

    async fn close(&mut self, close: Close, reason: &str) {
        let farewell = async {
            self.stream.send(message(close, reason)).await?;
            while let Some(message) = self.stream.next().await {
                message?;
            }
            Ok::<(), Error>(())
        };
        // Who does not answer a close in time is left.
        drop(tokio::time::timeout(CLOSE_WITHIN, farewell).await);
    }
}

/// Waits for a peer to take what is written to it, as long as it may take. No clock is looked at for
/// what is taken at once, which is nearly all.
async fn in_time<T>(taken: impl Future<Output = T>) -> Option<T> {
    let mut taken = pin!(taken);
    if let Poll::Ready(outcome) = poll!(taken.as_mut()) {
        return Some(outcome);
    }
    tokio::time::timeout(TAKEN_WITHIN, taken).await.ok()
}

fn message(close: Close, reason: &str) -> Message {
    let code = CloseCode::try_from(close.code()).unwrap_or(CloseCode::NORMAL_CLOSURE);
    Message::close(Some(code), reason)
}
