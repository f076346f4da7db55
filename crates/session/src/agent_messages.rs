//! Messages of the running turn's agent, and the end of its work.

use thoughtwire_proto::{
    CallId, Delta, Emission, Event, ResumeReason, Seq, SessionEvent, SessionReply, TurnEvent,
    TurnId, Usage,
};

use crate::accepted_log::{Entry, UnnumberedEvent};
use crate::call_waiters::Listened;
use crate::commands::ReplyTo;
use crate::host::{Extras, FinishReply, SeqReply, WaitReply};
use crate::pipeline::{Settlement, Waiter};
use crate::running_turn::RunningTurn;
use crate::turns::{TurnEnding, TurnQueue};
use crate::{
    AgentError, AgentExit, CallQuestion, CallReply, CoreReply, Finish, Now, SessionHost, TurnError,
    TurnVerb,
};

/// Handles one message of an agent.
pub(crate) fn handle<H: SessionHost>(
    turns: &mut TurnQueue<H>,
    now: Now,
    turn: TurnId,
    verb: TurnVerb<H::Messages>,
) {
    if turns.running.as_ref().is_none_or(|running| running.id != turn) {
        return refuse_ended(turns, verb);
    }
    match verb {
        TurnVerb::Append { events, extras, durable, reply } => {
            append(turns, now, &turn, events, extras, durable, reply);
        }
        TurnVerb::Delta { item, kind, text, continues } => {
            delta(turns, now, Delta { turn, item, n: 0, kind, text, continues });
        }
        TurnVerb::Status { text } => {
            turns.log.show(Emission::Status { turn: Some(turn), text });
        }
        TurnVerb::Finish { events, failed, on_disk, reply } => {
            finish(turns, now, &turn, events, failed.as_ref(), on_disk, reply);
        }
        TurnVerb::Steered { reply } => {
            let inputs = turns.running.as_mut().map(RunningTurn::take_steered).unwrap_or_default();
            turns.log.reply(CoreReply::Steered(reply, inputs));
        }
        TurnVerb::Resume { reason, reply } => resume(turns, now, reason, reply),
        TurnVerb::Spent(usage) => {
            if let Some(running) = &mut turns.running {
                running.spent = usage;
            }
        }
        TurnVerb::Await { call, question, reply, asked } => {
            wait(turns, now, turn, call, question, reply, asked);
        }
    }
}

/// Answers a message of a turn that has ended.
pub(crate) fn refuse_ended<H: SessionHost>(turns: &mut TurnQueue<H>, verb: TurnVerb<H::Messages>) {
    match verb {
        TurnVerb::Append { reply, .. } | TurnVerb::Resume { reply, .. } => {
            turns.log.reply(CoreReply::Seq(reply, Err(TurnError::Ended)));
        }
        TurnVerb::Finish { on_disk, reply, .. } => {
            turns.log.reply(CoreReply::Finish(reply, Err(TurnError::Ended)));
            reply_seq(turns, on_disk, Err(TurnError::Ended));
        }
        TurnVerb::Steered { reply } => {
            turns.log.reply(CoreReply::Steered(reply, Vec::new()));
        }
        TurnVerb::Await { reply, asked, .. } => {
            turns.log.reply(CoreReply::Call(reply, Err(TurnError::Ended)));
            reply_seq(turns, asked, Err(TurnError::Ended));
        }
        TurnVerb::Delta { .. } | TurnVerb::Status { .. } | TurnVerb::Spent(_) => {}
    }
}

fn reply_seq<H: SessionHost>(
    turns: &mut TurnQueue<H>,
    reply: Option<SeqReply<H>>,
    result: Result<Seq, TurnError>,
) {
    if let Some(reply) = reply {
        turns.log.reply(CoreReply::Seq(reply, result));
    }
}

fn append<H: SessionHost>(
    turns: &mut TurnQueue<H>,
    now: Now,
    turn: &TurnId,
    events: Vec<Event>,
    extras: Extras<H>,
    durable: bool,
    reply: SeqReply<H>,
) {
    if !events.iter().all(is_agents) {
        let error = TurnError::Illegal("an agent cannot say this event".to_owned());
        return turns.log.reply(CoreReply::Seq(reply, Err(error)));
    }
    let events = of_turn(turn, events);
    if durable {
        let waiter = Some(Waiter::Agent(reply, turns.log.head().next()));
        // An illegal event was answered by its waiter.
        drop(turns.append(now, events, Entry { extras, waiter, ..Entry::default() }));
    } else {
        let accepted = turns.append(now, events, Entry { extras, ..Entry::default() });
        let head = turns.log.head();
        let result = accepted.map(|()| head).map_err(|no| TurnError::Illegal(no.to_string()));
        turns.log.reply(CoreReply::Seq(reply, result));
    }
}

