//! Retention: logs lose their oldest turns where somebody said how much is kept.

use thoughtwire_proto::{Refusal, RefusalCode, Seq, SessionId, UserId};
use thoughtwire_store::{Overlong, Retention};
use tokio::sync::oneshot;

use crate::Hub;
use crate::session::What;
use crate::session::unknown_session;

impl Hub {
    /// Says how much of a session's log is kept; where that says nothing, its agent's settings count.
    /// What is too much goes with the next [`Hub::sweep`].
    ///
    /// # Errors
    /// When there is no such session of this user, a number is 0, or nothing can be saved.
    pub async fn keep(
        &self,
        user: &UserId,
        session: &SessionId,
        keep: Retention,
    ) -> Result<(), Refusal> {
        check(keep)?;
        let found = self.store().directory().session(session).await?;
        if found.is_none_or(|stored| stored.user != *user) {
            return Err(unknown_session(session));
        }
        Ok(self.store().upkeep().set_retention(session, keep).await?)
    }

    /// Deletes what is older or more than what is kept, also from what searches find. Turns go as a
    /// whole; what a running turn or a waiting input stands on stays. Gives the number of logs that became shorter.
    ///
    /// # Errors
    /// When the store fails; what was to go then goes with the next sweep.
    pub async fn sweep(&self) -> Result<usize, Refusal> {
        self.erase().await?;
        let (now, clocks) = {
            let mut calendar = self.shared.calendar.lock();
            (calendar.look(self.shared.now()), calendar.saved())
        };
        // Nobody waits for it: what is not saved is looked at again after the next start.
        let upkeep = self.store().upkeep();
        drop(upkeep.set_clocks(clocks));
        let overlong = upkeep.overlong(now).await?;
        let mut shortened = 0;
        for Overlong { session, through } in overlong {
            let (reply, answer) = oneshot::channel();
            self.shared.deliver_own(&session, What::Shorten { through, reply }).await;
            // A session that was deleted meanwhile has nothing to lose.
            shortened += usize::from(
                answer.await.is_ok_and(|outcome| outcome.is_ok_and(|is_shorter| is_shorter)),
            );
            while upkeep.erase_trimmed(&session).await? {}
        }
        Ok(shortened)
    }

    /// Takes what was deleted out of the file, a little at a time, so that others' writes come in between.
    async fn erase(&self) -> Result<(), Refusal> {
        // Together they would have others wait for all of them at once.
        let _turn = self.shared.erasing.lock().await;
        // What is left when the server stops goes when it is started again.
        while self.shared.stopping().is_none() && self.store().upkeep().erase_deleted().await? {}
        Ok(())
    }

    /// Erases behind a deletion, which is done already for everybody who looks.
    pub(crate) fn erase_deleted(&self) {
        let hub = self.clone();
        self.shared.tasks.spawn(async move {
            if let Err(refusal) = hub.erase().await {
                tracing::warn!(%refusal, "what was deleted could not be taken out of the file; the next sweep tries again");
            }
        });
    }
}

/// Checks how much of a log is to be kept.
///
/// # Errors
/// When a number is 0, or larger than the store's.
pub fn check(keep: Retention) -> Result<(), Refusal> {
    let refused = |reason| Err(Refusal::new(RefusalCode::BadRequest, reason));
    if keep.days == Some(0) || keep.events == Some(0) {
        return refused("keep_days and keep_events are at least 1; absent, everything is kept");
    }
    // The store's numbers have a sign, and one that it cannot read would stop every sweep.
    if keep.events.is_some_and(|events| i64::try_from(events).is_err()) {
        return refused("keep_events is at most 9223372036854775807");
    }
    Ok(())
}

/// Where a log may be cut: not within what a position and those behind it stand on.
pub(crate) fn cut_before(needed: impl Iterator<Item = Seq>, through: Seq) -> Seq {
    needed.map(|seq| Seq(seq.0.saturating_sub(1))).fold(through, Seq::min)
}
