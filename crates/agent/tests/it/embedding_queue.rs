//! Vectors made in the background: at the start, after failures, and again for another model.

use std::sync::Arc;
use std::time::Duration;

use thoughtwire_agent::{AgentOptions, Archive, Embedder, EmbeddingPrefixes};
use thoughtwire_hub::now;
use thoughtwire_proto::{AgentId, Style};
use thoughtwire_store::{MemoryQuery, Store};

use crate::embedding_server::EmbeddingServer;
use crate::harness::{AgentHarness, PATIENCE, options};
use crate::mock::providers;

fn embedder(server: &EmbeddingServer, model: &str) -> Embedder {
    Embedder::open(&format!("openai/{model}"), &providers(&server.host)).unwrap()
}

/// An archive with an embedding model, as a server opens it.
fn archive(harness: &AgentHarness, embedder: Embedder) -> Archive {
    Archive::new(Arc::clone(harness.hub.store()), Some(embedder), u64::MAX)
}

/// Stores notes without vectors.
async fn store_notes(harness: &AgentHarness, agent: &AgentId, texts: &[&str]) {
    let notes = texts.iter().map(|text| Archive::note(*text, now(), None)).collect();
    let memory = harness.hub.store().memory();
    memory.add_notes(agent, notes, u64::MAX, None).await.unwrap();
}

/// Number of texts of all agents that have no vector of a model.
async fn missing(store: &Store, model: &str) -> usize {
    let counted = store.memory().count_without_vector(None, model).await.unwrap();
    counted.iter().map(|texts| texts.count).sum()
}

/// Waits until a condition holds.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// The notes that a search finds, each with the part of its score from its meaning.
async fn found(archive: &Archive, agent: &AgentId, text: &str) -> Vec<(String, f32)> {
    let query = MemoryQuery { text: text.into(), limit: 9, ..MemoryQuery::default() };
    let found = archive.search(agent, query).await.unwrap();
    found.items.into_iter().map(|hit| (hit.item.text, hit.why.meaning)).collect()
}

#[tokio::test]
async fn texts_of_a_time_without_the_model_are_embedded_at_the_start_and_again_for_another() {
    let server = EmbeddingServer::start().await;
    let harness = AgentHarness::new(options("offline")).await;
    let (tess, session) = harness.agent("tess", Style::Native).await;
    let (ada, _) = harness.agent("ada", Style::Native).await;
    store_notes(&harness, &tess, &["She likes tea", "The train is late", "Tram 5 stops"]).await;
    store_notes(&harness, &ada, &["Umbrella in the hall"]).await;
    harness.run_turn(&session, "Hello there").await;
    let store = harness.hub.store();
    let first = archive(&harness, embedder(&server, "first"));
    // Four notes, and what was said in a turn.
    let texts = first.embed_missing().await.unwrap();
    assert!(texts >= 6, "{texts}");
    until("all have vectors", async || missing(store, "openai/first").await == 0).await;
    until("none waits", async || first.unembedded(&tess) == Some(0)).await;
    assert_eq!(server.count("first"), texts, "each was embedded once");
    let hits = found(&first, &tess, "beverage").await;
    assert_eq!(hits.first().map(|(text, _)| text.as_str()), Some("She likes tea"));
    assert!(hits[0].1 > 0.0, "{hits:?}");
    // This node did it a moment ago, and there is nothing to do.
    assert_eq!(first.embed_missing().await.unwrap(), 0);

    let second = archive(&harness, embedder(&server, "second"));
    assert_eq!(second.embed_missing().await.unwrap(), texts);
    until("all have new vectors", async || missing(store, "openai/second").await == 0).await;
    assert_eq!(missing(store, "openai/first").await, texts, "the old ones are gone");
    assert_eq!(found(&second, &tess, "beverage").await[0].0, "She likes tea");

    // Another prefix makes other vectors.
    let prefixes = EmbeddingPrefixes { document: Some("note: ".into()), query: None };
    let prefixed =
        Embedder::open_with("openai/second", &providers(&server.host), prefixes).unwrap();
    let third = archive(&harness, prefixed);
    assert_eq!(third.embed_missing().await.unwrap(), texts);
}

#[tokio::test]
async fn a_model_that_fails_is_asked_again_and_texts_are_found_by_words_meanwhile() {
    let server = EmbeddingServer::start().await;
    server.set_status(401);
    let harness = AgentHarness::new(options("offline")).await;
    let (agent, _) = harness.agent("tess", Style::Native).await;
    let archive = archive(&harness, embedder(&server, "m"));
    let notes = ["She likes tea", "The train is late", "Rain again"];
    let notes = notes.map(|text| Archive::note(text, now(), None)).to_vec();
    archive.add(&agent, notes).await.unwrap();
    assert_eq!(archive.unembedded(&agent), Some(3));
    assert_eq!(found(&archive, &agent, "tea").await, [("She likes tea".to_owned(), 0.0)]);
    server.set_status(200);
    until("they have vectors", async || archive.unembedded(&agent) == Some(0)).await;
    assert_eq!(found(&archive, &agent, "beverage").await[0].0, "She likes tea");
}

#[tokio::test]
async fn a_text_that_the_model_refuses_holds_up_nobody() {
    let server = EmbeddingServer::start().await;
    let harness = AgentHarness::new(options("offline")).await;
    let (alone, _) = harness.agent("alone", Style::Native).await;
    let (tess, _) = harness.agent("tess", Style::Native).await;
    store_notes(&harness, &alone, &["poison"]).await;
    store_notes(&harness, &tess, &["The train is late", "poison ivy", "She likes tea"]).await;
    let archive = archive(&harness, embedder(&server, "m"));
    assert_eq!(archive.embed_missing().await.unwrap(), 4);
    until("hers have vectors", async || archive.unembedded(&tess) == Some(0)).await;
    assert_eq!(archive.unembedded(&alone), Some(1), "it is tried again later");
    assert_eq!(found(&archive, &tess, "beverage").await[0].0, "She likes tea");
    assert_eq!(found(&archive, &tess, "ivy").await[0].0, "poison ivy", "by words");
}

#[tokio::test]
async fn what_is_said_is_embedded_without_a_search() {
    let server = EmbeddingServer::start().await;
    let options = AgentOptions { embedder: Some(embedder(&server, "m")), ..options("offline") };
    let harness = AgentHarness::new(options).await;
    let (_, session) = harness.agent("tess", Style::Native).await;
    harness.run_turn(&session, "I take the tram").await;
    until("both messages are embedded", async || server.count("m") >= 2).await;
    until("vectors are stored", async || missing(harness.hub.store(), "openai/m").await == 0).await;
}
