//! Rules for new names that people and clients give.

use unicode_normalization::UnicodeNormalization as _;

use crate::id::{BadId, check_name};

/// Makes the name of a new thing: in NFC, without segments that a URL's path would lose.
///
/// Names that were stored under an earlier rule are checked with [`check_name`] alone.
///
/// ```
/// use thoughtwire_proto::{BadId, new_name};
/// assert_eq!(new_name("Zoe\u{308}")?, "Zoë");
/// assert_eq!(new_name(".."), Err(BadId::Dots));
/// # Ok::<(), BadId>(())
/// ```
///
/// # Errors
/// The rule that was broken.
pub fn new_name(text: &str) -> Result<String, BadId> {
    let name = nfc(text);
    check_name(&name)?;
    if has_dot_segment(&name) { Err(BadId::Dots) } else { Ok(name) }
}

/// Makes a new title or file name. The rules are those of [`new_name`], but it may be empty, have
/// any length, and contain dot segments among others.
///
/// # Errors
/// The rule that is broken.
pub fn new_title(text: &str) -> Result<String, BadId> {
    let title = nfc(text);
    if title.chars().any(char::is_control) {
        Err(BadId::Control)
    } else if is_dot_segment(title.trim()) {
        Err(BadId::Dots)
    } else {
        Ok(title)
    }
}

/// The text in Unicode's composed form (NFC), in which equal names have equal bytes.
#[must_use]
pub fn nfc(text: &str) -> String {
    text.nfc().collect()
}

/// Whether a segment of the name is a dot segment. Proxies decode `%2F` and remove such segments.
fn has_dot_segment(name: &str) -> bool {
    name.split(['/', '\\']).any(is_dot_segment)
}

/// Whether URL parsers remove a segment from a path: `.` and `..`, also with `%2e` for a dot.
fn is_dot_segment(segment: &str) -> bool {
    let segment = segment.to_ascii_lowercase().replace("%2e", ".");
    segment == "." || segment == ".."
}

#[cfg(test)]
mod tests {
    use super::{BadId, new_name, new_title};

    #[test]
    fn new_names_follow_the_rules() {
        for (text, expected) in [
            ("ada", Ok("ada")),
            ("Zoe\u{308}", Ok("Zo\u{eb}")),
            ("\u{1112}\u{1161}\u{11ab}", Ok("\u{d55c}")),
            (".ada", Ok(".ada")),
            ("...", Ok("...")),
            ("a..b", Ok("a..b")),
            ("teams/ada", Ok("teams/ada")),
            ("50%", Ok("50%")),
            ("", Err(BadId::Empty)),
            (".", Err(BadId::Dots)),
            ("..", Err(BadId::Dots)),
            ("%2e", Err(BadId::Dots)),
            (".%2E", Err(BadId::Dots)),
            ("%2E%2e", Err(BadId::Dots)),
            ("ada/..", Err(BadId::Dots)),
            ("../ada", Err(BadId::Dots)),
            ("ada\\..\\eve", Err(BadId::Dots)),
            ("a\0", Err(BadId::Control)),
            ("a\nb", Err(BadId::Control)),
            ("a\u{1b}[2J", Err(BadId::Control)),
            ("a\u{9b}", Err(BadId::Control)),
            ("\u{7f}", Err(BadId::Control)),
        ] {
            assert_eq!(new_name(text), expected.map(str::to_owned), "{text:?}");
        }
        // 64 characters in the composed form.
        assert!(new_name(&"e\u{308}".repeat(64)).is_ok());
        assert_eq!(new_name(&"e\u{308}".repeat(65)), Err(BadId::TooLong));
    }

    #[test]
    fn new_titles_follow_the_rules() {
        for (text, expected) in [
            ("", Ok("")),
            ("Zoe\u{308}", Ok("Zo\u{eb}")),
            ("../notes/./day.md", Ok("../notes/./day.md")),
            ("..", Err(BadId::Dots)),
            (" . ", Err(BadId::Dots)),
            ("%2e.", Err(BadId::Dots)),
            ("one\ntwo", Err(BadId::Control)),
        ] {
            assert_eq!(new_title(text), expected.map(str::to_owned), "{text:?}");
        }
        assert!(new_title(&"long ".repeat(100)).is_ok());
    }
}
