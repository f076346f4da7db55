//! The conversation as a filter: a line in, that turn's answer out, then the next line.

use std::time::Duration;

use anyhow::Context as _;
use thoughtwire_proto::dialect::native::{Acked, ClientBody};
use thoughtwire_proto::transcript::{EntryBody, Transcript, TranscriptChange};
use thoughtwire_proto::{
    Emission, Event, InputEvent, ItemId, Outcome as TurnOutcome, Record, SessionId, Start,
    TurnEvent, TurnId,
};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::Partner;
use crate::client::{Follower, Happening, Patience};
use crate::out::Look;
use crate::rest::ServerAddress;
use crate::{Outcome, out, story};

/// How long a server may be away before the conversation is given up.
const GIVE_UP: Duration = Duration::from_secs(60);

/// What is printed of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// What the agent says.
    Messages,
    /// Its thoughts and tools as well.
    Everything,
    /// Every event as a line of JSON.
    Json,
}

pub(super) async fn run(
    server: ServerAddress,
    partner: Partner,
    form: Form,
) -> anyhow::Result<Outcome> {
    let follower =
        Follower::new(server, partner.session.clone(), Some(Start::Head), Patience::For(GIVE_UP));
    let mut talk =
        Talk { follower, session: partner.session, transcript: Transcript::default(), form };
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let mut outcome = Outcome::Done;
    while let Some(line) = lines.next_line().await.context("standard input")? {
        if line.trim().is_empty() {
            continue;
        }
        if talk.turn(line).await? != TurnOutcome::Completed {
            outcome = Outcome::Failed;
        }
    }
    Ok(outcome)
}

struct Talk {
    follower: Follower,
    session: SessionId,
    transcript: Transcript,
    form: Form,
}

impl Talk {
    /// Says a line and prints its turn to the end.
    async fn turn(&mut self, text: String) -> anyhow::Result<TurnOutcome> {
        let body = ClientBody::Send {
            session: self.session.clone(),
            text,
            attachments: Vec::new(),
            policy: None,
        };
        let sent = self.follower.ask(None, body).await;
        let (mut ours, mut turn): (Option<ItemId>, Option<TurnId>) = (None, None);
        while let Some(happening) = self.follower.next().await {
            match happening {
                Happening::Answered { id, outcome } if id == sent => {
                    match outcome.map(|ack| ack.acked) {
                        Ok(Acked::Input { input, .. }) => ours = input,
                        Ok(
                            Acked::Agent(_)
                            | Acked::Session(_)
                            | Acked::Offered { .. }
                            | Acked::Steered { .. }
                            | Acked::Done { .. },
                        ) => {
                            anyhow::bail!("the server did not say what became of the input")
                        }
                        Err(refused) => {
                            out::remark(Look::Bad, &format!("thoughtwire: {}", refused.reason));
                            return Ok(TurnOutcome::Failed);
                        }
                    }
                }
                Happening::Attached(attached) => self.transcript.attach(&attached),
                Happening::Shown(Emission::Status { turn: None, text }) => {
                    out::remark(Look::Dim, &format!("({})", story::clean(&text)));
                }
                Happening::Shown(emission) => {
                    if matches!(
                        &emission,
                        Emission::Record(Record {
                            event: Event::Turn(TurnEvent::ApprovalAsked { .. }),
                            ..
                        })
                    ) {
                        out::remark(
                            Look::Dim,
                            "(a call waits for leave: `thoughtwire chat`, the page or any other client of yours gives it)",
                        );
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
                        if let Some((look, told)) = story::ending(*outcome, reason.as_deref()) {
                            out::remark(look, &told);
                        }
                        return Ok(*outcome);
                    }
                    if matches!(
                        &record.event,
                        Event::Input(InputEvent::Withdrawn { input })
                            if Some(input) == ours.as_ref()
                    ) {
                        out::remark(Look::Dim, "✗ taken back before its turn");
                        return Ok(TurnOutcome::Cancelled);
                    }
                }
                Happening::Answered { .. } | Happening::CaughtUp => {}
                Happening::Offline { reason, pause } => {
                    out::remark(
                        Look::Dim,
                        &format!("(offline: {reason}; again in {:.1} s)", pause.as_secs_f64()),
                    );
                }
                Happening::Over(error) => return Err(error),
            }
        }
        anyhow::bail!("the connection ended before the turn did")
    }

    fn print(&self, record: &Record, change: &TranscriptChange) -> std::io::Result<()> {
        if self.form == Form::Json {
            return out::json(record);
        }
        let TranscriptChange::Entry(at) = change else { return Ok(()) };
        let Some(entry) = self.transcript.entries().get(*at) else { return Ok(()) };
        match &entry.body {
            EntryBody::Message { text, .. } => out::line(&story::clean(text)),
            EntryBody::Thought { text, .. } if self.form == Form::Everything => {
                out::line(&format!("thought: {}", story::clean(text)))
            }
            EntryBody::Call(call) if self.form == Form::Everything && call.returned.is_some() => {
                out::line(&format!("tool: {}", story::call(call).trim_start_matches("⚙ ")))
            }
            EntryBody::Call(call) if call.returned.is_none() => {
                if let Some((look, told)) = story::question(call) {
                    out::remark(look, &told);
                }
                Ok(())
            }
            EntryBody::Input { .. }
            | EntryBody::Thought { .. }
            | EntryBody::Call(_)
            | EntryBody::Ended { .. }
            | EntryBody::Fact(_) => Ok(()),
        }
    }
}
