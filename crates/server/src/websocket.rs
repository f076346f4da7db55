//! The one file that holds a WebSocket: it moves bytes between a stream and the codec of
//! `thoughtwire-websocket`, ends connections, and limits how long each write may take.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures::poll;
use thoughtwire_proto::connection::Close;
use thoughtwire_websocket::{MessageDecoder, OpCode, ProtocolError, SendQueue, SocketEvent};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};

/// Time that a peer has to take what is written to it.
pub(crate) const WRITE_TIMEOUT: Duration = Duration::from_secs(40);
/// Time that a close may take.
pub(crate) const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Bytes that one read takes. They are read onto the stack, so that a connection that waits for its
/// client has no buffer.
const READ_BYTES: usize = 8 << 10;
/// Queued bytes that are sent without waiting for the flush. More would hardly save a write, and a
/// slow client would keep more frames in memory.
const FLUSH_BYTES: usize = 16 << 10;
/// Slices of one vectored write: the headers and payloads of 32 frames.
const SLICES: usize = 64;

/// The server's side of one WebSocket.
pub(crate) struct WebSocket<S> {
    stream: S,
    decoder: MessageDecoder,
    unread: Unread,
    queue: SendQueue,
    /// Something was written to the stream since its last flush.
    has_written: bool,
}

/// Bytes that were read and not decoded yet.
#[derive(Default)]
struct Unread {
    bytes: Box<[u8]>,
    from: usize,
}

/// One message of a client, as far as the connection has to know of it.
pub(crate) enum Received {
    /// A whole text message.
    Text(String),
    /// A whole binary message.
    Binary(Vec<u8>),
    /// A ping. Its pong is queued.
    Ping,
    /// The answer to one of our pings.
    Pong(Vec<u8>),
}

/// The reason why a connection ends.
pub(crate) enum ConnectionEnd {
    /// The client takes or gives nothing more.
    Gone,
    /// The client closes. The answer is queued.
    ClosedByClient,
    /// The client broke the protocol. It is told so, and nothing more is read.
    Broken(Close),
    /// The server closes, with a sentence for the client.
    ClosedByServer(Close, &'static str),
}

impl Unread {
    fn rest(&self) -> &[u8] {
        self.bytes.get(self.from..).unwrap_or_default()
    }

