//! The one file that holds a WebSocket: messages in, messages out, an end, and how long each may take.

use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use futures::{SinkExt, StreamExt, poll};
use thoughtwire_proto::connection::Close;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio_websockets::proto::ProtocolError;
use tokio_websockets::{
    CloseCode, Error, Limits, Message, Payload, ServerBuilder, WebSocketStream,
};

use crate::tallied::Tallied;

/// How long a peer may take to take what is written to it.
pub(crate) const TAKEN_WITHIN: Duration = Duration::from_secs(40);
/// How long a close may take.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);

/// How often a connection may wake between two of our pings and doze off again at once, for a few
/// allocations each time; one that wakes more often stays awake until the next ping. Not less: over TLS a
/// connection is woken for each event, and what a room that fills is told of its arrivals would have all
/// of it awake at once.
const OFTEN: u32 = 16;

/// The server's side of one WebSocket.
///
/// The library has a read buffer of 8 KiB for each connection, and most connections are silent most of
/// the time. So one on which little is said dozes in between: between two frames nothing is in the
/// library's hands, which is then put away, and made anew when something comes or is to be said.
pub(crate) struct WebSocket<S> {
    /// Nothing for the moment in which it goes from one to the other.
    stream: Option<Stream<S>>,
    limits: Limits,
    /// Something was written since the last flush, or a ping came that the library answers with it.
    unflushed: bool,
    /// Bytes of the frames that were heard.
    heard: u64,
    /// How often it woke since our last ping.
    woken: u32,
}

enum Stream<S> {
    Awake(Box<WebSocketStream<Tallied<S>>>),
    Dozing(Tallied<S>),
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
    /// Over a stream whose upgrade is answered, of which `ahead` was read already; no message may have
    /// more bytes than `frame_bytes`.
    pub(crate) fn new(stream: S, ahead: Box<[u8]>, frame_bytes: usize) -> Self {
        let limits = Limits::default().max_payload_len(Some(frame_bytes));
        Self {
            stream: Some(Stream::Dozing(Tallied::new(stream, ahead))),
            limits,
            unflushed: false,
            heard: 0,
            woken: 0,
        }
    }

    /// The next thing the peer sends. Can be dropped and called again.
    pub(crate) async fn next(&mut self) -> Result<Heard, End> {
        if let Some(Stream::Dozing(stream)) = &mut self.stream
            && stream.readable().await.is_err()
        {
            return Err(End::Gone);
        }
        let message = match self.awake()?.next().await {
            Some(Ok(message)) => message,
            Some(Err(error)) => {
                tracing::debug!(%error, "a connection broke");
                return Err(if let Error::Protocol(ProtocolError::InvalidUtf8) = error {
                    End::Broken(Close::NotText)
                } else if let Error::Protocol(_) = error {
                    End::Broken(Close::Protocol)
                } else if let Error::PayloadTooLong { .. } = error {
                    End::Broken(Close::TooLarge)
                } else {
                    End::Gone
                });
            }
            None => return Err(End::Gone),
        };
        self.heard += bytes_of_frame(message.as_payload().len());
        if message.is_ping() {
            self.unflushed = true;
            Ok(Heard::Ping)
        } else if message.is_pong() {
            Ok(Heard::Pong(message.into_payload()))
        } else if message.is_close() {
            Err(End::Answered)
        } else {
            Ok(Heard::Message(message))
        }
    }

    /// Puts a message on its way; [`WebSocket::flush`] sends it off.
    pub(crate) async fn write(&mut self, message: Message) -> Result<(), End> {
        self.unflushed = true;
        if message.is_ping() {
            self.woken = 0;
        }
        in_time(self.awake()?.feed(message)).await
    }

    pub(crate) async fn flush(&mut self) -> Result<(), End> {
        if !self.unflushed {
            return Ok(());
        }
        self.unflushed = false;
        in_time(self.awake()?.flush()).await
    }

    /// Sends the rest of a frame that others began while everything of ours was sent. Before anything
    /// else is.
    pub(crate) async fn finish(&mut self, rest: &[u8]) -> Result<(), End> {
        if rest.is_empty() {
            return Ok(());
        }
        match &mut self.stream {
            Some(Stream::Awake(stream)) => in_time(stream.get_mut().write_all(rest)).await,
            Some(Stream::Dozing(stream)) => in_time(stream.write_all(rest)).await,
            None => Err(End::Gone),
        }
    }

