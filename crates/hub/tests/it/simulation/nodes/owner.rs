//! The owner's end of a link, over channels in the place of a WebSocket.

use std::time::Duration;

use thoughtwire_hub::{Hub, NodeSink, OwnerEnd};
use thoughtwire_proto::cluster::{NodeAnswer, NodeRequest};
use tokio::sync::mpsc;
use tokio::time::{Instant, interval_at};

/// Time between two pings.
const PING_EVERY: Duration = Duration::from_secs(2);

/// The link has ended.
struct LinkEnded;

/// Frames for the node, and `None` for a ping.
struct AnswerOutbox(mpsc::Sender<Option<String>>);

impl NodeSink for AnswerOutbox {
    type Error = LinkEnded;

    async fn send(&mut self, text: String) -> Result<(), LinkEnded> {
        self.0.send(Some(text)).await.map_err(|_| LinkEnded)
    }
}

/// Answers the requests of a node until the link ends.
pub(super) async fn serve(
    hub: Hub,
    mut requests: mpsc::UnboundedReceiver<String>,
    answers: mpsc::Sender<Option<String>>,
) {
    let (mut owner, mut outbox) = (OwnerEnd::new(&hub), AnswerOutbox(answers));
    let mut pings = interval_at(Instant::now() + PING_EVERY, PING_EVERY);
    drop(hub);
    loop {
        if owner.show(&mut outbox).await.is_err() {
            return;
        }
        let done = tokio::select! {
            biased;
            frame = owner.next() => match frame {
                Some(frame) => outbox.send(NodeAnswer::Said(frame).encode()).await,
                None => Ok(()),
            },
            request = requests.recv() => match request {
                Some(text) => {
                    owner.request(NodeRequest::decode(&text).unwrap(), &mut outbox).await
                }
                None => return,
            },
            _ = pings.tick() => outbox.0.send(None).await.map_err(|_| LinkEnded),
        };
        if done.is_err() {
            return;
        }
    }
}
