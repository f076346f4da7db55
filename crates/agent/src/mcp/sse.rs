//! Server-sent events of a server over HTTP.

use std::collections::VecDeque;

use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt as _};
use rmcp::model::{RequestId, ServerJsonRpcMessage};
use rmcp::transport::streamable_http_client::SseError;
use sse_stream::Sse;

use super::wire::{OpenRequests, decode, decode_cut, unread};

/// Number of bytes kept from each end of an event that is too long.
const KEPT: usize = 4_000;

/// Decodes a byte stream into SSE messages that the library can read. Other events, unknown fields
/// and invalid UTF-8 are not errors. At most `max` bytes of an event are kept.
///
/// `asked` is the request that the stream answers. An event that is too long counts as its answer.
pub(super) fn messages<B, E>(
    body: impl Stream<Item = Result<B, E>> + Send + 'static,
    max: usize,
    asked: Option<RequestId>,
    open: OpenRequests,
) -> BoxStream<'static, Result<Sse, SseError>>
where
    B: AsRef<[u8]> + Send + 'static,
    E: std::error::Error + Send + Sync + 'static,
{
    struct SseState<S> {
        body: S,
        reader: SseReader,
        ready: VecDeque<Sse>,
        ended: bool,
    }
    let state = SseState {
        body: Box::pin(body),
        reader: SseReader::new(max),
        ready: VecDeque::new(),
        ended: false,
    };
    stream::unfold(state, move |mut state| {
        let (open, asked) = (open.clone(), asked.clone());
        async move {
            loop {
                if let Some(event) = state.ready.pop_front() {
                    return Some((Ok(event), state));
                }
                if state.ended {
                    return None;
                }
                let events = match state.body.next().await {
                    Some(Ok(chunk)) => state.reader.read(chunk.as_ref()),
                    Some(Err(error)) => {
                        state.ended = true;
                        return Some((Err(SseError::Body(Box::new(error))), state));
                    }
                    None => {
                        state.ended = true;
                        // The last event may lack its blank line.
                        state.reader.read(b"\n\n")
                    }
                };
                for event in events {
                    state.ready.extend(event.into_sse(max, asked.as_ref(), &open));
                }
            }
        }
    })
    .boxed()
}

/// Creates an event with one message as its data.
pub(super) fn event(message: &ServerJsonRpcMessage) -> Sse {
    Sse::default().data(serde_json::to_string(message).unwrap_or_default())
}

/// An event as it was sent.
#[derive(Debug, Default, PartialEq, Eq)]
struct SseEvent {
    kind: String,
    data: Option<Vec<u8>>,
    /// The last bytes of data that is too long.
    cut: Option<Vec<u8>>,
    id: Option<String>,
    retry: Option<u64>,
}

impl SseEvent {
    /// Creates one event for each message. An event without a message is kept for its id, from
    /// which the stream is resumed.
    fn into_sse(self, max: usize, asked: Option<&RequestId>, open: &OpenRequests) -> Vec<Sse> {
        let Self { kind, data, cut, id, retry } = self;
        let is_message = matches!(kind.as_str(), "" | "message");
        let found = match (data, cut) {
            (Some(data), None) if is_message => decode(&data, open),
            (Some(data), Some(end)) if is_message => {
                let failed = decode_cut(&data, &end, max, open);
                let ours = || {
                    let id = asked.filter(|id| open.take(id).is_some())?;
                    Some(unread(id.clone(), &format!("it is longer than {max} bytes")))
                };
                failed.or_else(ours).into_iter().collect()
            }
            (Some(_), _) | (None, _) => Vec::new(),
        };
        let mut events: Vec<Sse> = found.iter().map(event).collect();
        if events.is_empty() {
            events.push(Sse::default());
        }
        if let Some(first) = events.first_mut() {
            (first.id, first.retry) = (id, retry);
        }
        events
    }
}

/// Splits bytes into events (<https://html.spec.whatwg.org/multipage/server-sent-events.html>).
struct SseReader {
    line: Vec<u8>,
    /// Whether the last byte was a CR, whose LF may come yet.
    after_cr: bool,
    begun: bool,
    event: SseEvent,
    max: usize,
}

impl SseReader {
    fn new(max: usize) -> Self {
        Self { line: Vec::new(), after_cr: false, begun: false, event: SseEvent::default(), max }
    }

