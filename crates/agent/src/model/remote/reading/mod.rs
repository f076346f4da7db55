//! Reading of replies: bytes become frames, and frames become pieces, without I/O in either step.
//! Each wire has a decoder; [`ReplyStream`] has the connection, the clock and the bounds.

mod anthropic;
mod assembly;
mod calls;
mod decoder;
mod frames;
mod gemini;
pub(crate) mod json;
mod ollama;
mod openai;
mod output_item;
mod responses;
mod stop;
#[cfg(test)]
mod tests;
mod think;

use std::collections::VecDeque;
use std::time::Duration;

use futures::FutureExt;
use tokio::time::Instant;

use super::explain::{ReplyProgress, connection_broke, reported, too_much, unreadable};
use super::provider_error::ProviderError;
use super::transport::ReplyBody;
use super::{Address, ProviderWire};
use crate::model::{ModelError, ModelWait, ReplyEnd, ReplyPiece, Timeouts};
use assembly::StopCause;
use decoder::{DecodeOutcome, DecoderInput, StreamDecoder};
use frames::{StreamFrame, StreamFramer, StreamFraming};
use stop::StopReason;

pub(in crate::model::remote) use assembly::ReplyAssembly;

/// Largest number of bytes of a stream: each word comes in some hundred bytes of JSON.
const MAX_STREAM_BYTES: usize = 128 << 20;
/// Largest number of bytes without new output, such as keep-alives and echoes of the request.
const MAX_IDLE_BYTES: usize = 32 << 20;
/// Factor by which keep-alives may extend the time without output. They must not hold a turn for
/// ever.
const KEEP_ALIVE_FACTOR: u32 = 5;
/// Time to wait behind the reason why the model stopped, if the end of the stream is not marked.
/// Only a token count follows there, or more text from some gateways.
const LINGER: Duration = Duration::from_secs(10);

/// A reply that is being read. Dropping it cancels the request.
pub(super) struct ReplyStream {
    body: ReplyBody,
    address: Address,
    timeouts: Timeouts,
    framer: StreamFramer,
    decoder: Box<dyn StreamDecoder>,
    reply: ReplyAssembly,
    progress: ReplyProgress,
    bytes: usize,
    /// Number of bytes since the reply last grew.
    idle_bytes: usize,
    /// Time of the last bytes.
    last_bytes_at: Instant,
    /// Time at which the reply last grew.
    grown_at: Instant,
    /// Content that arrived instead of a reply.
    unknown: Option<ProviderError>,
    /// Whether a frame of the wire arrived.
    known: bool,
    /// Whether the last JSON was incomplete: at the end of a stream, it was cut off there.
    broken: bool,
    ready: VecDeque<Result<ReplyPiece, ModelError>>,
    is_over: bool,
}

impl ReplyStream {
    pub(super) fn new(
        body: ReplyBody,
        address: Address,
        reply: ReplyAssembly,
        timeouts: Timeouts,
        asked: Instant,
    ) -> Self {
        let (framing, decoder): (StreamFraming, Box<dyn StreamDecoder>) = match address.wire {
            ProviderWire::OpenAi => {
                (StreamFraming::Events, Box::new(openai::OpenAiDecoder::default()))
            }
            ProviderWire::Responses => {
                (StreamFraming::Events, Box::new(responses::ResponsesDecoder::default()))
            }
            ProviderWire::Anthropic => {
                (StreamFraming::Events, Box::new(anthropic::AnthropicDecoder::default()))
            }
            ProviderWire::Gemini => (StreamFraming::Events, Box::new(gemini::GeminiDecoder)),
            ProviderWire::Ollama => (StreamFraming::Lines, Box::new(ollama::OllamaDecoder)),
        };
        Self {
            body,
            address,
            timeouts,
            framer: StreamFramer::new(framing),
            decoder,
            reply,
            progress: ReplyProgress::Nothing,
            bytes: 0,
            idle_bytes: 0,
            last_bytes_at: asked,
            grown_at: asked,
            unknown: None,
            known: false,
            broken: false,
            ready: VecDeque::new(),
            is_over: false,
        }
    }

    /// The next piece. Absent when the reply is over.
    pub(super) async fn next(&mut self) -> Option<Result<ReplyPiece, ModelError>> {
        loop {
            if let Some(piece) = self.reply.pop() {
                self.progress = ReplyProgress::Begun;
                return Some(Ok(piece));
            }
            if let Some(last) = self.ready.pop_front() {
                return Some(last);
            }
            if self.is_over {
                return None;
            }
            match tokio::time::timeout_at(self.deadline(), self.body.next()).await {
                Ok(Ok(Some(bytes))) => self.take(bytes.as_ref()),
                Ok(Ok(None)) => self.end_of_body(),
                // The reply was complete, even if the connection did not end properly.
                Ok(Err(_)) if self.has_stopped() => self.complete(),
                Ok(Err(_)) => self.fail(connection_broke(&self.address, self.progress)),
                Err(_) if self.has_stopped() => self.complete(),
                Err(_) => self.fail(self.timed_out()),
            }
        }
    }

