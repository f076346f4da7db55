//! Deadlines of the running turn: checkpoints, expired calls, and the turn's time limit.

use std::time::Duration;

use thoughtwire_proto::{Decision, OpenCall, ToolStatus};

use crate::agent_messages::settle_call;
use crate::decisions::settling;
use crate::turns::{TurnEnding, TurnQueue};
use crate::{CallReply, ClientResult, Effect, Now, SessionHost};

/// When the next deadline comes, in elapsed time.
pub(crate) fn next<H: SessionHost>(turns: &TurnQueue<H>, now: Now) -> Option<Duration> {
    let unended = turns.unended.as_ref().map(|unended| unended.due);
    let resumes = turns.interruption.as_ref().map(|left| left.due);
    let Some(running) = &turns.running else { return unended.or(resumes) };
    let expiry = waiting(turns).filter_map(expires_at).min().map(|at| now.elapsed_at(at));
    let time = running.time.up_at().filter(|_| turns.unended.is_none());
    [unended, running.items.due(), expiry, time].into_iter().flatten().min()
}

/// Does what is due.
pub(crate) fn pass<H: SessionHost>(turns: &mut TurnQueue<H>, now: Now) {
    turns.go_on_if_due(now);
    if let Some(running) = &mut turns.running {
        let texts = running.items.checkpoint(&running.id, now.elapsed);
        if !texts.is_empty() {
            turns.log.emit(Effect::Checkpoint(texts));
        }
    }
    expire_calls(turns, now);
    end_overdue(turns, now);
}

/// Calls of the running turn that wait for people or clients.
///
/// Invariant: none while the turn's end could not be saved, so that a call whose question was not
/// saved does not expire again and again. Test: `calls`.
fn waiting<H: SessionHost>(turns: &TurnQueue<H>) -> impl Iterator<Item = &OpenCall> {
    let is_live = turns.running.is_some() && turns.unended.is_none();
    turns.open_turn().into_iter().filter(move |_| is_live).flat_map(|turn| &turn.calls)
}

fn expires_at(open: &OpenCall) -> Option<thoughtwire_proto::Timestamp> {
    open.approval.or(open.awaited)
}

/// Settles the calls that nobody answered in time.
fn expire_calls<H: SessionHost>(turns: &mut TurnQueue<H>, now: Now) {
    let is_expired = |open: &&OpenCall| expires_at(open).is_some_and(|at| at <= now.wall);
    let expired: Vec<OpenCall> = waiting(turns).filter(is_expired).cloned().collect();
    for open in expired {
        let (events, reply) = if open.approval.is_some() {
            settling(&open, Decision::Expired, None, None)
        } else {
            let text = "No client ran the tool in time.".to_owned();
            let returned = ClientResult { status: ToolStatus::Error, text, content: None };
            (vec![returned.clone().into_event(&open)], CallReply::Returned(returned))
        };
        settle_call(turns, now, &open.call, events, reply, None);
    }
}

/// Ends a turn that has taken all the time that it may.
fn end_overdue<H: SessionHost>(turns: &mut TurnQueue<H>, now: Now) {
    let up_at = turns.running.as_ref().and_then(|running| running.time.up_at());
    if up_at.is_none_or(|up_at| up_at > now.elapsed) || turns.unended.is_some() {
        return;
    }
    let limit = turns.options.turn_within.as_secs();
    let reason = format!(
        "The turn took longer than {limit} s, which is the limit. Say how it should go on."
    );
    let events = turns.closing(&TurnEnding::failed("turn_limit", &reason));
    // Invariant: closing events are legal, they follow from the state. Test: `ends`.
    drop(turns.end_with(now, events, None));
}
