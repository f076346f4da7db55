//! Notes found by words and by meaning, with a local embedding model whose files are written here.

use std::path::Path;
use std::sync::Arc;

use serde_json::json;
use thoughtwire_agent::{AgentOptions, Archive, Embedder, Providers};
use thoughtwire_hub::now;
use thoughtwire_proto::{Style, ToolStatus};

use crate::home::{Home, Script, call, options, text};
use crate::mock::providers;

/// Words with the directions of their meanings: drinks, and vehicles.
const WORDS: [(&str, [f32; 2]); 7] = [
    ("[UNK]", [0.0, 0.0]),
    ("tea", [1.0, 0.1]),
    ("coffee", [0.9, 0.2]),
    ("beverage", [1.0, 0.0]),
    ("train", [0.1, 1.0]),
    ("tram", [0.0, 0.9]),
    ("railway", [0.0, 1.0]),
];

/// Writes a model in the form of Model2Vec: a tokenizer, a table of vectors, a configuration.
fn write_model(dir: &Path) {
    let vocabulary: serde_json::Map<_, _> =
        WORDS.iter().enumerate().map(|(id, (word, _))| ((*word).to_owned(), json!(id))).collect();
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
        "normalizer": {"type": "Lowercase"}, "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]"},
    });
    std::fs::write(dir.join("tokenizer.json"), tokenizer.to_string()).unwrap();
    std::fs::write(dir.join("config.json"), json!({"normalize": true}).to_string()).unwrap();
    let numbers: Vec<u8> = WORDS
        .iter()
        .flat_map(|(_, vector)| vector)
        .flat_map(|number| number.to_le_bytes())
        .collect();
    let header = json!({"embeddings": {"dtype": "F32", "shape": [WORDS.len(), 2], "data_offsets": [0, numbers.len()]}}).to_string();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.extend(numbers);
    std::fs::write(dir.join("model.safetensors"), file).unwrap();
}

fn local(dir: &Path) -> Embedder {
    write_model(dir);
    Embedder::open(&format!("local:{}", dir.display()), &Providers::default()).unwrap()
}

#[tokio::test]
async fn one_ranking_out_of_words_and_meaning() {
    let dir = tempfile::tempdir().unwrap();
    let search = call("archival_memory_search", &json!({"query": "beverage"}));
    let script = Script::new([search, text("Tea.")]);
    let home = Home::scripted(
        &script,
        AgentOptions { embedder: Some(local(dir.path())), ..options("offline") },
    )
    .await;
    let (agent, session) = home.agent("tess", Style::Native).await;
    let archive = Archive::new(Arc::clone(home.hub.store()), Some(local(dir.path())), u64::MAX);
    let notes = ["The train to Vienna", "She likes tea", "A tram stops here"];
    archive
        .add(&agent, notes.iter().map(|note| Archive::note(*note, now(), None)).collect())
        .await
        .unwrap();
    // Written without a vector, as before there was a model: it is embedded when it is looked for.
    home.hub
        .store()
        .memory()
        .add_notes(&agent, vec![Archive::note("Coffee at noon", now(), None)], u64::MAX, None)
        .await
        .unwrap();
    let found = archive.search(&agent, "beverage", 0, 2).await.unwrap();
    assert_eq!(
        found.items.iter().map(|note| note.text.as_str()).collect::<Vec<_>>(),
        ["She likes tea", "Coffee at noon"]
    );
    // What has the word and lies near comes before what only lies near.
    let found = archive.search(&agent, "coffee", 0, 4).await.unwrap();
    assert_eq!(found.items[0].text, "Coffee at noon");
    assert_eq!((found.items.len(), found.total), (4, 4));
    assert_eq!(archive.search(&agent, "coffee", 3, 4).await.unwrap().items.len(), 1, "paged");

    let told = home.say(&session, "What does she drink?").await;
    let (status, result) = told.returned()[0];
    assert_eq!(status, ToolStatus::Success);
    assert!(result.contains("She likes tea"), "{result}");
}

#[tokio::test]
async fn an_embedding_model_that_is_away_costs_nothing_but_the_meaning() {
    // Nobody listens there: notes are kept and found by words.
    let away = Embedder::open("ollama/nomic-embed-text", &providers("127.0.0.1:1")).unwrap();
    let home = Home::new(options("offline")).await;
    let (agent, _) = home.agent("tess", Style::Native).await;
    let archive = Archive::new(Arc::clone(home.hub.store()), Some(away), u64::MAX);
    archive.add(&agent, vec![Archive::note("She likes tea", now(), None)]).await.unwrap();
    assert_eq!(archive.search(&agent, "tea", 0, 5).await.unwrap().items.len(), 1);
}
