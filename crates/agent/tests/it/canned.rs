//! A provider that plays back raw replies, for cases that the mock cannot produce.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};

use crate::http_request::read_request;

/// Pause between two pieces, so that they are read one by one.
const BETWEEN: Duration = Duration::from_millis(10);

/// A raw reply.
#[derive(Debug, Clone)]
pub(crate) struct CannedReply {
    status: u16,
    /// Pieces that are written one by one.
    pieces: Vec<Vec<u8>>,
    then: AfterBody,
}

/// Action after a reply's body.
#[derive(Debug, Clone)]
enum AfterBody {
    Closes,
    FallsSilent,
    /// Sends the same again and again, with a pause before each.
    Repeats(String, Duration),
}

impl CannedReply {
    /// A reply after which the connection closes.
    pub(crate) fn new(body: impl Into<String>) -> Self {
        Self { status: 200, pieces: vec![body.into().into_bytes()], then: AfterBody::Closes }
    }

    pub(crate) fn refusal(status: u16, body: impl Into<String>) -> Self {
        Self { status, pieces: vec![body.into().into_bytes()], then: AfterBody::Closes }
    }

    /// A reply after which the connection stays open and silent.
    pub(crate) fn unfinished(body: impl Into<String>) -> Self {
        Self { status: 200, pieces: vec![body.into().into_bytes()], then: AfterBody::FallsSilent }
    }

    /// A reply in pieces that are read one by one.
    pub(crate) fn torn(pieces: Vec<Vec<u8>>) -> Self {
        Self { status: 200, pieces, then: AfterBody::Closes }
    }

    /// A reply after which the same piece is sent again and again.
    pub(crate) fn endless(body: &str, piece: impl Into<String>, pause: Duration) -> Self {
        let pieces = vec![body.as_bytes().to_vec()];
        Self { status: 200, pieces, then: AfterBody::Repeats(piece.into(), pause) }
    }
}

pub(crate) struct CannedProvider {
    pub(crate) host: String,
    asked: Arc<Mutex<Vec<Value>>>,
}

impl CannedProvider {
    /// Plays one reply for each request. After the last one it accepts requests and stays silent.
    pub(crate) async fn play(replies: impl IntoIterator<Item = CannedReply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let mut replies: VecDeque<CannedReply> = replies.into_iter().collect();
        let keep = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, replies.pop_front(), Arc::clone(&keep)));
            }
        });
        Self { host, asked }
    }

    /// The bodies of the requests so far.
    pub(crate) fn requests(&self) -> Vec<Value> {
        self.asked.lock().unwrap().clone()
    }
}

async fn serve(mut stream: TcpStream, reply: Option<CannedReply>, asked: Arc<Mutex<Vec<Value>>>) {
    let (_, body) = read_request(&mut stream).await.expect("the request was cut off");
    asked.lock().unwrap().push(serde_json::from_str(&body).unwrap_or_default());
    let then = match reply {
        Some(CannedReply { status, pieces, then }) => {
            let is_json = pieces.first().is_some_and(|piece| piece.starts_with(b"{"));
            let kind =
                if status == 200 && !is_json { "text/event-stream" } else { "application/json" };
            let head = format!(
                "HTTP/1.1 {status} So\r\ncontent-type: {kind}\r\nconnection: close\r\n\r\n"
            );
            // The client may close the connection before the end.
            stream.write_all(head.as_bytes()).await.ok();
            for (at, piece) in pieces.iter().enumerate() {
                if at > 0 {
                    tokio::time::sleep(BETWEEN).await;
                }
                stream.write_all(piece).await.ok();
            }
            then
        }
        None => AfterBody::FallsSilent,
    };
    match then {
        AfterBody::Closes => {}
        // Until the client closes the connection.
        AfterBody::FallsSilent => {
            tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.ok();
        }
        AfterBody::Repeats(piece, pause) => {
            while stream.write_all(piece.as_bytes()).await.is_ok() {
                if !pause.is_zero() {
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }
}
