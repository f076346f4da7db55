//! Word handling: splitting, keywords, and the change between "I" and "you".

/// Splits a text after each space, so that it can be streamed word by word.
pub(super) fn pieces(text: &str) -> Vec<String> {
    text.split_inclusive(' ').map(str::to_owned).collect()
}

/// Escapes a text for the inside of a JSON string.
pub(super) fn escaped(text: &str) -> String {
    let quoted = serde_json::Value::String(text.to_owned()).to_string();
    quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default().to_owned()
}

/// Swaps first and second person: "my name" becomes "your name".
pub(super) fn swap_person(text: &str) -> String {
    let mut swapped = String::new();
    let mut word = String::new();
    for character in text.chars().chain(std::iter::once('\0')) {
        if character.is_alphanumeric() || matches!(character, '\'' | '’') {
            word.push(character);
            continue;
        }
        swapped.push_str(&turn(&word));
        word.clear();
        if character != '\0' {
            swapped.push(character);
        }
    }
    // Corrects verbs that depend on the person.
    for (wrong, right) in [
        ("you am", "you are"),
        ("You am", "You are"),
        ("you was", "you were"),
        ("You was", "You were"),
        ("am you", "are you"),
        ("are I", "am I"),
        ("Are I", "Am I"),
        ("I are", "I am"),
        ("I were", "I was"),
        ("were I", "was I"),
    ] {
        swapped = swapped.replace(wrong, right);
    }
    swapped
}

fn turn(word: &str) -> String {
    let lower = word.to_lowercase().replace('’', "'");
    let other = match lower.as_str() {
        "i" | "me" => "you",
        "my" => "your",
        "mine" => "yours",
        "myself" => "yourself",
        "i'm" => "you're",
        "i've" => "you've",
        "i'd" => "you'd",
        "i'll" => "you'll",
        "your" => "my",
        "you" => "I",
        "yours" => "mine",
        "yourself" => "myself",
        _ => return word.to_owned(),
    };
    // "I" is always a capital letter, so only other words show whether they begin a sentence.
    if lower.starts_with('i') || !word.starts_with(char::is_uppercase) {
        other.to_owned()
    } else {
        capitalize(other)
    }
}

/// Capitalises the first letter.
pub(super) fn capitalize(text: &str) -> String {
    let mut characters = text.chars();
    characters
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

/// The words of a question that say what it is about.
pub(super) fn keywords(text: &str) -> Vec<String> {
    const STOP_WORDS: [&str; 62] = [
        "a", "about", "all", "am", "an", "and", "any", "anything", "are", "at", "can", "could",
        "did", "do", "does", "ever", "for", "from", "had", "has", "have", "hear", "how", "i", "in",
        "is", "it", "know", "me", "mention", "my", "of", "on", "or", "please", "recall",
        "remember", "said", "say", "tell", "that", "the", "them", "there", "these", "this",
        "those", "to", "told", "us", "was", "we", "were", "what", "what's", "when", "which", "who",
        "with", "would", "you", "your",
    ];
    text.split(|character: char| {
        !character.is_alphanumeric() && !matches!(character, '\'' | '’' | '-')
    })
    .map(|word| word.to_lowercase().replace('’', "'"))
    .map(|word| word.trim_matches(['\'', '-']).trim_end_matches("'s").to_owned())
    .filter(|word| !word.is_empty() && !STOP_WORDS.contains(&word.as_str()))
    .collect()
}

/// Whether a text contains a keyword or another form of it.
pub(super) fn mentions(text: &str, keyword: &str) -> bool {
    keywords(text).iter().any(|word| stem(word) == stem(keyword))
}

fn stem(word: &str) -> &str {
    ["ing", "ed", "es", "s", "e"]
        .iter()
        .find_map(|ending| word.strip_suffix(ending).filter(|stem| stem.chars().count() >= 3))
        .unwrap_or(word)
}
