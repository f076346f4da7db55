//! Progress of a worker's turn: open calls, open items, usage.

use std::collections::BTreeMap;

use thoughtwire_proto::{
    Awaits, CallId, Directive, ItemId, OpenCall, Refusal, RefusalCode, Usage, WaitingCall,
};

/// Most calls of one turn that may be open at once.
const OPEN_CALLS: usize = 256;
/// Most items of one turn that may be open at once, and most bytes of them together.
const OPEN_ITEMS: usize = 64;
const OPEN_BYTES: usize = 8 << 20;
/// Most replies to open calls that are kept, to be sent again to a worker that reconnects.
const REPLIES: usize = 64;

/// Open calls, open items and usage of one turn.
#[derive(Default)]
pub(super) struct TurnProgress {
    /// Open calls with their tools, in the order of the calls.
    calls: Vec<(CallId, String)>,
    /// Open calls that wait for the owner or a client.
    waiting: Vec<WaitingCall>,
    /// Number of deltas of each open item.
    open: BTreeMap<ItemId, u64>,
    /// Calls that were running when the turn last lost its worker.
    interrupted: Vec<CallId>,
    /// Number of repetitions of each open call that was made again.
    retries: BTreeMap<CallId, u32>,
    /// Bytes of these deltas.
    open_bytes: usize,
    usage: Usage,
    /// Part of `usage` that is in the log.
    written: Usage,
    /// Replies to open calls.
    replies: Vec<(CallId, Directive)>,
}

impl TurnProgress {
    /// Progress of a turn with these open calls.
    pub(super) fn new(open: &[OpenCall]) -> Self {
        let calls = open.iter().map(|open| (open.call.clone(), open.name.clone())).collect();
        let waiting = open.iter().filter_map(|open| {
            let awaits = match (open.approval, open.awaited) {
                (Some(_), _) => Awaits::Approval,
                (None, Some(_)) => Awaits::Client,
                (None, None) => return None,
            };
            Some(WaitingCall { call: open.call.clone(), name: open.name.clone(), awaits })
        });
        let retries = open.iter().map(|open| (open.call.clone(), open.retries)).collect();
        let waiting = waiting.collect();
        let mut progress = Self { calls, waiting, retries, ..Self::default() };
        progress.interrupt();
        progress
    }

    // Calls.

    /// Open calls with their tools, the newest last.
    pub(super) fn calls(&self) -> &[(CallId, String)] {
        &self.calls
    }

    /// Name of an open call's tool.
    ///
    /// # Errors
    /// `unknown_call` if the call is not open.
    pub(super) fn tool_of(&self, call: &CallId) -> Result<String, Refusal> {
        let open = self.calls.iter().find(|(open, _)| open == call).map(|(_, name)| name.clone());
        open.ok_or_else(|| {
            Refusal::new(RefusalCode::UnknownCall, format!("call {call} is not open in this turn"))
        })
    }

    /// Opens a call.
    ///
    /// # Errors
    /// `too_large` if as many calls are open as may be.
    pub(super) fn open_call(&mut self, call: &CallId, name: &str) -> Result<(), Refusal> {
        if self.calls.len() >= OPEN_CALLS {
            return Err(too_large(format!(
                "{OPEN_CALLS} calls of this turn are open, which is the most; \
                 let some return first"
            )));
        }
        self.calls.push((call.clone(), name.to_owned()));
        self.close_item(call.as_str());
        Ok(())
    }

    /// Counts a repetition of an open call. Returns its number, from 1.
    ///
    /// # Errors
    /// `unknown_call` if the call is not open.
    pub(super) fn count_retry(&mut self, call: &CallId) -> Result<u32, Refusal> {
        self.tool_of(call)?;
        let count = self.retries.entry(call.clone()).or_default();
        *count += 1;
        Ok(*count)
    }

    /// Forgets a call that has returned.
    pub(super) fn close_call(&mut self, call: &CallId) {
        self.calls.retain(|(open, _)| open != call);
        self.retries.remove(call);
    }

    /// Whether a call waits for the owner or a client.
    pub(super) fn is_waiting(&self, call: &CallId) -> bool {
        self.waiting.iter().any(|waiting| waiting.call == *call)
    }

    pub(super) fn start_waiting(&mut self, waiting: WaitingCall) {
        self.stop_waiting(&waiting.call);
        self.waiting.push(waiting);
    }

