//! Checks of a turn, wherever the server was killed in it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::play::{OwnerAnswer, PlayedTurn};
use super::receiver::RESULT;
use super::round::KillRound;
use super::script::{
    RESULT_OF_OWNER, ScriptReplay, ScriptStep, ScriptText, ScriptTool, TOOLS, memory_line, note,
    steps,
};
use super::server::KillSite;

/// Checks a turn that has ended: its log, the agent's memory, and the effects of its tools.
pub(super) async fn check(site: &KillSite, round: &KillRound, turn: &PlayedTurn) {
    let path = format!("/v1/sessions/{}/events?limit=1000", turn.session);
    let page = site.rest("GET", &path, None).await;
    let log = KilledLog::new(&page["events"]);
    log.check_frame(turn);
    log.check_resumes(turn);
    log.check_texts(round, turn);
    for tool in &TOOLS {
        log.check_tool(tool, round, turn.answer);
    }
    log.check_calls();
    // Each edit of the memory is made once, the note is written once.
    let steps = steps(&round.name, round.style);
    let calls = steps.iter().flat_map(|step| &step.calls);
    let edits = calls.filter(|(name, _)| name.starts_with("core_memory")).count();
    assert_eq!(log.of("memory_edited").count(), edits, "{log}");
    let blocks = site.rest("GET", &format!("/v1/agents/{}/blocks", turn.agent), None).await;
    let line = memory_line(&round.name, round.style);
    assert_eq!(blocks.to_string().matches(&line).count(), 1, "{blocks} {log}");
    let notes = site.rest("GET", &format!("/v1/agents/{}/archival", turn.agent), None).await;
    assert_eq!(notes.to_string().matches(&note(&round.name)).count(), 1, "{notes} {log}");
    // The past is summed up, each time further than before.
    let through: Vec<u64> =
        log.of("compacted").map(|event| event["through"].as_u64().unwrap()).collect();
    assert!(!through.is_empty() && through.is_sorted(), "{log}");
}

/// The events of a session with one turn, as they are on disk.
pub(super) struct KilledLog {
    records: Vec<Value>,
}

/// For messages of failed assertions.
impl std::fmt::Display for KilledLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = self.records.clone();
        for record in &mut shown {
            if record["event"]["kind"] == "session_opened" {
                record["event"]["history"] = Value::Null;
            }
            writeln!(f, "\n{} {}", record["seq"], record["event"])?;
        }
        Ok(())
    }
}

impl KilledLog {
    pub(super) fn new(events: &Value) -> Self {
        Self { records: events.as_array().unwrap().clone() }
    }

    /// The events of a kind.
    pub(super) fn of(&self, kind: &str) -> impl Iterator<Item = &Value> {
        let events = self.records.iter().map(|record| &record["event"]);
        events.filter(move |event| event["kind"] == kind)
    }

    /// The log has no gaps, its turn begins and completes once, and a client saw nothing else.
    fn check_frame(&self, turn: &PlayedTurn) {
        self.check_seqs();
        for (seq, seen) in &turn.log {
            let record = &self.records[usize::try_from(*seq).unwrap() - 1];
            assert_eq!(seen["event"], record["event"], "what was seen is on disk: {self}");
        }
        self.check_ends();
    }

    /// The log has no gaps.
    pub(super) fn check_seqs(&self) {
        let seqs: Vec<u64> =
            self.records.iter().map(|record| record["seq"].as_u64().unwrap()).collect();
        assert_eq!(seqs, (1..=seqs.len() as u64).collect::<Vec<_>>(), "{self}");
    }

    /// One input began one turn, which completed once.
    pub(super) fn check_ends(&self) {
        for kind in ["user_message", "turn_started", "turn_ended"] {
            assert_eq!(self.of(kind).count(), 1, "{kind}: {self}");
        }
        assert_eq!(self.of("turn_ended").next().unwrap()["outcome"], "completed", "{self}");
    }

    /// Each interruption is in the log at most once, with its number.
    fn check_resumes(&self, turn: &PlayedTurn) {
        let resumed: Vec<u64> =
            self.of("turn_resumed").map(|event| event["attempt"].as_u64().unwrap()).collect();
        assert_eq!(resumed, (1..=resumed.len() as u64).collect::<Vec<_>>(), "{self}");
        assert!(resumed.len() <= turn.kills.len(), "{:?} {self}", turn.kills);
        assert!(self.of("turn_resumed").all(|event| event["reason"] == "restart"), "{self}");
    }

    /// The texts of messages or thoughts. One that was cut is joined with its continuations.
    pub(super) fn joined_texts(&self, kind: &str) -> Vec<String> {
        let mut texts: Vec<(String, String)> = Vec::new();
        for event in self.of(kind) {
            let (item, text) =
                (event["item"].as_str().unwrap(), event["text"].as_str().unwrap().to_owned());
            match event["continues"].as_str() {
                Some(cut) => {
                    let found = texts.iter_mut().find(|(last, _)| last == cut);
                    let (last, joined) = found.expect("it continues an item of its turn");
                    joined.push_str(&text);
                    item.clone_into(last);
                }
                None => texts.push((item.to_owned(), text)),
            }
        }
        texts.into_iter().map(|(_, text)| text).collect()
    }

