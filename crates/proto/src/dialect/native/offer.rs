//! Frames of workers: reads their offers and verbs, and writes directives.

use super::fields::{Any, FrameFields, bad};
use super::wire::ServerWire;
use crate::{Directive, Offer, Refusal, Usage, Verb};

/// Reads the keys of `offer`.
pub(super) fn read(fields: &mut FrameFields) -> Result<Offer, Refusal> {
    Ok(Offer {
        agent: fields.need("agent")?,
        worker: fields.take("worker")?,
        turns: fields.take("turns")?,
        history: fields.take("history")?,
        memory: fields.take("memory")?,
        tools: fields.take("tools")?.unwrap_or_default(),
        cursors: fields.take("cursors")?,
        resumable: fields.take("resumable")?,
    })
}

/// Reads the keys of `say` that depend on the verb.
pub(super) fn read_verb(fields: &mut FrameFields) -> Result<Verb, Refusal> {
    let verb: String = fields.need("verb")?;
    Ok(match verb.as_str() {
        "internal_monologue" => {
            let (text, continues) = (fields.need("text")?, fields.take("continues")?);
            Verb::InternalMonologue { text, continues }
        }
        "assistant_message" => {
            let (text, continues) = (fields.need("text")?, fields.take("continues")?);
            Verb::AssistantMessage { text, continues }
        }
        "function_message" => Verb::FunctionMessage { text: fields.need("text")? },
        "tool_called" => {
            Verb::ToolCalled { name: fields.need("name")?, args: fields.need("args")? }
        }
        "tool_returned" => Verb::ToolReturned {
            call: fields.need("call")?,
            status: fields.need("status")?,
            text: fields.need("text")?,
            content: fields.take::<Any>("content")?.map(|Any(content)| content),
        },
        "approval" => {
            let (call, about) = (fields.need("call")?, fields.take("about")?);
            Verb::Approval { call, about, timeout_ms: fields.take("timeout_ms")? }
        }
        "tool_retried" => {
            Verb::ToolRetried { call: fields.need("call")?, reason: fields.take("reason")? }
        }
        "client_runs" => {
            Verb::ClientRuns { call: fields.need("call")?, timeout_ms: fields.take("timeout_ms")? }
        }
        "delta" => Verb::Delta {
            item: fields.need("item")?,
            n: fields.need("n")?,
            kind: fields.need("kind")?,
            text: fields.need("text")?,
            continues: fields.take("continues")?,
        },
        "status" => Verb::Status { text: fields.need("text")? },
        "usage" => Verb::Usage(Usage {
            input_tokens: fields.need("input_tokens")?,
            output_tokens: fields.need("output_tokens")?,
            cached_tokens: fields.take("cached_tokens")?,
        }),
        "finish" => Verb::Finish { text: fields.take("text")? },
        "fail" => Verb::Fail { code: fields.take("code")?, reason: fields.need("reason")? },
        _ => {
            return Err(bad(
                "the \"verb\" of say must be one of an agent's: PROTOCOL.md has them".to_owned()
            ));
        }
    })
}

/// Reads a directive by its type.
pub(super) fn read_directive(fields: &mut FrameFields) -> Result<Directive, Refusal> {
    Ok(match fields.kind() {
        "run" => Directive::Run(Box::new(fields.rest()?)),
        "cancel" => {
            Directive::Cancel { session: fields.need("session")?, turn: fields.need("turn")? }
        }
        "approval_settled" => Directive::ApprovalSettled {
            turn: fields.need("turn")?,
            call: fields.need("call")?,
            about: fields.take("about")?.unwrap_or_default(),
            decision: fields.need("decision")?,
        },
        "tool_returned" => Directive::ToolReturned {
            turn: fields.need("turn")?,
            call: fields.need("call")?,
            status: fields.need("status")?,
            text: fields.need("text")?,
            content: fields.take::<Any>("content")?.map(|Any(content)| content),
        },
        _ => Directive::OfferEnded {
            agent: fields.need("agent")?,
            worker: fields.need("worker")?,
            reason: fields.need("reason")?,
        },
    })
}

/// The directive as it is written.
pub(super) fn wire(directive: &Directive) -> ServerWire<'_> {
    match directive {
        Directive::Run(run) => ServerWire::Run(run),
        Directive::Cancel { session, turn } => ServerWire::Cancel { session, turn },
        Directive::ApprovalSettled { turn, call, about, decision } => {
            ServerWire::ApprovalSettled { turn, call, about: *about, decision: *decision }
        }
        Directive::ToolReturned { turn, call, status, text, content } => ServerWire::ToolReturned {
            turn,
            call,
            status: *status,
            text,
            content: content.as_ref(),
        },
        Directive::OfferEnded { agent, worker, reason } => {
            ServerWire::OfferEnded { agent, worker, reason }
        }
    }
}
