//! Credentials in addresses, kept out of what people are shown.

/// Returns an address without its credentials: `scheme://***@host/path?key=***`.
///
/// Everything up to the last `@` counts as user name and password, since a password may be written
/// unescaped. An address that cannot be parsed is masked as well.
pub(super) fn masked_address(address: &str) -> String {
    let (scheme, rest) = match address.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), address),
    };
    let (user, rest) = match rest.rsplit_once('@') {
        Some((_, rest)) => ("***@", rest),
        None => ("", rest),
    };
    let (rest, fragment) = match rest.split_once('#') {
        Some((rest, _)) => (rest, "#***"),
        None => (rest, ""),
    };
    let (path, query) = match rest.split_once('?') {
        Some((path, query)) => (path, format!("?{}", masked_query(query))),
        None => (rest, String::new()),
    };
    format!("{scheme}{user}{path}{query}{fragment}")
}

/// Masks the value of each parameter, and parameters that are only a value.
fn masked_query(query: &str) -> String {
    let masked = |parameter: &str| match parameter.split_once('=') {
        Some((name, _)) => format!("{name}=***"),
        None => "***".to_owned(),
    };
    query.split('&').map(masked).collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_without_what_opens_it() {
        for (address, shown) in [
            ("http://127.0.0.1:3128", "http://127.0.0.1:3128"),
            ("https://api.example.org/v1/", "https://api.example.org/v1/"),
            ("http://me:hush@127.0.0.1:3128", "http://***@127.0.0.1:3128"),
            ("https://hush@example.org/v1", "https://***@example.org/v1"),
            ("https://me:hu/s?h#@h@example.org/v1", "https://***@example.org/v1"),
            ("https://example.org/v1?key=hush&b=2", "https://example.org/v1?key=***&b=***"),
            ("https://example.org/v1?hush", "https://example.org/v1?***"),
            ("https://example.org/v1#hush", "https://example.org/v1#***"),
            ("https://me:hush@example.org?key=hush", "https://***@example.org?key=***"),
            ("socks5://me:hush@proxy", "socks5://***@proxy"),
            ("me:hush@proxy:3128", "***@proxy:3128"),
            ("proxy", "proxy"),
            ("", ""),
        ] {
            assert_eq!(masked_address(address), shown, "{address}");
        }
    }
}
