//! A round: one turn, and the moments at which the server is killed in it.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Mutex;

use rustix::process::{Pid, Signal, kill_process};
use thoughtwire_proto::Style;

/// A kind of moment of a turn at which the server is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum FaultPoint {
    /// A save of the store: before its first write.
    BeforeSave,
    /// A save of the store: behind its first write, so that its transaction is torn.
    InsideSave,
    /// A save of the store: everything is written, and not synced.
    SaveWritten,
    /// A save of the store: synced, and nobody has been told.
    SaveSynced,
    /// A client has read an event.
    EventRead,
    /// A client has read a delta.
    DeltaRead,
    /// The model was asked, and has not answered.
    ModelAsked,
    /// The model has sent another word of a text.
    WordSent,
    /// The model has sent its whole answer.
    ModelAnswered,
    /// A word that was sent after a checkpoint of the text was on disk.
    WordAfterCheckpoint,
    /// The model was asked for a summary, and has not answered.
    SummaryAsked,
    /// The model has sent its whole summary.
    SummaryAnswered,
    /// A tool was called, and has had no effect.
    ToolAsked,
    /// A tool has had its effect, and has not answered.
    ToolRan,
    /// A tool has answered.
    ToolAnswered,
    /// The owner was asked about a call, and has not answered.
    OwnerAsked,
    /// The owner has sent an answer about a call.
    OwnerAnswered,
}

impl FaultPoint {
    /// The moments of a save.
    pub(super) const SAVES: [Self; 4] =
        [Self::BeforeSave, Self::InsideSave, Self::SaveWritten, Self::SaveSynced];

    /// The moment's name in the library that kills the server in a save.
    pub(super) fn in_library(self) -> Option<&'static str> {
        let at = Self::SAVES.iter().position(|point| *point == self)?;
        Some(["before", "inside", "written", "synced"][at])
    }
}

/// The `n`th moment of a kind, from 1, since the round's beginning or the kill before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct KillAt(pub(super) FaultPoint, pub(super) usize);

/// An effect of a tool.
#[derive(Debug, Clone)]
pub(super) struct ReceivedEffect {
    pub(super) tool: String,
    /// The idempotency key in the request's header.
    pub(super) header: Option<String>,
    /// The idempotency key in the call's `_meta`.
    pub(super) meta: Option<String>,
}

/// One turn.
pub(super) struct KillRound {
    /// Stands in the input, so that model and tools know the round.
    pub(super) name: String,
    /// The agent's style.
    pub(super) style: Style,
    /// The server's data file.
    pub(super) data: PathBuf,
    state: Mutex<RoundState>,
}

#[derive(Default)]
struct RoundState {
    /// The kills that are still to come.
    kills: VecDeque<KillAt>,
    counts: BTreeMap<FaultPoint, usize>,
    /// The server's process, while it is alive.
    server: Option<Pid>,
    effects: Vec<ReceivedEffect>,
    /// Text of which a checkpoint was on disk when the server was killed.
    checkpointed: Option<String>,
}

impl KillRound {
    pub(super) fn new(number: usize, style: Style, data: PathBuf, kills: &[KillAt]) -> Self {
        let state = RoundState { kills: kills.iter().copied().collect(), ..RoundState::default() };
        Self { name: format!("round-{number}."), style, data, state: Mutex::new(state) }
    }

    /// Notes a moment, and kills the server if this is the one. Returns whether it did.
    pub(super) fn passes(&self, point: FaultPoint) -> bool {
        let mut state = self.state.lock().unwrap();
        let count = state.counts.entry(point).or_default();
        *count += 1;
        let here = KillAt(point, *count);
        let Some(server) = state.server.filter(|_| state.kills.front() == Some(&here)) else {
            return false;
        };
        // It may have ended by itself; then its reader says so.
        let _ended = kill_process(server, Signal::KILL);
        state.server = None;
        true
    }

    pub(super) fn set_server(&self, server: Pid) {
        self.state.lock().unwrap().server = Some(server);
    }

    /// The server's process, unless it was killed here.
    pub(super) fn server(&self) -> Option<Pid> {
        self.state.lock().unwrap().server
    }

    /// The next kill.
    pub(super) fn next_kill(&self) -> Option<KillAt> {
        self.state.lock().unwrap().kills.front().copied()
    }

    /// Takes the kill that has just happened.
    ///
    /// # Panics
    /// If the server ended by itself.
    pub(super) fn take_kill(&self) -> KillAt {
        let mut state = self.state.lock().unwrap();
        let kill = state.kills.pop_front().expect("the server ended by itself");
        let in_save = kill.0.in_library().is_some();
        assert!(in_save || state.server.is_none(), "the server ended by itself before {kill:?}");
        state.server = None;
        state.counts.clear();
        kill
    }

    pub(super) fn counts(&self) -> BTreeMap<FaultPoint, usize> {
        self.state.lock().unwrap().counts.clone()
    }

    pub(super) fn receive(&self, effect: ReceivedEffect) {
        self.state.lock().unwrap().effects.push(effect);
    }

    pub(super) fn effects_of(&self, tool: &str) -> Vec<ReceivedEffect> {
        let state = self.state.lock().unwrap();
        state.effects.iter().filter(|effect| effect.tool == tool).cloned().collect()
    }

    pub(super) fn set_checkpointed(&self, text: String) {
        self.state.lock().unwrap().checkpointed = Some(text);
    }

    pub(super) fn checkpointed(&self) -> Option<String> {
        self.state.lock().unwrap().checkpointed.clone()
    }
}
