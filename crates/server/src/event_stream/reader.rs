//! One reader of a stream: from a handler's answer to the end of its connection.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, VARY,
};
use axum::http::{HeaderMap, HeaderName};
use axum::response::Response;
use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use thoughtwire_hub::{Read, SharedSink, Subscription, TailEntry, WakeSignal};
use thoughtwire_proto::rest::{StreamClosed, StreamEnd};
use tokio::io::{AsyncRead as _, AsyncWriteExt as _, ReadBuf};
use tokio::sync::watch;
use tokio::time::{Instant, Sleep};

use super::EventEncoder;
use super::output::{ContentCoding, EventStreamSink, StreamOutput};
use crate::metrics::ServerMetrics;
use crate::phase::Phase;
use crate::takeover::{BodyFraming, Takeover};
use crate::upgraded_stream::UpgradedStream;
use crate::websocket::{CLOSE_TIMEOUT, ConnectionEnd, in_time};

/// Time without an event after which a comment is sent, so that proxies keep the connection. A
/// quiet stream may be as long as two of them without one.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Time that a reader whose key has ended has to take what is unsent.
const REVOKED_GRACE: Duration = Duration::from_secs(1);
/// Bytes of one read of what a client sends. Nothing is expected, and all is dropped.
const READ_BYTES: usize = 256;

/// A stream that a handler has set up.
pub(crate) struct EventStream<H> {
    pub(crate) subscription: Subscription,
    /// The signal that was given at attach.
    pub(crate) wake: WakeSignal,
    pub(crate) encoder: Box<dyn EventEncoder>,
    /// The events that come first. Each ends with an empty line.
    pub(crate) greeting: String,
    /// Resolves when the caller may read no more, to a sentence that says why.
    pub(crate) ended: BoxFuture<'static, &'static str>,
    pub(crate) metrics: ServerMetrics,
    /// Held until the stream ends, such as permits.
    pub(crate) held: H,
}

/// One reader at work.
pub(super) struct EventStreamReader {
    stream: UpgradedStream,
    subscription: Subscription,
    pub(super) sink: Arc<EventStreamSink>,
    wake: WakeSignal,
    ended: Shared<BoxFuture<'static, &'static str>>,
    phase: watch::Receiver<Phase>,
    timer: Pin<Box<Sleep>>,
}

impl<H: Send + 'static> EventStream<H> {
    /// Answers a request with the stream, compressed if the request's headers allow it.
    pub(crate) fn answer(self, headers: &HeaderMap, takeover: Takeover) -> Response {
        let coding = coding(headers);
        let framing = takeover.framing();
        let mut response = takeover.answer(Box::new(move |stream, phase| {
            let (reader, held) = self.on(stream, phase, (framing, coding));
            Box::pin(async move {
                reader.run().await;
                drop(held);
            })
        }));
        let answered = response.headers_mut();
        answered.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        answered.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
        // nginx buffers the answer otherwise.
        let buffering = HeaderName::from_static("x-accel-buffering");
        answered.insert(buffering, HeaderValue::from_static("no"));
        answered.insert(VARY, HeaderValue::from_static("accept-encoding"));
        match coding {
            ContentCoding::Identity => {}
            ContentCoding::Gzip => {
                answered.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            }
        }
        response
    }

    /// The reader on its connection, and what is held while it runs.
    pub(super) fn on(
        self,
        stream: UpgradedStream,
        phase: watch::Receiver<Phase>,
        (framing, coding): (BodyFraming, ContentCoding),
    ) -> (EventStreamReader, H) {
        let mut output = StreamOutput::new(self.encoder, framing, coding);
        output.text(&self.greeting);
        let sink = EventStreamSink {
            writer: stream.writer().cloned(),
            output: Mutex::new(output),
            wake: Arc::clone(&self.wake),
            metrics: self.metrics,
        };
        let reader = EventStreamReader {
            stream,
            subscription: self.subscription,
            sink: Arc::new(sink),
            wake: self.wake,
            ended: self.ended.shared(),
            phase,
            timer: Box::pin(tokio::time::sleep(KEEP_ALIVE)),
        };
        (reader, self.held)
    }
}

impl EventStreamReader {
    /// Serves the reader to its end.
    pub(super) async fn run(mut self) {
        if let Ok(closed) = self.serve().await {
            self.sink.output.lock().end(&closed);
            if self.flush().await.is_ok() {
                // A client that does not take part in the close is left.
                let farewell = Box::pin(self.close());
                drop(tokio::time::timeout(CLOSE_TIMEOUT, farewell).await);
            }
        }
    }

