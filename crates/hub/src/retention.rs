//! Retention: logs with a limit lose their oldest turns.

use std::sync::Arc;
use std::time::Duration;

use thoughtwire_proto::{Refusal, RefusalCode, SessionCommand, SessionId, UserId};
use thoughtwire_session::unknown_session;
use thoughtwire_store::{Overlong, Retention, Store};
use tokio::sync::oneshot;

use crate::Hub;
use crate::registry::SessionRegistry;
use crate::retention_limits;
use crate::session::SessionMail;

/// Time for which one sweep counts for all nodes. Each node tries every ten minutes.
const SWEPT_FOR: Duration = Duration::from_secs(300);

impl Hub {
    /// Sets how much of a session's log is kept. Without a limit the agent's settings count. The
    /// next [`Hub::sweep`] deletes the rest.
    ///
    /// # Errors
    /// When there is no such session of this user, a number is 0, or nothing can be saved.
    pub async fn keep(
        &self,
        user: &UserId,
        session: &SessionId,
        keep: Retention,
    ) -> Result<(), Refusal> {
        retention_limits::check(keep)?;
        let found = self.store().directory().session(session).await?;
        if found.is_none_or(|stored| stored.user != *user) {
            return Err(unknown_session(session));
        }
        Ok(self.store().upkeep().set_retention(session, keep).await?)
    }

    /// Deletes turns beyond the limits, also from search. Deletes whole turns only. Keeps
    /// everything that a running turn or a queued input needs. Returns the number of logs from
    /// which it deleted events.
    ///
    /// # Errors
    /// When the store fails. The next sweep tries again.
    pub async fn sweep(&self) -> Result<usize, Refusal> {
        self.shared.erase().await?;
        let (now, clocks) = {
            let mut calendar = self.state.calendar.lock();
            (calendar.look(self.shared.now()), calendar.saved())
        };
        // Nothing waits for this: a calendar that is not saved is opened as it was before.
        let upkeep = self.store().upkeep();
        drop(upkeep.set_clocks(clocks));
        let overlong = upkeep.overlong(now).await?;
        let mut shortened = 0;
        for one in overlong {
            if one.is_elsewhere {
                self.store().changes().announce_overlong(one);
            } else {
                shortened += usize::from(shorten(self.store(), &self.sessions, one).await?);
            }
        }
        Ok(shortened)
    }

    /// Deletes sessions that had no new record for as long as they are kept without one. Returns
    /// their number.
    ///
    /// # Errors
    /// When the store fails. The next time tries again.
    pub async fn delete_idle(&self) -> Result<usize, Refusal> {
        let idle = self.store().upkeep().idle(self.shared.now()).await?;
        let mut deleted = 0;
        for (user, session) in idle {
            match self.execute(&user, None, None, session, SessionCommand::Delete).await {
                Ok(_) => deleted += 1,
                // Its user or another node was faster.
                Err(refusal) if refusal.code == RefusalCode::UnknownSession => {}
                Err(refusal) => return Err(refusal),
            }
        }
        Ok(deleted)
    }

    /// Whether this node is to sweep now: true unless another node has swept, or does it now.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn claims_sweep(&self) -> Result<bool, Refusal> {
        Ok(self.store().upkeep().claim("sweep", SWEPT_FOR).await?)
    }
}

/// Lets a log lose its oldest turns. Tells whether it became shorter.
pub(crate) async fn shorten(
    store: &Store,
    sessions: &Arc<SessionRegistry>,
    overlong: Overlong,
) -> Result<bool, Refusal> {
    let Overlong { session, through, .. } = overlong;
    let (reply, answer) = oneshot::channel();
    sessions.deliver(&session, SessionMail::Shorten { through, reply }).await;
    // A session that was deleted meanwhile has nothing to lose.
    let is_shorter = answer.await.is_ok_and(|outcome| outcome.is_ok_and(|is_shorter| is_shorter));
    while store.upkeep().erase_trimmed(&session).await? {}
    Ok(is_shorter)
}
