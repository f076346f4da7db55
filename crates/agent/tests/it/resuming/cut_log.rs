//! Logs that a crash has cut at a chosen point, written without a hub, and what becomes of them.

use std::sync::Arc;

use serde_json::Value;
use tempfile::TempDir;
use thoughtwire_agent::AgentOptions;
use thoughtwire_hub::now;
use thoughtwire_proto::{
    AgentId, AgentSpec, Emission, Event, InputEvent, ItemId, Record, Seq, SessionId, State, Style,
    ToolStatus, TurnEvent, TurnId, Usage,
};
use thoughtwire_store::{Batch, BatchExtras, NewAgent, Store};

use crate::harness::{AgentHarness, ScriptedModel, TurnLog};

/// A session's log under construction. It begins with an input and the start of its turn.
pub(crate) struct CutLog {
    dir: TempDir,
    store: Store,
    state: State,
    pub(crate) session: SessionId,
    pub(crate) agent: AgentId,
    turn: TurnId,
}

impl CutLog {
    pub(crate) async fn begin(style: Style, input: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), now()).unwrap();
        let (session, agent): (SessionId, AgentId) =
            ("s-1".parse().unwrap(), "a-1".parse().unwrap());
        let spec = AgentSpec { name: "tess".to_owned(), style: Some(style), ..Default::default() };
        let new = NewAgent {
            id: agent.clone(),
            user: "ada".parse().unwrap(),
            spec,
            main_session: session.clone(),
            epoch: "e-1".parse().unwrap(),
            blocks: Vec::new(),
            notes: Vec::new(),
            sessions: Vec::new(),
            at: now(),
            receipt: None,
        };
        store.directory().create_agent(new).await.unwrap();
        let state = store.directory().session(&session).await.unwrap().unwrap().state;
        let turn = "t-1".parse().unwrap();
        let mut log = Self { dir, store, state, session, agent, turn };
        log.write(None, user_message("i-1", input)).await;
        log.say(TurnEvent::Started { input: item("i-1") }).await;
        log
    }

    async fn write(&mut self, turn: Option<TurnId>, event: Event) {
        self.write_with(turn, event, BatchExtras::default()).await;
    }

    async fn write_with(&mut self, turn: Option<TurnId>, event: Event, extras: BatchExtras) {
        let after = self.state.head();
        self.state.apply(turn.as_ref(), &event).unwrap();
        let record = Record { seq: self.state.head(), at: now(), turn, event };
        let batch = Batch::new(self.session.clone(), after, vec![record], self.state.clone());
        self.store.logs().append(batch.unwrap().with(extras)).await.unwrap();
    }

    /// Appends an event of the turn.
    pub(crate) async fn say(&mut self, event: TurnEvent) -> &mut Self {
        self.write(Some(self.turn.clone()), Event::Turn(event)).await;
        self
    }

    /// Appends a call, with the turn's cost so far stored beside it.
    pub(crate) async fn call(&mut self, id: &str, name: &str, args: &Value) -> &mut Self {
        let spent = serde_json::json!({"spent": {"input_tokens": 10, "output_tokens": 2}});
        let extras = BatchExtras { provider_reply: Some(spent.to_string()), ..Default::default() };
        let (call, args) = (id.parse().unwrap(), args.as_object().unwrap().clone());
        let called = Event::Turn(TurnEvent::ToolCalled { call, name: name.to_owned(), args });
        self.write_with(Some(self.turn.clone()), called, extras).await;
        self
    }

    pub(crate) async fn returned(&mut self, id: &str, name: &str, text: &str) -> &mut Self {
        self.say(TurnEvent::ToolReturned {
            call: id.parse().unwrap(),
            name: name.to_owned(),
            status: ToolStatus::Success,
            text: text.to_owned(),
            content: None,
        })
        .await
    }

    pub(crate) async fn cut_message(&mut self, id: &str, text: &str) -> &mut Self {
        let (text, complete, continues) = (text.to_owned(), false, None);
        self.say(TurnEvent::Message { item: item(id), text, complete, continues }).await
    }

    pub(crate) async fn cut_thought(&mut self, id: &str, text: &str) -> &mut Self {
        let (text, complete, continues) = (text.to_owned(), false, None);
        self.say(TurnEvent::Thought { item: item(id), text, complete, continues }).await
    }

    /// Appends an input that joins the turn.
    pub(crate) async fn join(&mut self, id: &str, text: &str) -> &mut Self {
        self.write(Some(self.turn.clone()), user_message(id, text)).await;
        self
    }

    /// Appends an input that waits for its own turn.
    pub(crate) async fn queue(&mut self, id: &str, text: &str) -> &mut Self {
        self.write(None, user_message(id, text)).await;
        self
    }

    /// The store, for what the turn has done beside its log.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// Opens a hub on it.
    pub(crate) async fn open(self, script: &Arc<ScriptedModel>, options: AgentOptions) -> Resumed {
        self.store.close().await;
        let harness = AgentHarness::scripted_in(self.dir.path(), script, options).await;
        Resumed { harness, session: self.session, agent: self.agent, _dir: self.dir }
    }

    /// Opens a hub with the models that the options name.
    pub(crate) async fn open_with_models(self, options: AgentOptions) -> Resumed {
        self.store.close().await;
        let harness = AgentHarness::open(self.dir.path(), options).await;
        Resumed { harness, session: self.session, agent: self.agent, _dir: self.dir }
    }
}

