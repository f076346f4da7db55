//! Turns that a crash interrupted and that go on: every provider accepts the prompt.

use std::cell::RefCell;

use futures::future::join_all;
use tempfile::TempDir;
use thoughtwire_agent::AgentOptions;
use thoughtwire_proto::{
    AgentSettings, AgentSpec, Emission, Event, Policy, Record, Replay, SessionId, StreamKind,
    ToolStatus, TurnEvent,
};

use super::replies::{ScriptedReply, call, sum};
use super::server::{RecordedRequest, StrictProvider};
use super::{MODELS, script};
use crate::harness::{AgentHarness, TurnLog, copy_store, open_item};
use crate::mcp_recorder::{CallReplies, McpRecorder};
use crate::mock::providers;

const READ: &str = "files__read";
const POST: &str = "files__post";

/// A session of one agent over several crashes of its hub.
struct Lives {
    model: &'static str,
    strict: StrictProvider,
    /// The MCP server of all lives, with a tool that reads and one that posts.
    recorder: McpRecorder,
    harness: AgentHarness,
    session: SessionId,
    /// The data of each life; the last is in use.
    dirs: Vec<TempDir>,
}

/// Options of every life, but for the MCP server.
fn options(model: &str, host: &str) -> AgentOptions {
    AgentOptions {
        providers: providers(host),
        replay: [(POST.to_owned(), Replay::Never)].into(),
        ..AgentOptions::new(model, Default::default())
    }
}

async fn open(model: &str, host: &str, recorder: &McpRecorder, dir: &TempDir) -> AgentHarness {
    let mcp = recorder.connect().await;
    AgentHarness::open(dir.path(), AgentOptions { mcp, ..options(model, host) }).await
}

impl Lives {
    /// Begins with these replies of the model. The last one repeats.
    async fn begin(model: &'static str, replies: Vec<ScriptedReply>) -> Self {
        Self::begin_with(model, AgentSettings::default(), script(replies)).await
    }

    async fn begin_with(
        model: &'static str,
        settings: AgentSettings,
        choose: impl FnMut(&RecordedRequest) -> ScriptedReply + Send + 'static,
    ) -> Self {
        let strict = StrictProvider::start(choose).await;
        let recorder = McpRecorder::start(CallReplies::Withheld).await;
        let dir = tempfile::tempdir().unwrap();
        let harness = open(model, &strict.host, &recorder, &dir).await;
        let spec = AgentSpec { name: "tess".to_owned(), settings, ..AgentSpec::default() };
        let (_, session) = harness.create(spec).await;
        Self { model, strict, recorder, harness, session, dirs: vec![dir] }
    }

    /// Sends an input, and waits until a call has reached the MCP server and this number of the
    /// turn's other calls has returned.
    async fn send_until_called(&self, text: &str, returned: usize) {
        let calls = self.recorder.calls().len();
        self.harness.send(&self.session, text, Policy::Queue).await;
        self.recorder.called(calls + 1).await;
        if returned > 0 {
            self.seen(returned, |event| matches!(event, TurnEvent::ToolReturned { .. })).await;
        }
    }

    /// Waits until an item of this kind is open, and saves its text as the session does once a
    /// second.
    async fn cut(&self, kind: StreamKind) {
        let open = RefCell::new(None);
        let is_open = |emission: &Emission| {
            let Some(found) = open_item(emission) else { return false };
            let is_wanted = found.kind == kind;
            *open.borrow_mut() = Some(found);
            is_wanted
        };
        self.harness.log_until(&self.session, is_open).await;
        let open = open.into_inner().expect("an open item");
        self.harness.hub.store().logs().checkpoint(&self.session, open).await.unwrap();
    }

    /// The log until this number of events of the session's turns has been seen.
    async fn seen(&self, number: usize, wanted: impl Fn(&TurnEvent) -> bool) -> TurnLog {
        let left = RefCell::new(number);
        let is_last = |emission: &Emission| {
            if let Emission::Record(Record { event: Event::Turn(event), .. }) = emission
                && wanted(event)
            {
                *left.borrow_mut() -= 1;
            }
            *left.borrow() == 0
        };
        self.harness.log_until(&self.session, is_last).await
    }

