//! Effects of the core as lines, for comparing them in tables.

use thoughtwire_proto::{
    Delta, Disposition, Emission, Event, ItemId, Record, Seq, SessionReply, ToolStatus, TurnEvent,
};
use thoughtwire_session::{
    CallReply, CoreReply, Effect, Finish, OpenItemText, Runner, SessionEnd, TurnError,
};

use crate::script::ScriptHost;

/// One effect as a line.
pub(crate) fn line(effect: &Effect<ScriptHost>) -> String {
    match effect {
        Effect::Append(batch) => {
            let events: Vec<_> = batch.records.iter().map(|record| event(&record.event)).collect();
            let mut line = format!("append {}: {}", span(&batch.records), events.join(" "));
            if let Some(receipt) = &batch.receipt {
                line += &format!(" with {}", receipt.key.id.as_str());
            }
            if !batch.closed_items.is_empty() {
                line += " closes a checkpoint";
            }
            line
        }
        Effect::DiscardAppends => "discard".to_owned(),
        Effect::Publish { records, then } => {
            let then: Vec<_> = then.iter().map(|shown| format!(", {}", emission(shown))).collect();
            format!("publish {}{}", span(records), then.concat())
        }
        Effect::Show(shown) => format!("show {}", emission(shown)),
        Effect::SetStanding(text) => format!("standing {}", text.as_deref().unwrap_or("none")),
        Effect::Checkpoint(texts) => {
            let text = |open: &OpenItemText| {
                format!("{:?}{}", open.text, continuing(open.continues.as_ref()))
            };
            let texts: Vec<_> = texts.iter().map(text).collect();
            format!("checkpoint {}", texts.join(" "))
        }
        Effect::StartTurn(start) => {
            let runner = match &start.runner {
                Runner::Agent(None) => String::new(),
                Runner::Agent(Some(permit)) => format!(" with permit {permit}"),
                Runner::Embedder(reply) => format!(" by {reply}"),
            };
            format!("start {} on {:?}{runner}", start.turn.as_str(), start.input.text)
        }
        Effect::DropTurn => "drop turn".to_owned(),
        Effect::Reply(CoreReply::Command(to, Ok(answer))) => format!("{to}: {}", answered(answer)),
        Effect::Reply(CoreReply::Command(to, Err(refusal)))
        | Effect::Reply(CoreReply::BeginRefused(to, refusal)) => {
            format!("{to}: {}", refusal.code.as_str())
        }
        Effect::Reply(CoreReply::Seq(to, Ok(seq))) => format!("{to}: at {}", seq.0),
        Effect::Reply(CoreReply::Seq(to, Err(error))) => format!("{to}: {}", turn_error(error)),
        Effect::Reply(CoreReply::Finish(to, Ok(Finish::Ended))) => format!("{to}: ended"),
        Effect::Reply(CoreReply::Finish(to, Ok(Finish::Steered(inputs)))) => {
            format!("{to}: {} steered", inputs.len())
        }
        Effect::Reply(CoreReply::Finish(to, Err(error))) => format!("{to}: {}", turn_error(error)),
        Effect::Reply(CoreReply::Steered(to, inputs)) => format!("{to}: {} steered", inputs.len()),
        Effect::Reply(CoreReply::Call(to, Ok(CallReply::Decided(decision)))) => {
            format!("{to}: {decision:?}")
        }
        Effect::Reply(CoreReply::Call(to, Ok(CallReply::Returned(returned)))) => {
            format!("{to}: returned {:?}", returned.status)
        }
        Effect::Reply(CoreReply::Call(to, Ok(CallReply::Refused(_)))) => format!("{to}: not asked"),
        Effect::Reply(CoreReply::Call(to, Err(error))) => format!("{to}: {}", turn_error(error)),
        Effect::LookUpReceipt(key) => format!("look up {}", key.id.as_str()),
        Effect::Delete(_) => "delete".to_owned(),
        Effect::Reload => "reload".to_owned(),
        Effect::CountClients => "count clients".to_owned(),
        Effect::End(SessionEnd::Deleted) => "end deleted".to_owned(),
        Effect::End(SessionEnd::Stopped) => "end stopped".to_owned(),
        Effect::End(SessionEnd::StoreLost) => "end store lost".to_owned(),
    }
}

fn span(records: &[Record]) -> String {
    let seqs: Vec<_> = records.iter().map(|record| record.seq).collect();
    assert!(seqs.windows(2).all(|pair| pair[1] == pair[0].next()), "a gap in {seqs:?}");
    match (seqs.first(), seqs.last()) {
        (Some(Seq(first)), Some(Seq(last))) if first != last => format!("{first}-{last}"),
        (Some(Seq(first)), _) => first.to_string(),
        (None, _) => "nothing".to_owned(),
    }
}

fn event(event: &Event) -> String {
    match event {
        Event::Turn(TurnEvent::Ended { outcome, code, .. }) => {
            let code = code.clone().unwrap_or_else(|| format!("{outcome:?}"));
            format!("turn_ended({code})")
        }
        Event::Turn(TurnEvent::ApprovalSettled { decision, .. }) => {
            format!("approval_settled({decision:?})")
        }
        Event::Turn(TurnEvent::ToolReturned { status: ToolStatus::Unknown, .. }) => {
            "tool_returned(unknown)".to_owned()
        }
        Event::Turn(TurnEvent::ToolReturned { text, .. }) => format!("tool_returned({text})"),
        Event::Turn(TurnEvent::Resumed { attempt, reason }) => {
            format!("turn_resumed({attempt} {reason:?})")
        }
        Event::Turn(TurnEvent::ToolRetried { attempt, reason, .. }) => {
            format!("tool_retried({attempt} {reason:?})")
        }
        Event::Turn(TurnEvent::Message { text, complete: false, continues, .. }) => {
            format!("message({text}…{})", continuing(continues.as_ref()))
        }
        other => other.kind().to_owned(),
    }
}

/// The item that a text continues, if there is one.
fn continuing(cut: Option<&ItemId>) -> String {
    cut.map(|cut| format!(" continues {cut}")).unwrap_or_default()
}

fn emission(emission: &Emission) -> String {
    match emission {
        Emission::Record(record) => format!("record {}", record.seq.0),
        Emission::Delta(Delta { item, n, text, continues, .. }) => {
            format!("delta {}.{n} {text:?}{}", item.as_str(), continuing(continues.as_ref()))
        }
        Emission::Partial(partial) => format!("partial {}", partial.item.as_str()),
        Emission::Status { text, .. } => format!("status {text:?}"),
        Emission::Presence { clients } => format!("presence {clients}"),
    }
}

fn answered(answer: &SessionReply) -> String {
    let again = |duplicate: &bool| if *duplicate { " again" } else { "" };
    match answer {
        SessionReply::Input { seq, disposition, duplicate, .. } => {
            let disposition = match disposition {
                Disposition::Started => "started",
                Disposition::Queued => "queued",
                Disposition::Steered => "steered",
            };
            format!("{disposition} at {}{}", seq.0, again(duplicate))
        }
        SessionReply::Done { seq: Some(seq), duplicate } => {
            format!("done at {}{}", seq.0, again(duplicate))
        }
        SessionReply::Done { seq: None, duplicate } => format!("done{}", again(duplicate)),
    }
}

fn turn_error(error: &TurnError) -> String {
    match error {
        TurnError::Ended => "ended".to_owned(),
        TurnError::Illegal(_) => "illegal".to_owned(),
        TurnError::Refused(_) => "refused".to_owned(),
        TurnError::Unsaved(refusal) => refusal.code.as_str().to_owned(),
    }
}
