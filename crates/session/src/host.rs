//! The driver's side of the core: its types, fresh ids and permits to run turns.

use thoughtwire_proto::{ItemId, TurnId};

pub(crate) type SeqReply<H> = <<H as SessionHost>::Messages as AgentSenders>::SeqSender;
pub(crate) type FinishReply<H> = <<H as SessionHost>::Messages as AgentSenders>::FinishSender;
pub(crate) type SteeredReply<H> = <<H as SessionHost>::Messages as AgentSenders>::SteeredSender;
pub(crate) type WaitReply<H> = <<H as SessionHost>::Messages as AgentSenders>::CallSender;
pub(crate) type Extras<H> = <<H as SessionHost>::Messages as AgentSenders>::EventExtras;

/// Types of the messages between a turn's agent and the core.
pub trait AgentSenders {
    /// Sender of the position of an agent's events.
    type SeqSender;
    /// Sender of the outcome of a turn's end.
    type FinishSender;
    /// Sender of the inputs that joined a turn.
    type SteeredSender;
    /// Sender of the reply to a call that waits.
    type CallSender;
    /// Data that is committed together with events.
    type EventExtras: Default;
}

/// Types and services that the driver brings.
///
/// The core stores the senders and the extras, hands each back in exactly one effect or drops it,
/// and never looks into them.
pub trait SessionHost {
    /// Types of the agent's messages.
    type Messages: AgentSenders;
    /// Sender of the reply to a command.
    type CommandSender;
    /// Sender of the interface of an embedder's turn.
    type BeginSender;
    /// Permit of a worker to run a turn.
    type TurnPermit;

    /// Makes a fresh turn id.
    fn new_turn_id(&mut self) -> TurnId;

    /// Makes a fresh item id.
    fn new_item_id(&mut self) -> ItemId;

    /// Whether the agent's settings let an interrupted turn go on. Otherwise it ends.
    fn resumes_interrupted(&self) -> bool;

    /// Whether workers run the session's agent, so that a turn needs a permit.
    fn needs_permit(&self) -> bool;

    /// Takes a permit for the session's next turn, or queues a claim for one. After
    /// [`Admission::Wait`], the driver handles [`SessionInput::PermitGiven`] once the claim is
    /// served.
    ///
    /// [`SessionInput::PermitGiven`]: crate::SessionInput::PermitGiven
    fn admit(&mut self) -> Admission<Self::TurnPermit>;

    /// Takes the running turn's permit for the session's next turn, if the rule allows it. Queues
    /// no claim.
    fn hand_over(&mut self, rule: HandOver) -> Admission<Self::TurnPermit>;

    /// Drops the queued claim, since no input waits.
    fn release_claim(&mut self);

    /// Status line for clients if a worker has to run the next turn and none is connected.
    fn absence(&self) -> Option<String>;
}

/// The host's answer to a turn that wants to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission<P> {
    /// The turn needs no permit.
    Open,
    /// The turn's permit.
    Permit(P),
    /// No permit is free.
    Wait,
}

impl<P> Admission<P> {
    /// The permit, or `None` if none is needed; an error if the turn has to wait.
    pub(crate) fn granted(self) -> Result<Option<P>, NotAdmitted> {
        match self {
            Self::Open => Ok(None),
            Self::Permit(permit) => Ok(Some(permit)),
            Self::Wait => Err(NotAdmitted),
        }
    }
}

/// The turn has to wait for a permit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotAdmitted;

/// When the running turn's permit may serve the session's next turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandOver {
    /// While its worker is connected and within its limit.
    IfKept,
    /// Like `IfKept`, and only if no other session waits for a permit.
    IfUnwanted,
}
