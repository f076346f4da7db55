//! Transport of an MCP server over the pipes of a process.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use rmcp::RoleClient;
use rmcp::model::ServerJsonRpcMessage;
use rmcp::service::TxJsonRpcMessage;
use rmcp::transport::Transport;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::Mutex;

use super::wire::{OpenRequests, decode, decode_cut};

/// Longest line that is read, in bytes: the library's own limit for an event over HTTP.
pub(super) const LONGEST_LINE: usize = 16 << 20;
/// Number of bytes kept from the beginning and the end of a longer line.
const KEPT: usize = 4_000;

/// Reads messages line by line. An answer that cannot be read fails its request.
pub(super) struct McpPipe<R, W> {
    read: BufReader<R>,
    write: Arc<Mutex<Option<W>>>,
    line: LineBuffer,
    open: OpenRequests,
    ready: VecDeque<ServerJsonRpcMessage>,
    ended: bool,
}

/// The bytes of an unfinished line.
#[derive(Default)]
struct LineBuffer {
    bytes: Vec<u8>,
    /// The last bytes of a line that is too long.
    end: Vec<u8>,
    is_cut: bool,
}

impl<R: AsyncRead + Send + Unpin, W: AsyncWrite + Send + Unpin + 'static> McpPipe<R, W> {
    pub(super) fn new(read: R, write: W) -> Self {
        Self {
            read: BufReader::new(read),
            write: Arc::new(Mutex::new(Some(write))),
            line: LineBuffer::default(),
            open: OpenRequests::default(),
            ready: VecDeque::new(),
            ended: false,
        }
    }

    /// Reads one more line, or the rest at the end of the pipe. Safe to cancel: the next read
    /// continues where this one stopped.
    async fn read_line(&mut self) {
        loop {
            let chunk = match self.read.fill_buf().await {
                Ok(chunk) => chunk,
                Err(error) => {
                    tracing::debug!(%error, "the output of an MCP server cannot be read");
                    self.ended = true;
                    return;
                }
            };
            if chunk.is_empty() {
                self.ended = true;
                return;
            }
            let end = chunk.iter().position(|byte| *byte == b'\n');
            let (part, taken) = match end {
                Some(end) => (chunk.split_at(end).0, end + 1),
                None => (chunk, chunk.len()),
            };
            self.line.push(part);
            self.read.consume(taken);
            if end.is_some() {
                return;
            }
        }
    }
}

impl LineBuffer {
    fn push(&mut self, part: &[u8]) {
        if !self.is_cut && self.bytes.len() + part.len() <= LONGEST_LINE {
            self.bytes.extend_from_slice(part);
            return;
        }
        if !self.is_cut {
            self.is_cut = true;
            self.end = self.bytes.split_off(self.bytes.len().min(KEPT));
            self.bytes.shrink_to_fit();
        }
        self.end.extend_from_slice(part);
        let more = self.end.len().saturating_sub(KEPT);
        self.end.drain(..more);
        self.end.shrink_to(2 * KEPT);
    }

    /// Decodes the messages of the line and clears it.
    fn take(&mut self, open: &OpenRequests) -> Vec<ServerJsonRpcMessage> {
        let line = std::mem::take(self);
        if line.is_cut {
            decode_cut(&line.bytes, &line.end, LONGEST_LINE, open).into_iter().collect()
        } else {
            decode(&line.bytes, open)
        }
    }
}

impl<R, W> Transport<RoleClient> for McpPipe<R, W>
where
    R: AsyncRead + Send + Unpin,
    W: AsyncWrite + Send + Unpin + 'static,
{
    type Error = io::Error;

    fn send(
        &mut self,
        message: TxJsonRpcMessage<RoleClient>,
    ) -> impl Future<Output = io::Result<()>> + Send + 'static {
        self.open.sent(&message);
        let write = Arc::clone(&self.write);
        async move {
            let mut line = serde_json::to_vec(&message)?;
            line.push(b'\n');
            let mut write = write.lock().await;
            let pipe = write.as_mut().ok_or(io::ErrorKind::NotConnected)?;
            pipe.write_all(&line).await?;
            pipe.flush().await
        }
    }

    async fn receive(&mut self) -> Option<ServerJsonRpcMessage> {
        loop {
            if let Some(message) = self.ready.pop_front() {
                return Some(message);
            }
            if self.ended {
                return None;
            }
            self.read_line().await;
            self.ready.extend(self.line.take(&self.open));
        }
    }

    async fn close(&mut self) -> io::Result<()> {
        drop(self.write.lock().await.take());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rmcp::RoleClient;
    use rmcp::model::{
        CallToolRequestParams, ClientJsonRpcMessage, ClientRequest, NumberOrString, Request,
        ServerJsonRpcMessage,
    };
    use rmcp::transport::Transport;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::{LONGEST_LINE, LineBuffer, McpPipe, OpenRequests};

    fn request(id: i64) -> ClientJsonRpcMessage {
        let call = ClientRequest::CallToolRequest(Request::new(CallToolRequestParams::new("act")));
        ClientJsonRpcMessage::request(call, NumberOrString::Number(id))
    }

    #[tokio::test]
    async fn lines_are_read_whole_in_any_chunks() {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let (read, write) = tokio::io::split(ours);
        let mut pipe = McpPipe::new(read, write);
        let (mut hears, mut says) = tokio::io::split(theirs);
        for id in 1..=3 {
            Transport::<RoleClient>::send(&mut pipe, request(id)).await.unwrap();
        }
        let lines = "ready.\r\n\r\n\n\
            {\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"content\":[]}}\r\n\
            [{\"jsonrpc\":\"2.0\",\"id\":2,\"result\":{}}]\n\
            {\"id\":3,\"result\":{\"content\":[]}}";
        tokio::spawn(async move {
            for byte in lines.bytes() {
                says.write_all(&[byte]).await.unwrap();
                tokio::task::yield_now().await;
            }
            says.shutdown().await.unwrap();
            hears.read_to_end(&mut Vec::new()).await.unwrap();
        });
        let mut ids = Vec::new();
        // The library cancels and repeats `receive` like this.
        loop {
            tokio::select! {
                biased;
                message = pipe.receive() => match message {
                    Some(ServerJsonRpcMessage::Response(answer)) => ids.push(answer.id.to_string()),
                    Some(other) => panic!("{other:?}"),
                    None => break,
                },
                () = tokio::task::yield_now() => {}
            }
        }
        assert_eq!(ids, ["1", "2", "3"]);
    }

    #[test]
    fn a_line_without_an_end_is_bounded_and_fails_its_call() {
        let open = OpenRequests::default();
        open.sent(&request(1));
        let mut line = LineBuffer::default();
        line.push(br#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":""#);
        let part = vec![b'x'; 1 << 20];
        for _ in 0..40 {
            line.push(&part);
            assert!(line.bytes.len() + line.end.len() <= LONGEST_LINE);
        }
        assert!(matches!(&*line.take(&open), [ServerJsonRpcMessage::Error(_)]));
        assert!(line.bytes.is_empty() && !line.is_cut);
    }
}
