//! The input of a response as a list of items.

use serde::Deserialize;
use serde_json::{Value, json};
use thoughtwire_proto::{
    CallId, Decision, Event, HistoryEntry, InputEvent, Record, Role, Seq, SessionEvent, TurnEvent,
};

use super::stored::StoredResponse;
use crate::openai::{CLIENT_NAME, OpenAiRefusal, OpenAiResult};

/// Items of a page, if the request does not say.
const PAGE: usize = 20;

/// Most items of a page.
const MAX_PAGE: usize = 100;

/// Parameters of a request for input items.
#[derive(Deserialize)]
pub(in crate::openai) struct InputItemsQuery {
    /// Most items of the page.
    limit: Option<usize>,
    #[serde(default)]
    order: ItemOrder,
    /// The item behind which the page begins.
    after: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ItemOrder {
    Asc,
    #[default]
    Desc,
}

/// Lists what the response's turn was given up to the response: the messages with which its
/// session began, if it is the first one there, its input, and answers to its calls.
pub(super) async fn list(
    response: &StoredResponse<'_>,
    query: &InputItemsQuery,
) -> OpenAiResult<Value> {
    let limit = query.limit.unwrap_or(PAGE);
    if !(1..=MAX_PAGE).contains(&limit) {
        let message = format!("`limit` is from 1 to {MAX_PAGE}");
        return Err(OpenAiRefusal::of_param("limit", message));
    }
    let mut items = InputItems::read(response).await?.items;
    if query.order == ItemOrder::Desc {
        items.reverse();
    }
    let begin = match &query.after {
        None => 0,
        Some(after) => {
            let at = items.iter().position(|item| item["id"] == after.as_str());
            let unknown =
                || OpenAiRefusal::of_param("after", format!("there is no item {after:?}"));
            at.ok_or_else(unknown)? + 1
        }
    };
    let has_more = items.len() - begin > limit;
    let page: Vec<Value> = items.into_iter().skip(begin).take(limit).collect();
    let id = |item: Option<&Value>| item.and_then(|item| item.get("id")).cloned();
    Ok(json!({
        "object": "list",
        "first_id": id(page.first()),
        "last_id": id(page.last()),
        "has_more": has_more,
        "data": page,
    }))
}

/// The items, oldest first.
struct InputItems<'a> {
    response: &'a StoredResponse<'a>,
    items: Vec<Value>,
    /// Calls that the client was asked to run.
    awaited: Vec<CallId>,
}

impl<'a> InputItems<'a> {
    async fn read(response: &'a StoredResponse<'a>) -> OpenAiResult<Self> {
        let place = response.id.place;
        let input = place.before.next();
        let through = place.shown_after.max(input);
        let mut items = Self { response, items: Vec::new(), awaited: Vec::new() };
        // A session's first record has the messages from before it.
        let mut read = if place.before == Seq(1) { Seq(0) } else { place.before };
        while read < through {
            let records = response.records(read).await?;
            let Some(last) = records.last() else { break };
            read = last.seq;
            for record in records.into_iter().filter(|record| record.seq <= through) {
                items.take(record, input);
            }
        }
        Ok(items)
    }

    fn take(&mut self, record: Record, input: Seq) {
        match record.event {
            Event::Session(SessionEvent::Opened { history, .. }) => {
                for (at, entry) in history.into_iter().enumerate() {
                    self.items.push(past_message(at, &entry));
                }
            }
            Event::Input(InputEvent::UserMessage { item, text, .. }) if record.seq == input => {
                self.items.push(message(&format!("msg_{item}"), Role::User, &text));
            }
            Event::Turn(TurnEvent::ToolAwaited { call, .. }) => self.awaited.push(call),
            Event::Turn(TurnEvent::ToolReturned { call, text, .. })
                if self.awaited.contains(&call) =>
            {
                self.items.push(json!({
                    "id": format!("fco_{call}"),
                    "type": "function_call_output",
                    "call_id": self.response.id.call(&call).id(),
                    "output": text,
                    "status": "completed",
                }));
            }
            Event::Turn(TurnEvent::ApprovalSettled { call, decision, by })
                if by.as_deref() == Some(CLIENT_NAME) =>
            {
                self.items.push(json!({
                    "id": format!("mcprr_{call}"),
                    "type": "mcp_approval_response",
                    "approval_request_id": self.response.id.approval(&call),
                    "approve": decision == Decision::Approved,
                    "reason": null,
                }));
            }
            Event::Session(_) | Event::Input(_) | Event::Turn(_) | Event::Other(_) => {}
        }
    }
}

fn past_message(at: usize, entry: &HistoryEntry) -> Value {
    message(&format!("msg_before_{at}"), entry.role, &entry.text)
}

fn message(id: &str, role: Role, text: &str) -> Value {
    let (role, content) = match role {
        Role::User => ("user", json!({"type": "input_text", "text": text})),
        Role::Assistant => {
            ("assistant", json!({"type": "output_text", "text": text, "annotations": []}))
        }
    };
    json!({
        "id": id, "type": "message", "role": role, "status": "completed", "content": [content]
    })
}