    fn read(&mut self, mut bytes: &[u8]) -> Vec<SseEvent> {
        let mut events = Vec::new();
        while !bytes.is_empty() {
            if std::mem::take(&mut self.after_cr) {
                bytes = bytes.strip_prefix(b"\n").unwrap_or(bytes);
            }
            let end = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let (part, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
            // An overlong line is kept up to the size at which the event is cut below.
            let room = self.max.saturating_add(2 * KEPT).saturating_sub(self.line.len());
            self.line.extend(part.iter().take(room));
            let Some((ending, rest)) = rest.split_first() else { break };
            self.after_cr = *ending == b'\r';
            bytes = rest;
            events.extend(self.end_line());
        }
        events
    }

    fn end_line(&mut self) -> Option<SseEvent> {
        let line = std::mem::take(&mut self.line);
        let mut line = line.as_slice();
        if !std::mem::replace(&mut self.begun, true) {
            line = line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line);
        }
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            return (event != SseEvent::default()).then_some(event);
        }
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let (field, value) = line.split_at(colon);
        let value = value.strip_prefix(b":").unwrap_or(value);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        let text = || String::from_utf8_lossy(value).into_owned();
        match field {
            b"data" => self.add(value),
            b"event" => self.event.kind = text(),
            b"id" if !value.contains(&0) => self.event.id = Some(text()),
            b"retry" => self.event.retry = text().trim().parse().ok(),
            // A comment or an unknown field.
            _ => {}
        }
        None
    }

    fn add(&mut self, value: &[u8]) {
        let SseEvent { data, cut, .. } = &mut self.event;
        let is_first = data.is_none();
        let known = data.get_or_insert_default();
        if let Some(end) = cut {
            push_end(end, value);
        } else if known.len() + value.len() + 1 > self.max {
            let mut end = known.split_off(known.len().min(KEPT));
            known.extend(value.iter().take(KEPT.saturating_sub(known.len())));
            known.shrink_to_fit();
            push_end(&mut end, value);
            *cut = Some(end);
        } else {
            if !is_first {
                known.push(b'\n');
            }
            known.extend_from_slice(value);
        }
    }
}

/// Appends bytes and keeps only the last ones.
fn push_end(end: &mut Vec<u8>, more: &[u8]) {
    let (_, last) = more.split_at(more.len().saturating_sub(KEPT));
    end.extend_from_slice(last);
    let too_many = end.len().saturating_sub(KEPT);
    end.drain(..too_many);
    end.shrink_to_fit();
}

#[cfg(test)]
mod tests {
    use super::{KEPT, SseEvent, SseReader};

    fn read(chunks: &[&[u8]]) -> Vec<SseEvent> {
        let mut reader = SseReader::new(100_000);
        chunks.iter().flat_map(|chunk| reader.read(chunk)).collect()
    }

    fn said(kind: &str, data: &str) -> SseEvent {
        SseEvent {
            kind: kind.to_owned(),
            data: Some(data.as_bytes().to_vec()),
            ..SseEvent::default()
        }
    }

    #[test]
    fn events_do_not_depend_on_chunk_boundaries() {
        let text =
            b"\xEF\xBB\xBF: hello\r\nevent: ping\r\ndata: {}\r\n\r\ndata: a\r\ndata:b\r\n\r\n\
            future: x\nnonsense\nretry: soon\ndata\n\nid: 7\rdata: c\r\r";
        let whole = read(&[text]);
        let last = SseEvent { id: Some("7".to_owned()), ..said("", "c") };
        assert_eq!(whole, [said("ping", "{}"), said("", "a\nb"), said("", ""), last]);
        for cut in 0..text.len() {
            let (first, second) = text.split_at(cut);
            assert_eq!(read(&[first, second]), whole, "cut at {cut}");
        }
        let bytes: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(read(&bytes), whole);
    }

    #[test]
    fn an_event_without_an_end_is_bounded() {
        let mut reader = SseReader::new(100_000);
        for _ in 0..100 {
            assert!(reader.read(&[b'x'; 10_000]).is_empty());
            assert!(reader.line.len() <= 100_000 + 2 * KEPT);
        }
        let mut reader = SseReader::new(100_000);
        for _ in 0..100 {
            reader.read(b"data: ");
            reader.read(&[b'x'; 9_000]);
            assert!(reader.read(b"\n").is_empty());
            let kept = reader.event.data.as_ref().map_or(0, Vec::len);
            assert!(kept <= 100_000);
        }
        let events = reader.read(b"data: tail\n\n");
        assert!(events[0].cut.as_ref().is_some_and(|end| end.ends_with(b"tail")));
    }
}
