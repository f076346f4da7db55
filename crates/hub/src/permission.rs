//! Permissions by tool name.

use std::collections::BTreeMap;

use thoughtwire_proto::Permission;

/// The permission of a tool in a map of names to permissions; `None` if the map has none for it.
///
/// A name that ends in `*` stands for all tools that begin like it. An exact name wins, then the
/// longest such beginning.
#[must_use]
pub fn named_permission(tool: &str, named: &BTreeMap<String, Permission>) -> Option<Permission> {
    if let Some(permission) = named.get(tool) {
        return Some(*permission);
    }
    let prefixes = named.iter().filter_map(|(name, permission)| {
        let prefix = name.strip_suffix('*')?;
        tool.starts_with(prefix).then_some((prefix.len(), *permission))
    });
    prefixes.max_by_key(|(length, _)| *length).map(|(_, permission)| permission)
}
