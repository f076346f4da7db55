//! Workers that are connected to one node, and sessions that another one owns.

use serde_json::{Value, json};

use super::support::{SeenLog, SharedDatabase, follow, read_to, say};
use crate::live::{Live, TestClient};

/// A program that offers the agent `bob`.
struct OfferingProgram {
    client: TestClient,
    /// Directives that came before an answer.
    kept: Vec<Value>,
    /// The agent's main session.
    session: String,
    /// The turns that it was told of when it offered.
    turns: Value,
}

impl OfferingProgram {
    async fn offer(live: &Live, worker: &str, more: Value) -> Self {
        let mut client = live.native().await;
        let mut offer = json!({"type": "offer", "id": "offer", "agent": "bob", "worker": worker});
        offer.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let ack = client.ask(offer).await;
        assert_eq!(ack["type"], "ack", "{ack}");
        let session = ack["session"].as_str().unwrap().to_owned();
        Self { client, kept: Vec::new(), session, turns: ack["turns"].clone() }
    }

    /// The next directive of a type.
    async fn told(&mut self, kind: &str) -> Value {
        if let Some(at) = self.kept.iter().position(|frame| frame["type"] == kind) {
            return self.kept.remove(at);
        }
        self.client.until(|frame| frame["type"] == kind).await.pop().unwrap()
    }

    /// Uses a verb in a turn.
    async fn say(&mut self, run: &Value, id: &str, verb: Value) -> Value {
        let mut frame = json!({"type": "say", "id": id, "turn": run["turn"]});
        frame.as_object_mut().unwrap().extend(verb.as_object().unwrap().clone());
        self.client.send(frame).await;
        let mut frames = self.client.until(|frame| frame["id"] == id).await;
        let answer = frames.pop().unwrap();
        self.kept.extend(frames);
        answer
    }

    async fn finish(&mut self, run: &Value, id: &str) {
        let ack = self.say(run, id, json!({"verb": "finish", "text": "Done."})).await;
        assert_eq!(ack["type"], "ack", "{ack}");
    }
}

/// Waits for the end of the running turn, which completes.
async fn completes(client: &mut TestClient, seen: &mut SeenLog) {
    read_to(client, seen, "turn_ended").await;
    assert_eq!(seen.last("turn_ended")["event"]["outcome"], "completed");
}

#[tokio::test]
async fn a_worker_serves_a_session_that_another_node_owns() {
    let database = SharedDatabase::create();
    let (one, two) = tokio::join!(database.node("one"), database.node("two"));
    let mut program = OfferingProgram::offer(&one, "w", json!({"history": 10})).await;
    let session = program.session.clone();
    let (mut client, mut seen) = follow(&two, &session).await;
    seen.take(&say(&mut client, &session, "go").await.1);
    let run = program.told("run").await;
    assert_eq!((&run["session"], &run["input"]["text"]), (&json!(session), &json!("go")));
    let delta = json!({"verb": "delta", "item": "i-1", "n": 0, "kind": "message", "text": "He"});
    assert_eq!(program.say(&run, "d-1", delta).await["type"], "ack");
    let streamed = client.until(|frame| frame["type"] == "delta").await;
    assert_eq!(streamed.last().unwrap()["text"], "He");
    seen.take(&streamed);
    let message = json!({"verb": "assistant_message", "text": "Hello"});
    let first = program.say(&run, "i-1", message.clone()).await;
    assert_eq!((&first["type"], &first["duplicate"]), (&json!("ack"), &Value::Null), "{first}");
    // The same verb again has no second effect.
    let again = program.say(&run, "i-1", message).await;
    assert_eq!((&again["seq"], &again["duplicate"]), (&first["seq"], &json!(true)), "{again}");
    // The owner of the agent approves a call.
    let call = json!({"verb": "tool_called", "name": "pay", "args": {}});
    assert_eq!(program.say(&run, "c-1", call).await["type"], "ack");
    let asked = program.say(&run, "a-1", json!({"verb": "approval", "call": "c-1"})).await;
    assert_eq!(asked["type"], "ack", "{asked}");
    read_to(&mut client, &mut seen, "approval_asked").await;
    let mut decide = json!({"type": "decide", "id": "y", "session": session});
    decide["call"] = json!("c-1");
    decide["decision"] = json!("approved");
    client.send(decide).await;
    let settled = program.told("approval_settled").await;
    assert_eq!((&settled["call"], &settled["decision"]), (&json!("c-1"), &json!("approved")));
    let mut returned = json!({"verb": "tool_returned", "call": "c-1", "text": "paid"});
    returned["status"] = json!("success");
    // An input that steers keeps the turn going.
    let steer = json!({"type": "send", "id": "s", "session": session, "text": "faster",
        "policy": "steer"});
    client.send(steer).await;
    read_to(&mut client, &mut seen, "user_message").await;
    assert_eq!(program.say(&run, "r-1", returned).await["type"], "ack");
    let finish = json!({"verb": "finish", "text": "Paid."});
    let steered = program.say(&run, "f-0", finish).await;
    assert_eq!(steered["steered"][0]["text"], "faster", "{steered}");
    program.finish(&run, "f-1").await;
    completes(&mut client, &mut seen).await;
    // The next turn is cancelled.
    say(&mut client, &session, "again").await;
    let run = program.told("run").await;
    client.send(json!({"type": "cancel", "id": "x", "session": session})).await;
    assert_eq!(program.told("cancel").await["turn"], run["turn"]);
    let late = program.say(&run, "f-2", json!({"verb": "finish"})).await;
    assert_eq!(late["code"], "no_turn", "{late}");
}

