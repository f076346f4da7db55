//! Validation of arguments against the JSON Schema of MCP and client tools.

use jsonschema::Validator;
use serde_json::{Map, Value};

/// Number of complaints in one answer to the model.
const COMPLAINTS: usize = 3;
/// Length of one complaint in characters, because some quote the whole value.
const COMPLAINT_CHARS: usize = 300;

/// Checks arguments. The error is a sentence for the model.
///
/// An invalid schema accepts everything: the tool checks its own arguments.
pub(crate) fn check(tool: &str, schema: &Value, args: &Map<String, Value>) -> Result<(), String> {
    let validator = match Validator::new(schema) {
        Ok(validator) => validator,
        Err(error) => {
            tracing::warn!(
                tool,
                %error,
                "a tool's JSON Schema is invalid; its arguments are not checked"
            );
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
        "The arguments of {tool} are not valid: {}. Correct them and call it again.",
        complaints.join("; ")
    ))
}