    /// Drops all but the last `left` bytes.
    fn keep(&mut self, left: usize) {
        if left == 0 {
            *self = Self::default();
        } else {
            self.from = self.bytes.len() - left;
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
    /// Takes over a stream whose upgrade is answered. `read` was read of it already; no message may
    /// have more than `max_message_bytes`.
    pub(crate) fn new(stream: S, read: Box<[u8]>, max_message_bytes: usize) -> Self {
        Self {
            stream,
            decoder: MessageDecoder::new(max_message_bytes),
            unread: Unread { bytes: read, from: 0 },
            queue: SendQueue::default(),
            has_written: false,
        }
    }

    /// Reads the next message. Can be dropped and called again.
    ///
    /// # Errors
    /// When nothing more comes, and why.
    pub(crate) async fn next(&mut self) -> Result<Received, ConnectionEnd> {
        let event = match poll_fn(|context| self.poll_event(context)).await {
            Ok(Ok(event)) => event,
            Ok(Err(error)) => {
                tracing::debug!(%error, "a client broke the WebSocket protocol");
                return Err(ConnectionEnd::Broken(close_for(error)));
            }
            Err(error) => {
                tracing::debug!(%error, "a connection cannot be read");
                return Err(ConnectionEnd::Gone);
            }
        };
        match event {
            SocketEvent::Text(text) => Ok(Received::Text(text)),
            SocketEvent::Binary(bytes) => Ok(Received::Binary(bytes)),
            SocketEvent::Ping(payload) => {
                self.queue.push(OpCode::Pong, payload.into());
                Ok(Received::Ping)
            }
            SocketEvent::Pong(payload) => Ok(Received::Pong(payload)),
            SocketEvent::Close(code) => {
                self.queue.push_close(code, "");
                Err(ConnectionEnd::ClosedByClient)
            }
        }
    }

    /// Queues a frame. [`WebSocket::flush`] sends it; so does this when much is queued.
    ///
    /// # Errors
    /// When the client takes nothing.
    pub(crate) async fn write(
        &mut self,
        opcode: OpCode,
        payload: impl Into<Bytes>,
    ) -> Result<(), ConnectionEnd> {
        self.queue.push(opcode, payload.into());
        if self.queue.len() >= FLUSH_BYTES { self.flush().await } else { Ok(()) }
    }

    /// Sends everything that is queued. Can be dropped and called again.
    ///
    /// # Errors
    /// When the client takes nothing.
    pub(crate) async fn flush(&mut self) -> Result<(), ConnectionEnd> {
        if self.queue.is_empty() && !self.has_written {
            return Ok(());
        }
        in_time(poll_fn(|context| self.poll_flush(context))).await
    }

    /// Takes back the stream from others that wrote to it while everything of ours was sent. The
    /// rest of a frame that they began goes before everything else.
    pub(crate) fn resume(&mut self, rest: Vec<u8>) {
        self.queue.push_rest(rest);
    }

    /// Ends the connection.
    pub(crate) async fn end(mut self, end: ConnectionEnd) {
        let farewell = async {
            match end {
                ConnectionEnd::Gone => Ok(()),
                ConnectionEnd::ClosedByClient => self.finish().await,
                ConnectionEnd::Broken(close) => {
                    self.queue.push_close(Some(close.code()), close.reason());
                    self.finish().await
                }
                ConnectionEnd::ClosedByServer(close, reason) => {
                    self.queue.push_close(Some(close.code()), reason);
                    self.close().await
                }
            }
        };
        // A client that does not take part in the close is left.
        drop(tokio::time::timeout(CLOSE_TIMEOUT, farewell).await);
    }

    /// Sends what is queued and reads on until the client has it: a socket that is closed with
    /// bytes unread is reset, and the reset would overtake the close frame.
    async fn finish(&mut self) -> io::Result<()> {
        poll_fn(|context| self.poll_flush(context)).await?;
        self.stream.shutdown().await?;
        let mut rest = vec![0; READ_BYTES];
        while self.stream.read(&mut rest).await? > 0 {}
        Ok(())
    }

    /// Sends what is queued and waits for the client's own close frame.
    async fn close(&mut self) -> io::Result<()> {
        poll_fn(|context| self.poll_flush(context)).await?;
        while let Ok(event) = poll_fn(|context| self.poll_event(context)).await? {
            match event {
                SocketEvent::Close(_) => break,
                SocketEvent::Text(_)
                | SocketEvent::Binary(_)
                | SocketEvent::Ping(_)
                | SocketEvent::Pong(_) => {}
            }
        }
        self.stream.shutdown().await
    }

    fn poll_event(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<Result<SocketEvent, ProtocolError>>> {
        loop {
            let mut input = self.unread.rest();
            if !input.is_empty() {
                let decoded = self.decoder.decode(&mut input);
                let left = input.len();
                self.unread.keep(left);
                if let Some(decoded) = decoded.transpose() {
                    return Poll::Ready(Ok(decoded));
                }
            }
            let mut bytes = [const { MaybeUninit::uninit() }; READ_BYTES];
            let mut read = ReadBuf::uninit(&mut bytes);
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut read))?;
            let mut input = read.filled();
            if input.is_empty() {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            let decoded = self.decoder.decode(&mut input);
            self.unread = Unread { bytes: input.into(), from: 0 };
            if let Some(decoded) = decoded.transpose() {
                return Poll::Ready(Ok(decoded));
            }
        }
    }

    fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.queue.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let filled = self.queue.fill(&mut slices);
            let slices = slices.get(..filled).unwrap_or_default();
            let stream = Pin::new(&mut self.stream);
            let sent = ready!(stream.poll_write_vectored(context, slices))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.has_written = true;
            self.queue.advance(sent);
        }
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        self.has_written = false;
        Poll::Ready(Ok(()))
    }
}

/// The close for a breach of the protocol.
fn close_for(error: ProtocolError) -> Close {
    match error {
        ProtocolError::NotUtf8 => Close::NotText,
        ProtocolError::TooLarge { .. } => Close::TooLarge,
        ProtocolError::ReservedBit
        | ProtocolError::UnknownOpcode(_)
        | ProtocolError::Unmasked
        | ProtocolError::FragmentedControl
        | ProtocolError::LongControl
        | ProtocolError::NothingToContinue
        | ProtocolError::UnfinishedMessage
        | ProtocolError::LengthForm
        | ProtocolError::CutCloseCode
        | ProtocolError::CloseCode(_) => Close::Protocol,
    }
}

/// Waits for a client to take what is written to it, as long as it may take. No clock is looked at
/// for what is taken at once, which is nearly all.
pub(crate) async fn in_time(
    written: impl Future<Output = io::Result<()>>,
) -> Result<(), ConnectionEnd> {
    let mut written = pin!(written);
    let outcome = match poll!(written.as_mut()) {
        Poll::Ready(outcome) => Ok(outcome),
        Poll::Pending => tokio::time::timeout(WRITE_TIMEOUT, written).await,
    };
    match outcome {
        Ok(Ok(())) => Ok(()),
        // It takes nothing: dropped, it resumes where it was when it comes back.
        Ok(Err(_)) | Err(_) => Err(ConnectionEnd::Gone),
    }
}

#[cfg(test)]
mod tests {
    use futures::{SinkExt as _, StreamExt as _};
    use tokio::io::DuplexStream;
    use tokio_websockets::{ClientBuilder, Limits, Message, WebSocketStream};

    use super::*;

    fn pair() -> (WebSocketStream<DuplexStream>, WebSocket<DuplexStream>) {
        let (near, far) = tokio::io::duplex(1 << 20);
        let client = ClientBuilder::new().limits(Limits::unlimited()).take_over(near);
        (client, WebSocket::new(far, Box::default(), 1 << 20))
    }

