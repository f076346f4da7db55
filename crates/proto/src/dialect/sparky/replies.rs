//! Replies to a Sparky connection's requests, and the steps that follow them.

use super::machine::SparkyMachine;
use super::payload::{Generation, Payload};
use super::step::{AfterOpen, ChosenChat, SparkyStep};
use crate::command::OpenedChat;
use crate::connection::Joined;
use crate::{
    CommandReply, ConnectionCommand, Refusal, RefusalCode, SessionCommand, SessionId, Start,
};

impl SparkyMachine {
    /// Carries on after the outcome of a step's request.
    pub(super) fn finish(&mut self, step: SparkyStep, outcome: Result<CommandReply, Refusal>) {
        match step {
            SparkyStep::OpeningPeer => match outcome.and_then(CommandReply::peer) {
                Ok(opened) => self.opened_peer(opened),
                Err(refusal) => {
                    self.connecting = None;
                    self.complain(format!("Invalid message format: {refusal}"));
                }
            },
            SparkyStep::Joining(joined) => {
                if let Err(refusal) = outcome {
                    self.attach_refused(joined, &refusal);
                }
            }
            SparkyStep::Rejoining { rest, session } => {
                let chat = self.chats.name(&session).map(str::to_owned);
                if let (Err(refusal), Some(chat), Some(peer)) = (outcome, chat, self.peer.clone()) {
                    self.attach_refused(Joined { peer, chat, session, is_new: false }, &refusal);
                }
                self.rejoin(rest);
            }
            SparkyStep::OpeningChat { then } => match outcome.and_then(CommandReply::chat) {
                Ok(opened) => self.opened_chat(opened, then),
                Err(refusal) => self.fail_open(&then, &refusal),
            },
            SparkyStep::Attaching { chosen, then } => match outcome {
                Ok(_) => {
                    if let Some(session) = self.chats.session(&chosen.chat).cloned() {
                        self.entered(&session, chosen, then);
                    }
                }
                Err(refusal) => {
                    if let Some(session) = self.chats.session(&chosen.chat).cloned() {
                        self.chats.remove(&session);
                    }
                    self.fail_open(&then, &refusal);
                }
            },
            SparkyStep::Instructing => {
                if let Err(refusal) = outcome {
                    self.complain(format!("Invalid message: {refusal}"));
                }
            }
            SparkyStep::Deciding { otherwise } => match (outcome, otherwise) {
                (Ok(_), _) => {}
                (Err(refusal), Some((text, file_id)))
                    if refusal.code == RefusalCode::UnknownCall =>
                {
                    self.message(text, file_id);
                }
                (Err(refusal), Some(_) | None) => {
                    self.complain(format!("Nothing was settled: {refusal}"));
                }
            },
            SparkyStep::Sending { session, again } => match (outcome, again) {
                (Ok(_), _) => {}
                // The chat was just deleted, and this connection was not told yet.
                (Err(refusal), Some((text, file_id)))
                    if refusal.code == RefusalCode::UnknownSession =>
                {
                    self.chats.remove(&session);
                    let chat = self.chats.selected().cloned();
                    self.open(chat, None, AfterOpen::Send { text, file_id });
                }
                (Err(refusal), Some(_) | None) => {
                    self.complain(format!("Error processing message: {refusal}"));
                }
            },
        }
    }

    /// Gives up a chat that could not be attached. Unless it was deleted meanwhile, the client is
    /// told, and its next frame tries again.
    fn attach_refused(&mut self, joined: Joined, refusal: &Refusal) {
        self.chats.remove(&joined.session);
        if refusal.code != RefusalCode::UnknownSession {
            let message = format!("Error opening chat: {refusal}");
            self.tell(Payload::Error { message, task_id: None }, Some(joined.chat.clone()));
            self.unattached.push(joined);
        }
    }

    fn opened_chat(&mut self, opened: OpenedChat, then: AfterOpen) {
        let OpenedChat { chat, session, is_new, model } = opened;
        self.chats.select(chat.clone());
        let chosen = ChosenChat { chat, is_new, model };
        if self.chats.has(&session) {
            self.entered(&session, chosen, then);
        } else if let Some(peer) = self.peer.clone() {
            self.chats.insert(chosen.chat.clone(), session.clone());
            self.request(
                ConnectionCommand::Attach {
                    session,
                    start: Start::Proven(peer),
                    tools: Vec::new(),
                },
                SparkyStep::Attaching { chosen, then },
            );
        }
    }

    fn fail_open(&mut self, then: &AfterOpen, refusal: &Refusal) {
        match then {
            AfterOpen::Announce { started: true } => {
                self.complain(format!("Error starting chat: {refusal}"));
            }
            AfterOpen::Announce { started: false } => {
                self.complain(format!("Error switching chat: {refusal}"));
            }
            AfterOpen::Send { .. } => {
                self.complain(format!("Error processing message: {refusal}"));
            }
            AfterOpen::Instruct { .. } => self.complain(format!("Invalid message: {refusal}")),
            AfterOpen::Greet => {
                self.complain(format!("Error starting chat: {refusal}"));
                self.welcome();
            }
        }
    }

    fn entered(&mut self, session: &SessionId, chosen: ChosenChat, then: AfterOpen) {
        let ChosenChat { chat, is_new, model } = chosen;
        match then {
            AfterOpen::Announce { .. } => {
                let model = match self.generation {
                    Generation::Sessions => None,
                    Generation::Chats => model,
                };
                let ready = Payload::ChatReady { chat_id: chat.clone(), is_new, model };
                self.tell(ready, Some(chat));
            }
            AfterOpen::Send { text, file_id } => self.send(session.clone(), text, file_id, None),
            AfterOpen::Instruct { text } => self.request(
                SessionCommand::Instruct { instructions: text }.on(session.clone()),
                SparkyStep::Instructing,
            ),
            AfterOpen::Greet => self.welcome(),
        }
    }
}
