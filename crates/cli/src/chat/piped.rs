//! The chat as a filter: reads a line, prints its turn, then reads the next line.

use std::time::Duration;

use anyhow::Context as _;
use thoughtwire_proto::dialect::native::{Acked, ClientBody};
use thoughtwire_proto::transcript::{EntryBody, Transcript, TranscriptChange};
use thoughtwire_proto::{
    Emission, Event, InputEvent, ItemId, Outcome as TurnOutcome, Record, SessionId, Start,
    TurnEvent, TurnId,
};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::ChatSession;
use crate::client::{FollowerEvent, ReconnectPolicy, SessionFollower};
use crate::out::TextStyle;
use crate::rest::ServerAddress;
use crate::{CommandStatus, out, render};

/// How long the server may be unreachable before the chat fails.
const GIVE_UP: Duration = Duration::from_secs(60);

/// The part of a turn that is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PipedOutput {
    /// The agent's messages.
    Messages,
    /// Messages, thoughts and tool calls.
    Everything,
    /// Every event as a line of JSON.
    Json,
}

pub(super) async fn run(
    server: ServerAddress,
    chat_session: ChatSession,
    form: PipedOutput,
) -> anyhow::Result<CommandStatus> {
    let follower = SessionFollower::new(
        server,
        chat_session.session.clone(),
        Some(Start::Head),
        ReconnectPolicy::UpTo(GIVE_UP),
    );
    let mut talk = PipedChat {
        follower,
        session: chat_session.session,
        transcript: Transcript::default(),
        form,
        cut: None,
    };
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut outcome = CommandStatus::Done;
    while let Some(line) = lines.next_line().await.context("standard input")? {
        if line.trim().is_empty() {
            continue;
        }
        if talk.turn(line).await? != TurnOutcome::Completed {
            outcome = CommandStatus::Failed;
        }
    }
    Ok(outcome)
}

struct PipedChat {
    follower: SessionFollower,
    session: SessionId,
    transcript: Transcript,
    form: PipedOutput,
    /// Index of a text that was cut and may be continued. It is printed once that is known.
    cut: Option<usize>,
}

impl PipedChat {
    /// Sends a line and prints its turn until it ends.
    async fn turn(&mut self, text: String) -> anyhow::Result<TurnOutcome> {
        let body = ClientBody::Send {
            session: self.session.clone(),
            text,
            attachments: Vec::new(),
            policy: None,
        };
        let sent = self.follower.send(None, body).await;
        let (mut ours, mut turn): (Option<ItemId>, Option<TurnId>) = (None, None);
        while let Some(happening) = self.follower.next().await {
            match happening {
                FollowerEvent::Replied { id, outcome } if id == sent => {
                    match outcome.map(|ack| ack.acked) {
                        Ok(Acked::Input { input, .. }) => ours = input,
                        Ok(
                            Acked::Agent(_)
                            | Acked::Session(_)
                            | Acked::Offered { .. }
                            | Acked::Steered { .. }
                            | Acked::Done { .. },
                        ) => {
                            anyhow::bail!(
                                "the server's answer does not say whether the input was saved"
                            )
                        }
                        Err(refused) => {
                            out::remark(
                                TextStyle::Bad,
                                &format!("thoughtwire: {}", refused.reason),
                            );
                            return Ok(TurnOutcome::Failed);
                        }
                    }
                }
                FollowerEvent::Attached(attached) => self.transcript.attach(&attached),
                FollowerEvent::Emitted(Emission::Status { turn: None, text }) => {
                    out::remark(TextStyle::Dim, &format!("({})", render::clean(&text)));
                }
                FollowerEvent::Emitted(emission) => {
                    if let Emission::Record(Record {
                        event: Event::Turn(TurnEvent::ApprovalAsked { about, .. }),
                        ..
                    }) = &emission
                    {
                        out::remark(TextStyle::Dim, render::waits_elsewhere(*about));
                    }
                    let change = self.transcript.apply(&emission);
                    let Emission::Record(record) = emission else { continue };
                    if let Event::Turn(TurnEvent::Started { input }) = &record.event
                        && Some(input) == ours.as_ref()
                    {
                        turn.clone_from(&record.turn);
                    }
                    let is_input = matches!(
                        &record.event,
                        Event::Input(InputEvent::UserMessage { item, .. })
                            if Some(item) == ours.as_ref()
                    );
                    let is_ours = turn.is_some() && record.turn == turn;
                    if is_ours || is_input {
                        self.print(&record, &change)?;
                    }
                    if let Event::Turn(TurnEvent::Ended { outcome, reason, .. }) = &record.event
                        && is_ours
                    {
                        if let Some((look, told)) = render::turn_end(*outcome, reason.as_deref()) {
                            out::remark(look, &told);
                        }
                        return Ok(*outcome);
                    }
                    if matches!(
                        &record.event,
                        Event::Input(InputEvent::Withdrawn { input })
                            if Some(input) == ours.as_ref()
                    ) {
                        out::remark(TextStyle::Dim, "✗ withdrawn before its turn started");
                        return Ok(TurnOutcome::Cancelled);
                    }
                }
                FollowerEvent::Replied { .. } | FollowerEvent::CaughtUp => {}
                FollowerEvent::Offline { reason, pause } => {
                    out::remark(
                        TextStyle::Dim,
                        &format!(
                            "(offline: {reason}; reconnecting in {:.1} s)",
                            pause.as_secs_f64()
                        ),
                    );
                }
                FollowerEvent::Ended(error) => return Err(error),
            }
        }
        anyhow::bail!("the connection ended before the turn did")
    }

