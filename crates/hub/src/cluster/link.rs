//! One connection to a session's owner: what is followed, and the commands under way.

use std::collections::HashMap;
use std::time::Duration;

use thoughtwire_proto::cluster::{NodeAnswer, NodeBlockEdit, NodeRequest, OwnerFrame};
use thoughtwire_proto::{Refusal, RefusalCode, SessionReply};
use thoughtwire_session::CommandRequest;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::{NodeConnector, NodeLink};
use crate::session::DriverHost;

/// Maximum time until the owner answers that a session is followed.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

type ReplySender = oneshot::Sender<Result<SessionReply, Refusal>>;

/// A connection to a session's owner.
pub(super) struct OwnerLink {
    link: NodeLink,
    pending: HashMap<u64, ReplySender>,
    next: u64,
}

impl OwnerLink {
    /// Connects to the owner and asks to follow a session. Gives its answer as well.
    ///
    /// # Errors
    /// When the owner cannot be reached, or does not have the session.
    pub(super) async fn open(
        connector: &dyn NodeConnector,
        url: &str,
        follow: NodeRequest,
    ) -> Result<(Self, OwnerFrame), Refusal> {
        let opening = async {
            let link = connector.connect(url).await?;
            let mut link = Self { link, pending: HashMap::new(), next: 0 };
            link.send(&follow);
            match link.receive().await {
                // It leaves, or another node may have its sessions by now.
                Some(NodeAnswer::Said(OwnerFrame::NotFollowed { refusal }))
                    if matches!(refusal.code, RefusalCode::Stopping | RefusalCode::StoreFailed) =>
                {
                    Err(unreachable_owner())
                }
                Some(NodeAnswer::Said(OwnerFrame::NotFollowed { refusal })) => Err(refusal.into()),
                Some(NodeAnswer::Said(answer @ OwnerFrame::Following { .. })) => Ok((link, answer)),
                Some(_) | None => Err(unreachable_owner()),
            }
        };
        timeout(ANSWER_LIMIT, opening).await.unwrap_or_else(|_| Err(unreachable_owner()))
    }

    /// Sends a frame. A connection that has ended takes it as well; its end comes with the next
    /// answer.
    pub(super) fn send(&self, request: &NodeRequest) {
        drop(self.link.to.send(request.encode()));
    }

    /// Hands a command to the owner. Its caller is told the reply.
    pub(super) fn command(&mut self, request: CommandRequest<DriverHost>) {
        let CommandRequest { command, from, key, reply } = request;
        let (number, id) = (self.expect(reply), key.map(|key| key.id));
        self.send(&NodeRequest::Command { number, from, id, command });
    }

    /// Hands an edit of a memory block to the owner. Its caller is told the reply.
    pub(super) fn edit_block(&mut self, edit: NodeBlockEdit, reply: ReplySender) {
        let number = self.expect(reply);
        self.send(&NodeRequest::EditBlock { number, edit });
    }

    /// Has the owner save the text of open items. The caller is told when it is on disk.
    pub(super) fn save_open_text(&mut self, reply: ReplySender) {
        let number = self.expect(reply);
        self.send(&NodeRequest::SaveOpenText { number });
    }

    /// Expects a reply. Returns its number.
    fn expect(&mut self, reply: ReplySender) -> u64 {
        self.next += 1;
        self.pending.insert(self.next, reply);
        self.next
    }

    pub(super) fn is_idle(&self) -> bool {
        self.pending.is_empty()
    }

    /// The owner's next answer; `None` when the connection has ended.
    pub(super) async fn receive(&mut self) -> Option<NodeAnswer> {
        let text = self.link.from.recv().await?;
        match NodeAnswer::decode(&text) {
            Ok(answer) => Some(answer),
            Err(refusal) => {
                tracing::warn!(%refusal, "another node sent a frame that cannot be read");
                None
            }
        }
    }

    /// Tells a command's caller its reply.
    pub(super) fn answered(&mut self, number: u64, reply: Result<SessionReply, Refusal>) {
        if let Some(sender) = self.pending.remove(&number) {
            // A caller that left needs no answer.
            drop(sender.send(reply));
        }
    }
}

impl Drop for OwnerLink {
    /// Commands whose answers are lost may have taken effect.
    fn drop(&mut self) {
        for (_, sender) in self.pending.drain() {
            drop(sender.send(Err(Refusal::new(
                RefusalCode::StoreUnknown,
                "the node that has this session did not answer, so it is unknown whether this took \
                 effect; send it again with the same id, which has no second effect",
            ))));
        }
    }
}

fn unreachable_owner() -> Refusal {
    Refusal::new(
        RefusalCode::Moved,
        "the node that has this session does not answer; send it again",
    )
}
