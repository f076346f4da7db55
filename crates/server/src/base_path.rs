//! A path prefix under which a server is reached, as behind a proxy that serves other things, too.

use std::fmt;
use std::str::FromStr;

use axum::http::Uri;
use axum::http::uri::PathAndQuery;

/// A prefix such as `/tw`, or nothing: without a slash at its end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BasePath(String);

/// The reason why a text is no prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not {}", BasePath::WANTED)]
pub struct BadBasePath;

impl BasePath {
    /// Description of a valid prefix, for errors.
    pub(crate) const WANTED: &str = "a path such as /tw, of letters, digits, `-`, `_`, `.` and `~`";

    /// The address of the page: the prefix with a slash behind it.
    #[must_use]
    pub fn root(&self) -> String {
        format!("{}/", self.0)
    }

    /// Tells whether there is no prefix.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes the prefix off a request's target. One without it, from a proxy that took it off
    /// already, stays as it is.
    pub(crate) fn strip(&self, uri: &Uri) -> Option<Uri> {
        let rest = self.rest_of(uri.path()).filter(|rest| !rest.is_empty())?;
        let target = match uri.query() {
            Some(query) => format!("{rest}?{query}"),
            None => rest.to_owned(),
        };
        let mut parts = uri.clone().into_parts();
        parts.path_and_query = Some(PathAndQuery::from_str(&target).ok()?);
        Uri::from_parts(parts).ok()
    }

    /// Tells whether a target is the prefix without its slash, from which relative addresses lead
    /// astray.
    pub(crate) fn is_bare(&self, uri: &Uri) -> bool {
        self.rest_of(uri.path()).is_some_and(str::is_empty)
    }

    /// Returns the rest of a path after the prefix: empty, or a path.
    fn rest_of<'a>(&self, path: &'a str) -> Option<&'a str> {
        if self.is_empty() {
            return None;
        }
        path.strip_prefix(&self.0).filter(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl FromStr for BasePath {
    type Err = BadBasePath;

    fn from_str(text: &str) -> Result<Self, BadBasePath> {
        let path = text.trim_matches('/');
        if path.is_empty() {
            return Ok(Self::default());
        }
        let is_segment = |segment: &str| {
            let is_plain = |byte: u8| {
                byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~')
            };
            !matches!(segment, "" | "." | "..") && segment.bytes().all(is_plain)
        };
        if path.split('/').all(is_segment) {
            Ok(Self(format!("/{path}")))
        } else {
            Err(BadBasePath)
        }
    }
}

impl fmt::Display for BasePath {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_a_plain_path() {
        for (text, expected) in [
            ("", Some("")),
            ("/", Some("")),
            ("/tw", Some("/tw")),
            ("tw/", Some("/tw")),
            ("/home/tw-2.0~x_y", Some("/home/tw-2.0~x_y")),
            ("/a//b", None),
            ("/../x", None),
            ("/.", None),
            ("/t w", None),
            ("/tw?x", None),
            ("/tw;Path=/", None),
            ("/tw\"><script>", None),
            ("https://home.example/tw", None),
            ("/b%C3%BCcher", None),
        ] {
            let read = text.parse::<BasePath>().ok().map(|path| path.to_string());
            assert_eq!(read.as_deref(), expected, "{text:?}");
        }
    }

    #[test]
    fn it_is_taken_off_once_and_only_where_it_is() {
        let base: BasePath = "/tw".parse().unwrap();
        for (target, expected) in [
            ("/tw/", Some("/")),
            ("/tw/v1/agents?x=/tw/", Some("/v1/agents?x=/tw/")),
            ("/tw/tw/v1", Some("/tw/v1")),
            ("/tw", None),
            ("/twice/v1", None),
            ("/v1/agents", None),
            ("http://localhost/tw/v1", Some("http://localhost/v1")),
        ] {
            let stripped = base.strip(&target.parse().unwrap());
            assert_eq!(stripped.map(|uri| uri.to_string()).as_deref(), expected, "{target}");
        }
        assert!(base.is_bare(&"/tw?x".parse().unwrap()) && !base.is_bare(&"/".parse().unwrap()));
        let none = BasePath::default();
        assert!(none.strip(&"//x".parse().unwrap()).is_none());
        assert!(!none.is_bare(&"/".parse().unwrap()));
    }
}
