//! Settings by tool name, such as permissions.

use std::collections::BTreeMap;

/// The value of the most specific name that fits a tool; `None` if no name does.
///
/// A name that ends in `*` stands for all tools that begin like it. An exact name wins, then the
/// longest such beginning.
#[must_use]
pub fn most_specific<T: Copy>(tool: &str, named: &BTreeMap<String, T>) -> Option<T> {
    if let Some(value) = named.get(tool) {
        return Some(*value);
    }
    let prefixes = named.iter().filter_map(|(name, value)| {
        let prefix = name.strip_suffix('*')?;
        tool.starts_with(prefix).then_some((prefix.len(), *value))
    });
    prefixes.max_by_key(|(length, _)| *length).map(|(_, value)| value)
}
