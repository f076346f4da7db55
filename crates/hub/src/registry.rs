//! The registry of live sessions: finds or starts the task of a session, and delivers mail to it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use thoughtwire_proto::{Refusal, RefusalCode, SessionId, Start, UserId};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout};

use crate::clients::Clients;
use crate::cluster::{FollowEnd, FollowedSession};
use crate::services::Services;
use crate::session::{
    AttachRequest, LiveEnd, MAILBOX, MailUser, NotLoaded, SessionDriver, SessionMail,
};
use crate::store_wait::{StoreWait, WaitEnd};
use crate::tail::Tail;

/// Pause after the first attempt to reach the owner of a session. Each later one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// Longest pause: each attempt of each session is a statement in the database.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// Time for which callers wait. An owner that is dead is declared so within that time.
const OWNER_PATIENCE: Duration = Duration::from_secs(10);

/// The sessions that are in memory.
pub(crate) struct SessionRegistry {
    services: Arc<Services>,
    live: Mutex<HashMap<SessionId, mpsc::Sender<SessionMail>>>,
    /// Number of nodes that are known to have gone.
    gone: watch::Sender<u64>,
}

impl SessionRegistry {
    pub(crate) fn new(services: Arc<Services>) -> Self {
        Self { services, live: Mutex::default(), gone: watch::Sender::new(0) }
    }

    /// Number of live sessions.
    pub(crate) fn len(&self) -> usize {
        self.live.lock().len()
    }

    /// The live sessions.
    pub(crate) fn live(&self) -> Vec<SessionId> {
        self.live.lock().keys().cloned().collect()
    }

    /// Delivers mail to a session, and starts its task if need be. When this returns, the mail's
    /// place in the session's order is taken.
    pub(crate) async fn deliver(self: &Arc<Self>, session: &SessionId, mut mail: SessionMail) {
        loop {
            let mailbox = self.wake(session);
            match mailbox.send(mail).await {
                Ok(()) => return,
                // The task ended between the lookup and the delivery: look again.
                Err(mpsc::error::SendError(back)) => {
                    mail = back;
                    let mut live = self.live.lock();
                    if live.get(session).is_some_and(mpsc::Sender::is_closed) {
                        live.remove(session);
                    }
                }
            }
        }
    }

    /// Starts a session's task, unless it runs. Returns the session's mailbox.
    pub(crate) fn wake(self: &Arc<Self>, session: &SessionId) -> mpsc::Sender<SessionMail> {
        match self.live.lock().entry(session.clone()) {
            Entry::Occupied(entry) => entry.get().clone(),
            Entry::Vacant(entry) => {
                let (sender, mailbox) = mpsc::channel(MAILBOX);
                entry.insert(sender.clone());
                let registry = Arc::clone(self);
                self.services.tasks.spawn(registry.run(session.clone(), mailbox));
                sender
            }
        }
    }

    /// Delivers mail to those of these sessions that are live; the others read what changed when
    /// they are loaded.
    pub(crate) async fn deliver_live(
        &self,
        sessions: &[SessionId],
        mail: impl Fn() -> SessionMail,
    ) {
        let live: Vec<_> = {
            let live = self.live.lock();
            sessions.iter().filter_map(|session| live.get(session).cloned()).collect()
        };
        for mailbox in live {
            // A mailbox that is closed belongs to a task that ends anyway.
            drop(mailbox.send(mail()).await);
        }
    }

    /// Tells sessions that a node is gone, given by its URL: those that follow it, and those that
    /// wait for any owner. Without a URL it may be any node.
    pub(crate) async fn note_gone(&self, url: Option<&str>) {
        self.gone.send_modify(|gone| *gone += 1);
        let mail = || SessionMail::NodeGone(url.map(str::to_owned));
        self.deliver_live(&self.live(), mail).await;
    }