    /// Crashes the hub as it is, and opens another one on the same data.
    async fn crash(&mut self, replies: CallReplies) {
        let dir = tempfile::tempdir().unwrap();
        copy_store(self.dirs.last().unwrap().path(), dir.path());
        self.recorder.set_replies(replies);
        let next = open(self.model, &self.strict.host, &self.recorder, &dir).await;
        drop(std::mem::replace(&mut self.harness, next));
        self.dirs.push(dir);
    }

    /// The log of the session, until its turns have ended so often.
    async fn ended(&self, turns: usize) -> TurnLog {
        self.seen(turns, |event| matches!(event, TurnEvent::Ended { .. })).await
    }

    /// Checks that the only turn was completed after this number of interruptions, and that the
    /// provider has refused nothing.
    async fn completed(&self, interruptions: usize) -> TurnLog {
        let log = self.ended(1).await;
        self.accepted(&log);
        let resumed = log.kinds().iter().filter(|kind| **kind == "turn_resumed").count();
        assert_eq!(resumed, interruptions, "{}: {:?}", self.model, log.kinds());
        log
    }

    fn accepted(&self, log: &TurnLog) {
        let model = self.model;
        let refused = self.strict.refused();
        let first = refused.first().map(|asked| (&asked.wrong, &asked.body));
        assert!(first.is_none(), "{model}: {first:#?}");
        assert_eq!(log.end().0, "Completed", "{model}: {:?}", log.end());
    }

    fn last_request(&self) -> RecordedRequest {
        self.strict.requests().pop().unwrap()
    }
}

/// Reads an item's text with whether it is complete, for the messages of a log.
fn messages(log: &TurnLog) -> Vec<(&str, bool, bool)> {
    let texts = log.records.iter().filter_map(|record| {
        if let Event::Turn(TurnEvent::Message { text, complete, continues, .. }) = &record.event {
            Some((text.as_str(), *complete, continues.is_some()))
        } else {
            None
        }
    });
    texts.collect()
}

/// Number of signatures and reasoning texts in a request.
fn signatures(asked: &RecordedRequest) -> usize {
    let body = asked.body.to_string();
    body.matches("signed-").count() + body.matches("reasoned-").count()
}

#[tokio::test]
async fn a_message_that_was_cut_goes_on() {
    join_all(MODELS.map(async |model| {
        let cut = ScriptedReply::Stalls { thinks: true, text: "It is forty".to_owned() };
        let mut lives = Lives::begin(model, vec![cut, ScriptedReply::text("-two.")]).await;
        lives.harness.send(&lives.session, "six by seven?", Policy::Queue).await;
        lives.cut(StreamKind::Message).await;
        lives.crash(CallReplies::Answered).await;
        let log = lives.completed(1).await;
        let found = messages(&log);
        assert_eq!(found[0], ("It is forty", false, false), "{model}: {found:?}");
        assert!(found.len() == 2 && found[1].1 && found[1].2, "{model}: {found:?}");
        // The model is shown what it has said.
        assert!(lives.last_request().body.to_string().contains("It is forty"), "{model}");
        // A later turn has the whole past.
        assert_eq!(lives.harness.run_turn(&lives.session, "thanks").await.end().0, "Completed");
        lives.accepted(&lives.ended(2).await);
    }))
    .await;
}

#[tokio::test]
async fn a_thought_that_was_cut_is_no_obstacle() {
    join_all(MODELS.map(async |model| {
        let replies = vec![
            ScriptedReply::Stalls { thinks: true, text: String::new() },
            ScriptedReply::calls(true, "", vec![sum("c1", "6*7")]),
            ScriptedReply::text("It is 42."),
        ];
        let mut lives = Lives::begin(model, replies).await;
        lives.harness.send(&lives.session, "six by seven?", Policy::Queue).await;
        lives.cut(StreamKind::Thought).await;
        lives.crash(CallReplies::Answered).await;
        let log = lives.completed(1).await;
        assert_eq!(log.returned(), [(ToolStatus::Success, "42")], "{model}");
        assert_eq!(log.message(), "It is 42.", "{model}");
    }))
    .await;
}

