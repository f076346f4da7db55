//! Ends of turns, texts of workers, and texts of turns on other nodes.

use serde_json::{Value, json};

use super::{begin_slowly, drive, run_module, with_ada};
use crate::live::{Live, TestClient};
use crate::nodes::SharedDatabase;

/// A program that runs the agent `bob`: it says "so far: INPUT" in pieces, and ends its turn with
/// the input as the code; "done" completes it.
async fn run_bob(live: &Live) -> tokio::task::JoinHandle<()> {
    let mut program = live.native().await;
    let offer = json!({"type": "offer", "id": "o", "agent": "bob", "worker": "w", "turns": 4});
    assert_eq!(program.ask(offer).await["type"], "ack");
    tokio::spawn(async move {
        for turns in 0.. {
            let run = program.until_type("run").await.pop().unwrap();
            answer(&mut program, &run, turns).await;
        }
    })
}

async fn answer(program: &mut TestClient, run: &Value, turns: usize) {
    let asked = run["input"]["text"].as_str().unwrap();
    let mut said = 0;
    let mut say = async |verb: Value| {
        let mut frame = json!({"type": "say", "turn": run["turn"]});
        if verb["verb"] != "delta" {
            said += 1;
            frame["id"] = json!(format!("v-{turns}-{said}"));
        }
        frame.as_object_mut().unwrap().extend(verb.as_object().unwrap().clone());
        program.send(frame).await;
    };
    let item = format!("v-{turns}-1");
    for (n, piece) in ["so ", "far: ", asked].into_iter().enumerate() {
        let (kind, verb) = ("message", "delta");
        say(json!({"verb": verb, "item": item, "n": n, "kind": kind, "text": piece})).await;
    }
    say(json!({"verb": "assistant_message", "text": format!("so far: {asked}")})).await;
    say(json!({"verb": "usage", "input_tokens": 120, "output_tokens": 8})).await;
    if asked == "done" {
        say(json!({"verb": "finish"})).await;
    } else {
        say(json!({"verb": "fail", "code": asked, "reason": "no more"})).await;
    }
}

#[tokio::test]
async fn every_end_of_a_turn_has_its_word_in_both_apis() {
    let live = Live::start().await;
    let bob = run_bob(&live).await;
    drive(&live, "ends", &[]).await;
    let printed = run_module(include_str!("client.mjs"), &[&live.url, "ends"]).await;
    assert_eq!(printed, "ok\n");
    bob.abort();
}

#[tokio::test]
async fn a_turn_that_is_cancelled_ends_a_completion_with_an_error() {
    let (live, _) = with_ada().await;
    live.agent("slow", "load:items=100000,bytes=40,deltas=yes,rate=20").await;
    drive(&live, "cancelled_completion", &[]).await;
}

#[tokio::test]
async fn text_of_a_worker_comes_in_pieces_where_the_api_cannot_resume() {
    let live = Live::start().await;
    let bob = run_bob(&live).await;
    drive(&live, "worker_text", &[]).await;
    bob.abort();
}

#[tokio::test]
async fn text_of_a_turn_on_another_node_comes_in_pieces() {
    let database = SharedDatabase::create();
    let (one, two) = tokio::join!(database.node("one"), database.node("two"));
    let (_, session) = one.agent("slow", "load:items=100000,bytes=40,deltas=yes,rate=20").await;
    // The first node has the session from now on.
    let mut client = one.native().await;
    client.attach(&session, Some(0)).await;
    drive(&two, "followed_text", &[&session]).await;
}

#[tokio::test]
async fn a_stream_resumes_on_a_node_that_took_the_session_over() {
    let database = SharedDatabase::create();
    let (mut one, two) = tokio::join!(database.node("one"), database.node("two"));
    let (_, session) = one.agent("slow", "load:items=40,bytes=40,deltas=yes,rate=20").await;
    let mut client = one.native().await;
    client.attach(&session, Some(0)).await;
    let (_reading, response, begun) = begin_slowly(&two, &[&session]).await;
    one.kill().await;
    drive(&two, "go_on", &[&response, &begun]).await;
}
