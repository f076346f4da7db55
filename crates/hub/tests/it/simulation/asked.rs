//! A command, however often it was asked, and what it has to have done.

use thoughtwire_proto::{
    Command, CommandId, CommandReply, DirectoryCommand, DirectoryReply, Disposition, Event,
    InputEvent, Outcome, Record, RefusalCode, SessionCommand, SessionEvent, SessionId,
    SessionReply, TurnEvent, Verdict,
};

pub(crate) struct Asked {
    pub(crate) id: Option<CommandId>,
    /// Where; nowhere for what makes an agent or a session.
    pub(crate) room: Option<usize>,
    /// Makes its effect known: its text, or the sender's name.
    pub(crate) tag: String,
    pub(crate) command: Command,
    pub(crate) yes: Option<CommandReply>,
    /// Answers that did not say that it was done before.
    pub(crate) first_answers: u32,
    /// Asked, and not answered yet.
    pub(crate) under_way: u32,
    /// Asked, and never to be answered: a crash came, or who asked has left.
    pub(crate) lost: u32,
}

/// A session as it was opened.
pub(crate) struct Opening {
    pub(crate) session: SessionId,
    /// The name and the model of its agent.
    pub(crate) agent: String,
    pub(crate) model: Option<String>,
    pub(crate) is_main: bool,
    /// Whether its agent's turns end when they are interrupted.
    pub(crate) stops_on_crash: bool,
    pub(crate) instructions: Option<String>,
}

impl Asked {
    pub(crate) fn deletes(&self, room: usize) -> bool {
        self.room == Some(room)
            && matches!(self.command, Command::Session { command: SessionCommand::Delete, .. })
    }

    /// Whether it says that a call is done whose outcome is unknown.
    pub(crate) fn says_done(&self) -> bool {
        matches!(
            self.command,
            Command::Session {
                command: SessionCommand::Decide { decision: Verdict::Done, .. },
                ..
            }
        )
    }

    /// Whether it was done, as far as those know who asked.
    pub(crate) fn may_be_done(&self) -> bool {
        self.yes.is_some() || self.under_way + self.lost > 0
    }

    /// Its effect on a log: once if it was acknowledged, never if it was refused.
    pub(crate) fn check(&self, records: &[Record]) -> Option<String> {
        if let Some(seq) = self.yes.as_ref().and_then(position) {
            let there = usize::try_from(seq).ok().and_then(|seq| records.get(seq - 1));
            if there.is_none_or(|record| !self.is_effect(record)) {
                return Some(format!(
                    "{} was acknowledged at {seq}, where there is {there:?}",
                    self.tag
                ));
            }
        }
        // These can be done by others as well, or leave no event.
        if matches!(
            self.command,
            Command::Session {
                command: SessionCommand::Cancel { .. }
                    | SessionCommand::Withdraw { .. }
                    | SessionCommand::Delete,
                ..
            }
        ) {
            return None;
        }
        self.check_times(records.iter().filter(|record| self.is_effect(record)).count())
    }

    /// Checks that it made one session, unless that was deleted.
    pub(crate) fn check_made(
        &self,
        openings: &[Opening],
        is_gone: impl Fn(&SessionId) -> bool,
    ) -> Option<String> {
        let made: Vec<_> = openings.iter().filter(|opening| self.is_made(opening)).collect();
        match self.yes.as_ref().and_then(made_session) {
            Some(session) if is_gone(&session) => (!made.is_empty())
                .then(|| format!("{} made {session}, which is gone, and another one", self.tag)),
            Some(session) if made.iter().any(|opening| opening.session != session) => {
                Some(format!("{} was answered {session}, and made another one", self.tag))
            }
            Some(_) | None => self.check_times(made.len()),
        }
    }

    fn check_times(&self, times: usize) -> Option<String> {
        let fits = match (&self.yes, self.lost + self.under_way) {
            (Some(_), _) => times == 1,
            (None, 0) => times == 0,
            (None, _) => times <= 1,
        };
        (!fits).then(|| {
            format!(
                "{} took effect {times} times; answer {:?}, {} unanswered",
                self.tag, self.yes, self.lost
            )
        })
    }