    /// Has the connection doze while nothing is to be done, unless it is woken often.
    pub(crate) fn doze(&mut self) {
        let Some(Stream::Awake(stream)) = &self.stream else { return };
        // Of a message in several frames the library does not tell how many there were: after one, what
        // was heard is less than what was read, and the connection stays awake.
        let is_between_frames = stream.get_ref().handed_on() == self.heard;
        if is_between_frames && !self.unflushed && self.woken <= OFTEN {
            self.stream = self.stream.take().map(|stream| match stream {
                Stream::Awake(stream) => Stream::Dozing(stream.into_inner()),
                dozing @ Stream::Dozing(_) => dozing,
            });
        }
    }

    fn awake(&mut self) -> Result<&mut WebSocketStream<Tallied<S>>, End> {
        if let Some(Stream::Dozing(_)) = self.stream {
            self.woken += 1;
            self.stream = self.stream.take().map(|stream| match stream {
                Stream::Dozing(stream) => {
                    Stream::Awake(Box::new(ServerBuilder::new().limits(self.limits).serve(stream)))
                }
                awake @ Stream::Awake(_) => awake,
            });
        }
        match &mut self.stream {
            Some(Stream::Awake(stream)) => Ok(stream),
            Some(Stream::Dozing(_)) | None => Err(End::Gone),
        }
    }

    /// Ends the connection as it has to be, behind the rest of a frame that others began.
    pub(crate) async fn end(mut self, end: End, rest: &[u8]) {
        if !matches!(end, End::Gone)
            && !matches!(tokio::time::timeout(CLOSE_WITHIN, self.finish(rest)).await, Ok(Ok(())))
        {
            return;
        }
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
        let Ok(stream) = self.awake() else { return };
        let farewell = async {
            // The library has put its own close frame on the way after most of what breaks a
            // connection, but not after a message that grew too large frame by frame.
            if let Some(close) = close {
                match stream.feed(message(close, close.reason())).await {
                    Ok(()) | Err(Error::AlreadyClosed) => {}
                    Err(error) => return Err(error),
                }
            }
            stream.flush().await?;
            let stream = stream.get_mut();
            stream.shutdown().await?;
            let mut rest = vec![0; 16 * 1024];
            while stream.read(&mut rest).await? > 0 {}
            Ok::<(), Error>(())
        };
        // Who goes on sending after its end is left.
        drop(tokio::time::timeout(CLOSE_WITHIN, farewell).await);
    }

    async fn close(&mut self, close: Close, reason: &str) {
        let Ok(stream) = self.awake() else { return };
        let farewell = async {
            stream.send(message(close, reason)).await?;
            while let Some(message) = stream.next().await {
                message?;
            }
            Ok::<(), Error>(())
        };
        // Who does not answer a close in time is left.
        drop(tokio::time::timeout(CLOSE_WITHIN, farewell).await);
    }
}

/// The bytes of one frame from a client whose payload has so many (RFC 6455, section 5.2).
fn bytes_of_frame(payload: usize) -> u64 {
    const HEAD_AND_MASK: u64 = 2 + 4;
    let length = match payload {
        0..=125 => 0,
        126..=0xffff => 2,
        0x1_0000.. => 8,
    };
    HEAD_AND_MASK + length + payload as u64
}

/// Waits for a peer to take what is written to it, as long as it may take. No clock is looked at for
/// what is taken at once, which is nearly all.
async fn in_time<E>(taken: impl Future<Output = Result<(), E>>) -> Result<(), End> {
    let mut taken = pin!(taken);
    let outcome = match poll!(taken.as_mut()) {
        Poll::Ready(outcome) => Ok(outcome),
        Poll::Pending => tokio::time::timeout(TAKEN_WITHIN, taken).await,
    };
    match outcome {
        Ok(Ok(())) => Ok(()),
        // It takes nothing: dropped, it resumes where it was when it comes back.
        Ok(Err(_)) | Err(_) => Err(End::Gone),
    }
}

fn message(close: Close, reason: &str) -> Message {
    let code = CloseCode::try_from(close.code()).unwrap_or(CloseCode::NORMAL_CLOSURE);
    Message::close(Some(code), reason)
}

