//! The OpenAPI document of the REST interface.
//!
//! Tests generate `docs/openapi.json` from the handlers' types, so the server needs no schemas.

#[cfg(test)]
pub(super) mod describe;
#[cfg(test)]
mod document;
#[cfg(test)]
mod prose;
#[cfg(test)]
mod sparky_prose;

use axum::extract::State;
use axum::http::HeaderName;
use axum::http::header::CONTENT_TYPE;

use super::SharedRest;

const DOCUMENT: &str = include_str!("../../../../../docs/openapi.json");

/// The server's address in the document, relative to the document's own origin.
const SERVER: &str = r#""url": "/""#;

pub(super) async fn openapi(State(rest): SharedRest) -> ([(HeaderName, &'static str); 1], String) {
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
