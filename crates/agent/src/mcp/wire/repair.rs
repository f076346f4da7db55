//! Repair of JSON text that a parser refuses but whose meaning is clear.

/// Repairs common mistakes of servers: half a surrogate pair becomes U+FFFD; a raw control
/// character in a string and an unknown escape are escaped; `NaN` and `Infinity` become `null`; a
/// comma before a closing bracket is dropped.
pub(super) fn repaired(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if first == '"' {
            rest = string(rest, &mut out);
            continue;
        }
        if let Some(name) =
            ["-Infinity", "Infinity", "NaN"].into_iter().find(|name| rest.starts_with(name))
        {
            out.push_str("null");
            rest = rest.get(name.len()..).unwrap_or_default();
            continue;
        }
        rest = rest.get(first.len_utf8()..).unwrap_or_default();
        let closes = rest.trim_start().starts_with([']', '}']);
        let is_stray = first.is_control() && !first.is_whitespace();
        if !is_stray && (first != ',' || !closes) {
            out.push(first);
        }
    }
    out
}

/// Copies a string including its quotation marks. Returns the rest of the text.
fn string<'a>(text: &'a str, out: &mut String) -> &'a str {
    out.push('"');
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => {
                out.push('"');
                return text.get(at + 1..).unwrap_or_default();
            }
            '\\' => match chars.next() {
                Some((at, 'u')) => {
                    let (unit, second) = (hex(text, at + 1), pair(text, at + 5));
                    let whole = unit.is_some_and(|unit| (0xD800..0xDC00).contains(&unit))
                        && second.is_some();
                    let escape = match unit {
                        Some(0xD800..0xE000) if !whole => "\\ufffd".to_owned(),
                        Some(unit) => format!("\\u{unit:04x}"),
                        None => "\\\\u".to_owned(),
                    };
                    out.push_str(&escape);
                    if let (true, Some(second)) = (whole, second) {
                        out.push_str(&format!("\\u{second:04x}"));
                    }
                    let digits = match (unit, whole) {
                        (None, _) => 0,
                        (Some(_), false) => 4,
                        (Some(_), true) => 10,
                    };
                    for _ in 0..digits {
                        chars.next();
                    }
                }
                Some((_, known)) if "\"\\/bfnrt".contains(known) => out.extend(['\\', known]),
                Some((_, unknown)) if unknown.is_control() => out.push_str("\\\\"),
                Some((_, unknown)) => out.extend(['\\', '\\', unknown]),
                None => out.push_str("\\\\"),
            },
            control if control.is_ascii_control() => {
                out.push_str(&format!("\\u{:04x}", u32::from(control)));
            }
            plain => out.push(plain),
        }
    }
    ""
}

/// Four hexadecimal digits at an offset.
fn hex(text: &str, at: usize) -> Option<u32> {
    let digits = text.get(at..at.checked_add(4)?)?;
    digits
        .bytes()
        .all(|byte| byte.is_ascii_hexdigit())
        .then(|| u32::from_str_radix(digits, 16).ok())?
}

/// The second half of a surrogate pair, if its escape is at an offset.
fn pair(text: &str, at: usize) -> Option<u32> {
    let escaped = text.get(at..)?.starts_with("\\u");
    hex(text, at.checked_add(2)?).filter(|unit| escaped && (0xDC00..0xE000).contains(unit))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::repaired;

    #[test]
    fn common_mistakes_are_repaired() {
        for (text, value) in [
            (r#"["\ud83d"]"#, json!(["\u{fffd}"])),
            (r#"["\ude00 x"]"#, json!(["\u{fffd} x"])),
            (r#"["\ud83d\ude00\ud83dé"]"#, json!(["😀\u{fffd}é"])),
            (r#"["\ud83d\u0041"]"#, json!(["\u{fffd}A"])),
            ("[\"a\tb\u{1}\"]", json!(["a\tb\u{1}"])),
            (r#"["C:\dir \u12"]"#, json!(["C:\\dir \\u12"])),
            (r#"["\\ud83d \"NaN,]\""]"#, json!(["\\ud83d \"NaN,]\""])),
            (r#"{"a":NaN,"b":[-Infinity,Infinity,],}"#, json!({"a": null, "b": [null, null]})),
            ("{\"a\":\u{0}1}", json!({"a": 1})),
        ] {
            assert_eq!(serde_json::from_str::<Value>(&repaired(text)).unwrap(), value, "{text}");
        }
    }

    #[test]
    fn valid_json_is_unchanged() {
        let text = r#" {"a":[1.50,"\u00e9\n\ud83d\ude00","NaN, ]"],"b":{}} "#;
        assert_eq!(repaired(text), text);
    }

    #[test]
    fn text_cut_anywhere_does_not_panic() {
        let text = r#"{"a":"\ud83d\ude0"#;
        for end in 0..=text.len() {
            repaired(&text[..end]);
        }
    }
}
