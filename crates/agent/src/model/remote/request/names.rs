//! Tool names in a form that every provider accepts.

use std::collections::HashMap;

use super::ids::short;

/// Longest name that all providers accept, in bytes.
const LONGEST: usize = 64;

/// The names that were sent in another form, with the original names.
#[derive(Debug, Clone, Default)]
pub(super) struct ToolNames(HashMap<String, String>);

impl ToolNames {
    /// The name to send for a tool. It is remembered if it differs.
    pub(super) fn register(&mut self, name: &str) -> String {
        let sent = fit(name);
        if sent != name {
            self.0.insert(sent.clone(), name.to_owned());
        }
        sent
    }

    /// The name under which a tool was sent.
    pub(super) fn sent<'a>(&'a self, name: &'a str) -> &'a str {
        self.0.iter().find(|(_, own)| *own == name).map_or(name, |(sent, _)| sent)
    }

    /// The tool's own name for one that was sent.
    pub(super) fn original<'a>(&'a self, sent: &'a str) -> &'a str {
        self.0.get(sent).map_or(sent, String::as_str)
    }
}

/// Converts a tool's name to a form that all providers accept: a letter or underscore, then
/// letters, digits, `_` and `-`. Other characters are replaced, and a hash at the end keeps names
/// different.
pub(super) fn fit(name: &str) -> String {
    let takes = |char: char| char.is_ascii_alphanumeric() || matches!(char, '_' | '-');
    let begins = name.starts_with(|char: char| char.is_ascii_alphabetic() || char == '_');
    if begins && name.len() <= LONGEST && name.chars().all(takes) {
        return name.to_owned();
    }
    let mark = short(name, 0);
    let plain = name.chars().map(|char| if takes(char) { char } else { '_' });
    let plain: String = plain.take(LONGEST - 1 - "_".len() - mark.len()).collect();
    let begins = plain.starts_with(|char: char| char.is_ascii_alphabetic() || char == '_');
    format!("{}{plain}_{mark}", if begins { "" } else { "_" })
}
