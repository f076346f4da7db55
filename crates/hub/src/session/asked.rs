//! What is asked of a live session, and how each ask is answered.

use std::sync::Arc;

use thoughtwire_proto::{
    Attached, Disposition, Emission, Event, InputEvent, Policy, Refusal, RefusalCode, Seq,
    SessionEvent, SessionId, SessionReply, Start, Timestamp, UserId,
};
use thoughtwire_store::BlockEdit;
use tokio::sync::oneshot;

use super::commit::Waiter;
use super::starting::{NoPlace, Starting};
use super::task::{Also, End, Task};
use super::{Ask, Once, Reply, What};
use crate::clock::new_item_id;
use crate::retention::cut_before;
use crate::subscription::Subscription;
use crate::tail::Reader;
use crate::workers::no_worker_status;
use crate::{Input, receipts};

impl Task {
    pub(super) async fn asked(&mut self, ask: Ask) -> Option<End> {
        let Ask { user, what } = ask;
        if user != self.stored.user
            && !matches!(
                what,
                What::Stop { .. } | What::Shorten { .. } | What::Profile(_) | What::Erased
            )
        {
            what.refuse(unknown_session(&self.stored.id));
            return None;
        }
        match what {
            What::Attach { start, reader, reply } => {
                let outcome = self.attach(&user, start, &reader).await;
                drop(reply.send(outcome));
            }
            What::Send { text, attachments, from, policy, once, reply } => {
                if let Some((once, reply)) = self.first_time(&user, once, reply).await {
                    self.send(text, attachments, from, policy, once, reply);
                }
            }
            What::Withdraw { input, once, reply } => {
                if let Some((once, reply)) = self.first_time(&user, once, reply).await {
                    if self.state.queue().iter().any(|queued| queued.input == input) {
                        self.inputs.remove(&input);
                        self.change(Event::Input(InputEvent::Withdrawn { input }), once, reply);
                    } else {
                        refuse(
                            reply,
                            RefusalCode::UnknownInput,
                            format!(
                                "input {input} is not queued: it ran, was withdrawn, or never was"
                            ),
                        );
                    }
                }
            }
            What::Cancel { turn, once, reply } => {
                if let Some((once, reply)) = self.first_time(&user, once, reply).await {
                    self.cancel(turn.as_ref(), once, reply);
                }
            }
            What::Decide { call, approve, by, once, reply } => {
                if let Some((once, reply)) = self.first_time(&user, once, reply).await {
                    self.decide(call, approve, by, once, reply);
                }
            }
            What::ToolReturn { call, returned, once, reply } => {
                if let Some((once, reply)) = self.first_time(&user, once, reply).await {
                    self.tool_returned(&call, returned, once, reply);
                }
            }
            What::Remember { edit, before, reply } => self.remember(edit, before, reply),
            What::Profile(profile) => {
                self.profile = profile;
                // Somebody else may run it now.
                self.start_next();
            }
            What::Erased => return Some(End::Deleted),
            What::Rename { title, once, reply } => {
                if let Some((once, reply)) = self.first_time(&user, once, reply).await {
                    self.change(Event::Session(SessionEvent::Renamed { title }), once, reply);
                }
            }
            What::Instruct { instructions, once, reply } => {
                if let Some((once, reply)) = self.first_time(&user, once, reply).await {
                    if self.state.instructions().unwrap_or_default() == instructions {
                        drop(reply.send(Ok(SessionReply::Done { seq: None, duplicate: false })));
                    } else {
                        self.change(
                            Event::Session(SessionEvent::InstructionsChanged { instructions }),
                            once,
                            reply,
                        );
                    }
                }
            }
            What::Delete { once, reply } => {
                let receipt = once.map(|once| receipts::done(&user, once, None));
                match self.shared.store.directory().delete_session(&self.stored.id, receipt).await {
                    Ok(()) => {
                        drop(reply.send(Ok(SessionReply::Done { seq: None, duplicate: false })));
                        return Some(End::Deleted);
                    }
                    Err(error) => drop(reply.send(Err(Refusal::from(&error)))),
                }
            }
            What::Shorten { through, reply } => drop(reply.send(self.shorten(through).await)),
            What::Begin { text, reply } => self.begin(text, reply),
            What::Stop { deadline } => self.stopping = Some(deadline),
        }
        None
    }

