//! Responses that exist: read again, cancelled and deleted.

use axum::http::StatusCode;
use serde_json::{Value, json};
use thoughtwire_proto::{
    AgentProfile, Event, InputEvent, Record, Refusal, RefusalCode, Seq, SessionCommand, TurnId,
};
use thoughtwire_store::StoredSession;

use super::encode::ResponseEncoder;
use super::id::ResponseId;
use super::object::ResponseFrame;
use super::run::ResponseRun;
use crate::access::Identity;
use crate::endpoint::{SessionReader, TurnReader, end_turn};
use crate::openai::{CLIENT_NAME, OpenAiRefusal, OpenAiResult};
use crate::rest::{RestRefusal, RestState};

/// Records of one read of the log.
const RECORDS: usize = 256;

/// A response of the caller.
pub(super) struct StoredResponse<'a> {
    rest: &'a RestState,
    caller: &'a Identity,
    pub(super) id: ResponseId,
    pub(super) session: StoredSession,
    agent: AgentProfile,
}

impl<'a> StoredResponse<'a> {
    /// Finds a response.
    pub(super) async fn find(
        rest: &'a RestState,
        caller: &'a Identity,
        id: &str,
    ) -> OpenAiResult<Self> {
        let unknown = || no_response(id);
        let read = ResponseId::read(id).ok_or_else(unknown)?;
        let own = rest.own(&caller.user, &read.session).await;
        let session = own.map_err(|RestRefusal(refusal)| {
            if refusal.code == RefusalCode::UnknownSession { unknown() } else { refusal.into() }
        })?;
        if session.state.head() <= read.place.before {
            return Err(unknown());
        }
        let agent = rest.hub.store().directory().agent_by_id(&session.agent).await?;
        let agent = agent.ok_or_else(unknown)?;
        Ok(Self { rest, caller, id: read, session, agent })
    }

    /// Follows the response from its beginning.
    pub(super) async fn follow(&self) -> OpenAiResult<ResponseRun> {
        let Self { rest, caller, id, session, agent } = self;
        let after = Some(id.place.before);
        let reader =
            SessionReader::attach(&rest.hub, caller, &id.session, after, Vec::new()).await?;
        let reader = TurnReader::new(reader, id.place, id.tools())?;
        let frame = ResponseFrame {
            model: agent.spec.name.clone(),
            background: false,
            store: true,
            instructions: session.state.instructions().map(str::to_owned),
            previous: None,
            id: id.clone(),
        };
        let encoder = ResponseEncoder::new(frame, id.tools());
        Ok(ResponseRun::new(rest, caller, reader, encoder, agent))
    }

    /// Cancels the response, if it has not ended. Returns it at its end.
    pub(super) async fn cancel(&self) -> OpenAiResult<Value> {
        let mut run = self.follow().await?;
        run.catch_up().await?;
        if let Some(command) = run.cancel_command() {
            let session = self.session.id.clone();
            end_turn(self.rest, self.caller, CLIENT_NAME, session, command).await?;
        }
        Ok(run.whole().await?)
    }

    /// Deletes the response, with its session. A session that has other inputs stays.
    pub(super) async fn delete(&self) -> OpenAiResult<Value> {
        if self.session.is_main || self.has_other_inputs().await? {
            let session = &self.session.id;
            return Err(OpenAiRefusal::of_request(
                StatusCode::CONFLICT,
                "response_in_conversation",
                format!(
                    "the response is a part of session {session}, whose log stays whole; delete \
                     the session with DELETE /v1/sessions/{session}"
                ),
            ));
        }
        match self.execute(SessionCommand::Delete).await {
            Err(refusal) if refusal.code == RefusalCode::UnknownSession => {
                Err(no_response(&self.id.text()))
            }
            outcome => {
                outcome?;
                Ok(json!({"id": self.id.text(), "object": "response", "deleted": true}))
            }
        }
    }

    /// Whether the session has inputs that are no part of the response's turn.
    async fn has_other_inputs(&self) -> OpenAiResult<bool> {
        let own_input = self.id.place.before.next();
        let turn = self.first_turn().await?;
        let mut read = self.session.first.previous();
        loop {
            let records = self.records(read).await?;
            let Some(last) = records.last() else { return Ok(false) };
            read = last.seq;
            let is_other = |record: &Record| {
                is_input(&record.event)
                    && record.seq != own_input
                    && (record.turn.is_none() || record.turn != turn)
            };
            if records.iter().any(is_other) {
                return Ok(true);
            }
        }
    }

    /// The response's turn, if it has started.
    async fn first_turn(&self) -> OpenAiResult<Option<TurnId>> {
        let mut run = self.follow().await?;
        run.catch_up().await?;
        Ok(run.turn().cloned())
    }

    /// Records of the session behind a position.
    pub(super) async fn records(&self, after: Seq) -> OpenAiResult<Vec<Record>> {
        let store = self.rest.hub.store().for_user(self.caller.user.as_str());
        Ok(store.logs().records_after(&self.session.id, after, RECORDS).await?)
    }

    async fn execute(&self, command: SessionCommand) -> Result<(), Refusal> {
        let (user, from) = (&self.caller.user, Some(CLIENT_NAME.to_owned()));
        let session = self.session.id.clone();
        self.rest.hub.execute(user, from, None, session, command).await.map(drop)
    }
}

/// Whether an event is an input.
pub(super) fn is_input(event: &Event) -> bool {
    matches!(event, Event::Input(InputEvent::UserMessage { .. }))
}

/// The refusal of a response that does not exist.
pub(super) fn no_response(id: &str) -> OpenAiRefusal {
    let message = format!("there is no response {id:?}");
    OpenAiRefusal::of_request(StatusCode::NOT_FOUND, "response_not_found", message)
}