    /// The joined texts are those of the script, letter by letter: nothing that was seen is lost.
    fn check_texts(&self, round: &KillRound, turn: &PlayedTurn) {
        let steps = steps(&round.name, round.style);
        let all = |text: fn(&ScriptStep) -> &ScriptText| -> Vec<String> {
            let texts = steps.iter().map(text).filter(|text| text.words > 0);
            texts.map(ScriptText::whole).collect()
        };
        let (messages, thoughts) = (all(|step| &step.message), all(|step| &step.thought));
        assert_eq!(self.joined_texts("message"), messages, "{:?} {self}", turn.kills);
        assert_eq!(self.joined_texts("thought"), thoughts, "{:?} {self}", turn.kills);
        let whole: Vec<String> = messages.into_iter().chain(thoughts).collect();
        let texts = self.of("message").chain(self.of("thought"));
        let kept: BTreeMap<&str, &Value> =
            texts.map(|event| (event["item"].as_str().unwrap(), event)).collect();
        for (item, seen) in &turn.streamed {
            match kept.get(item.as_str()) {
                Some(event) => {
                    let text = event["text"].as_str().unwrap();
                    let is_cut = event["complete"] == false;
                    // Text that came after the last checkpoint is said again.
                    assert!(
                        text.starts_with(seen) || is_cut && seen.starts_with(text),
                        "{seen}: {self}"
                    );
                }
                // No checkpoint of it was saved: all of it is said again.
                None => assert!(whole.iter().any(|text| text.contains(seen.as_str())), "{self}"),
            }
        }
        if let Some(text) = round.checkpointed() {
            let is_kept = |event: &Value| {
                event["complete"] == false && event["text"].as_str().unwrap().starts_with(&text)
            };
            assert!(self.of("message").any(is_kept), "a checkpoint is kept: {text} {self}");
        }
    }

    /// Every call has one result behind it, and repetitions with rising numbers before that.
    fn check_calls(&self) {
        let calls: BTreeSet<&str> =
            self.of("tool_called").map(|event| event["call"].as_str().unwrap()).collect();
        assert_eq!(calls.len(), self.of("tool_called").count(), "{self}");
        assert_eq!(self.of("tool_returned").count(), calls.len(), "{self}");
        for call in calls {
            let kinds: Vec<&str> = self
                .records
                .iter()
                .filter(|record| record["event"]["call"] == call)
                .map(|record| record["event"]["kind"].as_str().unwrap())
                .collect();
            assert_eq!(kinds.first(), Some(&"tool_called"), "{self}");
            assert_eq!(kinds.last(), Some(&"tool_returned"), "{call}: {self}");
            let asked = kinds.iter().filter(|kind| **kind == "approval_asked").count();
            let settled = kinds.iter().filter(|kind| **kind == "approval_settled").count();
            assert_eq!(asked, settled, "{call}: {self}");
            let retries = self.of("tool_retried").filter(|event| event["call"] == call);
            for (at, retried) in retries.enumerate() {
                assert_eq!(retried["attempt"], at + 1, "{self}");
            }
        }
    }

    /// The log's account of a tool's call agrees with its effects.
    fn check_tool(&self, tool: &ScriptTool, round: &KillRound, answer: OwnerAnswer) {
        let name = tool.full_name();
        let calls: Vec<&Value> =
            self.of("tool_called").filter(|event| event["name"] == *name).collect();
        assert_eq!(calls.len(), 1, "{name}: {self}");
        let call = &calls[0]["call"];
        let of_call = |kind| self.of(kind).filter(move |event| event["call"] == *call);
        let (effects, retries) = (round.effects_of(tool.name), of_call("tool_retried").count());
        let account = format!("{name}: {effects:?} {self}");
        assert!(effects.len() <= 1 + retries, "each run is in the log: {account}");
        let keys: BTreeSet<&Option<String>> =
            effects.iter().flat_map(|effect| [&effect.header, &effect.meta]).collect();
        assert!(keys.len() <= 1, "a call has one idempotency key: {account}");
        assert!(!keys.contains(&None), "every run has the idempotency key: {account}");
        let mut reasons = of_call("tool_retried").map(|event| event["reason"].as_str().unwrap());
        match tool.replay {
            ScriptReplay::Safe => assert!(reasons.all(|reason| reason == "safe"), "{account}"),
            ScriptReplay::Ask => {
                assert!(reasons.all(|reason| reason == "approved"), "{account}");
                assert!(retries == 0 || answer == OwnerAnswer::Again, "{account}");
            }
            ScriptReplay::Never => assert_eq!(retries, 0, "{account}"),
        }
        let returned = of_call("tool_returned").next().unwrap();
        let text = returned["text"].as_str().unwrap();
        match returned["status"].as_str() {
            Some("success") if text == RESULT => assert!(!effects.is_empty(), "{account}"),
            Some("success") => {
                assert_eq!((text, answer), (RESULT_OF_OWNER, OwnerAnswer::Done), "{account}");
                assert_eq!(tool.replay, ScriptReplay::Ask, "{account}");
            }
            Some("error") => {
                assert_eq!(answer, OwnerAnswer::Failed, "{account}");
                assert_eq!(tool.replay, ScriptReplay::Ask, "{account}");
            }
            Some("unknown") => {
                assert_eq!(tool.replay, ScriptReplay::Never, "{account}");
                assert!(effects.len() <= 1, "{account}");
            }
            other => panic!("{other:?}: {account}"),
        }
    }
}
