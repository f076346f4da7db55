//! Commands of clients: what each one appends, and how it is refused.

use thoughtwire_proto::{
    ApprovalAbout, CallId, Decision, Disposition, Event, Input, InputEvent, ItemId, OpenCall,
    Policy, Refusal, RefusalCode, Seq, SessionCommand, SessionEvent, SessionReply, TurnId, Verdict,
};

use crate::accepted_log::{Entry, UnnumberedEvent};
use crate::agent_messages::settle_call;
use crate::decisions::settling;
use crate::host::Extras;
use crate::host::NotAdmitted;
use crate::pipeline::Waiter;
use crate::turns::{Starting, TurnEnding, TurnQueue};
use crate::{
    BlockChanged, CallReply, ClientResult, CommandRequest, CoreReply, Effect, IdempotencyKey, Now,
    Runner, SessionHost,
};

/// Where a command's answer goes, and the key that makes the command take effect once.
pub(crate) struct ReplyTo<H: SessionHost> {
    pub(crate) key: Option<IdempotencyKey>,
    pub(crate) reply: H::CommandSender,
}

impl<H: SessionHost> ReplyTo<H> {
    fn refuse(self, turns: &mut TurnQueue<H>, code: RefusalCode, reason: impl Into<String>) {
        turns.log.reply(CoreReply::Command(self.reply, Err(Refusal::new(code, reason))));
    }

    /// The entry of an append with whose commit the command is answered.
    pub(crate) fn entry(self, answer: SessionReply) -> Entry<H> {
        let waiter = Some(Waiter::Command(self.reply, Box::new(answer)));
        Entry { key: self.key, waiter, ..Entry::default() }
    }
}

/// Carries out a command that takes effect for the first time.
pub(crate) fn apply<H: SessionHost>(
    turns: &mut TurnQueue<H>,
    now: Now,
    request: CommandRequest<H>,
) {
    let CommandRequest { command, from, key, reply } = request;
    let caller = ReplyTo { key, reply };
    match command {
        SessionCommand::Send { text, attachments, policy } => {
            send(turns, now, caller, NewInput { text, attachments, from }, policy);
        }
        SessionCommand::Withdraw { input } => withdraw(turns, now, caller, input),
        SessionCommand::Cancel { turn } => cancel(turns, now, caller, turn.as_ref()),
        SessionCommand::Decide { call, decision, result } => {
            decide(turns, now, caller, &call, OwnerDecision { decision, result, by: from });
        }
        SessionCommand::ToolReturn { call, status, text, content } => {
            tool_return(turns, now, caller, &call, ClientResult { status, text, content });
        }
        SessionCommand::Rename { title } => {
            change(turns, now, caller, Event::Session(SessionEvent::Renamed { title }));
        }
        SessionCommand::Instruct { instructions } => {
            if turns.log.state().instructions().unwrap_or_default() == instructions {
                let answer = SessionReply::Done { seq: None, duplicate: false };
                turns.log.reply(CoreReply::Command(caller.reply, Ok(answer)));
            } else {
                change(
                    turns,
                    now,
                    caller,
                    Event::Session(SessionEvent::InstructionsChanged { instructions }),
                );
            }
        }
        SessionCommand::Delete => {
            turns.deletion = Some(caller.reply);
            turns.log.emit(Effect::Delete(caller.key));
        }
    }
}

struct NewInput {
    text: String,
    attachments: Vec<String>,
    from: Option<String>,
}

