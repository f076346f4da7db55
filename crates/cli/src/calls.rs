//! `thoughtwire sessions calls` and `thoughtwire sessions decide`.

use serde_json::json;
use thoughtwire_proto::rest::{CallListing, CallState, CallWait, DecisionRequest};
use thoughtwire_proto::{CallId, Seq, SessionId, Verdict};

use crate::cli::TargetFlags;
use crate::out::TextStyle;
use crate::render::{clean, one_line};
use crate::rest::{CallFilter, RestClient};
use crate::sessions::local_time;
use crate::{UsageError, out};

/// Calls per request.
const PAGE: u64 = 1000;

/// Prints the calls of a session, oldest first.
pub(crate) async fn list(
    place: &RestClient,
    session: &SessionId,
    filter: CallFilter,
    as_json: bool,
) -> anyhow::Result<()> {
    let (mut calls, mut after) = (Vec::new(), Seq::ZERO);
    loop {
        let page = place.calls(session, filter, after, PAGE).await?.calls;
        let Some(last) = page.last() else { break };
        after = last.seq;
        calls.extend(page);
    }
    if as_json {
        out::json(&json!({"calls": calls}))?;
        return Ok(());
    }
    if calls.is_empty() {
        let text = match filter {
            CallFilter::All => "no tool was called in this session",
            CallFilter::Unknown => "no call of this session has an unknown outcome",
        };
        out::remark(TextStyle::Dim, text);
        return Ok(());
    }
    let rows: Vec<_> = calls.iter().map(row).collect();
    out::table(["TIME", "CALL", "TOOL", "STATE", "RETRIES", "RESULT"], &rows)?;
    if calls.iter().any(|call| matches!(call.waits_for, Some(CallWait::Approval | CallWait::Retry)))
    {
        out::remark(
            TextStyle::Dim,
            "a call waits for you; `thoughtwire sessions decide --help` tells how to answer",
        );
    }
    Ok(())
}

fn row(call: &CallListing) -> [String; 6] {
    [
        local_time(call.at),
        call.call.to_string(),
        clean(&call.name).into_owned(),
        state(call),
        call.retries.to_string(),
        call.text.as_deref().map(one_line).unwrap_or_default(),
    ]
}

fn state(call: &CallListing) -> String {
    let state = match call.state {
        CallState::Done => "done",
        CallState::Failed => "failed",
        CallState::Running => "running",
        CallState::Unknown => "unknown",
        CallState::Waiting => match call.waits_for {
            Some(CallWait::Approval) => "waits for approval",
            Some(CallWait::Retry) => "waits: run again?",
            Some(CallWait::Client) => "waits for a client",
            None => "waits",
        },
    };
    match call.expires_at {
        Some(until) => format!("{state}, until {}", local_time(until)),
        None => state.to_owned(),
    }
}

/// Answers a call that waits for a decision. This needs a server that then goes on with the call.
pub(crate) async fn decide(
    target: &TargetFlags,
    session: &SessionId,
    call: &CallId,
    request: DecisionRequest,
    as_json: bool,
) -> anyhow::Result<()> {
    let decision = request.decision;
    if request.result.is_some() && decision != Verdict::Done {
        return Err(UsageError("--result goes only with the decision `done`".to_owned()).into());
    }
    let place = RestClient::new(target.server().await?)?;
    let done = place.decide(session, call, &request).await?;
    if as_json {
        out::json(&json!({"call": call, "decision": decision, "seq": done.seq}))?;
    } else {
        out::line(&match decision {
            Verdict::Approved => format!("call {call} is approved"),
            Verdict::Denied => format!("call {call} is denied"),
            Verdict::Done => format!("call {call} counts as done"),
        })?;
    }
    Ok(())
}
