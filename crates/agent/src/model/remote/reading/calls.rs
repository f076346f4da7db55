//! Assembly of a reply's tool calls from parts.

use std::collections::VecDeque;

use super::assembly::enqueue;
use crate::model::ReplyPiece;
use crate::model::remote::provider_state::MADE_UP;
use crate::model::remote::{ProviderCall, ProviderState};

/// Largest number of calls in one reply.
const MAX_CALLS: usize = 128;

/// A part of a call in chat completions, where providers differ most.
#[derive(Debug, Default)]
pub(super) struct CallPiece<'a> {
    /// Identifies the call within the reply. It is only compared.
    pub(super) index: Option<String>,
    pub(super) id: Option<&'a str>,
    pub(super) name: Option<&'a str>,
    pub(super) args: &'a str,
    /// Whether other parts are in the same list.
    pub(super) has_siblings: bool,
}

/// The calls of a reply.
pub(super) struct CallAssembly {
    /// Names of the offered tools, which distinguish parts of a name from repetitions.
    tools: Vec<String>,
    calls: Vec<PartialCall>,
    /// Number of calls that were announced, in order.
    announced: usize,
    /// Number of the list of parts that is being read.
    list: u64,
}

/// More calls than [`MAX_CALLS`].
pub(super) struct TooManyCalls;

#[derive(Default)]
struct PartialCall {
    index: Option<String>,
    /// The id as sent.
    id: Option<String>,
    /// The id as announced.
    announced_id: String,
    name: String,
    args: String,
    /// Number of bytes of the arguments that were sent on.
    sent: usize,
    braces: BraceCounter,
    signature: Option<String>,
    /// Number of the list that its last part was in.
    list: u64,
    /// A name that arrived once more, without arguments, after the arguments were complete.
    renamed: Option<String>,
}

