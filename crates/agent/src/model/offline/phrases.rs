//! Phrases that the offline model recognises, in lower case.

/// Beginnings of requests to remember something.
pub(super) const KEEP: &[&str] = &[
    "please remember that ",
    "please remember ",
    "remember that ",
    "remember: ",
    "remember ",
    "don't forget that ",
    "note that ",
];

/// Beginnings of facts worth remembering.
pub(super) const FACTS: &[&str] = &[
    "my name is ",
    "my name's ",
    "call me ",
    "i am called ",
    "my favourite ",
    "my favorite ",
    "i like ",
    "i love ",
    "i enjoy ",
    "i prefer ",
    "i hate ",
    "i dislike ",
    "i don't like ",
    "i live in ",
    "i work ",
    "i am from ",
    "i come from ",
    "i was born ",
    "i have a ",
    "i have an ",
    "i have two ",
    "i play ",
    "i speak ",
    "my birthday is ",
];

/// Questions about the agent itself.
pub(super) const WHO: &[&str] = &[
    "who are you",
    "what are you",
    "are you an llm",
    "are you a llm",
    "are you an ai",
    "are you a real",
    "are you real",
    "are you human",
    "are you a bot",
    "what model are you",
    "which model are you",
    "what can you do",
];

/// Beginnings of questions about remembered facts.
pub(super) const KNOWN: &[&str] = &[
    "what do you remember",
    "what do you know",
    "what can you remember",
    "do you remember",
    "do you know",
    "do you recall",
    "what is my ",
    "what's my ",
    "what are my ",
    "who am i",
    "what do i ",
    "what am i ",
    "where do i ",
    "where am i ",
    "when is my ",
    "who is my ",
    "do i ",
    "how old am i",
    "tell me my ",
    "tell me what you know",
    "tell me what you remember",
];

/// Beginnings of questions about earlier messages.
pub(super) const SAID: &[&str] = &[
    "what did i say about ",
    "what did i tell you about ",
    "what have i said about ",
    "what did we say about ",
    "what did we talk about",
    "did i say anything about ",
    "did i mention ",
    "did i ever mention ",
    "when did i mention ",
    "what did you say about ",
];

/// Questions about the time, anywhere in a sentence.
pub(super) const TIME: &[&str] = &[
    "what time is it",
    "what's the time",
    "what is the time",
    "what is the date",
    "what's the date",
    "what day is it",
    "what is today",
    "what's today",
    "which day is it",
    "current time",
    "current date",
    "tell me the time",
];

/// Beginnings of questions about the messages of one day.
pub(super) const SAID_ON: &[&str] =
    &["what did i say on ", "what did we say on ", "what was said on "];

/// Words that mark numbers and signs in a sentence as a calculation.
pub(super) const SUM: &[&str] =
    &["what", "how much", "calculate", "compute", "work out", "evaluate", "solve"];

/// Names of arithmetic signs.
pub(super) const SIGNS: &[(&str, &str)] = &[
    (" times ", " * "),
    (" plus ", " + "),
    (" minus ", " - "),
    (" divided by ", " / "),
    (" to the power of ", " ^ "),
    (" x ", " * "),
];