#[cfg(test)]
mod tests {
    use tokio::io::DuplexStream;
    use tokio_websockets::ClientBuilder;

    use super::*;

    fn pair() -> (WebSocketStream<DuplexStream>, WebSocket<DuplexStream>) {
        let (near, far) = tokio::io::duplex(1 << 20);
        (ClientBuilder::new().take_over(near), WebSocket::new(far, Box::default(), 1 << 20))
    }

    impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
        async fn text(&mut self) -> String {
            match self.next().await {
                Ok(Heard::Message(message)) => message.as_text().unwrap().to_owned(),
                Ok(Heard::Ping | Heard::Pong(_)) | Err(_) => panic!("no message"),
            }
        }

        /// Tells whether it dozes when it may.
        fn dozes(&mut self) -> bool {
            self.doze();
            matches!(self.stream, Some(Stream::Dozing(_)))
        }
    }

    #[tokio::test]
    async fn a_connection_dozes_and_misses_nothing() {
        for size in [0, 1, 125, 126, 511, 512, 513, 0xffff, 0x1_0000, 500_000] {
            let (mut client, mut server) = pair();
            let text = "x".repeat(size);
            assert!(server.dozes(), "before {size} bytes");
            client.send(Message::text(text.clone())).await.unwrap();
            assert_eq!(server.text().await, text);
            assert!(server.dozes(), "after {size} bytes");
            server.write(Message::text(text.clone())).await.ok().unwrap();
            assert!(!server.dozes(), "what is written is not flushed yet");
            server.flush().await.ok().unwrap();
            assert_eq!(client.next().await.unwrap().unwrap().as_text(), Some(text.as_str()));
        }
    }

    #[tokio::test]
    async fn one_that_is_woken_often_stays_awake_until_the_next_ping() {
        let (mut client, mut server) = pair();
        for number in 0..OFTEN * 2 {
            assert_eq!(server.dozes(), number <= OFTEN);
            client.send(Message::text("again")).await.unwrap();
            assert_eq!(server.text().await, "again");
        }
        server.write(Message::ping("")).await.ok().unwrap();
        server.flush().await.ok().unwrap();
        assert!(server.dozes());
    }

    #[tokio::test]
    async fn a_ping_is_answered_and_does_not_keep_it_awake() {
        let (mut client, mut server) = pair();
        assert!(server.dozes());
        client.send(Message::ping("are you there?")).await.unwrap();
        assert!(matches!(server.next().await, Ok(Heard::Ping)));
        assert!(!server.dozes(), "the answer is not sent yet");
        server.flush().await.ok().unwrap();
        assert!(server.dozes());
        assert!(client.next().await.unwrap().unwrap().is_pong());
    }

    #[tokio::test]
    async fn it_stays_awake_in_the_middle_of_a_frame_and_behind_a_message_in_pieces() {
        let (mut client, mut server) = pair();
        client.send(Message::text("whole")).await.unwrap();
        // A masked text frame of three bytes: the first half of it.
        client.get_mut().write_all(&[0x81, 0x83, 0, 0, 0, 0, b'a']).await.unwrap();
        assert_eq!(server.text().await, "whole");
        assert!(tokio::time::timeout(Duration::from_millis(1), server.next()).await.is_err());
        assert!(!server.dozes());
        client.get_mut().write_all(b"bc").await.unwrap();
        assert_eq!(server.text().await, "abc");
        assert!(server.dozes());
        client
            .get_mut()
            .write_all(&[0x01, 0x81, 0, 0, 0, 0, b'd', 0x80, 0x81, 0, 0, 0, 0, b'e'])
            .await
            .unwrap();
        assert_eq!(server.text().await, "de");
        assert!(!server.dozes());
    }

    #[tokio::test]
    async fn who_leaves_while_it_dozes_is_noticed_and_so_is_an_end_of_ours() {
        let (client, mut server) = pair();
        assert!(server.dozes());
        drop(client);
        assert!(matches!(server.next().await, Err(End::Gone)));
        let (mut client, mut server) = pair();
        assert!(server.dozes());
        let ending = server.end(End::Close(Close::Restart, "the server is stopping"), &[]);
        let (_, heard) = tokio::join!(ending, client.next());
        assert!(heard.unwrap().unwrap().is_close());
    }
}
