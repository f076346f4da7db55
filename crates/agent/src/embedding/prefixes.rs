//! Words that embedding models want in front of queries and of documents.

/// Words in front of texts before they are embedded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EmbeddingPrefixes {
    /// In front of a query. `None` for what the model is known to want.
    pub query: Option<String>,
    /// In front of a text that is searched. `None` for what the model is known to want.
    pub document: Option<String>,
}

const INSTRUCTION: &str = "Represent this sentence for searching relevant passages: ";

/// Models by a part of their name, each with its prefix of queries and of documents, as its authors
/// describe it. The first that fits counts.
const KNOWN: [(&str, &str, &str); 12] = [
    // Instructed by a sentence, and only with queries.
    ("e5-mistral", "Instruct: Given a question, retrieve passages that answer it\nQuery: ", ""),
    (
        "e5-large-instruct",
        "Instruct: Given a question, retrieve passages that answer it\nQuery: ",
        "",
    ),
    ("e5", "query: ", "passage: "),
    ("nomic-embed", "search_query: ", "search_document: "),
    ("bge-m3", "", ""),
    ("bge", INSTRUCTION, ""),
    ("mxbai-embed", INSTRUCTION, ""),
    ("arctic-embed2", "query: ", ""),
    ("arctic-embed-l-v2", "query: ", ""),
    ("arctic-embed", INSTRUCTION, ""),
    ("embeddinggemma", "task: search result | query: ", "title: none | text: "),
    (
        "qwen3-embedding",
        "Instruct: Given a question, retrieve passages that answer it\nQuery: ",
        "",
    ),
];

/// The prefixes of a model: what is configured, or else what it is known to want.
pub(super) fn of_model(name: &str, set: EmbeddingPrefixes) -> (String, String) {
    let name = name.to_lowercase();
    // Some providers have one model for each side, and put the words in front themselves.
    let known = KNOWN.iter().find(|(part, ..)| name.contains(part) && query_model(&name).is_none());
    let (query, document) = known.map_or(("", ""), |(_, query, document)| (*query, *document));
    (
        set.query.unwrap_or_else(|| query.to_owned()),
        set.document.unwrap_or_else(|| document.to_owned()),
    )
}

/// The model for queries beside a model for passages, as in `embedding-passage`.
pub(super) fn query_model(name: &str) -> Option<String> {
    name.contains("passage").then(|| name.replace("passage", "query"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_get_the_words_that_they_were_trained_with() {
        for (name, query, document) in [
            ("openai/multilingual-e5-small", "query: ", "passage: "),
            ("ollama/nomic-embed-text", "search_query: ", "search_document: "),
            ("ollama/bge-m3", "", ""),
            ("ollama/bge-small-en-v1.5", INSTRUCTION, ""),
            ("openai/text-embedding-3-small", "", ""),
            ("openai/e5-passage", "", ""),
        ] {
            let found = of_model(name, EmbeddingPrefixes::default());
            assert_eq!(found, (query.to_owned(), document.to_owned()), "{name}");
        }
        let set = EmbeddingPrefixes { query: Some("ask: ".into()), document: None };
        let found = of_model("ollama/nomic-embed-text", set);
        assert_eq!(found, ("ask: ".to_owned(), "search_document: ".to_owned()));
        assert_eq!(query_model("openai/e5-passage").as_deref(), Some("openai/e5-query"));
    }
}
