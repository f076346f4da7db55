//! The tools that a request offers.

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::Value;

use super::names::ToolNames;
use super::schema;
use crate::model::remote::ProviderWire;
use crate::tool::ToolSpec;

/// Largest number of tools that OpenAI and Google accept in one request.
const MAX_TOOLS: usize = 128;

/// A tool as a provider accepts it.
pub(super) struct WireTool<'a> {
    pub(super) name: String,
    pub(super) description: &'a str,
    /// Schema of the arguments. Absent if there are no arguments and the wire does not allow a
    /// schema then.
    pub(super) schema: Option<Value>,
}

/// A tool that cannot be offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UnfitTool {
    /// The tool's own name.
    pub(super) name: String,
    /// The reason.
    pub(super) why: String,
}

/// Converts tools for a wire. A tool that cannot be converted is left out, because a provider would
/// refuse every request with it.
pub(super) fn fit<'a>(
    specs: &'a [Arc<ToolSpec>],
    wire: ProviderWire,
    names: &mut ToolNames,
) -> (Vec<WireTool<'a>>, Vec<UnfitTool>) {
    let (mut tools, mut left_out, mut taken) = (Vec::new(), Vec::new(), HashSet::new());
    let max = match wire {
        ProviderWire::OpenAi | ProviderWire::Responses | ProviderWire::Gemini => MAX_TOOLS,
        ProviderWire::Anthropic | ProviderWire::Ollama => usize::MAX,
    };
    for spec in specs {
        let mut leave = |why: String| left_out.push(UnfitTool { name: spec.name.clone(), why });
        if spec.name.is_empty() {
            leave("it has no name".to_owned());
        } else if tools.len() == max {
            leave(format!("the provider accepts no more than {max} tools"));
        } else {
            match schema::reduce(&spec.schema, wire) {
                Ok(schema) => {
                    let name = names.register(&spec.name);
                    if taken.insert(name.clone()) {
                        tools.push(WireTool { name, description: spec.description.trim(), schema });
                    } else {
                        leave("another tool has its name".to_owned());
                    }
                }
                Err(why) => leave(why),
            }
        }
    }
    (tools, left_out)
}