#[tokio::test]
async fn a_workers_places_count_over_all_nodes() {
    let database = SharedDatabase::create();
    let (one, two) = tokio::join!(database.node("one"), database.node("two"));
    let mut program = OfferingProgram::offer(&one, "w", json!({"turns": 1})).await;
    let main = program.session.clone();
    let (mut there, mut seen_there) = follow(&two, &main).await;
    let mut here = one.native().await;
    let made = here.ask(json!({"type": "create_session", "id": "s", "agent": "bob"})).await;
    let other = made["session"].as_str().unwrap().to_owned();
    here.attach(&other, Some(0)).await;
    seen_there.take(&say(&mut there, &main, "first").await.1);
    let run = program.told("run").await;
    assert_eq!(run["session"], main);
    // Its only place is taken by a session of the other node.
    let (ack, _) = say(&mut here, &other, "second").await;
    assert_eq!(ack["disposition"], "queued", "{ack}");
    program.finish(&run, "f-1").await;
    completes(&mut there, &mut seen_there).await;
    let run = program.told("run").await;
    assert_eq!(run["session"], other);
    // And by one of its own node.
    seen_there.take(&say(&mut there, &main, "third").await.1);
    program.finish(&run, "f-2").await;
    let run = program.told("run").await;
    assert_eq!(run["session"], main);
    program.finish(&run, "f-3").await;
    completes(&mut there, &mut seen_there).await;
}

#[tokio::test]
async fn a_turn_goes_on_with_another_worker_when_its_workers_node_is_killed() {
    let database = SharedDatabase::create();
    let (mut one, two, three) =
        tokio::join!(database.node("one"), database.node("two"), database.node("three"));
    let resumable = json!({"resumable": true});
    let mut program = OfferingProgram::offer(&one, "w", resumable.clone()).await;
    let session = program.session.clone();
    let (mut client, mut seen) = follow(&two, &session).await;
    seen.take(&say(&mut client, &session, "go").await.1);
    let run = program.told("run").await;
    let message = json!({"verb": "assistant_message", "text": "Half"});
    assert_eq!(program.say(&run, "i-1", message).await["type"], "ack");
    let mut other = OfferingProgram::offer(&three, "v", resumable).await;
    one.kill().await;
    let resumed = other.told("run").await;
    assert_eq!((&resumed["turn"], &resumed["resumed"]), (&run["turn"], &json!(true)));
    other.finish(&resumed, "f-1").await;
    completes(&mut client, &mut seen).await;
    assert_eq!(seen.last("turn_resumed")["event"]["reason"], "worker_lost");
}

#[tokio::test]
async fn a_worker_gets_its_turn_back_through_another_node() {
    let database = SharedDatabase::create();
    let (mut one, two, three) =
        tokio::join!(database.node("one"), database.node("two"), database.node("three"));
    let mut program = OfferingProgram::offer(&one, "w", json!({})).await;
    let session = program.session.clone();
    let (mut client, mut seen) = follow(&two, &session).await;
    seen.take(&say(&mut client, &session, "go").await.1);
    let run = program.told("run").await;
    one.kill().await;
    let mut back = OfferingProgram::offer(&three, "w", json!({})).await;
    // The answer names the turn only if the session's node has noticed the death by then; the turn
    // comes in any case.
    let turns = back.turns.as_array().unwrap();
    assert!(turns.iter().all(|turn| *turn == run["turn"]), "{turns:?}");
    let again = back.told("run").await;
    assert_eq!((&again["turn"], &again["resumed"]), (&run["turn"], &json!(true)));
    // Its place is still taken.
    let mut second = two.native().await;
    let made = second.ask(json!({"type": "create_session", "id": "s", "agent": "bob"})).await;
    let other = made["session"].as_str().unwrap().to_owned();
    second.attach(&other, Some(0)).await;
    let (ack, _) = say(&mut second, &other, "wait").await;
    assert_eq!(ack["disposition"], "queued", "{ack}");
    back.finish(&run, "f-1").await;
    completes(&mut client, &mut seen).await;
    assert_eq!(seen.count("turn_resumed"), 0);
    assert_eq!(back.told("run").await["session"], other);
}

#[tokio::test]
async fn a_worker_goes_on_with_its_turn_when_the_sessions_node_is_killed() {
    let database = SharedDatabase::create();
    let (one, mut two) = tokio::join!(database.node("one"), database.node("two"));
    let mut program = OfferingProgram::offer(&one, "w", json!({"resumable": true})).await;
    let session = program.session.clone();
    let (mut client, mut seen) = follow(&two, &session).await;
    let (mut other, mut seen_by_other) = follow(&one, &session).await;
    seen.take(&say(&mut client, &session, "go").await.1);
    let run = program.told("run").await;
    let message = json!({"verb": "assistant_message", "text": "Half"});
    assert_eq!(program.say(&run, "i-1", message).await["type"], "ack");
    two.kill().await;
    // Its next verb waits for the node that takes the session.
    let late = json!({"type": "say", "id": "i-2", "turn": run["turn"],
        "verb": "assistant_message", "text": "Whole"});
    program.client.send(late).await;
    let (mut ack, mut resumed) = (Value::Null, Value::Null);
    while ack.is_null() || resumed.is_null() {
        let frame = program.client.next().await;
        if frame["id"] == "i-2" {
            ack = frame;
        } else if frame["type"] == "run" {
            resumed = frame;
        }
    }
    assert_eq!(ack["type"], "ack", "{ack}");
    assert_eq!((&resumed["turn"], &resumed["attempt"]), (&run["turn"], &json!(1)));
    program.finish(&run, "f-1").await;
    completes(&mut other, &mut seen_by_other).await;
    assert_eq!(seen_by_other.count("message"), 3);
    assert_eq!(seen_by_other.last("turn_resumed")["event"]["reason"], "moved");
}
