//! Which tools may be used: by an agent's own settings, else the server's, else the tool's nature.

use std::collections::BTreeMap;

use thoughtwire_proto::Permission;

/// Finds a tool's permission. A name that ends in `*` stands for all that begin like it; the longest
/// one that fits counts, an exact one before all.
pub(crate) fn permission(
    tool: &str,
    agents: &BTreeMap<String, Permission>,
    servers: &BTreeMap<String, Permission>,
    default: Permission,
) -> Permission {
    [agents, servers].into_iter().find_map(|named| fitting(tool, named)).unwrap_or(default)
}

fn fitting(tool: &str, named: &BTreeMap<String, Permission>) -> Option<Permission> {
    if let Some(permission) = named.get(tool) {
        return Some(*permission);
    }
    let prefixes = named.iter().filter_map(|(name, permission)| {
        let prefix = name.strip_suffix('*')?;
        tool.starts_with(prefix).then_some((prefix.len(), *permission))
    });
    prefixes.max_by_key(|(length, _)| *length).map(|(_, permission)| permission)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_counts() {
        use Permission::{Allow, Ask, Deny};
        let map = |pairs: &[(&str, Permission)]| {
            pairs.iter().map(|(name, is)| ((*name).to_owned(), *is)).collect::<BTreeMap<_, _>>()
        };
        let agents = map(&[("files__*", Ask), ("files__delete*", Deny), ("files__read", Allow)]);
        let servers = map(&[("*", Deny), ("clock", Allow)]);
        let of = |tool: &str| permission(tool, &agents, &servers, Allow);
        assert_eq!(
            [of("files__read"), of("files__write"), of("files__delete_all")],
            [Allow, Ask, Deny]
        );
        assert_eq!([of("clock"), of("clocks")], [Allow, Deny]);
        assert_eq!(permission("clock", &BTreeMap::new(), &BTreeMap::new(), Ask), Ask);
    }
}