    /// Time at which waiting for more bytes ends.
    fn deadline(&self) -> Instant {
        let time_limit = self.time_limit();
        let silence = self.last_bytes_at + time_limit;
        let keep_alive_limit = self.grown_at + time_limit.saturating_mul(KEEP_ALIVE_FACTOR);
        let deadline = silence.min(keep_alive_limit);
        if self.has_stopped() {
            deadline.min(self.grown_at.max(self.last_bytes_at) + LINGER)
        } else {
            deadline
        }
    }

    fn time_limit(&self) -> Duration {
        match self.progress {
            ReplyProgress::Nothing => self.timeouts.first,
            ReplyProgress::Begun => self.timeouts.silence,
        }
    }

    fn has_stopped(&self) -> bool {
        self.reply.stop().is_some()
    }

    fn take(&mut self, bytes: &[u8]) {
        self.last_bytes_at = Instant::now();
        self.bytes = self.bytes.saturating_add(bytes.len());
        self.idle_bytes = self.idle_bytes.saturating_add(bytes.len());
        let before = self.reply.size();
        match self.framer.push(bytes) {
            Ok(frames) => self.take_frames(frames),
            Err(frames::FrameTooLong) => self.fail(too_much("bytes in one part", &self.address)),
        }
        if self.reply.size() > before {
            self.grown_at = self.last_bytes_at;
            self.idle_bytes = 0;
        }
        if self.idle_bytes > MAX_IDLE_BYTES && !self.is_over {
            self.fail(too_much("bytes without a word", &self.address));
        }
        if self.bytes > MAX_STREAM_BYTES && !self.is_over {
            self.fail(too_much("bytes", &self.address));
        }
    }

    fn take_frames(&mut self, frames: Vec<StreamFrame>) {
        for frame in frames {
            if self.is_over {
                return;
            }
            self.take_frame(frame);
            if let Some(what) = self.reply.excess()
                && !self.is_over
            {
                self.fail(too_much(what, &self.address));
            }
        }
    }

    fn take_frame(&mut self, frame: StreamFrame) {
        if std::mem::take(&mut self.broken) {
            return self.fail(unreadable(self.unknown.as_ref(), &self.address));
        }
        match frame {
            StreamFrame::Value { event, value, text, has_surrogates } => {
                if has_surrogates {
                    self.reply.expect_surrogates();
                }
                if let Some(cause) = ProviderError::in_frame(&event, &value) {
                    return self.fail(reported(&cause, &self.address));
                }
                let input = DecoderInput { event: &event, value: &value, text: &text };
                match self.decoder.take(&input, &mut self.reply) {
                    DecodeOutcome::Unknown => self.unknown = Some(ProviderError::in_value(&value)),
                    DecodeOutcome::Known => self.known = true,
                    DecodeOutcome::Whole => {
                        self.known = true;
                        if !self.has_stopped() {
                            self.reply.stopped("stop", None);
                        }
                    }
                    DecodeOutcome::Last => self.complete(),
                }
            }
            StreamFrame::Words { event, text } => {
                let cause = ProviderError::in_words(&text);
                if event == "error" {
                    self.fail(reported(&cause, &self.address));
                } else if !self.known {
                    self.unknown = Some(cause);
                }
            }
            StreamFrame::Broken { text } => {
                self.broken = true;
                self.unknown = Some(ProviderError::in_words(&text));
            }
            StreamFrame::End => match self.unknown.take().filter(|_| !self.known) {
                // Everything before the end marker was not a reply.
                Some(cause) => self.fail(not_a_reply(&cause, &self.address)),
                None => self.complete(),
            },
        }
    }

    /// Handles a closed connection: the reply is complete if its model had stopped.
    fn end_of_body(&mut self) {
        match self.framer.finish() {
            Ok(frames) => self.take_frames(frames),
            Err(frames::FrameTooLong) => self.fail(too_much("bytes in one part", &self.address)),
        }
        if self.is_over {
            return;
        }
        if self.has_stopped() || self.decoder.has_ended() {
            self.complete();
        } else if let (Some(cause), false, false) = (&self.unknown, self.known, self.broken) {
            // An error in a format of its own, or a proxy's page.
            let error = not_a_reply(cause, &self.address);
            self.fail(error);
        } else {
            let begun = self.progress == ReplyProgress::Begun || self.reply.has_pieces();
            let progress = if begun { ReplyProgress::Begun } else { ReplyProgress::Nothing };
            self.fail(connection_broke(&self.address, progress));
        }
    }