fn of_turn(turn: &TurnId, events: Vec<Event>) -> Vec<UnnumberedEvent> {
    events.into_iter().map(|event| (Some(turn.clone()), event)).collect()
}

fn delta<H: SessionHost>(turns: &mut TurnQueue<H>, now: Now, piece: Delta) {
    let Some(running) = &mut turns.running else { return };
    let n = running.items.extend(&piece, now.elapsed);
    let continues = piece.continues.filter(|_| n == 0);
    turns.log.show(Emission::Delta(Delta { n, continues, ..piece }));
}

/// Another program takes the turn over from the one that was lost.
fn resume<H: SessionHost>(
    turns: &mut TurnQueue<H>,
    now: Now,
    reason: ResumeReason,
    reply: SeqReply<H>,
) {
    let Some(events) = turns.resuming(reason) else {
        let error = TurnError::Refused("it was interrupted too often".to_owned());
        return turns.log.reply(CoreReply::Seq(reply, Err(error)));
    };
    let last = Seq(turns.log.head().0 + events.len() as u64);
    let waiter = Some(Waiter::Agent(reply, last));
    // An illegal event was answered by its waiter.
    drop(turns.append(now, events, Entry { waiter, ..Entry::default() }));
}

fn finish<H: SessionHost>(
    turns: &mut TurnQueue<H>,
    now: Now,
    turn: &TurnId,
    events: Vec<Event>,
    failed: Option<&AgentError>,
    on_disk: Option<SeqReply<H>>,
    reply: FinishReply<H>,
) {
    let is_empty = |event: &Event| match event {
        Event::Turn(TurnEvent::Message { text, .. }) => text.is_empty(),
        Event::Session(_) | Event::Input(_) | Event::Turn(_) | Event::Other(_) => false,
    };
    if let Some(illegal) = events.iter().find(|event| is_empty(event)) {
        let error = TurnError::Illegal(format!("a {} must not be empty", illegal.kind()));
        reply_seq(turns, on_disk, Err(error.clone()));
        return turns.log.reply(CoreReply::Finish(reply, Err(error)));
    }
    let mut steered = Vec::new();
    if let Some(running) = &mut turns.running {
        // The cost is among the events, unless the turn failed.
        if failed.is_none() {
            running.spent = Usage::default();
        }
        steered = running.take_steered();
    }
    if !steered.is_empty() && failed.is_none() {
        let last = Seq(turns.log.head().0 + events.len() as u64);
        let waiter = on_disk.map(|reply| Waiter::Agent(reply, last));
        let accepted =
            turns.append(now, of_turn(turn, events), Entry { waiter, ..Entry::default() });
        let result = accepted
            .map(|()| Finish::Steered(steered))
            .map_err(|no| TurnError::Illegal(no.to_string()));
        return turns.log.reply(CoreReply::Finish(reply, result));
    }
    if let Some(running) = &mut turns.running {
        for event in &events {
            if let Event::Turn(TurnEvent::Thought { item, .. } | TurnEvent::Message { item, .. }) =
                event
            {
                running.items.forget(item);
            }
        }
    }
    // Items that the agent left open are closed in front of the end, not in front of its message.
    let ending =
        failed.map_or(TurnEnding::COMPLETED, |no| TurnEnding::failed(&no.code, &no.reason));
    let mut events = of_turn(turn, events);
    events.extend(turns.closing(&ending));
    let last = Seq(turns.log.head().0 + events.len() as u64);
    let waiter = on_disk.map(|reply| Waiter::Agent(reply, last));
    let ended = turns.end_with(now, events, waiter);
    let result =
        ended.map(|()| Finish::Ended).map_err(|illegal| TurnError::Illegal(illegal.to_string()));
    turns.log.reply(CoreReply::Finish(reply, result));
}

/// The agent's work ended: ends the turn if the agent did not.
pub(crate) fn exited<H: SessionHost>(
    turns: &mut TurnQueue<H>,
    now: Now,
    turn: &TurnId,
    exit: &AgentExit,
) {
    let is_running = turns.running.as_ref().is_some_and(|running| running.id == *turn);
    if turns.unended.is_some() || !is_running {
        return;
    }
    let ending = match exit {
        AgentExit::Completed => TurnEnding::COMPLETED,
        AgentExit::Failed(error) => TurnEnding::failed(&error.code, &error.reason),
        AgentExit::Panicked => {
            TurnEnding::failed("agent_panicked", "The agent broke off because of a defect in it.")
        }
        AgentExit::Aborted => {
            TurnEnding::failed("agent_gone", "The agent was stopped from outside.")
        }
    };
    let events = turns.closing(&ending);
    // Invariant: closing events are legal, they follow from the state. Test: `ends`.
    drop(turns.end_with(now, events, None));
}

