//! The account of a session's calls, over REST and from the command line, with the answers about
//! calls that wait.

use std::time::Duration;

use serde_json::{Value, json};

use super::rest::call;
use super::support::{Live, TestClient};
use crate::usage::{Ran, thoughtwire};

/// A program that offers the agent `bob`, with a turn of it under way.
struct Program {
    socket: TestClient,
    session: String,
    turn: Value,
}

impl Program {
    async fn start(live: &Live) -> Self {
        let mut socket = live.native().await;
        let tools = json!([{"name": "pay", "description": "Pays."}]);
        let offer =
            json!({"type": "offer", "id": "o", "agent": "bob", "worker": "w", "tools": tools});
        let session = socket.ask(offer).await["session"].as_str().unwrap().to_owned();
        let inputs = format!("/v1/sessions/{session}/inputs");
        assert_eq!(call(live, "POST", &inputs, &[], Some(json!({"text": "hi"}))).await.0, 202);
        let run = socket.until_type("run").await.pop().unwrap();
        Self { socket, session, turn: run["turn"].clone() }
    }

    /// Says something and waits until it is on disk.
    async fn say(&mut self, id: &str, mut verb: Value) {
        verb["type"] = json!("say");
        verb["id"] = json!(id);
        verb["turn"] = self.turn.clone();
        let answer = self.socket.ask(verb).await;
        assert_eq!(answer["type"], "ack", "{answer}");
    }

    async fn call(&mut self, id: &str) {
        self.say(id, json!({"verb": "tool_called", "name": "pay", "args": {"sum": 7}})).await;
    }

    async fn result(&mut self, call: &str, status: &str, text: &str) {
        let verb = json!({"verb": "tool_returned", "call": call, "status": status, "text": text});
        self.say(&format!("r-{call}"), verb).await;
    }

    /// Asks the owner to run a call, or to run it again.
    async fn ask(&mut self, call: &str, about: &str) {
        let verb = json!({"verb": "approval", "call": call, "about": about});
        self.say(&format!("a-{call}"), verb).await;
    }

    /// A call in each state.
    async fn all_states(live: &Live) -> Self {
        let mut program = Self::start(live).await;
        for id in ["c-1", "c-2", "c-3", "c-4", "c-5", "c-6"] {
            program.call(id).await;
        }
        program.result("c-1", "success", &format!("paid\u{1b}[2J {}", "ü".repeat(500))).await;
        program.result("c-2", "error", "no money").await;
        program.result("c-3", "unknown", "interrupted").await;
        program.ask("c-5", "run").await;
        program.ask("c-6", "retry").await;
        program
    }
}

async fn listed(live: &Live, session: &str, query: &str) -> Value {
    let path = format!("/v1/sessions/{session}/calls{query}");
    let (status, page) = call(live, "GET", &path, &[], None).await;
    assert_eq!(status, 200, "{page}");
    page
}

/// The ids and states of a page.
fn states(page: &Value) -> Vec<(&str, &str)> {
    let text = |call: &'_ Value, key: &str| call[key].as_str().map(str::to_owned);
    let calls = page["calls"].as_array().unwrap().iter();
    calls
        .map(|call| {
            assert!(text(call, "at").is_some() && call["args"]["sum"] == 7, "{call}");
            (call["call"].as_str().unwrap(), call["state"].as_str().unwrap())
        })
        .collect()
}

/// Runs a command beside a running server.
async fn run(args: &[&str], place: &[&str]) -> Ran {
    let args: Vec<String> = args.iter().chain(place).map(|arg| (*arg).to_owned()).collect();
    let run = move || thoughtwire(&args.iter().map(String::as_str).collect::<Vec<_>>(), b"");
    tokio::task::spawn_blocking(run).await.unwrap()
}

#[tokio::test]
async fn a_call_that_ran_when_its_turn_was_cancelled_is_listed_as_unknown() {
    let live = Live::start().await;
    let mut program = Program::start(&live).await;
    for id in ["c-1", "c-2"] {
        program.call(id).await;
    }
    program.ask("c-2", "run").await;
    let session = program.session.as_str();
    let cancel = format!("/v1/sessions/{session}/cancel");
    assert_eq!(call(&live, "POST", &cancel, &[], Some(json!({}))).await.0, 200);
    assert_eq!(states(&listed(&live, session, "?unknown=true").await), [("c-1", "unknown")]);
    assert_eq!(states(&listed(&live, session, "").await), [("c-1", "unknown"), ("c-2", "failed")]);
}

