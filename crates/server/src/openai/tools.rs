//! Function tools of a client, and the ids of their calls.

use std::collections::HashSet;

use serde_json::{Map, Value};
use thoughtwire_hub::check_tool;
use thoughtwire_proto::{CallId, Seq, SessionId, ToolDeclaration};

use super::{OpenAiRefusal, OpenAiResult};
use crate::endpoint::ClientTools;

/// Beginning of the ids of calls.
const CALL_PREFIX: &str = "call_";

/// Most functions of a request, as OpenAI's API has it.
const MAX_FUNCTIONS: usize = 128;

/// A function as both APIs describe it.
#[derive(Debug, serde::Deserialize)]
pub(super) struct FunctionTool {
    pub(super) name: String,
    #[serde(default)]
    pub(super) description: Option<String>,
    #[serde(default)]
    pub(super) parameters: Option<Map<String, Value>>,
}

/// A call of a client's function, as its id names it: it says where the call's turn is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ClientCall {
    pub(super) session: SessionId,
    /// Position before that of the turn's input.
    pub(super) before: Seq,
    pub(super) call: CallId,
}

impl FunctionTool {
    fn declaration(self) -> ToolDeclaration {
        ToolDeclaration {
            name: self.name,
            description: self.description.unwrap_or_default(),
            parameters: self.parameters.unwrap_or_default(),
            replay: None,
        }
    }
}

impl ClientCall {
    /// The call's id for the client.
    pub(super) fn id(&self) -> String {
        let Self { session, before, call } = self;
        format!("{CALL_PREFIX}{session}_{before}_{call}")
    }

    /// Reads such an id; `None` if it is another server's.
    pub(super) fn read(id: &str) -> Option<Self> {
        let (session, rest) = id.strip_prefix(CALL_PREFIX)?.split_once('_')?;
        let (before, call) = rest.split_once('_')?;
        Some(Self {
            session: SessionId::new(session).ok()?,
            before: Seq(before.parse().ok()?),
            call: CallId::new(call).ok()?,
        })
    }
}

/// The client's tools as the request offers them to the agent.
pub(super) struct OfferedTools {
    pub(super) declarations: Vec<ToolDeclaration>,
    pub(super) names: ClientTools,
}

impl OfferedTools {
    /// Takes the functions of a request. `choice` is its `tool_choice`, and `parallel` its
    /// `parallel_tool_calls`.
    pub(super) fn new(
        functions: Vec<FunctionTool>,
        choice: Option<&Value>,
        parallel: Option<bool>,
    ) -> OpenAiResult<Self> {
        let functions = match choice.map(|choice| choice.as_str().ok_or(choice)) {
            None | Some(Ok("auto") | Err(Value::Null)) => functions,
            Some(Ok("none")) => Vec::new(),
            Some(Ok(_) | Err(_)) => {
                return Err(OpenAiRefusal::unsupported(
                    "tool_choice",
                    "`tool_choice` is \"auto\" or \"none\" here: the agent decides which tools it \
                     calls",
                ));
            }
        };
        if parallel == Some(false) && !functions.is_empty() {
            return Err(OpenAiRefusal::unsupported(
                "parallel_tool_calls",
                "the agent may call several tools at once; leave `parallel_tool_calls` out",
            ));
        }
        if functions.len() > MAX_FUNCTIONS {
            let message = format!("a request has at most {MAX_FUNCTIONS} tools");
            return Err(OpenAiRefusal::of_param("tools", message));
        }
        let names: HashSet<String> = functions.iter().map(|tool| tool.name.clone()).collect();
        if names.len() < functions.len() {
            return Err(OpenAiRefusal::of_param("tools", "two tools have the same name"));
        }
        let declarations: Vec<ToolDeclaration> =
            functions.into_iter().map(FunctionTool::declaration).collect();
        for declaration in &declarations {
            check_tool(declaration).map_err(|no| OpenAiRefusal::from(no).about("tools"))?;
        }
        Ok(Self { declarations, names: ClientTools::Named(names) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_a_call_says_where_its_turn_is() {
        let call = ClientCall {
            session: SessionId::new("5e55").unwrap(),
            before: Seq(41),
            call: CallId::new("c_1 é").unwrap(),
        };
        assert_eq!(ClientCall::read(&call.id()), Some(call));
        for foreign in ["", "call_", "call_abc", "call_a_b_c", "call__1_c", "fc_5e55_41_c"] {
            assert_eq!(ClientCall::read(foreign), None, "{foreign}");
        }
    }
}
