//! A session that waits for its store: its clients stay, its commands are refused.

use std::sync::Arc;
use std::time::Duration;

use thoughtwire_proto::{Emission, Refusal, RefusalCode, UserId};
use thoughtwire_session::unknown_session;
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::session::SessionMail;
use crate::tail::Tail;

/// Pause before the session is loaded again for the first time. Each later one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Longest pause. While the store is away, each session asks for it once in this time.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Status that clients are shown meanwhile.
const STATUS: &str = "the database cannot be reached; this goes on when it is back";

/// Wait of one session for its store.
pub(crate) struct StoreWait {
    tail: Arc<Tail>,
    /// The session's owner, where it is known: others are told of no session.
    user: Option<UserId>,
    pause: Duration,
}

/// Why a part of the wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WaitEnd {
    /// It is time to look at the store again.
    Due,
    /// The server stops.
    Stopped,
}

impl StoreWait {
    /// Begins to wait, and tells the clients. New ones are told as well.
    pub(crate) fn begin(tail: &Arc<Tail>, user: Option<UserId>) -> Self {
        tail.publish([Emission::Status { turn: None, text: STATUS.to_owned() }]);
        tail.stands(Some(STATUS.to_owned()));
        Self { tail: Arc::clone(tail), user, pause: FIRST_PAUSE }
    }

    /// Waits for a pause, behind which it is time to look at the store again.
    pub(crate) async fn pause(&mut self, mailbox: &mut mpsc::Receiver<SessionMail>) -> WaitEnd {
        let pause = sleep(self.pause);
        self.pause = (2 * self.pause).min(LONGEST_PAUSE);
        self.refuse_until(pause, mailbox).await
    }

    /// Refuses what comes until a future resolves.
    pub(crate) async fn refuse_until(
        &self,
        due: impl Future<Output = ()>,
        mailbox: &mut mpsc::Receiver<SessionMail>,
    ) -> WaitEnd {
        tokio::pin!(due);
        loop {
            tokio::select! {
                biased;
                () = &mut due => return WaitEnd::Due,
                mail = mailbox.recv() => match mail {
                    Some(SessionMail::Stop { .. }) | None => return WaitEnd::Stopped,
                    Some(mail) => self.refuse(mail),
                },
            }
        }
    }

    fn refuse(&self, mail: SessionMail) {
        let is_owners =
            self.user.is_none() || mail.user().is_none_or(|user| Some(user) == self.user.as_ref());
        mail.refuse(if is_owners { store_is_away() } else { unknown_session(self.tail.session()) });
    }
}

impl Drop for StoreWait {
    fn drop(&mut self) {
        self.tail.stands(None);
    }
}

/// The refusal of whatever needs the store.
pub(crate) fn store_is_away() -> Refusal {
    let reason = "the database cannot be reached, so nothing was read or saved; try again later";
    Refusal::new(RefusalCode::StoreFailed, reason)
}
