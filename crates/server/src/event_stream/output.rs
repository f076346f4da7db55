//! Events of one reader on their way to its socket, and the sink that pushes them.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use parking_lot::Mutex;
use thoughtwire_hub::{DirectSink, TailEntry, WakeSignal};
use thoughtwire_proto::rest::StreamClosed;

use super::EventEncoder;
use super::gzip::{self, GzipMember};
use super::shared_events::{Chunk, SharedEvents};
use crate::metrics::ServerMetrics;
use crate::takeover::BodyFraming;
use crate::upgraded_stream::{SharedWriter, UpgradedStream, poll_write_queue};

/// Unsent bytes above which no further entry is encoded. One event may exceed it.
pub(super) const MAX_UNSENT: usize = 64 << 10;

/// The encoding of a stream's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ContentCoding {
    Identity,
    Gzip,
}

/// Events of one reader on their way to its socket.
pub(super) struct StreamOutput {
    encoder: Box<dyn EventEncoder>,
    framing: BodyFraming,
    /// The gzip member that the body is, if it is compressed.
    member: Option<GzipMember>,
    /// Bytes that are not sent yet, mostly shared with other readers.
    unsent: VecDeque<Bytes>,
    /// Whether anything was queued since the last [`StreamOutput::keep_alive`].
    was_active: bool,
}

/// Writes the entries of one reader while it is parked.
pub(super) struct EventStreamSink {
    /// The socket's writing half; absent over TLS, where only the reader's own task can write.
    pub(super) writer: Option<Arc<SharedWriter>>,
    pub(super) output: Mutex<StreamOutput>,
    pub(super) wake: WakeSignal,
    pub(super) metrics: ServerMetrics,
}

impl DirectSink<Arc<TailEntry>> for EventStreamSink {
    fn accept(&self, entries: &[Arc<TailEntry>]) -> usize {
        let Some(writer) = &self.writer else { return 0 };
        let mut output = self.output.lock();
        // The rest of an earlier write goes first, and the reader's own task writes it.
        if output.has_unsent() {
            return 0;
        }
        let accepted = output.add_some(entries);
        // An error is found by the reader's own task.
        while output.has_unsent() && writer.try_write_queue(&mut output.unsent).is_ok() {}
        if output.has_unsent() {
            self.wake.notify_one();
        }
        drop(output);
        if let Some(first) = entries.first() {
            self.metrics.fan_out.observe(first.at().elapsed().as_secs_f64());
        }
        accepted
    }
}

impl StreamOutput {
    pub(super) fn new(
        encoder: Box<dyn EventEncoder>,
        framing: BodyFraming,
        coding: ContentCoding,
    ) -> Self {
        let member = match coding {
            ContentCoding::Identity => None,
            ContentCoding::Gzip => Some(GzipMember::new()),
        };
        let unsent = VecDeque::new();
        let mut output = Self { encoder, framing, member, unsent, was_active: false };
        if output.member.is_some() {
            output.queue(&Chunk::new(&gzip::HEADER));
        }
        output
    }

    pub(super) fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Number of bytes that are not sent yet.
    #[cfg(test)]
    pub(super) fn unsent_bytes(&self) -> usize {
        self.unsent.iter().map(Bytes::len).sum()
    }

    /// Encodes the first of these entries, until enough is unsent. The result is how many.
    pub(super) fn add_some(&mut self, entries: &[Arc<TailEntry>]) -> usize {
        let (mut added, mut bytes) = (0, 0);
        for entry in entries {
            if bytes >= MAX_UNSENT {
                break;
            }
            bytes += self.add(entry);
            added += 1;
        }
        added
    }

    /// Encodes one entry. The result is the number of bytes that it adds.
    fn add(&mut self, entry: &TailEntry) -> usize {
        self.encoder.encode(entry).map_or(0, |events| self.events(&events))
    }

    /// Queues events. The result is the number of bytes that they add.
    fn events(&mut self, events: &SharedEvents) -> usize {
        match &mut self.member {
            None => self.queue(events.plain()),
            Some(member) => {
                member.add(events.gzip());
                self.queue(events.gzip().blocks())
            }
        }
    }

    /// Queues text of this reader alone.
    pub(super) fn text(&mut self, text: &str) {
        if !text.is_empty() {
            self.events(&SharedEvents::new(text));
        }
    }

    /// Queues a comment, unless something else was queued since the last call.
    pub(super) fn keep_alive(&mut self) {
        if !std::mem::take(&mut self.was_active) {
            self.text(":\n\n");
            self.was_active = false;
        }
    }

    /// Queues the last event and the end of the body.
    pub(super) fn end(&mut self, closed: &StreamClosed) {
        let last = self.encoder.end(closed);
        self.text(&last);
        if let Some(member) = &self.member {
            let trailer = Chunk::new(&member.trailer());
            self.queue(&trailer);
        }
        match self.framing {
            BodyFraming::Chunked => self.unsent.push_back(Bytes::from_static(b"0\r\n\r\n")),
            BodyFraming::UntilClose => {}
        }
    }

    /// Sends everything that is queued.
    pub(super) fn poll_flush(
        &mut self,
        stream: Pin<&mut UpgradedStream>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(poll_write_queue(stream, &mut self.unsent, context))?;
        // An idle reader holds no buffer.
        self.unsent.shrink_to(0);
        Poll::Ready(Ok(()))
    }

    fn queue(&mut self, chunk: &Chunk) -> usize {
        let bytes = chunk.framed(self.framing);
        let length = bytes.len();
        self.unsent.push_back(bytes);
        self.was_active = true;
        length
    }
}