fn send<H: SessionHost>(
    turns: &mut TurnQueue<H>,
    now: Now,
    caller: ReplyTo<H>,
    new: NewInput,
    policy: Policy,
) {
    if turns.options.resting {
        let reason = "no server runs here, so nothing is answered";
        return caller.refuse(turns, RefusalCode::Stopping, reason);
    }
    if turns.is_stopping {
        let reason = "the server is stopping; send it again when it is back";
        return caller.refuse(turns, RefusalCode::Stopping, reason);
    }
    if let Some(unended) = &turns.unended {
        let refusal = unended.refusal.clone();
        return turns.log.reply(CoreReply::Command(caller.reply, Err(refusal)));
    }
    if new.text.trim().is_empty() && new.attachments.is_empty() {
        let reason = "an input needs a text that is not empty";
        return caller.refuse(turns, RefusalCode::EmptyText, reason);
    }
    let running = turns.open_turn().map(|turn| turn.id.clone());
    match (&running, policy) {
        (Some(_), Policy::Reject) => {
            let reason = "a turn runs; send it again when it has ended";
            return caller.refuse(turns, RefusalCode::TurnRunning, reason);
        }
        (Some(_), Policy::Queue) if turns.is_queue_full() => return refuse_full(turns, caller),
        (Some(_), Policy::Queue | Policy::Steer | Policy::Interrupt) | (None, _) => {}
    }
    let NewInput { text, attachments, from } = new;
    let item = turns.host.new_item_id();
    let input = Input { item: item.clone(), text: text.clone(), attachments: attachments.clone() };
    let message =
        Event::Input(InputEvent::UserMessage { item: item.clone(), text, attachments, from });
    let seq = turns.log.head().next();
    let answer = |disposition| {
        let input = item.clone();
        SessionReply::Input { seq, input, disposition, duplicate: false }
    };
    let mut events: Vec<UnnumberedEvent> = Vec::new();
    match (running, policy) {
        (Some(turn), Policy::Steer) => {
            events.push((Some(turn), message));
            if let Some(running) = &mut turns.running {
                running.steered.push(input);
            }
            drop(turns.append(now, events, caller.entry(answer(Disposition::Steered))));
        }
        (Some(_), Policy::Queue | Policy::Reject) => {
            events.push((None, message));
            turns.inputs.insert(item.clone(), input);
            let is_accepted =
                turns.append(now, events, caller.entry(answer(Disposition::Queued))).is_ok();
            queued(turns, now, is_accepted);
        }
        (Some(_), Policy::Interrupt) => {
            events.push((None, message));
            turns.inputs.insert(item.clone(), input);
            let reason = "a new input interrupted this turn";
            events.extend(turns.closing(&TurnEnding::cancelled("interrupted", reason)));
            let admitted = turns.admit_input();
            let disposition =
                if admitted.is_ok() { Disposition::Started } else { Disposition::Queued };
            let next = admitted.ok().map(|permit| turns.starting(item.clone(), permit));
            events.extend(next.as_ref().map(Starting::event));
            if turns.append(now, events, caller.entry(answer(disposition))).is_ok() {
                let has_next = next.is_some();
                turns.go_on_with(now, next);
                if !has_next {
                    tell_absence(turns);
                }
            }
        }
        (None, _) => match turns.admit_input() {
            Ok(permit) => {
                events.push((None, message));
                turns.inputs.insert(item.clone(), input);
                let next = turns.starting(item.clone(), permit);
                events.push(next.event());
                if turns.append(now, events, caller.entry(answer(Disposition::Started))).is_ok() {
                    turns.go_on_with(now, Some(next));
                }
            }
            Err(NotAdmitted) if turns.is_queue_full() => refuse_full(turns, caller),
            Err(NotAdmitted) => {
                events.push((None, message));
                turns.inputs.insert(item.clone(), input);
                let is_accepted =
                    turns.append(now, events, caller.entry(answer(Disposition::Queued))).is_ok();
                queued(turns, now, is_accepted);
            }
        },
    }
}

/// An input was queued: starts it if it can start by now, and tells clients if no worker is there.
fn queued<H: SessionHost>(turns: &mut TurnQueue<H>, now: Now, is_accepted: bool) {
    if !is_accepted {
        return;
    }
    turns.start_next(now);
    tell_absence(turns);
}

fn tell_absence<H: SessionHost>(turns: &mut TurnQueue<H>) {
    if let Some(text) = turns.host.absence() {
        turns.log.emit(Effect::SetStanding(Some(text.clone())));
        turns.log.show(thoughtwire_proto::Emission::Status { turn: None, text });
    }
}

fn refuse_full<H: SessionHost>(turns: &mut TurnQueue<H>, caller: ReplyTo<H>) {
    let reason = format!(
        "{} inputs wait already; send it again when some have run",
        turns.log.state().queue().len()
    );
    caller.refuse(turns, RefusalCode::QueueFull, reason);
}

fn withdraw<H: SessionHost>(turns: &mut TurnQueue<H>, now: Now, caller: ReplyTo<H>, input: ItemId) {
    if turns.log.state().queue().iter().any(|queued| queued.input == input) {
        turns.inputs.remove(&input);
        change(turns, now, caller, Event::Input(InputEvent::Withdrawn { input }));
    } else {
        let reason = format!("input {input} is not queued: it ran, was withdrawn, or never was");
        caller.refuse(turns, RefusalCode::UnknownInput, reason);
    }
}

fn cancel<H: SessionHost>(
    turns: &mut TurnQueue<H>,
    now: Now,
    caller: ReplyTo<H>,
    turn: Option<&TurnId>,
) {
    let Some(running) = turns.open_turn().map(|open| open.id.clone()) else {
        return caller.refuse(turns, RefusalCode::NoTurn, "no turn runs in this session");
    };
    if let Some(turn) = turn
        && *turn != running
    {
        let reason = format!("turn {turn} does not run; it has ended or never was");
        return caller.refuse(turns, RefusalCode::NoTurn, reason);
    }
    let mut events = turns.closing(&TurnEnding::cancelled("cancelled", "the turn was cancelled"));
    let seq = Seq(turns.log.head().0 + events.len() as u64);
    let next = turns.next_in_line();
    events.extend(next.as_ref().map(Starting::event));
    let entry = caller.entry(SessionReply::Done { seq: Some(seq), duplicate: false });
    if turns.append(now, events, entry).is_ok() {
        turns.unended = None;
        turns.go_on_with(now, next);
    }
}

