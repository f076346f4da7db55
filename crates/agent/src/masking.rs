//! Secrets taken out of texts that people and models read.

/// The shortest secret that is taken out, in characters: a shorter one is a placeholder such as
/// `none`, whose letters are in ordinary words.
const SHORTEST: usize = 8;

/// A text with `***` in the place of each secret that is no placeholder.
pub(crate) fn masked<'a>(text: String, secrets: impl IntoIterator<Item = &'a str>) -> String {
    let mut secrets: Vec<&str> =
        secrets.into_iter().filter(|secret| secret.chars().count() >= SHORTEST).collect();
    // The longest first: one may begin with another.
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets.into_iter().fold(text, |text, secret| {
        if text.contains(secret) { text.replace(secret, "***") } else { text }
    })
}

#[cfg(test)]
mod tests {
    use super::masked;

    #[test]
    fn only_what_is_long_enough_to_be_a_secret_is_masked() {
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