    fn print(&mut self, record: &Record, change: &TranscriptChange) -> std::io::Result<()> {
        if self.form == PipedOutput::Json {
            return out::json(record);
        }
        let TranscriptChange::Entry(at) = *change else { return Ok(()) };
        let Some(entry) = self.transcript.entries().get(at) else { return Ok(()) };
        let goes_on = self.cut == Some(at);
        match &entry.body {
            EntryBody::Message { complete, .. } | EntryBody::Thought { complete, .. } => {
                let is_shown = matches!(entry.body, EntryBody::Message { .. })
                    || self.form == PipedOutput::Everything;
                if !is_shown {
                    return Ok(());
                }
                let complete = *complete;
                if !goes_on {
                    self.print_cut()?;
                }
                self.cut = (!complete).then_some(at);
                if complete { self.print_text(at) } else { Ok(()) }
            }
            EntryBody::Call(call)
                if self.form == PipedOutput::Everything && call.returned.is_some() =>
            {
                let line = format!("tool: {}", render::call(call).trim_start_matches("⚙ "));
                self.print_cut()?;
                out::line(&line)
            }
            EntryBody::Call(call) if call.returned.is_none() => {
                if let Some((look, told)) = render::approval(call) {
                    out::remark(look, &told);
                }
                Ok(())
            }
            EntryBody::Ended { .. } => self.print_cut(),
            EntryBody::Fact(Event::Turn(TurnEvent::Resumed { .. })) => {
                if let Some((look, told)) = render::entry(entry) {
                    out::remark(look, &told);
                }
                Ok(())
            }
            EntryBody::Input { .. } | EntryBody::Call(_) | EntryBody::Fact(_) => Ok(()),
        }
    }

    /// Prints the text that was cut, because nothing continues it.
    fn print_cut(&mut self) -> std::io::Result<()> {
        self.cut.take().map_or(Ok(()), |at| self.print_text(at))
    }

    fn print_text(&self, at: usize) -> std::io::Result<()> {
        match self.transcript.entries().get(at).map(|entry| &entry.body) {
            Some(EntryBody::Message { text, .. }) => out::line(&render::clean(text)),
            Some(EntryBody::Thought { text, .. }) => {
                out::line(&format!("thought: {}", render::clean(text)))
            }
            Some(
                EntryBody::Input { .. }
                | EntryBody::Call(_)
                | EntryBody::Ended { .. }
                | EntryBody::Fact(_),
            )
            | None => Ok(()),
        }
    }
}