/// An agent waits for a call: asks the question, or waits for one that was asked before.
fn wait<H: SessionHost>(
    turns: &mut TurnQueue<H>,
    now: Now,
    turn: TurnId,
    call: CallId,
    question: CallQuestion,
    reply: WaitReply<H>,
    asked: Option<SeqReply<H>>,
) {
    let head = turns.log.head();
    let Some(running) = &mut turns.running else { return };
    let reply = match running.waiters.listen(&call, reply) {
        Listened::Waits(before) => {
            if let Some(before) = before {
                turns.log.reply(CoreReply::Call(before, Err(TurnError::Ended)));
            }
            return reply_seq(turns, asked, Ok(head));
        }
        Listened::Replied(sender, reply) => {
            turns.log.reply(CoreReply::Call(sender, Ok(reply)));
            return reply_seq(turns, asked, Ok(head));
        }
        Listened::Unknown(reply) => reply,
    };
    let calls = turns.log.state().turn().map(|open| open.calls.as_slice()).unwrap_or_default();
    // Asked in the append of the call itself, or before a restart.
    if calls.iter().any(|open| open.call == call && open.waits()) {
        running.waiters.add(call, Some(reply));
        return reply_seq(turns, asked, Ok(head));
    }
    let open = calls.iter().filter(|open| open.approval.is_some()).count();
    let event = match question {
        CallQuestion::Approval { .. } if open >= turns.options.open_approvals => {
            let reason = format!(
                "{open} calls wait for approval already, \
                 so this one was not asked for and not made."
            );
            turns.log.reply(CoreReply::Call(reply, Ok(CallReply::Refused(reason.clone()))));
            return reply_seq(turns, asked, Err(TurnError::Refused(reason)));
        }
        CallQuestion::Approval { name, about, expires_at } => {
            Event::Turn(TurnEvent::ApprovalAsked { call: call.clone(), name, about, expires_at })
        }
        CallQuestion::Client { expires_at } => {
            Event::Turn(TurnEvent::ToolAwaited { call: call.clone(), expires_at })
        }
    };
    let waiter = asked.map(|asked| Waiter::Agent(asked, head.next()));
    let entry = Entry { waiter, ..Entry::default() };
    if turns.append(now, vec![(Some(turn), event)], entry).is_err() {
        turns.log.reply(CoreReply::Call(reply, Err(TurnError::Ended)));
    } else if let Some(running) = &mut turns.running {
        running.waiters.add(call, Some(reply));
    }
}

/// Appends the events that settle a call. Its agent is told once they are on disk: an approved
/// tool must not run before its approval is.
pub(crate) fn settle_call<H: SessionHost>(
    turns: &mut TurnQueue<H>,
    now: Now,
    call: &CallId,
    events: Vec<Event>,
    reply: CallReply,
    caller: Option<ReplyTo<H>>,
) {
    let Some(turn) = turns.open_turn().map(|open| open.id.clone()) else { return };
    let answer = SessionReply::Done { seq: Some(turns.log.head().next()), duplicate: false };
    let entry = caller.map(|caller| caller.entry(answer)).unwrap_or_default();
    let settles = Settlement { turn: turn.clone(), call: call.clone(), reply };
    let entry = Entry { settles: Some(settles), ..entry };
    if turns.append(now, of_turn(&turn, events), entry).is_ok()
        && let Some(running) = &mut turns.running
    {
        running.waiters.settling(call);
    }
}

/// Whether an agent may append this event; the others are the session's.
fn is_agents(event: &Event) -> bool {
    match event {
        Event::Turn(
            TurnEvent::Thought { .. }
            | TurnEvent::Message { .. }
            | TurnEvent::ToolCalled { .. }
            | TurnEvent::ToolRetried { .. }
            | TurnEvent::ToolAwaited { .. }
            | TurnEvent::ToolReturned { .. }
            | TurnEvent::Usage(_),
        )
        | Event::Session(SessionEvent::MemoryEdited { .. } | SessionEvent::Compacted { .. }) => {
            true
        }
        Event::Session(
            SessionEvent::Opened { .. }
            | SessionEvent::Renamed { .. }
            | SessionEvent::InstructionsChanged { .. },
        )
        | Event::Input(_)
        | Event::Turn(
            TurnEvent::Started { .. }
            | TurnEvent::Resumed { .. }
            | TurnEvent::ApprovalAsked { .. }
            | TurnEvent::ApprovalSettled { .. }
            | TurnEvent::Ended { .. },
        )
        | Event::Other(_) => false,
    }
}
