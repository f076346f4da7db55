//! Arguments of tools that others describe, checked against their JSON Schema.

use jsonschema::Validator;
use serde_json::{Map, Value};

/// How many complaints the model is told at once.
const COMPLAINTS: usize = 3;
/// How much of one complaint it is told: some quote the whole value.
const COMPLAINT_CHARS: usize = 300;

/// Checks arguments; what is wrong is said in words for the model.
///
/// A schema that cannot be used lets everything pass: its tool checks for itself.
pub(crate) fn check(tool: &str, schema: &Value, args: &Map<String, Value>) -> Result<(), String> {
    let validator = match Validator::new(schema) {
        Ok(validator) => validator,
        Err(error) => {
            tracing::warn!(tool, %error, "a tool's JSON Schema cannot be used; its arguments are not checked");
            return Ok(());
        }
    };
    let args = Value::Object(args.clone());
    let complaints: Vec<String> = validator
        .iter_errors(&args)
        .take(COMPLAINTS)
        .map(|error| {
            let (at, what) = (error.instance_path().to_string(), error.to_string());
            let what: String = what.chars().take(COMPLAINT_CHARS).collect();
            if at.is_empty() { what } else { format!("{what} (at {at})") }
        })
        .collect();
    if complaints.is_empty() {
        return Ok(());
    }
    Err(format!(
        "The arguments of {tool} do not fit: {}. Call it again with better ones.",
        complaints.join("; ")
    ))
}
