//! Schemas of tools' arguments, reduced to what each provider takes.
//!
//! Arguments are still checked against the tool's own schema when it is called; the provider only
//! has to accept the request.

mod google;
mod lookup;
mod plain;
mod root;

use serde_json::Value;

use crate::model::remote::Wire;
use lookup::Lookup;

/// Schemas below schemas beyond which the rest is cut.
const DEEPEST: usize = 24;
/// Schemas within one tool's schema beyond which it is refused.
const MOST_PARTS: usize = 5_000;

/// Reduces a schema to what a wire takes. None is for a tool without arguments where the wire
/// wants no schema then.
///
/// # Errors
/// Why the schema cannot be reduced.
pub(super) fn reduce(schema: &Value, wire: Wire) -> Result<Option<Value>, String> {
    let mut lookup = Lookup::new(schema);
    let object = root::object(schema, &mut lookup)?;
    let reduced = match wire {
        Wire::OpenAi | Wire::Responses | Wire::Anthropic => Some(plain::clean(object, &mut lookup)),
        // These have no references.
        Wire::Ollama => Some(plain::inline(object, &mut lookup)),
        Wire::Gemini => google::reduce(object, &mut lookup),
    };
    if lookup.is_spent() {
        return Err(format!("its schema has more than {MOST_PARTS} parts"));
    }
    Ok(reduced)
}
