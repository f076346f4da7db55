//! The core's host: reply senders, fresh ids, and permits of workers.

use std::sync::Arc;

use thoughtwire_proto::{AgentProfile, ItemId, OnCrash, Refusal, SessionId, SessionReply, TurnId};
use thoughtwire_session::{Admission, CoreReply, HandOver, SessionHost};
use tokio::sync::oneshot;

use crate::clock::new_id;
use crate::interface::Interface;
use crate::turn_message::AgentReplies;
use crate::workers::{
    OfferRegistry, PermitCell, WorkerChoice, WorkerPermit, is_offered, no_worker_status,
};

/// The host of one session's core.
pub(crate) struct DriverHost {
    workers: Arc<OfferRegistry>,
    session: SessionId,
    profile: Arc<AgentProfile>,
    claim: PermitClaim,
    /// The running turn's permit, which the worker pool may replace.
    running: PermitCell,
}

/// The session's claim for a permit.
#[derive(Default)]
enum PermitClaim {
    #[default]
    None,
    Waiting(oneshot::Receiver<WorkerPermit>),
    Given(WorkerPermit),
}

impl DriverHost {
    pub(crate) fn new(
        workers: Arc<OfferRegistry>,
        session: SessionId,
        profile: Arc<AgentProfile>,
    ) -> Self {
        let (claim, running) = (PermitClaim::default(), PermitCell::default());
        Self { workers, session, profile, claim, running }
    }

    /// The session's agent.
    pub(crate) fn profile(&self) -> &Arc<AgentProfile> {
        &self.profile
    }

    pub(crate) fn set_profile(&mut self, profile: Arc<AgentProfile>) {
        self.profile = profile;
    }

    /// Takes over the permit of a turn that starts, in a cell that the worker pool shares.
    pub(crate) fn turn_started(&mut self, permit: Option<WorkerPermit>) -> PermitCell {
        self.running = Arc::new(permit.into());
        Arc::clone(&self.running)
    }

    /// Lets go of the running turn's permit.
    pub(crate) fn turn_dropped(&mut self) {
        self.running = PermitCell::default();
    }

    /// Resolves when a claimed permit is given. Safe to drop and call again.
    pub(crate) async fn permit_given(&mut self) {
        match &mut self.claim {
            PermitClaim::Waiting(claim) => {
                self.claim = claim.await.map_or(PermitClaim::None, PermitClaim::Given);
            }
            PermitClaim::None | PermitClaim::Given(_) => std::future::pending().await,
        }
    }
}

impl SessionHost for DriverHost {
    type Messages = AgentReplies;
    type CommandSender = oneshot::Sender<Result<SessionReply, Refusal>>;
    type BeginSender = oneshot::Sender<Result<Interface, Refusal>>;
    type TurnPermit = WorkerPermit;

    fn new_turn_id(&mut self) -> TurnId {
        new_id()
    }

    fn new_item_id(&mut self) -> ItemId {
        new_id()
    }

    fn resumes_interrupted(&self) -> bool {
        self.profile.spec.settings.on_crash.unwrap_or_default() == OnCrash::Resume
    }

    fn needs_permit(&self) -> bool {
        is_offered(&self.profile)
    }

    fn admit(&mut self) -> Admission<WorkerPermit> {
        let claim = std::mem::take(&mut self.claim);
        if !self.needs_permit() {
            return Admission::Open;
        }
        let mut claim = match claim {
            PermitClaim::Given(permit) => return Admission::Permit(permit),
            PermitClaim::Waiting(claim) => claim,
            PermitClaim::None => {
                let (agent, takers) = (&self.profile.id, WorkerChoice::Any);
                self.workers.request_permit(agent, &self.session, None, takers)
            }
        };
        match claim.try_recv() {
            Ok(permit) => return Admission::Permit(permit),
            Err(oneshot::error::TryRecvError::Empty) => self.claim = PermitClaim::Waiting(claim),
            Err(oneshot::error::TryRecvError::Closed) => {}
        }
        Admission::Wait
    }

    fn hand_over(&mut self, rule: HandOver) -> Admission<WorkerPermit> {
        if !self.needs_permit() {
            return Admission::Open;
        }
        let is_free = |permit: &mut WorkerPermit| match rule {
            HandOver::IfKept => permit.is_kept(),
            HandOver::IfUnwanted => permit.is_kept() && !permit.is_wanted(),
        };
        let permit = self.running.lock().take_if(is_free);
        permit.map_or(Admission::Wait, Admission::Permit)
    }

    fn release_claim(&mut self) {
        self.claim = PermitClaim::None;
    }

    fn absence(&self) -> Option<String> {
        (self.needs_permit() && self.workers.is_deserted(&self.profile.id))
            .then(|| no_worker_status(&self.profile))
    }
}

/// Sends a reply. A caller that left needs none.
pub(crate) fn reply(reply: CoreReply<DriverHost>) {
    match reply {
        CoreReply::Command(sender, result) => drop(sender.send(result)),
        CoreReply::Seq(sender, result) => drop(sender.send(result)),
        CoreReply::Finish(sender, result) => drop(sender.send(result)),
        CoreReply::Steered(sender, inputs) => drop(sender.send(inputs)),
        // Dropping the sender tells the agent that the turn has ended.
        CoreReply::Call(sender, result) => drop(result.map(|result| sender.send(result))),
        CoreReply::BeginRefused(sender, refusal) => drop(sender.send(Err(refusal))),
    }
}