    async fn attach(
        &mut self,
        user: &UserId,
        start: Start,
        reader: &Arc<Reader>,
    ) -> Result<(Attached, Subscription), Refusal> {
        let head = self.tail.head();
        let first = self.stored.first;
        let before_first = Seq(first.0.saturating_sub(1));
        let (after, recovered) = match start {
            Start::Head => (head, true),
            Start::Last(count) => (Seq(head.0.saturating_sub(count)).max(before_first), true),
            Start::After(cursor) => {
                let same_log =
                    cursor.epoch.as_ref().is_none_or(|epoch| *epoch == self.stored.epoch);
                if same_log && cursor.seq <= head && cursor.seq >= before_first {
                    (cursor.seq, true)
                } else {
                    (before_first, false)
                }
            }
            Start::Proven(peer) => {
                let since = Timestamp::from_millis(
                    self.shared.now().as_millis().saturating_sub(self.shared.options.proven_for_ms),
                );
                let peers = self.shared.store.peers();
                let proven = peers.proven(user, &peer, &self.stored.id, since).await?;
                (proven.map_or(head, |seq| seq.min(head).max(before_first)), true)
            }
        };
        self.tail.join(reader);
        let attached = Attached {
            session: self.stored.id.clone(),
            agent: self.stored.agent.clone(),
            epoch: self.stored.epoch.clone(),
            first,
            head,
            recovered,
            after,
            turn: self.shown_turn.clone(),
        };
        let subscription =
            Subscription::new(&self.shared, Arc::clone(&self.tail), Arc::clone(reader), after);
        Ok((attached, subscription))
    }

    /// Has the log begin behind its turns up to a position.
    async fn shorten(&mut self, through: Seq) -> Result<bool, Refusal> {
        let turn = self.state.turn().into_iter().flat_map(|turn| [turn.asked, turn.started]);
        let queued = self.state.queue().iter().map(|queued| queued.seq);
        let through = cut_before(turn.chain(queued), through.min(self.tail.head()));
        let is_idle = self.state.turn().is_none() && self.under_way.is_empty();
        let (store, id) = (&self.shared.store, &self.stored.id);
        let cut = if is_idle && through == self.state.head() {
            Some(through)
        } else {
            store.logs().last_turn_end(id, through).await?
        };
        let Some(first) = cut.map(Seq::next).filter(|first| *first > self.stored.first) else {
            return Ok(false);
        };
        store.upkeep().trim(id, first).await?;
        self.stored.first = first;
        self.tail.forget(first);
        Ok(true)
    }

    fn send(
        &mut self,
        text: String,
        attachments: Vec<String>,
        from: Option<String>,
        policy: Policy,
        once: Option<Once>,
        reply: Reply,
    ) {
        if self.shared.options.resting {
            return refuse(
                reply,
                RefusalCode::Stopping,
                "no server runs here, so nothing is answered".to_owned(),
            );
        }
        if self.stopping.is_some() {
            return refuse(
                reply,
                RefusalCode::Stopping,
                "the server is stopping; send it again when it is back".to_owned(),
            );
        }
        if let Some((refusal, _)) = &self.unended {
            return drop(reply.send(Err(refusal.clone())));
        }
        if text.trim().is_empty() && attachments.is_empty() {
            return refuse(
                reply,
                RefusalCode::EmptyText,
                "an input needs a text that is not empty".to_owned(),
            );
        }
        let item = new_item_id();
        let input =
            Input { item: item.clone(), text: text.clone(), attachments: attachments.clone() };
        let message =
            Event::Input(InputEvent::UserMessage { item: item.clone(), text, attachments, from });
        let running = self.state.turn().map(|turn| turn.id.clone());
        let interrupts = running.is_some() && policy == Policy::Interrupt;
        let mut slot = None;
        let (events, disposition) = match (running, policy) {
            (None, _) => match self.place_for_new() {
                Ok(place) => {
                    slot = place;
                    self.inputs.insert(item.clone(), input);
                    (vec![(None, message)], Disposition::Started)
                }
                Err(NoPlace) if self.is_queue_full() => return self.refuse_full(reply),
                Err(NoPlace) => {
                    self.inputs.insert(item.clone(), input);
                    (vec![(None, message)], Disposition::Queued)
                }
            },
            (Some(_), Policy::Reject) => {
                return refuse(
                    reply,
                    RefusalCode::TurnRunning,
                    "a turn runs; send it again when it has ended".to_owned(),
                );
            }
            (Some(_), Policy::Queue) => {
                if self.is_queue_full() {
                    return self.refuse_full(reply);
                }
                self.inputs.insert(item.clone(), input);
                (vec![(None, message)], Disposition::Queued)
            }
            (Some(turn), Policy::Steer) => {
                if let Some(running) = &mut self.running {
                    running.steered.push(input);
                }
                (vec![(Some(turn), message)], Disposition::Steered)
            }
            (Some(_), Policy::Interrupt) => {
                self.inputs.insert(item.clone(), input);
                let mut events = vec![(None, message)];
                events.extend(self.closing(
                    thoughtwire_proto::Outcome::Cancelled,
                    Some("interrupted"),
                    Some("a new input interrupted this turn"),
                ));
                match self.place_for_new() {
                    Ok(place) => {
                        slot = place;
                        (events, Disposition::Started)
                    }
                    Err(NoPlace) => (events, Disposition::Queued),
                }
            }
        };
        let is_alone = disposition == Disposition::Queued
            && self.is_offered()
            && self.shared.workers.is_deserted(&self.profile.id);
        let seq = self.state.head().next();
        let answer =
            SessionReply::Input { seq, input: item.clone(), disposition, duplicate: false };
        let mut events = events;
        // Interrupting or idle: the new input's turn starts in the same append.
        let start = (disposition == Disposition::Started).then(|| Starting::new(item, slot));
        events.extend(start.as_ref().map(Starting::event));
        match self.append(events, once.into(), vec![Waiter::Client(reply, Box::new(answer))]) {
            Ok(_) => {
                if start.is_some() || interrupts {
                    self.go_on_with(start);
                } else {
                    self.start_next();
                }
                if is_alone {
                    let text = no_worker_status(&self.profile);
                    self.tail.stands(Some(text.clone()));
                    self.show(Emission::Status { turn: None, text });
                }
            }
            Err(error) => {
                tracing::error!(session = %self.stored.id, %error, "an input could not be accepted");
            }
        }
    }