    /// Serves until the stream ends, and the client has to be told why.
    ///
    /// # Errors
    /// When the client has gone or takes nothing.
    async fn serve(&mut self) -> Result<StreamClosed, ConnectionEnd> {
        loop {
            self.flush().await?;
            if let Some(reason) = self.ended.clone().now_or_never() {
                return Ok(closed(StreamEnd::Unauthorized, reason));
            }
            if self.subscription.has_news() {
                match self.subscription.next().await {
                    Ok(Read::Entries { entries, since }) => self.send(&entries, since).await?,
                    Ok(Read::CaughtUp(_)) => {}
                    Ok(Read::Trimmed) => {
                        let reason = "older events were deleted meanwhile; connect again";
                        return Ok(closed(StreamEnd::Trimmed, reason));
                    }
                    Ok(Read::Closed(reason)) => return Ok(closed(StreamEnd::Closed, reason)),
                    Err(refusal) => return Ok(closed(StreamEnd::StoreFailed, refusal.reason)),
                }
            } else if let Some(closed) = self.wait().await? {
                return Ok(closed);
            }
        }
    }

    /// Parks until something happens. The result is the end of the stream, if that is it.
    async fn wait(&mut self) -> Result<Option<StreamClosed>, ConnectionEnd> {
        if self.sink.writer.is_some() {
            let sink: SharedSink<Arc<TailEntry>> = Arc::<EventStreamSink>::clone(&self.sink);
            self.subscription.park(&sink);
        }
        let Self { stream, wake, ended, phase, timer, .. } = self;
        let outcome = tokio::select! {
            biased;
            reason = ended => Ok(Some(closed(StreamEnd::Unauthorized, reason))),
            () = wake.notified() => Ok(None),
            gone = poll_fn(|context| poll_gone(stream, context)) => Err(gone),
            // The loss of the sender is a stop as well.
            _ = phase.wait_for(|phase| *phase == Phase::Stopped) => {
                Ok(Some(closed(StreamEnd::Closed, "the server is stopping; connect again")))
            }
            () = timer.as_mut() => {
                timer.as_mut().reset(Instant::now() + KEEP_ALIVE);
                self.sink.output.lock().keep_alive();
                Ok(None)
            }
        };
        // Before anything is written: from here on nobody else does.
        self.subscription.unpark();
        outcome
    }

    /// Sends entries that were read, and holds little of them at a time.
    async fn send(
        &mut self,
        mut entries: &[Arc<TailEntry>],
        since: Option<Instant>,
    ) -> Result<(), ConnectionEnd> {
        while !entries.is_empty() {
            let added = self.sink.output.lock().add_some(entries);
            entries = entries.get(added..).unwrap_or_default();
            self.flush().await?;
        }
        if let Some(since) = since {
            self.sink.metrics.fan_out.observe(since.elapsed().as_secs_f64());
        }
        Ok(())
    }

    /// Sends everything that is queued.
    ///
    /// # Errors
    /// When the client takes nothing: for long, or for a moment after its key has ended.
    async fn flush(&mut self) -> Result<(), ConnectionEnd> {
        let Self { stream, sink, ended, .. } = self;
        if !sink.output.lock().has_unsent() {
            return Ok(());
        }
        let sent =
            in_time(poll_fn(|context| sink.output.lock().poll_flush(Pin::new(stream), context)));
        let cut = async {
            ended.clone().await;
            tokio::time::sleep(REVOKED_GRACE).await;
        };
        tokio::select! {
            biased;
            outcome = sent => outcome,
            () = cut => Err(ConnectionEnd::Gone),
        }
    }

    /// Ends the connection behind the last bytes, and waits for the client to do so: a socket that
    /// is closed with bytes unread is reset, and the reset would overtake them.
    async fn close(&mut self) {
        if self.stream.shutdown().await.is_ok() {
            poll_fn(|context| poll_gone(&mut self.stream, context)).await;
        }
    }
}

/// Drops what the client sends, until it sends nothing more.
fn poll_gone(stream: &mut UpgradedStream, context: &mut Context<'_>) -> Poll<ConnectionEnd> {
    loop {
        let mut bytes = [0; READ_BYTES];
        let mut read = ReadBuf::new(&mut bytes);
        match ready!(Pin::new(&mut *stream).poll_read(context, &mut read)) {
            Ok(()) if !read.filled().is_empty() => {}
            Ok(()) | Err(_) => return Poll::Ready(ConnectionEnd::Gone),
        }
    }
}

/// The coding that a request's headers allow: gzip, unless it is absent or has the weight 0.
fn coding(headers: &HeaderMap) -> ContentCoding {
    let lists = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|list| list.to_str().ok());
    let mut codings = lists.flat_map(|list| list.split(','));
    let takes_gzip = codings.any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = weight.trim().strip_prefix("q=").unwrap_or("1").trim();
        name.trim().eq_ignore_ascii_case("gzip") && weight.parse().is_ok_and(|q: f32| q > 0.0)
    });
    if takes_gzip { ContentCoding::Gzip } else { ContentCoding::Identity }
}

fn closed(code: StreamEnd, reason: impl Into<String>) -> StreamClosed {
    StreamClosed { code, reason: reason.into() }
}