#[tokio::test]
async fn a_call_is_repeated_with_its_key_and_its_signed_reasoning() {
    join_all(MODELS.map(async |model| {
        let replies = vec![
            ScriptedReply::calls(true, "Let me see.", vec![call(READ)]),
            ScriptedReply::text("It is read."),
        ];
        let mut lives = Lives::begin(model, replies).await;
        lives.send_until_called("read it", 0).await;
        lives.crash(CallReplies::Answered).await;
        let log = lives.completed(1).await;
        assert!(log.kinds().contains(&"tool_retried"), "{model}: {:?}", log.kinds());
        assert_eq!(log.returned(), [(ToolStatus::Success, "\"read\" is done.")], "{model}");
        let keys: Vec<_> = lives.recorder.calls().into_iter().map(|call| call.key).collect();
        assert!(keys.len() == 2 && keys[0].is_some() && keys[0] == keys[1], "{model}: {keys:?}");
        // Reasoning that a provider wants back with the call is there after the crash.
        assert_eq!(signatures(&lives.last_request()), 1, "{model}");
    }))
    .await;
}

#[tokio::test]
async fn a_call_that_may_not_be_repeated_has_an_unknown_result() {
    join_all(MODELS.map(async |model| {
        let replies = vec![
            ScriptedReply::calls(true, "", vec![call(POST)]),
            ScriptedReply::text("I cannot tell."),
        ];
        let mut lives = Lives::begin(model, replies).await;
        lives.send_until_called("post it", 0).await;
        lives.crash(CallReplies::Answered).await;
        let log = lives.completed(1).await;
        assert_eq!(log.returned()[0].0, ToolStatus::Unknown, "{model}");
        assert!(!log.kinds().contains(&"tool_retried"), "{model}: {:?}", log.kinds());
        assert_eq!(lives.recorder.calls().len(), 1, "{model}");
    }))
    .await;
}

#[tokio::test]
async fn of_several_calls_only_the_one_that_ran_is_repeated() {
    join_all(MODELS.map(async |model| {
        let calls = vec![sum("c1", "6*7"), call(READ), sum("c3", "1+1")];
        let replies = vec![
            ScriptedReply::calls(true, "Three.", calls),
            ScriptedReply::calls(true, "", vec![sum("c4", "2+2")]),
            ScriptedReply::text("Done."),
        ];
        let mut lives = Lives::begin(model, replies).await;
        lives.send_until_called("all of it", 2).await;
        lives.crash(CallReplies::Answered).await;
        let log = lives.completed(1).await;
        let mut results: Vec<&str> = log.returned().into_iter().map(|(_, text)| text).collect();
        results.sort_unstable();
        assert_eq!(results, ["\"read\" is done.", "2", "4", "42"], "{model}");
        assert_eq!(lives.recorder.calls().len(), 2, "{model}");
    }))
    .await;
}

#[tokio::test]
async fn a_call_that_was_interrupted_twice_is_repeated_twice() {
    join_all(MODELS.map(async |model| {
        let replies = vec![
            ScriptedReply::calls(true, "Let me see.", vec![call(READ)]),
            ScriptedReply::text("It is read."),
        ];
        let mut lives = Lives::begin(model, replies).await;
        lives.send_until_called("read it", 0).await;
        lives.crash(CallReplies::Withheld).await;
        // The repetition gets no answer either.
        lives.recorder.called(2).await;
        lives.crash(CallReplies::Answered).await;
        let log = lives.completed(2).await;
        assert_eq!(log.returned(), [(ToolStatus::Success, "\"read\" is done.")], "{model}");
        let keys: Vec<_> = lives.recorder.calls().into_iter().map(|call| call.key).collect();
        assert!(keys.len() == 3 && keys.iter().all(|key| *key == keys[0]), "{model}: {keys:?}");
    }))
    .await;
}

