//! Requests to save the text of open items before its time.

use thoughtwire_proto::{Refusal, SessionReply};

use crate::turns::TurnQueue;
use crate::{CoreReply, Effect, Now, SessionHost};

/// Senders that wait until the text of open items is on disk.
pub(crate) struct TextSaves<H: SessionHost> {
    /// Those whose text is in the checkpoint under way.
    saving: Vec<H::CommandSender>,
    /// Those that came after it began.
    next: Vec<H::CommandSender>,
}

impl<H: SessionHost> Default for TextSaves<H> {
    fn default() -> Self {
        Self { saving: Vec::new(), next: Vec::new() }
    }
}

impl<H: SessionHost> TextSaves<H> {
    /// Saves the text that is there now, and tells the sender when it is on disk.
    pub(crate) fn ask(&mut self, turns: &mut TurnQueue<H>, now: Now, reply: H::CommandSender) {
        self.next.push(reply);
        self.begin(turns, now);
    }

    /// The checkpoint under way has ended.
    pub(crate) fn settled(
        &mut self,
        turns: &mut TurnQueue<H>,
        now: Now,
        outcome: &Result<(), Refusal>,
    ) {
        let done = SessionReply::Done { seq: None, duplicate: false };
        let answer = outcome.clone().map(|()| done);
        for reply in self.saving.drain(..) {
            turns.log.reply(CoreReply::Command(reply, answer.clone()));
        }
        self.begin(turns, now);
    }

    /// Begins a checkpoint for the senders that wait, unless one is under way.
    fn begin(&mut self, turns: &mut TurnQueue<H>, now: Now) {
        if self.next.is_empty() {
            return;
        }
        let texts = match &mut turns.running {
            Some(running) if running.items.is_saving() => return,
            Some(running) => running.items.save(&running.id, now.elapsed),
            None => Vec::new(),
        };
        self.saving.append(&mut self.next);
        if texts.is_empty() {
            // Everything is on disk, or stands in the log already.
            return self.settled(turns, now, &Ok(()));
        }
        turns.log.emit(Effect::Checkpoint(texts));
    }
}
