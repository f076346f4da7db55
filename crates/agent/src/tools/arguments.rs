//! The arguments of a built-in tool's call, checked against its parameters.

use serde_json::{Map, Value};

use crate::tool::{BuiltInTool, ParamKind, ParamNeed};

/// Valid arguments.
pub(crate) struct CheckedArguments<'a>(&'a Map<String, Value>);

impl<'a> CheckedArguments<'a> {
    /// Checks arguments. Unknown keys are ignored.
    pub(crate) fn check(tool: BuiltInTool, args: &'a Map<String, Value>) -> Result<Self, String> {
        for param in tool.params() {
            let wanted = match param.kind {
                ParamKind::Text => "a text",
                ParamKind::Whole => "a whole number from 0",
            };
            match args.get(param.name) {
                None | Some(Value::Null) => {
                    if param.need == ParamNeed::Required {
                        return Err(format!(
                            "{} needs `{}`, {wanted}. Call it again with it.",
                            tool.name(),
                            param.name
                        ));
                    }
                }
                Some(value) => {
                    let fits = match param.kind {
                        ParamKind::Text => value.is_string(),
                        ParamKind::Whole => whole(value).is_some(),
                    };
                    if !fits {
                        return Err(format!(
                            "`{}` of {} is {wanted}, not {}. Call it again with one.",
                            param.name,
                            tool.name(),
                            kind(value)
                        ));
                    }
                }
            }
        }
        Ok(Self(args))
    }

    /// A required text.
    pub(crate) fn text(&self, name: &str) -> &'a str {
        self.maybe_text(name).unwrap_or_default()
    }

    /// An optional text.
    pub(crate) fn maybe_text(&self, name: &str) -> Option<&'a str> {
        self.0.get(name).and_then(Value::as_str)
    }

    /// An optional number.
    pub(crate) fn whole(&self, name: &str) -> Option<u64> {
        self.0.get(name).and_then(whole)
    }
}

/// Reads a whole number: models write `2`, `2.0` and `"2"` alike.
fn whole(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64().or_else(|| {
            let float = number
                .as_f64()
                .filter(|float| float.fract() == 0.0 && (0.0..1e15).contains(float))?;
            format!("{float:.0}").parse().ok()
        }),
        Value::String(text) => text.trim().parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

fn kind(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) => "true or false".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => {
            format!("\"{}\"", text.chars().take(40).collect::<String>().escape_debug())
        }
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}