impl CallAssembly {
    pub(super) fn new(tools: Vec<String>) -> Self {
        Self { tools, calls: Vec::new(), announced: 0, list: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.calls.len()
    }

    /// Length of the longest name, in bytes.
    pub(super) fn longest_name(&self) -> usize {
        self.calls.iter().map(|call| call.name.len()).max().unwrap_or(0)
    }

    /// Opens a call on a wire that identifies calls, and returns its index.
    pub(super) fn open(&mut self, id: Option<&str>, name: &str) -> Result<usize, TooManyCalls> {
        self.add(PartialCall {
            id: id.filter(|id| !id.is_empty()).map(str::to_owned),
            name: name.to_owned(),
            ..PartialCall::default()
        })
    }

    /// Appends to an open call's arguments.
    pub(super) fn append(&mut self, at: usize, json: &str, pieces: &mut VecDeque<ReplyPiece>) {
        if let Some(call) = self.calls.get_mut(at) {
            call.append(json);
            self.announce(Announce::Known, pieces);
        }
    }

    pub(super) fn sign(&mut self, at: usize, signature: &str) {
        if let Some(call) = self.calls.get_mut(at) {
            call.signature = Some(signature.to_owned());
        }
    }

    /// The arguments of a call so far.
    pub(super) fn args(&self, at: usize) -> &str {
        self.calls.get(at).map_or("", |call| &call.args)
    }

    /// Length of the longest arguments, in bytes.
    pub(super) fn longest(&self) -> usize {
        self.calls.iter().map(|call| call.args.len()).max().unwrap_or(0)
    }

    /// Whether one of the first `among` calls equals this call.
    pub(super) fn has_same(&self, among: usize, id: Option<&str>, name: &str, args: &str) -> bool {
        self.calls
            .iter()
            .take(among)
            .any(|call| call.name == name && call.args == args && call.id.as_deref() == id)
    }

    /// Begins a list of parts. Two named parts of one list never belong to the same call.
    pub(super) fn begin_list(&mut self) {
        self.list += 1;
    }

    /// Adds a part of a call.
    pub(super) fn piece(
        &mut self,
        piece: CallPiece<'_>,
        pieces: &mut VecDeque<ReplyPiece>,
    ) -> Result<(), TooManyCalls> {
        let piece = CallPiece {
            id: piece.id.filter(|id| !id.is_empty()),
            name: piece.name.filter(|name| !name.is_empty()),
            ..piece
        };
        if piece.id.is_none() && piece.name.is_none() && piece.args.is_empty() {
            return Ok(());
        }
        let at = match self.find(&piece) {
            Some(at) => at,
            None => {
                let name = match (piece.name, self.calls.last_mut()) {
                    (None, Some(last)) => last.renamed.take().unwrap_or_default(),
                    (Some(_), _) | (None, None) => String::new(),
                };
                self.add(PartialCall {
                    index: piece.index.clone(),
                    name,
                    ..PartialCall::default()
                })?
            }
        };
        let list = self.list;
        let is_known = |name: &str| self.tools.iter().any(|tool| tool == name);
        let Some(call) = self.calls.get_mut(at) else { return Ok(()) };
        call.list = list;
        call.index = call.index.take().or(piece.index);
        call.id = call.id.take().or_else(|| piece.id.map(str::to_owned));
        if let Some(name) = piece.name {
            if call.braces.whole && piece.args.is_empty() && !call.name.is_empty() {
                call.renamed = Some(name.to_owned());
            } else {
                call.name = merge_names(&call.name, name, is_known);
            }
        }
        call.merge(piece.args);
        self.announce(Announce::Known, pieces);
        Ok(())
    }

    /// Ends the reply: announces all calls, except those with neither name nor arguments.
    pub(super) fn finish(&mut self, pieces: &mut VecDeque<ReplyPiece>) {
        self.announce(Announce::All, pieces);
    }

    /// Adds the calls to the provider state.
    pub(super) fn keep(&self, kept: &mut ProviderState) {
        let keep = |call: &PartialCall| ProviderCall {
            id: call.announced_id.clone(),
            signature: call.signature.clone(),
        };
        kept.calls =
            self.calls.iter().filter(|call| !call.announced_id.is_empty()).map(keep).collect();
    }

    fn add(&mut self, call: PartialCall) -> Result<usize, TooManyCalls> {
        if self.calls.len() >= MAX_CALLS {
            return Err(TooManyCalls);
        }
        self.calls.push(call);
        Ok(self.calls.len() - 1)
    }

    /// The open call that a part belongs to. Absent if it begins a new call.
    fn find(&self, piece: &CallPiece<'_>) -> Option<usize> {
        let last = self.calls.len().checked_sub(1)?;
        let at_index = || {
            let index = piece.index.as_ref()?;
            self.calls.iter().rposition(|call| call.index.as_ref() == Some(index))
        };
        let is_same_index = |call: &PartialCall| {
            call.index.is_none() || piece.index.is_none() || call.index == piece.index
        };
        let with_id = piece.id.and_then(|id| {
            self.calls
                .iter()
                .rposition(|call| call.id.as_deref() == Some(id) && is_same_index(call))
        });
        let at = match (with_id, &piece.index) {
            (Some(at), _) => at,
            (None, Some(_)) => match at_index() {
                Some(at) => at,
                // The index arrived only with later parts.
                None => (piece.name.is_none()
                    && piece.id.is_none()
                    && self.calls.get(last)?.index.is_none())
                .then_some(last)?,
            },
            (None, None) => last,
        };
        let call = self.calls.get(at)?;
        let has_new_id = with_id.is_none() && piece.id.is_some() && call.id.is_some();
        (!has_new_id || !call.ends_before_new_id(piece))
            .then_some(())
            .filter(|()| !self.begins_another(call, piece))
            .map(|()| at)
    }

    /// Whether a part that seems to belong to this call begins another one.
    fn begins_another(&self, call: &PartialCall, piece: &CallPiece<'_>) -> bool {
        let differs = !piece.args.is_empty() && piece.args.trim() != call.args.trim();
        let Some(name) = piece.name else {
            return call.braces.whole && call.renamed.is_some() && differs;
        };
        let is_known = |name: &str| self.tools.iter().any(|tool| tool == name);
        let is_other = name != call.name && is_known(name) && is_known(&call.name);
        let is_sibling = piece.has_siblings && call.list == self.list && !call.name.is_empty();
        is_sibling
            || (call.braces.whole && differs && call.args.trim() != "{}")
            || (is_other && !is_known(&format!("{}{name}", call.name)))
    }

    /// Announces calls with known names, in order, and sends their arguments.
    fn announce(&mut self, which: Announce, pieces: &mut VecDeque<ReplyPiece>) {
        let count = self.calls.len();
        for at in 0..count {
            let is_announced = at < self.announced;
            let announced_id: Vec<String> = if is_announced {
                Vec::new()
            } else {
                self.calls.iter().take(at).map(|call| call.announced_id.clone()).collect()
            };
            let Some(call) = self.calls.get_mut(at) else { return };
            if !is_announced {
                let is_known = self.tools.contains(&call.name);
                let is_due = match which {
                    Announce::All => true,
                    // Its arguments show that its name is complete; so does a call behind it.
                    Announce::Known => is_known && (call.is_sendable() || at + 1 < count),
                };
                if !is_due {
                    return;
                }
                self.announced = at + 1;
                if call.name.is_empty() && call.args.trim().is_empty() {
                    continue;
                }
                call.announced_id = match &call.id {
                    Some(id) if !announced_id.contains(id) => id.clone(),
                    Some(_) | None => format!("{MADE_UP}{:016x}", fastrand::u64(..)),
                };
                pieces.push_back(ReplyPiece::Call {
                    index: at,
                    name: call.name.clone(),
                    provider_id: Some(call.announced_id.clone()),
                });
            }
            let may_send = call.is_sendable() || which == Announce::All;
            if let Some(json) =
                call.args.get(call.sent..).filter(|json| may_send && !json.is_empty())
            {
                enqueue(pieces, ReplyPiece::Args { index: at, json: json.to_owned() });
                call.sent = call.args.len();
            }
        }
    }
}

/// Selects the calls to announce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Announce {
    Known,
    All,
}