    fn is_queue_full(&self) -> bool {
        self.state.queue().len() >= self.shared.options.queued_inputs
    }

    fn refuse_full(&self, reply: Reply) {
        let reason = format!(
            "{} inputs wait already; send it again when some have run",
            self.state.queue().len()
        );
        refuse(reply, RefusalCode::QueueFull, reason);
    }

    /// Records an owner's edit of a memory block together with the block itself.
    fn remember(&mut self, edit: BlockEdit, before: String, reply: Reply) {
        let after = edit.to.as_ref().map(|block| block.text.clone()).unwrap_or_default();
        let event = Event::Session(SessionEvent::MemoryEdited {
            block: edit.label.clone(),
            before,
            after,
            by: "owner".to_owned(),
        });
        let answer = SessionReply::Done { seq: Some(self.state.head().next()), duplicate: false };
        let waiters = vec![Waiter::Client(reply, Box::new(answer))];
        if let Err(error) =
            self.append(vec![(None, event)], Also { block: Some(edit), ..Also::default() }, waiters)
        {
            tracing::error!(session = %self.stored.id, %error, "an edit could not be accepted");
        }
    }

    /// Appends one event that stands for itself.
    fn change(&mut self, event: Event, once: Option<Once>, reply: Reply) {
        let answer = SessionReply::Done { seq: Some(self.state.head().next()), duplicate: false };
        if let Err(error) = self.append(
            vec![(None, event)],
            once.into(),
            vec![Waiter::Client(reply, Box::new(answer))],
        ) {
            tracing::error!(session = %self.stored.id, %error, "a change could not be accepted");
        }
    }

    /// Lets a command through the first time its id is seen; answers repetitions itself.
    async fn first_time(
        &mut self,
        user: &UserId,
        once: Option<Once>,
        reply: Reply,
    ) -> Option<(Option<Once>, Reply)> {
        let Some(once) = once else { return Some((None, reply)) };
        if let Some(pending) = self.under_way.command(&once.id) {
            let same = pending.command.as_ref().is_some_and(|(_, digest)| *digest == once.digest);
            let answer = pending.waiters.iter().find_map(|waiter| match waiter {
                Waiter::Client(_, answer) => Some(receipts::repeated((**answer).clone())),
                Waiter::Agent(..) => None,
            });
            match answer {
                Some(answer) if same => {
                    pending.waiters.push(Waiter::Client(reply, Box::new(answer)));
                }
                Some(_) | None => drop(reply.send(Err(receipts::reused(&once.id)))),
            }
            return None;
        }
        if self.known.is_new(&once.id) {
            return Some((Some(once), reply));
        }
        match self.shared.store.logs().receipt(user, &self.stored.id, &once.id).await {
            Ok(None) => Some((Some(once), reply)),
            Ok(Some(receipt)) => {
                drop(reply.send(receipts::answer_again(&receipt, &once)));
                None
            }
            Err(error) => {
                drop(reply.send(Err(error.into())));
                None
            }
        }
    }

    fn begin(&mut self, text: String, reply: oneshot::Sender<Result<crate::Interface, Refusal>>) {
        if self.state.turn().is_some() {
            drop(
                reply.send(Err(Refusal::new(
                    RefusalCode::TurnRunning,
                    "a turn runs; finish it first",
                ))),
            );
            return;
        }
        let item = new_item_id();
        let input = Input { item: item.clone(), text: text.clone(), attachments: Vec::new() };
        let message = Event::Input(InputEvent::UserMessage {
            item: item.clone(),
            text,
            attachments: Vec::new(),
            from: None,
        });
        self.inputs.insert(item.clone(), input);
        let starting = Starting::new(item.clone(), None);
        let started = starting.event();
        match self.append(vec![(None, message), started], Also::default(), Vec::new()) {
            Ok(_) => {
                let interface = self.embed(starting.turn, item);
                drop(reply.send(Ok(interface)));
            }
            Err(error) => {
                drop(reply.send(Err(Refusal::new(RefusalCode::BadRequest, error.to_string()))));
            }
        }
    }
}

/// The refusal of a session that is not there, or is another's: the two look alike.
pub(crate) fn unknown_session(id: &SessionId) -> Refusal {
    Refusal::new(RefusalCode::UnknownSession, format!("there is no session {id}"))
}

pub(super) fn refuse(reply: Reply, code: RefusalCode, reason: String) {
    drop(reply.send(Err(Refusal::new(code, reason))));
}