/// The owner's decision about a call.
struct OwnerDecision {
    decision: Verdict,
    result: Option<String>,
    by: Option<String>,
}

fn decide<H: SessionHost>(
    turns: &mut TurnQueue<H>,
    now: Now,
    caller: ReplyTo<H>,
    call: &CallId,
    decided: OwnerDecision,
) {
    let OwnerDecision { decision, result, by } = decided;
    let asked = |open: &&OpenCall| open.call == *call && open.approval.is_some();
    let open = turns.open_turn().and_then(|turn| turn.calls.iter().find(asked)).cloned();
    let Some(open) = open else {
        let reason =
            format!("call {call} waits for no decision: it was settled, ended, or never asked");
        return caller.refuse(turns, RefusalCode::UnknownCall, reason);
    };
    let decision = match decision {
        Verdict::Approved => Decision::Approved,
        Verdict::Denied => Decision::Denied,
        Verdict::Done if open.about == ApprovalAbout::Retry => Decision::Done,
        Verdict::Done => {
            let reason =
                format!("call {call} has not run, so it cannot be done; approve or deny it");
            return caller.refuse(turns, RefusalCode::BadRequest, reason);
        }
    };
    if result.is_some() && decision != Decision::Done {
        let reason = "a `result` goes only with the decision `done`";
        return caller.refuse(turns, RefusalCode::BadRequest, reason);
    }
    let (events, reply) = settling(&open, decision, by, result);
    settle_call(turns, now, call, events, reply, Some(caller));
}

fn tool_return<H: SessionHost>(
    turns: &mut TurnQueue<H>,
    now: Now,
    caller: ReplyTo<H>,
    call: &CallId,
    returned: ClientResult,
) {
    let awaited = |open: &&OpenCall| open.call == *call && open.awaited.is_some();
    let found = turns.open_turn().and_then(|turn| turn.calls.iter().find(awaited));
    let Some(open) = found.cloned() else {
        let reason = format!(
            "call {call} waits for no client: it came back, ended, or is not a client's to run"
        );
        return caller.refuse(turns, RefusalCode::UnknownCall, reason);
    };
    let events = vec![returned.clone().into_event(&open)];
    settle_call(turns, now, call, events, CallReply::Returned(returned), Some(caller));
}

/// Appends one event that stands for itself.
fn change<H: SessionHost>(turns: &mut TurnQueue<H>, now: Now, caller: ReplyTo<H>, event: Event) {
    let seq = Some(turns.log.head().next());
    let entry = caller.entry(SessionReply::Done { seq, duplicate: false });
    // An illegal event was answered as a bad request.
    drop(turns.append(now, vec![(None, event)], entry));
}

/// Records an owner's edit of a memory block together with the block itself.
pub(crate) fn edit_block<H: SessionHost>(
    turns: &mut TurnQueue<H>,
    now: Now,
    changed: BlockChanged,
    extras: Extras<H>,
    reply: H::CommandSender,
) {
    let BlockChanged { block, before, after } = changed;
    let event =
        Event::Session(SessionEvent::MemoryEdited { block, before, after, by: "owner".to_owned() });
    let seq = Some(turns.log.head().next());
    let caller = ReplyTo { key: None, reply };
    let entry = caller.entry(SessionReply::Done { seq, duplicate: false });
    drop(turns.append(now, vec![(None, event)], Entry { extras, ..entry }));
}

/// Starts a turn that an embedder runs itself.
pub(crate) fn begin<H: SessionHost>(
    turns: &mut TurnQueue<H>,
    now: Now,
    text: String,
    reply: H::BeginSender,
) {
    if turns.open_turn().is_some() {
        let refusal = Refusal::new(RefusalCode::TurnRunning, "a turn runs; finish it first");
        return turns.log.reply(CoreReply::BeginRefused(reply, refusal));
    }
    let item = turns.host.new_item_id();
    let input = Input { item: item.clone(), text: text.clone(), attachments: Vec::new() };
    let message = Event::Input(InputEvent::UserMessage {
        item: item.clone(),
        text,
        attachments: Vec::new(),
        from: None,
    });
    turns.inputs.insert(item.clone(), input);
    let starting = turns.starting(item.clone(), None);
    let events = vec![(None, message), starting.event()];
    match turns.append(now, events, Entry::default()) {
        Ok(()) => turns.run(starting.turn, &item, Runner::Embedder(reply)),
        Err(illegal) => {
            let refusal = Refusal::new(RefusalCode::BadRequest, illegal.to_string());
            turns.log.reply(CoreReply::BeginRefused(reply, refusal));
        }
    }
}
