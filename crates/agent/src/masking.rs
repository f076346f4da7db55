//! Masking of secrets in texts that people and models read.

/// Shortest secret that is masked, in characters. A shorter one is a placeholder such as `none`,
/// whose letters are part of ordinary words.
const SHORTEST: usize = 8;

/// Replaces each secret in a text with `***`, except placeholders.
pub(crate) fn masked<'a>(text: String, secrets: impl IntoIterator<Item = &'a str>) -> String {
    let mut secrets: Vec<&str> =
        secrets.into_iter().filter(|secret| secret.chars().count() >= SHORTEST).collect();
    // Longest first, because one secret may begin with another.
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets.into_iter().fold(text, |text, secret| {
        if text.contains(secret) { text.replace(secret, "***") } else { text }
    })
}

#[cfg(test)]
mod tests {
    use super::masked;

    #[test]
    fn only_secrets_of_eight_characters_or_more_are_masked() {
        for (secrets, text, shown) in [
            (vec!["none"], "none of the models", "none of the models"),
            (vec!["x"], "six", "six"),
            (vec![""], "six", "six"),
            (vec!["1234567"], "1234567", "1234567"),
            (vec!["ключ"], "ключ", "ключ"),
            (vec!["12345678"], "key 12345678!", "key ***!"),
            (vec!["password"], "the password", "the ***"),
            (vec!["sk-secret"], "key sk-secret!", "key ***!"),
            (vec!["Letters-Only"], "key Letters-Only!", "key ***!"),
            (vec!["correct-horse-battery"], "correct-horse-battery", "***"),
            (vec!["sk-12345", "sk-12345-67890"], "sk-12345-67890 sk-12345", "*** ***"),
        ] {
            assert_eq!(masked(text.to_owned(), secrets), shown);
        }
    }
}
