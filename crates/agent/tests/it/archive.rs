//! Search of notes by words and by meaning, with a local embedding model that the test writes.

use std::path::Path;
use std::sync::Arc;

use serde_json::json;
use thoughtwire_agent::{AgentOptions, Archive, Embedder, Providers};
use thoughtwire_hub::now;
use thoughtwire_proto::{AgentId, Style, ToolStatus};
use thoughtwire_store::{MemoryHit, MemoryQuery, Note, Page};

use crate::harness::{AgentHarness, ScriptedModel, call, options, text};
use crate::mock::providers;

/// Words with two-dimensional vectors: drinks and vehicles.
const WORDS: [(&str, [f32; 2]); 7] = [
    ("[UNK]", [0.0, 0.0]),
    ("tea", [1.0, 0.1]),
    ("coffee", [0.9, 0.2]),
    ("beverage", [1.0, 0.0]),
    ("train", [0.1, 1.0]),
    ("tram", [0.0, 0.9]),
    ("railway", [0.0, 1.0]),
];

/// Writes a model in Model2Vec's format: a tokenizer, a table of vectors, a configuration.
fn write_model(dir: &Path) {
    let vocabulary: serde_json::Map<_, _> =
        WORDS.iter().enumerate().map(|(id, (word, _))| ((*word).to_owned(), json!(id))).collect();
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
        "normalizer": {"type": "Lowercase"}, "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]"},
    });
    std::fs::write(dir.join("tokenizer.json"), tokenizer.to_string()).unwrap();
    std::fs::write(dir.join("config.json"), json!({"normalize": true}).to_string()).unwrap();
    let numbers: Vec<u8> = WORDS
        .iter()
        .flat_map(|(_, vector)| vector)
        .flat_map(|number| number.to_le_bytes())
        .collect();
    let header = json!({"embeddings": {
        "dtype": "F32", "shape": [WORDS.len(), 2], "data_offsets": [0, numbers.len()],
    }})
    .to_string();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.extend(numbers);
    std::fs::write(dir.join("model.safetensors"), file).unwrap();
}

fn local(dir: &Path) -> Embedder {
    write_model(dir);
    Embedder::open(&format!("local:{}", dir.display()), &Providers::default()).unwrap()
}

async fn notes_for(
    archive: &Archive,
    agent: &AgentId,
    text: &str,
    offset: usize,
    limit: usize,
) -> Page<MemoryHit<Note>> {
    let query = MemoryQuery { text: text.into(), offset, limit, ..MemoryQuery::default() };
    archive.search(agent, query).await.unwrap()
}

#[tokio::test]
async fn words_and_meaning_are_merged_into_one_ranking() {
    let dir = tempfile::tempdir().unwrap();
    let search = call("archival_memory_search", &json!({"query": "beverage"}));
    let script = ScriptedModel::new([search, text("Tea.")]);
    let harness = AgentHarness::scripted(
        &script,
        AgentOptions { embedder: Some(local(dir.path())), ..options("offline") },
    )
    .await;
    let (agent, session) = harness.agent("tess", Style::Native).await;
    let archive = Archive::new(Arc::clone(harness.hub.store()), Some(local(dir.path())), u64::MAX);
    let notes = ["The train to Vienna", "She likes tea", "A tram stops here"];
    archive
        .add(&agent, notes.iter().map(|note| Archive::note(*note, now(), None)).collect())
        .await
        .unwrap();
    // Stored without a vector, as before there was a model.
    harness
        .hub
        .store()
        .memory()
        .add_notes(&agent, vec![Archive::note("Coffee at noon", now(), None)], u64::MAX, None)
        .await
        .unwrap();
    archive.embed_new(&agent, 1).await;
    let found = notes_for(&archive, &agent, "beverage", 0, 2).await;
    assert_eq!(
        found.items.iter().map(|hit| hit.item.text.as_str()).collect::<Vec<_>>(),
        ["She likes tea", "Coffee at noon"]
    );
    // A note with the word and the meaning ranks before one with only the meaning.
    let found = notes_for(&archive, &agent, "coffee", 0, 4).await;
    assert_eq!(found.items[0].item.text, "Coffee at noon");
    assert_eq!((found.items.len(), found.total), (2, 2), "what is far from it is left out");
    assert_eq!(notes_for(&archive, &agent, "coffee", 1, 4).await.items.len(), 1, "paged");

    let log = harness.run_turn(&session, "What does she drink?").await;
    let (status, result) = log.returned()[0];
    assert_eq!(status, ToolStatus::Success);
    assert!(result.contains("She likes tea"), "{result}");
}

#[tokio::test]
async fn without_the_embedding_model_notes_are_found_by_words() {
    // Nothing listens there: notes are stored and found by words.
    let away = Embedder::open("ollama/nomic-embed-text", &providers("127.0.0.1:1")).unwrap();
    let harness = AgentHarness::new(options("offline")).await;
    let (agent, _) = harness.agent("tess", Style::Native).await;
    let archive = Archive::new(Arc::clone(harness.hub.store()), Some(away), u64::MAX);
    archive.add(&agent, vec![Archive::note("She likes tea", now(), None)]).await.unwrap();
    assert_eq!(notes_for(&archive, &agent, "tea", 0, 5).await.items.len(), 1);
}
