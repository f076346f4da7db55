//! Agents that wait for open calls to be settled.

use thoughtwire_proto::CallId;

use crate::host::WaitReply;
use crate::{CallReply, SessionHost};

/// The waiters of the running turn's open calls.
///
/// `State` knows which calls wait, for what and until when. This list adds only who listens, and
/// replies that came before anybody did: after a restart a question stands before its agent
/// listens.
pub(crate) struct CallWaiters<H: SessionHost>(Vec<CallWaiter<H>>);

struct CallWaiter<H: SessionHost> {
    call: CallId,
    sender: Option<WaitReply<H>>,
    /// A committed reply for which nobody has listened yet.
    reply: Option<CallReply>,
}

/// Result of [`CallWaiters::listen`].
pub(crate) enum Listened<H: SessionHost> {
    /// The sender waits now. Carries the sender that waited before, which gets no reply.
    Waits(Option<WaitReply<H>>),
    /// The reply was there already.
    Replied(WaitReply<H>, CallReply),
    /// The call is not in the list.
    Unknown(WaitReply<H>),
}

impl<H: SessionHost> Default for CallWaiters<H> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<H: SessionHost> CallWaiters<H> {
    /// Listens for a call that is in the list.
    pub(crate) fn listen(&mut self, call: &CallId, sender: WaitReply<H>) -> Listened<H> {
        let Some(at) = self.position(call) else { return Listened::Unknown(sender) };
        if let Some(waiting) = self.0.get_mut(at)
            && waiting.reply.is_none()
        {
            return Listened::Waits(waiting.sender.replace(sender));
        }
        match self.0.swap_remove(at).reply {
            Some(reply) => Listened::Replied(sender, reply),
            None => Listened::Unknown(sender),
        }
    }

    /// Listens for a call that is not in the list yet.
    pub(crate) fn add(&mut self, call: CallId, sender: Option<WaitReply<H>>) {
        self.0.push(CallWaiter { call, sender, reply: None });
    }

    /// Notes that a call is settled and on its way to the disk: whoever listens from now on gets
    /// that reply, and asks nothing again.
    pub(crate) fn settling(&mut self, call: &CallId) {
        if self.position(call).is_none() {
            self.add(call.clone(), None);
        }
    }

    /// The committed reply of a call. Returns the sender if somebody listens; keeps the reply if
    /// not.
    pub(crate) fn settled(
        &mut self,
        call: &CallId,
        reply: CallReply,
    ) -> Option<(WaitReply<H>, CallReply)> {
        let at = self.position(call)?;
        if let Some(waiting) = self.0.get_mut(at)
            && waiting.sender.is_none()
        {
            waiting.reply = Some(reply);
            return None;
        }
        self.0.swap_remove(at).sender.map(|sender| (sender, reply))
    }

    /// Empties the list. Returns the senders, for which the turn has ended.
    pub(crate) fn clear(&mut self) -> Vec<WaitReply<H>> {
        self.0.drain(..).filter_map(|waiting| waiting.sender).collect()
    }

    fn position(&self, call: &CallId) -> Option<usize> {
        self.0.iter().position(|waiting| waiting.call == *call)
    }
}