    /// Tells all live sessions that the server stops.
    pub(crate) async fn stop(&self, deadline: Instant) {
        let live: Vec<_> = self.live.lock().values().cloned().collect();
        for mailbox in live {
            // A mailbox that is closed belongs to a task that ends anyway.
            drop(mailbox.send(SessionMail::Stop { deadline }).await);
        }
    }

    /// Registered clients of a session.
    pub(crate) fn clients(self: &Arc<Self>, user: &UserId, session: &SessionId) -> Arc<Clients> {
        let (registry, user, session) = (Arc::downgrade(self), user.clone(), session.clone());
        Clients::new(Box::new(move |reader| {
            let (registry, caller) = (registry.clone(), MailUser::here(&user));
            let session = session.clone();
            Box::pin(async move {
                let gone = || Refusal::new(RefusalCode::Stopping, "the hub has stopped");
                let registry = registry.upgrade().ok_or_else(gone)?;
                let (reply, answer) = oneshot::channel();
                let request = AttachRequest { start: Start::Head, reader, reply };
                registry.deliver(&session, SessionMail::Attach { caller, request }).await;
                answer.await.map_err(|_| gone())?.map(|(_, subscription)| subscription)
            })
        }))
    }

    /// Loads a session and runs it until it ends, or follows it while another node has it. Refuses
    /// mail of a session that does not exist.
    async fn run(self: Arc<Self>, session: SessionId, mut mailbox: mpsc::Receiver<SessionMail>) {
        let clients = |user: &UserId| self.clients(user, &session);
        let retire = |mailbox: &mut mpsc::Receiver<SessionMail>| self.retire(&session, mailbox);
        // The tail of a followed session, for whoever has the session next.
        let mut tail: Option<Arc<Tail>> = None;
        // Clients that waited to attach there.
        let mut attaching: Vec<AttachRequest> = Vec::new();
        let mut waiting: Option<WaitingForOwner> = None;
        let mut store_wait: Option<StoreWait> = None;
        let mut gone = self.gone.subscribe();
        loop {
            gone.mark_unchanged();
            let loaded = SessionDriver::load(&self.services, &session, clients, tail.clone()).await;
            let refusal = match loaded {
                Ok(mut driver) => {
                    drop(store_wait.take());
                    attaching.drain(..).for_each(|request| driver.attach(request));
                    let end = driver.run(&mut mailbox, retire).await;
                    if end != LiveEnd::StoreLost {
                        driver.close(end);
                        if end != LiveEnd::Idle {
                            self.forget(&session, &mut mailbox);
                        }
                        break;
                    }
                    let lost = driver.into_lost();
                    let wait = StoreWait::begin(&lost.tail, Some(lost.user));
                    tail = Some(lost.tail);
                    match wait.refuse_until(lost.settled, &mut mailbox).await {
                        WaitEnd::Due => {
                            store_wait = Some(wait);
                            continue;
                        }
                        WaitEnd::Stopped => stopping(),
                    }
                }
                // Woken for its work only, which its owner does.
                Err(NotLoaded::Elsewhere(_)) if tail.is_none() && mailbox.is_empty() => {
                    self.forget(&session, &mut mailbox);
                    break;
                }
                Err(NotLoaded::Elsewhere(_)) if self.services.stopping().is_some() => stopping(),
                Err(NotLoaded::Elsewhere(url)) => {
                    let (services, url) = (&self.services, url.as_deref());
                    let can_follow = url.is_some() && services.options.nodes.is_some();
                    let open = FollowedSession::open(services, &session, url, tail.clone());
                    let opened = tokio::select! {
                        opened = open => opened,
                        // It may be this one, which then answers late or not at all.
                        Ok(()) = gone.changed() => continue,
                    };
                    match opened {
                        Ok(mut followed) => {
                            drop(store_wait.take());
                            attaching.drain(..).for_each(|request| followed.attach(request));
                            match followed.run(&mut mailbox, retire).await {
                                FollowEnd::Idle => break,
                                FollowEnd::Over => {
                                    self.forget(&session, &mut mailbox);
                                    break;
                                }
                                FollowEnd::Moved => {
                                    waiting = None;
                                    let (its_tail, clients) = followed.into_parts().await;
                                    (tail, attaching) = (Some(its_tail), clients);
                                    continue;
                                }
                            }
                        }
                        // Its clients wait until its owner answers, or is declared dead.
                        Err(refusal) if refusal.code == RefusalCode::Moved && can_follow => {
                            let waiting = waiting.get_or_insert_default();
                            if waiting.since.elapsed() >= OWNER_PATIENCE {
                                attaching
                                    .drain(..)
                                    .for_each(|request| request.refuse(refusal.clone()));
                                while let Ok(mail) = mailbox.try_recv() {
                                    mail.refuse(refusal.clone());
                                }
                            }
                            drop(timeout(waiting.pause(), gone.changed()).await);
                            continue;
                        }
                        Err(refusal) => match &tail {
                            Some(tail) if refusal.code == RefusalCode::StoreFailed => {
                                let wait =
                                    store_wait.get_or_insert_with(|| StoreWait::begin(tail, None));
                                match wait.pause(&mut mailbox).await {
                                    WaitEnd::Due => continue,
                                    WaitEnd::Stopped => stopping(),
                                }
                            }
                            Some(_) | None => refusal,
                        },
                    }
                }
                // The next owner goes on with it.
                Err(NotLoaded::StoreLost(_)) if self.services.stopping().is_some() => stopping(),
                Err(NotLoaded::StoreLost(refusal)) => match &tail {
                    Some(tail) => {
                        let wait = store_wait.get_or_insert_with(|| StoreWait::begin(tail, None));
                        match wait.pause(&mut mailbox).await {
                            WaitEnd::Due => continue,
                            WaitEnd::Stopped => stopping(),
                        }
                    }
                    None => refusal,
                },
                Err(NotLoaded::Refused(refusal)) => refusal,
            };
            self.forget(&session, &mut mailbox);
            attaching.drain(..).for_each(|request| request.refuse(refusal.clone()));
            if let Some(tail) = tail {
                tail.close(&refusal.reason);
            }
            while let Ok(mail) = mailbox.try_recv() {
                mail.refuse(refusal.clone());
            }
            return;
        }
        // Mail that met this mailbox just before it closed goes to the next task, if there is one.
        while let Ok(mail) = mailbox.try_recv() {
            match self.services.stopping() {
                Some(_) => mail.refuse(stopping()),
                None => self.deliver(&session, mail).await,
            }
        }
    }

    /// Takes a session out of the registry, unless mail has come meanwhile.
    fn retire(&self, session: &SessionId, mailbox: &mut mpsc::Receiver<SessionMail>) -> bool {
        let mut live = self.live.lock();
        if !mailbox.is_empty() {
            return false;
        }
        live.remove(session);
        mailbox.close();
        true
    }

    /// Takes a session out of the registry, whatever mail has come.
    fn forget(&self, session: &SessionId, mailbox: &mut mpsc::Receiver<SessionMail>) {
        let mut live = self.live.lock();
        live.remove(session);
        mailbox.close();
    }
}

/// Attempts to reach a session's owner.
struct WaitingForOwner {
    since: Instant,
    /// The next pause.
    pause: Duration,
}

impl Default for WaitingForOwner {
    fn default() -> Self {
        Self { since: Instant::now(), pause: FIRST_PAUSE }
    }
}

impl WaitingForOwner {
    fn pause(&mut self) -> Duration {
        let next = (self.pause * 2).min(LONGEST_PAUSE);
        std::mem::replace(&mut self.pause, next)
    }
}

fn stopping() -> Refusal {
    Refusal::new(RefusalCode::Stopping, "the server is stopping; ask again when it is back")
}
