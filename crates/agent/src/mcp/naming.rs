//! Names of tools: those of all servers side by side, as model providers take them.

/// Stands between a server's name and its tool's.
pub(super) const SEPARATOR: &str = "__";
/// The longest name that providers take.
const LONGEST: usize = 64;

/// A tool's name here; none if it cannot be told apart from another of its server when it is made to fit.
pub(super) fn fit(server: &str, tool: &str, taken: &[String]) -> Option<String> {
    let plain: String = tool.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '_' | '-') { c } else { '_' }).collect();
    let room = LONGEST.checked_sub(server.len() + SEPARATOR.len())?;
    let name = format!("{server}{SEPARATOR}{}", plain.get(..room.min(plain.len())).unwrap_or_default());
    (!plain.is_empty() && !taken.contains(&name)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::fit;

    #[test]
    fn names_fit_and_stay_apart() {
        assert_eq!(fit("files", "read", &[]).as_deref(), Some("files__read"));
        assert_eq!(fit("files", "läs.fil", &[]).as_deref(), Some("files__l_s_fil"));
        assert_eq!(fit("files", "read", &["files__read".to_owned()]), None);
        assert_eq!(fit("files", "", &[]), None);
        assert_eq!(fit("s", &"x".repeat(100), &[]).map(|name| name.len()), Some(64));
    }
}
