//! A text that is cut, and whose rest is cut as well.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;
use thoughtwire_agent::ReplyPiece;
use thoughtwire_proto::{Event, ItemId, Policy, SessionId, StreamKind, Style, TurnEvent};
use thoughtwire_store::OpenItem;

use super::chat;
use super::cut_log::is_end;
use crate::harness::{AgentHarness, ScriptedModel, call, copy_store, open_item, options, text};

/// End of a hub in the middle of a text.
#[derive(Debug, Clone, Copy)]
enum HubEnd {
    Stop,
    Crash,
}

/// A turn over several lives of its hub.
struct CutTurn {
    harness: AgentHarness,
    session: SessionId,
    /// The data of each life; the last is in use.
    dirs: Vec<TempDir>,
}

impl CutTurn {
    /// Begins a turn whose reply stalls behind its pieces.
    async fn begin(style: Style, pieces: Vec<ReplyPiece>) -> Self {
        let (dir, script) = (tempfile::tempdir().unwrap(), ScriptedModel::stalling(pieces));
        let harness = AgentHarness::scripted_in(dir.path(), &script, options("offline")).await;
        let (_, session) = harness.agent("tess", style).await;
        harness.send(&session, "a tale", Policy::Queue).await;
        Self { harness, session, dirs: vec![dir] }
    }

    /// Waits until a message is open, and gives it as a client sees it.
    async fn message(&self) -> OpenItem {
        let open = RefCell::new(None);
        let is_message = |emission: &_| {
            *open.borrow_mut() =
                open_item(emission).filter(|open| open.kind == StreamKind::Message);
            open.borrow().is_some()
        };
        self.harness.log_until(&self.session, is_message).await;
        open.into_inner().expect("an open message")
    }

    /// Ends the hub, and opens another one with the next script.
    async fn interrupt(&mut self, how: HubEnd, script: &Arc<ScriptedModel>) {
        let store = self.harness.hub.store();
        match how {
            HubEnd::Stop => {
                self.harness.hub.stop(Duration::ZERO).await;
                store.close().await;
            }
            HubEnd::Crash => {
                let open = self.message().await;
                store.logs().checkpoint(&self.session, open).await.unwrap();
            }
        }
        let dir = tempfile::tempdir().unwrap();
        copy_store(self.dirs.last().unwrap().path(), dir.path());
        self.harness = AgentHarness::scripted_in(dir.path(), script, options("offline")).await;
        self.dirs.push(dir);
    }
}

/// Pieces of a reply that says a part of the message.
fn part(style: Style, words: &str) -> Vec<ReplyPiece> {
    match style {
        Style::Native => vec![ReplyPiece::Message(words.to_owned())],
        Style::Memgpt => {
            let name = "send_message".to_owned();
            let json = format!("{{\"message\": \"{words}");
            vec![
                ReplyPiece::Call { index: 0, name, provider_id: None },
                ReplyPiece::Args { index: 0, json },
            ]
        }
    }
}

#[tokio::test]
async fn a_rest_that_is_cut_as_well_names_what_it_continues() {
    let orders = [(HubEnd::Stop, HubEnd::Crash), (HubEnd::Crash, HubEnd::Stop)];
    for (style, (first, second)) in
        [Style::Native, Style::Memgpt].into_iter().flat_map(|style| orders.map(|how| (style, how)))
    {
        let mut turn = CutTurn::begin(style, part(style, "Once upon")).await;
        let begun = turn.message().await;
        assert_eq!((begun.text.as_str(), begun.continues), ("Once upon", None));
        turn.interrupt(first, &ScriptedModel::stalling(part(style, " a time"))).await;
        let more = turn.message().await;
        assert_eq!((more.text.as_str(), more.continues), (" a time", Some(begun.item.clone())));
        let last = match style {
            Style::Native => text(" it rained."),
            Style::Memgpt => call("send_message", &json!({"message": " it rained."})),
        };
        let script = ScriptedModel::new([last]);
        turn.interrupt(second, &script).await;
        let log = turn.harness.log_until(&turn.session, is_end).await;
        assert_eq!(log.end().0, "Completed", "{style:?} {second:?}: {:?}", log.end());
        let messages: Vec<_> = log
            .records
            .iter()
            .filter_map(|record| match &record.event {
                Event::Turn(TurnEvent::Message { item, text, complete, continues }) => {
                    Some((item, text.as_str(), *complete, continues.as_ref()))
                }
                Event::Session(_) | Event::Input(_) | Event::Turn(_) | Event::Other(_) => None,
            })
            .collect();
        let (begun, more): (&ItemId, &ItemId) = (&begun.item, &more.item);
        let said = [
            (begun, "Once upon", false, None),
            (more, " a time", false, Some(begun)),
            (messages[2].0, " it rained.", true, Some(more)),
        ];
        assert_eq!(messages, said, "{style:?} {second:?}");
        assert_eq!(chat(&script, 0), ["user: a tale", "message: Once upon a time", "note"]);
    }
}
