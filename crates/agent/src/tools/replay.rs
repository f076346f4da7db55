//! Replay classes of tools, which decide about calls that an interruption left without a result.

use std::collections::BTreeMap;

use thoughtwire_hub::most_specific;
use thoughtwire_proto::Replay;

/// The operator's replay classes by tool name. A name that ends in `*` is a prefix.
#[derive(Debug, Clone, Default)]
pub(crate) struct ReplayClasses(pub(crate) BTreeMap<String, Replay>);

impl ReplayClasses {
    /// The replay class of a tool: the operator's, or else the tool's own.
    ///
    /// `own` is absent for a tool that declares none, and for one that is not available now, such
    /// as a tool of an MCP server that is down. The class is then [`Replay::Ask`], also if nobody
    /// is there: without an answer until the approval's deadline the outcome counts as unknown.
    pub(crate) fn of(&self, tool: &str, own: Option<Replay>) -> Replay {
        most_specific(tool, &self.0).or(own).unwrap_or(Replay::Ask)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Replay::{Ask, Never, Safe};

    #[test]
    fn the_operators_class_counts_before_the_tools_own() {
        let named = [("files__*", Never), ("files__read*", Safe), ("files__read_all", Ask)];
        let classes = ReplayClasses(
            named.map(|(name, class)| (name.to_owned(), class)).into_iter().collect(),
        );
        for (tool, own, class) in [
            ("files__write", Some(Safe), Never),
            ("files__write", None, Never),
            ("files__read", Some(Never), Safe),
            ("files__read_all", Some(Safe), Ask),
            ("mail__send", Some(Never), Never),
            ("mail__list", Some(Safe), Safe),
            ("mail__send", None, Ask),
        ] {
            assert_eq!(classes.of(tool, own), class, "{tool} {own:?}");
        }
    }
}