    /// Completes the reply.
    fn complete(&mut self) {
        self.is_over = true;
        self.decoder.finish(&mut self.reply);
        let usage = self.reply.finish();
        if let Some(what) = self.reply.excess() {
            return self.fail(too_much(what, &self.address));
        }
        match self.reply.stop().and_then(|stop| ending(stop, &self.address)) {
            Some(ReplyEnding::Stopped(error)) => {
                let done = ReplyEnd { usage, last: None, stopped: Some(error) };
                self.ready.push_back(Ok(ReplyPiece::End(done)));
            }
            Some(ReplyEnding::Failed(error)) => self.fail(error),
            None => {
                let done = ReplyEnd { usage, last: None, stopped: None };
                self.ready.push_back(Ok(ReplyPiece::End(done)));
            }
        }
        // If the body has ended already, the connection can be reused.
        drop(self.body.next().now_or_never());
    }

    /// Fails the reply. Text that was held back is sent before the error.
    fn fail(&mut self, error: ModelError) {
        self.is_over = true;
        self.decoder.finish(&mut self.reply);
        self.reply.finish_text();
        self.ready.push_back(Err(error));
    }

    fn timed_out(&self) -> ModelError {
        let at = self.address.shown();
        let seconds = self.time_limit().as_secs_f64();
        // The last bytes were only keep-alives.
        let is_kept_alive = self.last_bytes_at > self.grown_at;
        match self.progress {
            ReplyProgress::Nothing if is_kept_alive => ModelError::TimedOut {
                reason: format!(
                    "The model at {at} only kept the connection alive for {} s. Ask again later.",
                    (self.last_bytes_at - self.grown_at).as_secs_f64().round()
                ),
                // The provider accepted the request: repeating it would not be faster.
                awaited: ModelWait::Next,
            },
            ReplyProgress::Nothing => ModelError::TimedOut {
                reason: format!("The model at {at} sent nothing for {seconds} s. Ask again later."),
                awaited: ModelWait::First,
            },
            ReplyProgress::Begun => ModelError::TimedOut {
                reason: format!(
                    "The model at {at} stopped sending in the middle of its reply, for {seconds} \
                     s. \
                     The part that arrived is kept; ask again."
                ),
                awaited: ModelWait::Next,
            },
        }
    }
}

/// The error of an answer that is not of the wire: a known error, or unreadable.
fn not_a_reply(cause: &ProviderError, address: &Address) -> ModelError {
    let error = reported(cause, address);
    if matches!(error, ModelError::Failed(_)) { unreadable(Some(cause), address) } else { error }
}

/// The end of a reply that did not end normally.
enum ReplyEnding {
    /// The model was stopped. Its output so far counts.
    Stopped(ModelError),
    Failed(ModelError),
}

fn ending(stop: &StopCause, address: &Address) -> Option<ReplyEnding> {
    let at = address.shown();
    let word = if stop.word.is_empty() { "no reason given" } else { &stop.word };
    let cause = stop.cause.as_ref().map(|cause| address.quoted(&cause.sentence()));
    let cause =
        cause.filter(|cause| !cause.is_empty()).map_or(String::new(), |cause| format!(" {cause}"));
    Some(match stop.reason {
        StopReason::Finished => return None,
        StopReason::Length => ReplyEnding::Stopped(ModelError::Length(format!(
            "The reply of the model at {at} reached its length limit ({word}).{cause} \
             The part that arrived is kept; ask it to continue."
        ))),
        StopReason::Filtered => ReplyEnding::Stopped(ModelError::Filtered(format!(
            "A filter of the model at {at} stopped the reply, or may have blocked the prompt \
             ({word}).{cause}"
        ))),
        StopReason::Refused => ReplyEnding::Stopped(ModelError::Refused(format!(
            "The model at {at} refused to answer ({word}).{cause}"
        ))),
        StopReason::MalformedCall => ReplyEnding::Stopped(ModelError::MalformedCall(format!(
            "The model at {at} made a malformed tool call ({word}).{cause} Ask again."
        ))),
        StopReason::Cut => ReplyEnding::Failed(ModelError::Cut(format!(
            "The reply of the model at {at} was cut off ({word}).{cause} \
             The part that arrived is kept; ask again."
        ))),
        StopReason::Failed => ReplyEnding::Failed(match &stop.cause {
            Some(cause) => reported(cause, address),
            None => ModelError::Failed(format!("The model at {at} failed in its reply ({word}).")),
        }),
    })
}