    impl<S: AsyncRead + AsyncWrite + Unpin> WebSocket<S> {
        async fn text(&mut self) -> String {
            match self.next().await {
                Ok(Received::Text(text)) => text,
                Ok(Received::Binary(_) | Received::Ping | Received::Pong(_)) | Err(_) => {
                    panic!("no text")
                }
            }
        }

        /// Bytes that the connection holds in buffers.
        fn held(&self) -> usize {
            self.unread.bytes.len() + self.decoder.buffered() + self.queue.len()
        }
    }

    #[tokio::test]
    async fn messages_of_every_length_come_and_go_and_an_idle_connection_holds_nothing() {
        for size in [0, 1, 125, 126, 8191, 8192, 8193, 0xffff, 0x1_0000, 500_000] {
            let (mut client, mut server) = pair();
            let text = "x".repeat(size);
            for _ in 0..2 {
                client.send(Message::text(text.clone())).await.unwrap();
                assert_eq!(server.text().await, text);
                assert_eq!(server.held(), 0, "after {size} bytes");
                server.write(OpCode::Text, text.clone()).await.ok().unwrap();
                server.flush().await.ok().unwrap();
                assert_eq!(server.held(), 0, "after {size} bytes that were sent");
                assert_eq!(client.next().await.unwrap().unwrap().as_text(), Some(text.as_str()));
            }
        }
    }

    #[tokio::test]
    async fn messages_that_come_in_one_read_are_handed_out_one_by_one() {
        let (mut client, mut server) = pair();
        for number in 0..100 {
            client.feed(Message::text(number.to_string())).await.unwrap();
        }
        client.flush().await.unwrap();
        for number in 0..100 {
            assert_eq!(server.text().await, number.to_string());
        }
        assert_eq!(server.held(), 0);
    }

    #[tokio::test]
    async fn a_read_that_is_dropped_loses_nothing_of_a_frame() {
        let (mut client, mut server) = pair();
        // A masked text frame of three bytes: the first part of it, then the rest.
        client.get_mut().write_all(&[0x81, 0x83, 0, 0, 0, 0, b'a']).await.unwrap();
        assert!(tokio::time::timeout(Duration::from_millis(1), server.next()).await.is_err());
        client.get_mut().write_all(b"bc").await.unwrap();
        assert_eq!(server.text().await, "abc");
    }

    #[tokio::test]
    async fn a_ping_is_answered_behind_the_rest_of_a_frame() {
        let (mut client, mut server) = pair();
        client.send(Message::ping("are you there?")).await.unwrap();
        assert!(matches!(server.next().await, Ok(Received::Ping)));
        // The first byte of a text frame was sent by others.
        server.stream.write_all(&[0x81]).await.unwrap();
        server.resume(vec![2, b'h', b'i']);
        server.flush().await.ok().unwrap();
        assert_eq!(client.next().await.unwrap().unwrap().as_text(), Some("hi"));
        let pong = client.next().await.unwrap().unwrap();
        assert!(pong.is_pong());
        assert_eq!(&pong.into_payload()[..], b"are you there?");
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_left_and_one_that_leaves_is_noticed() {
        let (client, mut server) = pair();
        server.write(OpCode::Text, vec![b'x'; (1 << 20) - 100]).await.ok().unwrap();
        let refused = server.write(OpCode::Text, vec![b'x'; 20_000]).await;
        assert!(matches!(refused, Err(ConnectionEnd::Gone)));
        drop(client);
        assert!(matches!(server.next().await, Err(ConnectionEnd::Gone)));
    }

    #[tokio::test]
    async fn a_close_of_either_side_is_answered_with_its_code() {
        let (mut client, mut server) = pair();
        client.send(Message::close(Some(1001.try_into().unwrap()), "bye")).await.unwrap();
        let end = server.next().await.err().unwrap();
        let (_, heard) = tokio::join!(server.end(end), client.next());
        let (code, reason) =
            heard.unwrap().unwrap().as_close().map(|(c, r)| (u16::from(c), r.to_owned())).unwrap();
        assert_eq!((code, reason.as_str()), (1001, ""));

        let (mut client, server) = pair();
        let end = ConnectionEnd::ClosedByServer(Close::Restart, "the server is stopping");
        let (_, heard) = tokio::join!(server.end(end), client.next());
        let heard = heard.unwrap().unwrap();
        let (code, reason) = heard.as_close().unwrap();
        assert_eq!((u16::from(code), reason), (1012, "the server is stopping"));
    }

    #[tokio::test]
    async fn a_breach_of_the_protocol_is_told_by_its_code() {
        let cases: [(&[u8], u16); 3] = [
            (&[0x83, 0x80, 0, 0, 0, 0], 1002),
            (&[0x81, 0x82, 0, 0, 0, 0, 0xc3, 0x28], 1007),
            (&[0x82, 0xff, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0], 1009),
        ];
        for (bytes, expected) in cases {
            let (mut client, mut server) = pair();
            client.get_mut().write_all(bytes).await.unwrap();
            let end = server.next().await.err().unwrap();
            let (_, heard) = tokio::join!(server.end(end), client.next());
            let heard = heard.unwrap().unwrap();
            assert_eq!(heard.as_close().map(|(code, _)| u16::from(code)), Some(expected));
        }
    }
}
