//! Embeddings: against the mock, raw replies, and a static model that the test writes.

use std::path::Path;

use serde_json::{Value, json};
use thoughtwire_agent::{Embedder, EmbeddingPrefixes, Providers};

use crate::canned::{CannedProvider, CannedReply};
use crate::mock::{MockProvider, free_port, providers};

fn length(vector: &[f32]) -> f32 {
    vector.iter().map(|number| number * number).sum::<f32>().sqrt()
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[tokio::test]
async fn the_mock_embeds_for_openai() {
    let mock = MockProvider::start().await;
    let embedder = Embedder::open("openai/text-embedding-3-small", &providers(&mock.host)).unwrap();
    assert_eq!(embedder.name(), "openai/text-embedding-3-small");
    let many: Vec<String> = (0..130).map(|n| format!("text {n}")).collect();
    let vectors = embedder.embed(many).await.unwrap();
    assert_eq!(vectors.len(), 130);
    assert!(vectors.iter().all(|vector| (length(vector) - 1.0).abs() < 1e-4));
    let again = embedder.clone().embed(texts(&["text 129", "text 3", ""])).await.unwrap();
    assert_eq!((&again[0], &again[1]), (&vectors[129], &vectors[3]));
    assert!(embedder.embed(Vec::new()).await.unwrap().is_empty());
}

type WriteVectors<'a> = &'a dyn Fn(&[[f32; 2]]) -> Value;

#[tokio::test]
async fn vectors_have_the_order_of_their_texts_over_batches() {
    let openai = |vectors: &[[f32; 2]]| {
        let data = vectors
            .iter()
            .enumerate()
            .rev()
            .map(|(index, vector)| json!({"index": index, "embedding": vector}));
        json!({
            "model": "m", "data": data.collect::<Vec<_>>(),
            "usage": {"prompt_tokens": 1, "total_tokens": 1},
        })
    };
    let gemini = |vectors: &[[f32; 2]]| {
        let values = vectors.iter().map(|vector| json!({"values": vector}));
        json!({"embeddings": values.collect::<Vec<_>>()})
    };
    let ollama = |vectors: &[[f32; 2]]| json!({"embeddings": vectors});
    let count =
        |body: &Value| body["requests"].as_array().or(body["input"].as_array()).map_or(0, Vec::len);
    let wires: [(&str, WriteVectors<'_>); 3] = [
        ("openai/text-embedding-3-small", &openai),
        ("gemini/gemini-embedding-001", &gemini),
        ("ollama/nomic-embed-text", &ollama),
    ];
    for (name, write) in wires {
        let mut first = vec![[3.0, 4.0]; 64];
        first[1] = [0.0, 2.0];
        let canned = CannedProvider::play([
            CannedReply::refusal(503, r#"{"error": {"message": "Soon"}}"#),
            CannedReply::new(write(&first).to_string()),
            CannedReply::new(write(&[[-5.0, 0.0]]).to_string()),
        ])
        .await;
        let embedder = Embedder::open(name, &providers(&canned.host)).unwrap();
        let vectors = embedder.embed(vec!["words".to_owned(); 65]).await.unwrap();
        assert_eq!(
            (&vectors[0], &vectors[1], &vectors[64]),
            (&vec![0.6, 0.8], &vec![0.0, 1.0], &vec![-1.0, 0.0]),
            "{name}"
        );
        assert_eq!(
            canned.requests().iter().map(count).collect::<Vec<_>>(),
            [64, 64, 1],
            "{name}: the first was refused"
        );
    }
}

#[tokio::test]
async fn prefixes_are_those_of_the_model_or_of_the_configuration() {
    let set = EmbeddingPrefixes { query: Some("ask: ".into()), document: Some(String::new()) };
    let known = EmbeddingPrefixes::default();
    for (prefixes, query, document, vectors) in [
        (
            known,
            "search_query: tea",
            "search_document: tea",
            "ollama/nomic-embed-text with \"search_document: \"",
        ),
        (set, "ask: tea", "tea", "ollama/nomic-embed-text"),
    ] {
        let one = json!({"embeddings": [[1.0, 0.0]]}).to_string();
        let replies = [CannedReply::new(one.clone()), CannedReply::new(one)];
        let canned = CannedProvider::play(replies).await;
        let at = providers(&canned.host);
        let embedder = Embedder::open_with("ollama/nomic-embed-text", &at, prefixes).unwrap();
        embedder.embed_query("tea").await.unwrap();
        embedder.embed(texts(&["tea"])).await.unwrap();
        let inputs: Vec<Value> =
            canned.requests().iter().map(|body| body["input"][0].clone()).collect();
        assert_eq!(inputs, [query, document]);
        assert_eq!(embedder.vectors_name(), vectors);
    }
}

#[tokio::test]
async fn embedding_errors_have_model_codes() {
    let few = json!({"embeddings": [[1.0, 0.0]]}).to_string();
    let uneven = json!({"embeddings": [[1.0, 0.0], [1.0]]}).to_string();
    for (reply, code, sentence) in [
        (CannedReply::new(few), "model_failed", "made 1 vectors of 2 texts"),
        (CannedReply::new(uneven), "model_failed", "cannot be used"),
        (CannedReply::new("{}"), "model_failed", "Is OLLAMA_HOST an Ollama server?"),
        (
            CannedReply::refusal(404, r#"{"error": "model not found, try pulling it first"}"#),
            "model_failed",
            "try pulling it first.",
        ),
        (
            CannedReply::refusal(
                400,
                r#"{"error": "the input length exceeds the context length"}"#,
            ),
            "model_window",
            "too long",
        ),
    ] {
        let canned = CannedProvider::play([reply]).await;
        let embedder = Embedder::open("ollama/nomic-embed-text", &providers(&canned.host)).unwrap();
        let error = embedder.embed(texts(&["one", "two"])).await.unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert!(error.to_string().contains(sentence), "{error}");
    }
    let embedder = Embedder::open(
        "ollama/nomic-embed-text",
        &providers(&format!("127.0.0.1:{}", free_port())),
    )
    .unwrap();
    assert_eq!(embedder.embed(texts(&["one"])).await.unwrap_err().code(), "model_unreachable");
}

#[test]
fn embedding_model_names_are_checked() {
    for (name, complaint) in [
        ("", "known are `openai/NAME`, `gemini/NAME`, `ollama/NAME` and `local:DIR`"),
        ("anthropic/claude", "this provider has none"),
        ("openai-responses/x", "this provider has none"),
        ("ollama/", "lacks its name"),
        ("openai/text-embedding-3-small", "OPENAI_API_KEY"),
        ("local:/nowhere/at/all", "there is no directory `/nowhere/at/all`"),
    ] {
        let error = Embedder::open(name, &Providers::default()).unwrap_err().to_string();
        assert!(error.contains(complaint), "{name}: {error}");
    }
}

#[tokio::test]
async fn a_static_model_needs_no_network() {
    let dir = tempfile::tempdir().unwrap();
    let name = format!("local:{}", dir.path().display());
    let none = Providers::default();
    let error = Embedder::open(&name, &none).unwrap_err().to_string();
    assert!(
        error.contains("has no static embedding model") && error.contains("model.safetensors"),
        "{error}"
    );

    write_model(
        dir.path(),
        &[
            ("[UNK]", [0.0, 0.0]),
            ("tea", [3.0, 4.0]),
            ("coffee", [4.0, 3.0]),
            ("server", [-4.0, 3.0]),
        ],
    );
    let embedder = Embedder::open(&name, &none).unwrap();
    let vectors = embedder
        .embed(texts(&["tea", "server", "coffee", "tea tea", "granite", ""]))
        .await
        .unwrap();
    assert_eq!(vectors[0], [0.6, 0.8]);
    assert_eq!(vectors[3], vectors[0]);
    let likeness =
        |a: usize, b: usize| vectors[a].iter().zip(&vectors[b]).map(|(a, b)| a * b).sum::<f32>();
    assert!(likeness(0, 2) > 0.9 && likeness(0, 1).abs() < 1e-6, "{vectors:?}");
    assert_eq!(
        (&vectors[4], &vectors[5]),
        (&vec![0.0, 0.0], &vec![0.0, 0.0]),
        "no word of it is known"
    );

    std::fs::write(dir.path().join("model.safetensors"), "not tensors").unwrap();
    let error = Embedder::open(&name, &none).unwrap_err().to_string();
    assert!(error.contains("has no static embedding model that can be used"), "{error}");
}

/// Writes the files of a model with these words.
fn write_model(dir: &Path, words: &[(&str, [f32; 2])]) {
    let vocabulary: serde_json::Map<String, Value> =
        words.iter().enumerate().map(|(id, (word, _))| ((*word).to_owned(), id.into())).collect();
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
        "normalizer": null, "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null,
        "decoder": null,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "[UNK]"}
    });
    let data: Vec<u8> = words
        .iter()
        .flat_map(|(_, vector)| vector.iter().flat_map(|number| number.to_le_bytes()))
        .collect();
    let header = json!({"embeddings": {
        "dtype": "F32", "shape": [words.len(), 2], "data_offsets": [0, data.len()],
    }})
    .to_string();
    let mut tensors = u64::try_from(header.len()).unwrap().to_le_bytes().to_vec();
    tensors.extend_from_slice(header.as_bytes());
    tensors.extend_from_slice(&data);
    std::fs::write(dir.join("tokenizer.json"), tokenizer.to_string()).unwrap();
    std::fs::write(dir.join("model.safetensors"), tensors).unwrap();
    std::fs::write(dir.join("config.json"), r#"{"normalize": false}"#).unwrap();
}