#[tokio::test]
async fn each_call_is_listed_in_its_state() {
    let live = Live::start().await;
    let program = Program::all_states(&live).await;
    let session = program.session.as_str();
    let page = listed(&live, session, "").await;
    assert_eq!(
        states(&page),
        [
            ("c-1", "done"),
            ("c-2", "failed"),
            ("c-3", "unknown"),
            ("c-4", "running"),
            ("c-5", "waiting"),
            ("c-6", "waiting"),
        ]
    );
    let (_, session_page) = call(&live, "GET", &format!("/v1/sessions/{session}"), &[], None).await;
    assert_eq!(page["head"], session_page["session"]["head"]);
    let one = |at: usize| &page["calls"][at];
    let text = one(0)["text"].as_str().unwrap();
    assert!(text.chars().count() == 200 && text.ends_with('…'), "{text}");
    assert!(one(0)["returned_seq"].as_u64() > one(0)["seq"].as_u64(), "{page}");
    assert_eq!((&one(0)["turn"], &one(0)["retries"]), (&program.turn, &json!(0)));
    assert_eq!(one(3).get("text").or(one(3).get("waits_for")), None, "{page}");
    assert_eq!((&one(4)["waits_for"], &one(5)["waits_for"]), (&json!("approval"), &json!("retry")));
    assert!(one(4)["expires_at"].is_string(), "{page}");

    // Pages, and only those of which nobody knows.
    let (mut paged, mut after) = (Vec::new(), json!(0));
    loop {
        let page = listed(&live, session, &format!("?limit=4&after={after}")).await;
        let Some(last) = page["calls"].as_array().unwrap().last() else { break };
        after = last["seq"].clone();
        paged.extend(page["calls"].as_array().unwrap().clone());
    }
    assert_eq!(json!(paged), page["calls"]);
    assert_eq!(states(&listed(&live, session, "?unknown=true").await), [("c-3", "unknown")]);
    for bad in ["?limit=many", "?after=-1", "?unknown=perhaps"] {
        let path = format!("/v1/sessions/{session}/calls{bad}");
        assert_eq!(call(&live, "GET", &path, &[], None).await.0, 400, "{bad}");
    }
}

#[tokio::test]
async fn the_command_lists_calls_of_a_server_and_of_its_directory() {
    let dir = tempfile::tempdir().unwrap();
    let mut live = Live::on(dir.path(), &[]).await;
    let program = Program::all_states(&live).await;
    let session = program.session.as_str();
    let url = live.url.clone();
    let served = run(&["sessions", "calls", session], &["--url", &url]).await;
    assert_eq!(served.code, 0, "{served:?}");
    let lines: Vec<&str> = served.out.lines().collect();
    assert_eq!(lines.len(), 7, "{served:?}");
    assert!(lines[0].starts_with("TIME"), "{served:?}");
    assert!(lines[1].contains("paid‹U+001B›[2J") && !served.out.contains('\u{1b}'), "{served:?}");
    for (line, word) in lines[1..].iter().zip([
        "done",
        "failed",
        "unknown",
        "running",
        "waits for approval",
        "waits: run again?",
    ]) {
        assert!(line.contains("pay") && line.contains(word), "{word}: {line}");
    }
    assert!(served.err.contains("sessions decide"), "{served:?}");
    live.kill().await;

    // No turn runs without a server, so the outcome of the running call is unknown.
    let place = ["--data-dir", dir.path().to_str().unwrap()];
    let unknown = run(&["sessions", "calls", session, "--unknown", "--json"], &place).await;
    assert_eq!(unknown.code, 0, "{unknown:?}");
    let unknown: Value = serde_json::from_str(&unknown.out).unwrap();
    assert_eq!(states(&unknown), [("c-3", "unknown"), ("c-4", "unknown")]);
    // Nobody would go on with the call.
    let late = run(&["sessions", "decide", session, "c-5", "approved"], &place).await;
    assert_eq!(late.code, 1, "{late:?}");
    assert!(late.err.contains("no server runs on"), "{late:?}");
    let nowhere = run(&["sessions", "calls", "s-none"], &place).await;
    assert_eq!(nowhere.code, 1, "{nowhere:?}");
    assert!(nowhere.err.contains("s-none") && nowhere.out.is_empty(), "{nowhere:?}");
}