    pub(super) fn stop_waiting(&mut self, call: &CallId) {
        self.waiting.retain(|waiting| waiting.call != *call);
    }

    /// Notes that the turn lost its worker: nobody knows the outcome of calls that were running.
    pub(super) fn interrupt(&mut self) {
        let running = self.calls.iter().filter(|(call, _)| !self.is_waiting(call));
        self.interrupted = running.map(|(call, _)| call.clone()).collect();
    }

    /// Calls that were running when the turn lost its worker and that have not returned since.
    pub(super) fn unknown(&self) -> Vec<CallId> {
        let is_open = |call: &&CallId| self.calls.iter().any(|(open, _)| open == *call);
        self.interrupted.iter().filter(is_open).cloned().collect()
    }

    /// Open calls that the owner or a client was asked about. Answered ones are among them, and
    /// their replies follow the turn. So a worker that reconnects sees the same in both cases.
    pub(super) fn asked(&self) -> Vec<WaitingCall> {
        let asked = self.calls.iter().filter_map(|(call, name)| {
            let waits = self.waiting.iter().find(|waiting| waiting.call == *call).cloned();
            let was_answered = || self.replies.iter().any(|(about, _)| about == call);
            waits.or_else(|| {
                was_answered().then(|| WaitingCall {
                    call: call.clone(),
                    name: name.clone(),
                    awaits: Awaits::Approval,
                })
            })
        });
        asked.collect()
    }

    /// Keeps the reply to a call, which no longer waits.
    pub(super) fn add_reply(&mut self, call: CallId, directive: Directive) {
        self.stop_waiting(&call);
        if matches!(directive, Directive::ToolReturned { .. }) {
            self.close_call(&call);
        }
        self.replies.push((call, directive));
        if self.replies.len() > REPLIES {
            self.replies.remove(0);
        }
    }

    pub(super) fn remove_reply(&mut self, call: &CallId) {
        self.replies.retain(|(about, _)| about != call);
    }

    /// Replies to open calls.
    pub(super) fn replies(&self) -> Vec<Directive> {
        self.replies.iter().map(|(_, directive)| directive.clone()).collect()
    }

    // Items.

    /// Number of deltas of each open item.
    pub(super) fn open_items(&self) -> BTreeMap<ItemId, u64> {
        self.open.clone()
    }

    /// Counts delta `n` of an item. Returns false if it came before.
    ///
    /// # Errors
    /// `bad_request` if an earlier delta is missing, `too_large` if too much is open.
    pub(super) fn count_delta(
        &mut self,
        item: &ItemId,
        n: u64,
        len: usize,
    ) -> Result<bool, Refusal> {
        let next = self.open.get(item).copied().unwrap_or(0);
        if n > next {
            let reason = format!("delta {next} of {item} comes before {n}");
            return Err(Refusal::new(RefusalCode::BadRequest, reason));
        }
        if n < next {
            return Ok(false);
        }
        let is_too_many = n == 0 && self.open.len() >= OPEN_ITEMS;
        if self.open_bytes + len > OPEN_BYTES || is_too_many {
            let most = format!("{OPEN_ITEMS} items and {} MiB", OPEN_BYTES >> 20);
            return Err(too_large(format!(
                "at most {most} of a turn may be streamed and not said whole; \
                 say some of it whole first"
            )));
        }
        self.open_bytes += len;
        self.open.insert(item.clone(), next + 1);
        Ok(true)
    }

    /// Closes an item that was said whole.
    pub(super) fn close_item(&mut self, item: &str) {
        self.open.retain(|open, _| open.as_str() != item);
        // Bytes are not counted per item: the room comes back when nothing is open.
        if self.open.is_empty() {
            self.open_bytes = 0;
        }
    }

    // Usage.

    /// Sets the usage of the turn so far.
    pub(super) fn set_usage(&mut self, usage: Usage) {
        self.usage = usage;
    }

    /// Takes the usage that is not in the log yet; `None` if there is none.
    pub(super) fn take_usage(&mut self) -> Option<Usage> {
        let usage = self.usage.since(self.written);
        self.written = self.usage;
        (!usage.is_none()).then_some(usage)
    }
}

fn too_large(reason: String) -> Refusal {
    Refusal::new(RefusalCode::TooLarge, reason)
}