/// A hub that goes on with a cut log.
pub(crate) struct Resumed {
    pub(crate) harness: AgentHarness,
    pub(crate) session: SessionId,
    pub(crate) agent: AgentId,
    _dir: TempDir,
}

impl Resumed {
    /// Waits for the end of the turn. Checks that it was resumed and ended once.
    pub(crate) async fn ended(&self) -> TurnLog {
        let log = self.harness.log_until(&self.session, is_end).await;
        for kind in ["turn_started", "turn_resumed", "turn_ended"] {
            let number = log.kinds().iter().filter(|known| **known == kind).count();
            assert_eq!(number, 1, "{kind}: {:?}", log.kinds());
        }
        let seqs: Vec<Seq> = log.records.iter().map(|record| record.seq).collect();
        assert!(seqs.windows(2).all(|pair| pair[1] == pair[0].next()), "{seqs:?}");
        log
    }

    /// [`Resumed::ended`] of a turn that completes.
    pub(crate) async fn completed(&self) -> TurnLog {
        let log = self.ended().await;
        assert_eq!(log.end().0, "Completed", "{:?} {:?}", log.end(), log.kinds());
        log
    }
}

/// The messages or thoughts of a log: text, item that is continued.
pub(crate) fn texts<'l>(log: &'l TurnLog, kind: &str) -> Vec<(&'l str, Option<&'l str>)> {
    let texts = log.records.iter().filter(|record| record.event.kind() == kind);
    let text = |record: &'l Record| match &record.event {
        Event::Turn(
            TurnEvent::Message { text, continues, .. } | TurnEvent::Thought { text, continues, .. },
        ) => Some((text.as_str(), continues.as_ref().map(ItemId::as_str))),
        Event::Turn(_) | Event::Session(_) | Event::Input(_) | Event::Other(_) => None,
    };
    texts.filter_map(text).collect()
}

/// Whether a turn ends.
pub(crate) fn is_end(emission: &Emission) -> bool {
    matches!(emission, Emission::Record(record) if record.event.kind() == "turn_ended")
}

/// Sum of the `usage` events of a log.
pub(crate) fn cost(log: &TurnLog) -> Usage {
    let mut sum = Usage::default();
    for record in &log.records {
        if let Event::Turn(TurnEvent::Usage(usage)) = record.event {
            sum.add(usage);
        }
    }
    sum
}

fn item(id: &str) -> ItemId {
    id.parse().unwrap()
}

fn user_message(id: &str, text: &str) -> Event {
    Event::Input(InputEvent::UserMessage {
        item: item(id),
        text: text.to_owned(),
        attachments: Vec::new(),
        from: None,
    })
}
