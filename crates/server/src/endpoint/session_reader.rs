//! A session's emissions, as one request reads them.

use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use thoughtwire_hub::{Hub, Presence, Read, Subscription, TailEntry, WakeSignal};
use thoughtwire_proto::{
    Cursor, Refusal, RefusalCode, Seq, SessionId, Start, ToolDeclaration, UserId,
};
use tokio::sync::Notify;

use crate::access::{Identity, unauthorized};

/// A request's cursor in a session. It counts as one of the session's clients while it lives.
pub(crate) struct SessionReader {
    subscription: Subscription,
    wake: WakeSignal,
    ready: std::vec::IntoIter<Arc<TailEntry>>,
    /// Resolves when the caller may read no more.
    ended: BoxFuture<'static, &'static str>,
    /// Head of the log when the reader attached.
    head: Seq,
    /// Position behind which it began.
    after: Seq,
}

impl SessionReader {
    /// Attaches to a session. Without `after`, begins at its head. The caller runs `tools` while
    /// the reader lives.
    ///
    /// # Errors
    /// When there is no such session of the caller, a tool's name is wrong, or the store cannot be
    /// read.
    pub(crate) async fn attach(
        hub: &Hub,
        caller: &Identity,
        session: &SessionId,
        after: Option<Seq>,
        tools: Vec<ToolDeclaration>,
    ) -> Result<Self, Refusal> {
        let wake: WakeSignal = Arc::new(Notify::new());
        let start = after.map_or(Start::Head, |seq| Start::After(Cursor { epoch: None, seq }));
        let user: &UserId = &caller.user;
        let presence = Presence::Client { tools };
        let (attached, subscription) =
            hub.attach(user, session, start, Arc::clone(&wake), presence).await?;
        Ok(Self {
            subscription,
            wake,
            ready: Vec::new().into_iter(),
            ended: caller.ended(),
            head: attached.head,
            after: attached.after,
        })
    }

    pub(crate) fn session(&self) -> &SessionId {
        self.subscription.session()
    }

    /// Head of the log when the reader attached.
    pub(crate) fn head(&self) -> Seq {
        self.head
    }

    /// Position behind which the reader began: later than was asked for if retention has deleted
    /// the records that follow the requested position.
    pub(crate) fn after(&self) -> Seq {
        self.after
    }

    /// The next entry that is there already; `None` if there is none at the moment.
    ///
    /// # Errors
    /// When the caller may read no more, the session ends, or its log cannot be read.
    pub(crate) async fn next_ready(&mut self) -> Result<Option<Arc<TailEntry>>, Refusal> {
        loop {
            if let Some(reason) = (&mut self.ended).now_or_never() {
                return Err(unauthorized(reason));
            }
            if let Some(entry) = self.ready.next() {
                return Ok(Some(entry));
            }
            if !self.subscription.has_news() {
                return Ok(None);
            }
            match self.subscription.next().await? {
                Read::Entries { entries, .. } => self.ready = entries.into_iter(),
                Read::CaughtUp(_) => {}
                Read::Trimmed => {
                    return Err(Refusal::new(
                        RefusalCode::UnknownInput,
                        "retention has deleted this part of the conversation",
                    ));
                }
                Read::Closed(reason) => return Err(Refusal::new(RefusalCode::Stopping, reason)),
            }
        }
    }

    /// Waits until [`SessionReader::next_ready`] may have something.
    ///
    /// # Errors
    /// When the caller may read no more.
    pub(crate) async fn wait(&mut self) -> Result<(), Refusal> {
        if self.ready.len() > 0 || self.subscription.has_news() {
            return Ok(());
        }
        tokio::select! {
            () = self.wake.notified() => Ok(()),
            reason = &mut self.ended => Err(unauthorized(reason)),
        }
    }
}
