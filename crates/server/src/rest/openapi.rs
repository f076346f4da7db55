//! What REST is, for programs.

use axum::extract::State;
use axum::http::HeaderName;
use axum::http::header::CONTENT_TYPE;

use super::Shared;

/// Written by hand but for the shapes that `thoughtwire-proto` has; tests hold it to the routes and to what they answer.
const DOCUMENT: &str = include_str!("../../../../docs/openapi.json");

/// The server's address in it, relative to the document's own origin.
const SERVER: &str = r#""url": "/""#;

pub(super) async fn openapi(State(rest): Shared) -> ([(HeaderName, &'static str); 1], String) {
    let document = if rest.base_path.is_empty() {
        DOCUMENT.to_owned()
    } else {
        DOCUMENT.replacen(SERVER, &format!(r#""url": "{}""#, rest.base_path), 1)
    };
    ([(CONTENT_TYPE, "application/json")], document)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_names_its_server_once() {
        assert_eq!(DOCUMENT.matches(SERVER).count(), 1);
    }
}