#[tokio::test]
async fn a_message_that_was_cut_twice_goes_on() {
    join_all(MODELS.map(async |model| {
        let cut = |text: &str| ScriptedReply::Stalls { thinks: true, text: text.to_owned() };
        let replies = vec![cut("It is"), cut(" forty"), ScriptedReply::text("-two.")];
        let mut lives = Lives::begin(model, replies).await;
        lives.harness.send(&lives.session, "six by seven?", Policy::Queue).await;
        lives.cut(StreamKind::Message).await;
        lives.crash(CallReplies::Answered).await;
        lives.cut(StreamKind::Message).await;
        lives.crash(CallReplies::Answered).await;
        let log = lives.completed(2).await;
        let found = messages(&log);
        let texts: String = found.iter().map(|(text, ..)| *text).collect();
        assert_eq!(texts, "It is forty-two.", "{model}");
        // The second one was cut as well.
        assert_eq!(found[1], (" forty", false, true), "{model}: {found:?}");
    }))
    .await;
}

#[tokio::test]
async fn a_turn_goes_on_after_a_compaction() {
    join_all(MODELS.map(async |model| {
        let mut calls = 0;
        let choose = move |asked: &RecordedRequest| {
            if !asked.body.to_string().contains("read the file") {
                return ScriptedReply::text(&"word ".repeat(120));
            }
            calls += 1;
            match calls {
                1 => ScriptedReply::calls(true, "Let me see.", vec![call(READ)]),
                _ => ScriptedReply::text("It is read."),
            }
        };
        let settings = AgentSettings { context_window: Some(5_000), ..AgentSettings::default() };
        let mut lives = Lives::begin_with(model, settings, choose).await;
        let mut turns = 0;
        let mut has_compacted = false;
        while !has_compacted {
            let text = format!("question {turns} {}", "pad ".repeat(60));
            let log = lives.harness.run_turn(&lives.session, &text).await;
            lives.accepted(&log);
            has_compacted = log.kinds().contains(&"compacted");
            turns += 1;
            assert!(turns < 30, "{model}: no compaction");
        }
        lives.send_until_called("read the file", 0).await;
        lives.crash(CallReplies::Answered).await;
        let log = lives.ended(turns + 1).await;
        lives.accepted(&log);
        assert_eq!(log.returned(), [(ToolStatus::Success, "\"read\" is done.")], "{model}");
        let asked = lives.last_request().body.to_string();
        assert!(asked.contains("What came before, in short:"), "{model}: {asked}");
    }))
    .await;
}

#[tokio::test]
async fn an_input_that_joined_before_the_crash_is_answered() {
    join_all(MODELS.map(async |model| {
        let replies = vec![
            ScriptedReply::calls(true, "", vec![call(READ)]),
            ScriptedReply::text("C'est lu."),
        ];
        let mut lives = Lives::begin(model, replies).await;
        lives.send_until_called("read it", 0).await;
        lives.harness.send(&lives.session, "and say it in French", Policy::Steer).await;
        lives.crash(CallReplies::Answered).await;
        lives.completed(1).await;
        let asked = lives.last_request().body.to_string();
        assert_eq!(asked.matches("and say it in French").count(), 1, "{model}: {asked}");
    }))
    .await;
}

#[tokio::test]
async fn a_refused_prompt_fails_the_turn_with_the_providers_words_after_one_request() {
    const WORDS: &str = "messages.3: this prompt is not accepted";
    join_all([MODELS[0], MODELS[2]].map(async |model| {
        let replies =
            vec![ScriptedReply::calls(true, "", vec![call(READ)]), ScriptedReply::Refuses(WORDS)];
        let mut lives = Lives::begin(model, replies).await;
        lives.send_until_called("read it", 0).await;
        let before = lives.strict.requests().len();
        lives.crash(CallReplies::Answered).await;
        let log = lives.ended(1).await;
        let (outcome, _, reason) = log.end();
        assert_eq!(outcome, "Failed", "{model}: {:?}", log.end());
        assert!(reason.contains(WORDS), "{model}: {reason}");
        assert_eq!(lives.strict.requests().len(), before + 1, "{model}");
        // Nor does another start try again.
        lives.crash(CallReplies::Answered).await;
        lives.harness.run_turn(&lives.session, "hello").await;
        let again = lives.ended(2).await;
        assert_eq!(again.kinds().iter().filter(|kind| **kind == "turn_resumed").count(), 1);
        assert_eq!(lives.strict.requests().len(), before + 2, "{model}");
    }))
    .await;
}