#[tokio::test]
async fn a_session_without_calls_says_so() {
    let live = Live::start().await;
    let (_client, session) = live.agent("ada", "offline").await;
    let place = ["--url", live.url.as_str()];
    let none = run(&["sessions", "calls", &session], &place).await;
    assert_eq!((none.code, none.out.as_str()), (0, ""), "{none:?}");
    assert!(none.err.contains("no tool was called"), "{none:?}");
    let none = run(&["sessions", "calls", &session, "--unknown"], &place).await;
    assert!(none.code == 0 && none.err.contains("unknown outcome"), "{none:?}");
    let none = run(&["sessions", "calls", &session, "--json"], &place).await;
    assert_eq!(none.out.trim(), r#"{"calls":[]}"#);
    let help = run(&["sessions", "calls", "--help"], &[]).await;
    assert!(help.out.contains("Examples:") && help.out.contains("--unknown"), "{help:?}");
}

#[tokio::test]
async fn the_owner_answers_over_rest_and_from_the_command_line() {
    let live = Live::start().await;
    let mut program = Program::start(&live).await;
    let session = program.session.clone();
    for id in ["c-run", "c-again", "c-done", "c-bare", "c-fail"] {
        program.call(id).await;
    }
    program.ask("c-run", "run").await;
    for id in ["c-again", "c-done", "c-bare", "c-fail"] {
        program.ask(id, "retry").await;
    }
    let decide = |id: &str, body: Value| {
        let (live, path) = (&live, format!("/v1/sessions/{session}/calls/{id}/decision"));
        async move { call(live, "POST", &path, &[], Some(body)).await }
    };
    for (id, body) in [
        ("c-run", json!({"decision": "done"})),
        ("c-run", json!({"decision": "done", "result": "paid"})),
        ("c-run", json!({"decision": "approved", "result": "paid"})),
        ("c-again", json!({"decision": "approved", "result": "paid"})),
        ("c-fail", json!({"decision": "denied", "result": "paid"})),
        ("c-fail", json!({"decision": "perhaps"})),
    ] {
        let (status, refused) = decide(id, body.clone()).await;
        assert_eq!(
            (status, &refused["error"]["code"]),
            (400, &json!("bad_request")),
            "{body}: {refused}"
        );
    }
    let (status, again) = decide("c-again", json!({"decision": "approved"})).await;
    assert_eq!((status, &again["duplicate"]), (200, &json!(false)), "{again}");
    assert_eq!(decide("c-done", json!({"decision": "done", "result": "receipt 7"})).await.0, 200);
    assert_eq!(decide("c-fail", json!({"decision": "denied"})).await.0, 200);
    let late = decide("c-fail", json!({"decision": "denied"})).await;
    assert_eq!((late.0, &late.1["error"]["code"]), (404, &json!("unknown_call")));

    // The same for scripts.
    let place = ["--url", live.url.as_str()];
    let told = run(&["sessions", "decide", &session, "c-bare", "done"], &place).await;
    assert_eq!((told.code, told.out.as_str()), (0, "call c-bare counts as done\n"), "{told:?}");
    let told = run(&["sessions", "decide", &session, "c-run", "approved", "--json"], &place).await;
    let told: Value = serde_json::from_str(&told.out).unwrap();
    assert!(told["decision"] == "approved" && told["seq"].is_u64(), "{told}");
    let wrong = ["sessions", "decide", &session, "c-run", "denied", "--result", "x"];
    let wrong = run(&wrong, &place).await;
    assert!(wrong.code == 2 && wrong.err.contains("`done`"), "{wrong:?}");
    let wrong = run(&["sessions", "decide", &session, "c-run", "perhaps"], &place).await;
    assert_eq!(wrong.code, 2, "{wrong:?}");
    let wrong = run(&["sessions", "decide", &session, "c-run", "denied"], &place).await;
    assert!(wrong.code == 1 && wrong.err.contains("waits for no decision"), "{wrong:?}");

    let page = listed(&live, &session, "").await;
    assert_eq!(
        states(&page),
        [
            ("c-run", "running"),
            ("c-again", "running"),
            ("c-done", "done"),
            ("c-bare", "done"),
            ("c-fail", "failed"),
        ]
    );
    let calls = &page["calls"];
    assert_eq!((&calls[0]["retries"], &calls[1]["retries"]), (&json!(0), &json!(1)), "{page}");
    assert_eq!(calls[2]["text"], "receipt 7");
    assert!(calls[3]["text"].as_str().unwrap().contains("not known"), "{page}");
}

/// An agent in a file, whose session has many calls. Every hundredth has an unknown outcome.
fn busy_agent(calls: usize) -> Value {
    let at = "2026-01-01T00:00:00.000Z";
    let mut events = vec![
        json!({"kind": "session_opened", "agent": "a-1"}),
        json!({"kind": "user_message", "item": "i-1", "text": "hi", "attachments": []}),
        json!({"kind": "turn_started", "input": "i-1"}),
    ];
    for n in 1..=calls {
        let status = if n % 100 == 0 { "unknown" } else { "success" };
        let call = format!("c-{n}");
        events
            .push(json!({"kind": "tool_called", "call": call, "name": "pay", "args": {"sum": 7}}));
        events.push(json!({"kind": "tool_returned", "call": call, "name": "pay", "status": status,
            "text": "ok"}));
    }
    events.push(json!({"kind": "turn_ended", "input": "i-1", "outcome": "completed"}));
    let of_turn = |seq: u64| if seq > 2 { json!("t-1") } else { Value::Null };
    let records = (1..).zip(&events).map(|(seq, event)| {
        let mut record = json!({"seq": seq, "at": at, "turn": of_turn(seq), "event": event});
        if record["turn"].is_null() {
            record.as_object_mut().unwrap().remove("turn");
        }
        record
    });
    json!({
        "thoughtwire_agent": 1,
        "agent": {"name": "busy"},
        "blocks": [],
        "sessions": [{"events": records.collect::<Vec<_>>()}],
    })
}

#[tokio::test]
async fn a_session_with_many_calls_is_read_to_its_end() {
    const CALLS: usize = 2_500;
    let live = Live::start().await;
    let (status, made) = call(&live, "POST", "/v1/import", &[], Some(busy_agent(CALLS))).await;
    assert_eq!(status, 201, "{made}");
    let session = made["agent"]["main_session"].as_str().unwrap();
    let place = ["--url", live.url.as_str()];
    let all = run(&["sessions", "calls", session, "--json"], &place).await;
    let all: Value = serde_json::from_str(&all.out).unwrap();
    let found: Vec<_> = states(&all).into_iter().map(|(id, _)| id.to_owned()).collect();
    assert_eq!(found, (1..=CALLS).map(|n| format!("c-{n}")).collect::<Vec<_>>());
    let unknown = listed(&live, session, "?unknown=true&limit=1000").await;
    let unknown = states(&unknown);
    assert_eq!((unknown.len(), unknown[0]), (CALLS / 100, ("c-100", "unknown")));
    assert_eq!(listed(&live, session, "").await["calls"].as_array().unwrap().len(), 100);

    // Retention takes whole turns. What is left is listed.
    let inputs = format!("/v1/sessions/{session}/inputs?wait=30");
    let (_, turn) = call(&live, "POST", &inputs, &[], Some(json!({"text": "what is 6*7?"}))).await;
    assert_eq!(turn["events"].as_array().unwrap().last().unwrap()["event"]["kind"], "turn_ended");
    let (path, keep) = (format!("/v1/sessions/{session}"), json!({"keep_events": 1}));
    assert_eq!(call(&live, "PATCH", &path, &[], Some(keep)).await.0, 200);
    let left = loop {
        let page = listed(&live, session, "?limit=1000").await;
        if page["first"].as_u64().unwrap() > 1 {
            break page;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let left = left["calls"].as_array().unwrap();
    assert!(left.iter().all(|call| call["name"] == "calculator") && !left.is_empty(), "{left:?}");
}
