//! Permissions of tools: the operator's, and an agent's own, which can only be stricter by default.

use std::collections::BTreeMap;

use thoughtwire_hub::most_specific;
use thoughtwire_proto::Permission;

/// The operator's permissions, for all agents.
#[derive(Debug, Clone, Default)]
pub(crate) struct ToolPermissions {
    /// Permissions by tool name. A name that ends in `*` is a prefix.
    pub(crate) tools: BTreeMap<String, Permission>,
    /// Tools, named in the same way, whose permission an agent's own settings may also loosen.
    pub(crate) loosen: Vec<String>,
}

impl ToolPermissions {
    /// The permission of a tool for an agent.
    ///
    /// `default` applies if the operator has no permission for the tool. An agent's own permission
    /// applies if it is stricter, or if users may loosen this tool.
    pub(crate) fn of(
        &self,
        tool: &str,
        agents: &BTreeMap<String, Permission>,
        default: Permission,
    ) -> Permission {
        let operators = most_specific(tool, &self.tools).unwrap_or(default);
        match most_specific(tool, agents) {
            Some(own) if self.may_loosen(tool) => own,
            Some(own) => stricter(operators, own),
            None => operators,
        }
    }

    fn may_loosen(&self, tool: &str) -> bool {
        self.loosen.iter().any(|name| match name.strip_suffix('*') {
            Some(prefix) => tool.starts_with(prefix),
            None => tool == name,
        })
    }
}

const fn stricter(one: Permission, other: Permission) -> Permission {
    match (one, other) {
        (Permission::Deny, _) | (_, Permission::Deny) => Permission::Deny,
        (Permission::Ask, _) | (_, Permission::Ask) => Permission::Ask,
        (Permission::Allow, Permission::Allow) => Permission::Allow,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Permission::{Allow, Ask, Deny};

    fn map(pairs: &[(&str, Permission)]) -> BTreeMap<String, Permission> {
        pairs.iter().map(|(name, is)| ((*name).to_owned(), *is)).collect()
    }

    #[test]
    fn the_most_specific_name_applies() {
        let agents = map(&[("files__*", Ask), ("files__delete*", Deny), ("files__read", Allow)]);
        let tools = map(&[("*", Deny), ("clock", Allow)]);
        let permissions = ToolPermissions { tools, loosen: vec!["files__*".to_owned()] };
        let of = |tool: &str| permissions.of(tool, &agents, Allow);
        assert_eq!(
            [of("files__read"), of("files__write"), of("files__delete_all")],
            [Allow, Ask, Deny]
        );
        assert_eq!([of("clock"), of("clocks")], [Allow, Deny]);
        assert_eq!(ToolPermissions::default().of("clock", &BTreeMap::new(), Ask), Ask);
    }

    #[test]
    fn an_agent_is_stricter_but_never_looser() {
        for (operators, own, is) in [
            (Deny, Deny, Deny),
            (Deny, Ask, Deny),
            (Deny, Allow, Deny),
            (Ask, Deny, Deny),
            (Ask, Ask, Ask),
            (Ask, Allow, Ask),
            (Allow, Deny, Deny),
            (Allow, Ask, Ask),
            (Allow, Allow, Allow),
        ] {
            let agents = map(&[("files__read", own)]);
            for (tools, default) in
                [(map(&[("files__*", operators)]), Allow), (BTreeMap::new(), operators)]
            {
                let mut permissions =
                    ToolPermissions { tools, loosen: vec!["files__write".to_owned()] };
                assert_eq!(permissions.of("files__read", &agents, default), is);
                for loosened in ["files__read", "files__*", "*"] {
                    permissions.loosen = vec![loosened.to_owned()];
                    assert_eq!(permissions.of("files__read", &agents, default), own);
                }
            }
        }
    }
}