    pub(crate) fn is_made(&self, opening: &Opening) -> bool {
        match &self.command {
            Command::Directory(DirectoryCommand::CreateSession { instructions, .. }) => {
                *instructions == opening.instructions
            }
            Command::Directory(DirectoryCommand::CreateAgent(spec)) => {
                opening.is_main
                    && spec.model == opening.model
                    && (spec.name.is_empty() || spec.name == opening.agent)
            }
            _ => false,
        }
    }

    fn is_effect(&self, record: &Record) -> bool {
        match (&self.command, &record.event) {
            (
                Command::Session { command: SessionCommand::Send { text: said, .. }, .. },
                Event::Input(InputEvent::UserMessage { item, text, .. }),
            ) => {
                let fits = match &self.yes {
                    Some(CommandReply::Session(SessionReply::Input {
                        input, disposition, ..
                    })) => {
                        input == item
                            && (*disposition == Disposition::Steered) == record.turn.is_some()
                    }
                    _ => true,
                };
                said == text && fits
            }
            (
                Command::Session { command: SessionCommand::Rename { title, .. }, .. },
                Event::Session(SessionEvent::Renamed { title: now }),
            ) => title == now,
            (
                Command::Session { command: SessionCommand::Instruct { instructions, .. }, .. },
                Event::Session(SessionEvent::InstructionsChanged { instructions: now }),
            ) => instructions == now,
            (
                Command::Session { command: SessionCommand::Withdraw { input, .. }, .. },
                Event::Input(InputEvent::Withdrawn { input: gone }),
            ) => input == gone,
            (
                Command::Session { command: SessionCommand::Cancel { .. }, .. },
                Event::Turn(TurnEvent::Ended { outcome, .. }),
            ) => *outcome == Outcome::Cancelled,
            (
                Command::Session { command: SessionCommand::Decide { .. }, .. },
                Event::Turn(TurnEvent::ApprovalSettled { by, .. }),
            ) => by.as_ref() == Some(&self.tag),
            (
                Command::Session { command: SessionCommand::ToolReturn { text, .. }, .. },
                Event::Turn(TurnEvent::ToolReturned { text: now, .. }),
            ) => text == now,
            _ => false,
        }
    }
}

/// The position that an answer tells of.
pub(crate) fn position(answer: &CommandReply) -> Option<u64> {
    match answer {
        CommandReply::Session(SessionReply::Input { seq, .. })
        | CommandReply::Session(SessionReply::Done { seq: Some(seq), .. }) => Some(seq.0),
        _ => None,
    }
}

/// The session that an answer tells of.
pub(crate) fn made_session(answer: &CommandReply) -> Option<SessionId> {
    match answer {
        CommandReply::Directory(DirectoryReply::Session { session, .. }) => Some(session.clone()),
        CommandReply::Directory(DirectoryReply::Agent { profile, .. }) => {
            Some(profile.main_session.clone())
        }
        _ => None,
    }
}

pub(crate) fn is_duplicate(answer: &CommandReply) -> bool {
    matches!(
        answer,
        CommandReply::Session(SessionReply::Input { duplicate: true, .. })
            | CommandReply::Session(SessionReply::Done { duplicate: true, .. })
            | CommandReply::Directory(
                DirectoryReply::Session { duplicate: true, .. }
                    | DirectoryReply::Agent { duplicate: true, .. }
            )
    )
}

/// An answer without whether it was the first.
pub(crate) fn content(answer: &CommandReply) -> CommandReply {
    match answer.clone() {
        CommandReply::Session(SessionReply::Input { seq, input, disposition, .. }) => {
            CommandReply::Session(SessionReply::Input { seq, input, disposition, duplicate: false })
        }
        CommandReply::Session(SessionReply::Done { seq, .. }) => {
            CommandReply::Session(SessionReply::Done { seq, duplicate: false })
        }
        CommandReply::Directory(DirectoryReply::Session { session, .. }) => {
            CommandReply::Directory(DirectoryReply::Session { session, duplicate: false })
        }
        CommandReply::Directory(DirectoryReply::Agent { profile, .. }) => {
            CommandReply::Directory(DirectoryReply::Agent { profile, duplicate: false })
        }
        other => other,
    }
}

/// The refusals of a server that cannot save, or is about to stop.
pub(crate) fn is_of_the_store(code: RefusalCode) -> bool {
    matches!(
        code,
        RefusalCode::StoreFailed
            | RefusalCode::StoreFull
            | RefusalCode::StoreUnknown
            | RefusalCode::Stopping
    )
}