impl PartialCall {
    fn append(&mut self, json: &str) {
        self.args.push_str(json);
        self.braces.read(json);
    }

    /// Appends a part of the arguments, which may repeat earlier parts.
    fn merge(&mut self, piece: &str) {
        if piece.is_empty() || (self.braces.whole && piece.trim() == self.args.trim()) {
            return;
        }
        // `{}` stands for arguments that are still to come.
        if self.sent == 0 && self.args.trim() == "{}" && piece.trim_start().starts_with('{') {
            self.args.clear();
            self.braces = BraceCounter::default();
        }
        // An object never continues with its own beginning, so this part repeats all arguments so
        // far.
        let more = match piece.strip_prefix(self.args.as_str()) {
            Some(more) if self.args.starts_with('{') => more,
            Some(_) | None => piece,
        };
        self.append(more);
    }

    /// Whether there are arguments to send. Arguments that are only `{}` may still be replaced.
    fn is_sendable(&self) -> bool {
        !matches!(self.args.trim(), "" | "{" | "{}")
    }

    /// Whether a part with another id begins another call. Some providers make up a new id for each
    /// part of one call.
    fn ends_before_new_id(&self, piece: &CallPiece<'_>) -> bool {
        piece.name.is_some() || self.braces.whole || self.name.is_empty()
    }
}

/// Joins parts of a name: a part may be the rest of it, all of it, or all of it once more.
fn merge_names(so_far: &str, piece: &str, is_known: impl Fn(&str) -> bool) -> String {
    let joined = format!("{so_far}{piece}");
    if so_far.is_empty() || piece.is_empty() {
        joined
    } else if piece == so_far {
        if !is_known(so_far) && is_known(&joined) { joined } else { so_far.to_owned() }
    } else if is_known(&joined) {
        joined
    } else if piece.starts_with(so_far) || is_known(piece) {
        piece.to_owned()
    } else if is_known(so_far) {
        so_far.to_owned()
    } else {
        joined
    }
}

/// Detects when a JSON object that arrives in parts is complete.
#[derive(Default)]
struct BraceCounter {
    depth: u32,
    string: StringState,
    whole: bool,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum StringState {
    #[default]
    Nothing,
    String,
    Escape,
}

impl BraceCounter {
    fn read(&mut self, json: &str) {
        for byte in json.bytes() {
            self.string = match (self.string, byte) {
                (StringState::Escape, _) => StringState::String,
                (StringState::String, b'\\') => StringState::Escape,
                (StringState::String, b'"') => StringState::Nothing,
                (StringState::String, _) => StringState::String,
                (StringState::Nothing, b'"') => StringState::String,
                (StringState::Nothing, b'{') => {
                    self.depth = self.depth.saturating_add(1);
                    StringState::Nothing
                }
                (StringState::Nothing, b'}') => {
                    self.depth = self.depth.saturating_sub(1);
                    self.whole |= self.depth == 0;
                    StringState::Nothing
                }
                (StringState::Nothing, _) => StringState::Nothing,
            };
        }
    }
}
