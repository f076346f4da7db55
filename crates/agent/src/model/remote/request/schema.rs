//! Schemas of tool arguments, reduced to the subset of each provider.
//!
//! A tool's own schema still checks the arguments of a call; the provider only has to accept the
//! request.

mod google;
mod lookup;
mod plain;
mod root;
#[cfg(test)]
mod tests;

use serde_json::Value;

use crate::model::remote::ProviderWire;
use lookup::SchemaLookup;

/// Largest nesting depth of schemas; deeper parts are cut.
const MAX_DEPTH: usize = 24;
/// Largest number of schemas inside one tool's schema; a larger one is refused.
const MAX_PARTS: usize = 5_000;

/// Reduces a schema to a wire's subset. Absent for a tool without arguments, if the wire does not
/// allow a schema then.
///
/// # Errors
/// Says why the schema cannot be reduced.
pub(super) fn reduce(schema: &Value, wire: ProviderWire) -> Result<Option<Value>, String> {
    let mut lookup = SchemaLookup::new(schema);
    let object = root::object(schema, &mut lookup)?;
    let reduced = match wire {
        ProviderWire::OpenAi | ProviderWire::Responses | ProviderWire::Anthropic => {
            Some(plain::clean(object, &mut lookup))
        }
        // Ollama does not resolve references.
        ProviderWire::Ollama => Some(plain::inline(object, &mut lookup)),
        ProviderWire::Gemini => google::reduce(object, &mut lookup),
    };
    if lookup.is_spent() {
        return Err(format!("its schema has more than {MAX_PARTS} parts"));
    }
    Ok(reduced)
}
