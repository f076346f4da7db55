//! `thoughtwire send`: one input, one answer.

use std::io::Read as _;
use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;
use thoughtwire_proto::dialect::native::{Ack, Acked, ClientBody, Refused};
use thoughtwire_proto::{
    CommandId, Cursor, Disposition, Emission, Event, InputEvent, ItemId, Outcome as TurnOutcome,
    Record, Seq, SessionId, Start, TurnEvent, TurnId,
};

use crate::chat::{DEFAULT_AGENT, find_or_create};
use crate::cli::SendFlags;
use crate::client::{FollowerEvent, ReconnectPolicy, SessionFollower};
use crate::live_view::{LiveView, OutputPiece};
use crate::out::TextStyle;
use crate::rest::Rest;
use crate::{CommandStatus, UsageError, out, render};

/// How long a server may be away before the answer is given up.
const GIVE_UP: Duration = Duration::from_secs(60);

pub(crate) async fn run(flags: SendFlags) -> anyhow::Result<CommandStatus> {
    let SendFlags { target, text, agent, session, policy, id, wait, no_wait, json } = flags;
    let text = match text.as_str() {
        "-" => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("standard input")?;
            text
        }
        _ => text,
    };
    if text.trim().is_empty() {
        return Err(UsageError("there is nothing to send: the text is empty".to_owned()).into());
    }
    let rest = Rest::new(target.server().await?)?;
    let session = match session {
        Some(session) => session,
        None => match agent {
            Some(agent) => main_session(&rest, &agent).await?,
            None => find_or_create(&rest, DEFAULT_AGENT).await?.session,
        },
    };
    let follower = SessionFollower::new(
        rest.server().clone(),
        session.clone(),
        None,
        ReconnectPolicy::UpTo(GIVE_UP),
    );
    let body = ClientBody::Send {
        session: session.clone(),
        text,
        attachments: Vec::new(),
        policy: Some(policy.into()),
    };
    let sent = follower.send(id, body).await;
    let mut input_sent = SentInput { follower, session, sent, json, answer: None };
    if no_wait {
        return input_sent.saved().await;
    }
    let Some(limit) = wait.flatten() else { return input_sent.ended().await };
    if let Ok(ended) = tokio::time::timeout(limit, input_sent.ended()).await {
        return ended;
    }
    let SentInput { session, answer, .. } = input_sent;
    match answer {
        Some(AnsweringTurn { turn: None, .. }) => {
            anyhow::bail!(
                "the input waits, and its turn has not begun in time; `thoughtwire sessions show {session}` will have it"
            )
        }
        Some(_) => anyhow::bail!(
            "the turn has not ended in time; it goes on, and `thoughtwire sessions show {session}` has it"
        ),
        None => anyhow::bail!("the server has not answered in time"),
    }
}

/// An input on its way.
struct SentInput {
    follower: SessionFollower,
    session: SessionId,
    /// Its command's id.
    sent: CommandId,
    json: bool,
    /// Once the input is saved.
    answer: Option<AnsweringTurn>,
}

/// What became of an input; for programs with the same keys as REST's.
#[derive(Serialize)]
struct SavedInput {
    session: SessionId,
    seq: Seq,
    input: ItemId,
    disposition: Disposition,
    duplicate: bool,
}

impl SentInput {
    /// Waits until the input is on disk, and says what became of it.
    async fn saved(mut self) -> anyhow::Result<CommandStatus> {
        while let Some(happening) = self.follower.next().await {
            match happening {
                FollowerEvent::Replied { id, outcome } if id == self.sent => {
                    let saved = SavedInput::read(self.session, outcome)?;
                    if self.json {
                        out::json(&saved)?;
                    } else {
                        let fate = match saved.disposition {
                            Disposition::Started => "its turn runs",
                            Disposition::Queued => "it waits for its turn",
                            Disposition::Steered => "it joined the running turn",
                        };
                        out::remark(
                            TextStyle::Dim,
                            &format!("(saved as #{} of {}: {fate})", saved.seq, saved.session),
                        );
                    }
                    return Ok(CommandStatus::Done);
                }
                FollowerEvent::Offline { reason, pause } => offline(&reason, pause),
                FollowerEvent::Ended(error) => return Err(error),
                FollowerEvent::Replied { .. }
                | FollowerEvent::Attached(_)
                | FollowerEvent::Emitted(_)
                | FollowerEvent::CaughtUp => {}
            }
        }
        anyhow::bail!("the connection ended before the input was saved")
    }

    /// Prints the turn, up to its end.
    async fn ended(&mut self) -> anyhow::Result<CommandStatus> {
        let mut view = LiveView::default();
        while let Some(happening) = self.follower.next().await {
            match happening {
                FollowerEvent::Replied { id, .. } if id != self.sent => {}
                FollowerEvent::Replied { outcome, .. } => {
                    let SavedInput { seq, input, .. } =
                        SavedInput::read(self.session.clone(), outcome)?;
                    self.answer = Some(AnsweringTurn { input, turn: None, json: self.json });
                    // From just before the input on, so that an answer of long ago is told as well.
                    let seq = Seq(seq.0.saturating_sub(1));
                    self.follower.attach(Start::After(Cursor { epoch: None, seq })).await;
                }
                FollowerEvent::Attached(attached) => {
                    drop(view.attach(&attached));
                    if !attached.recovered {
                        anyhow::bail!(
                            "the log of {} does not target back to the input any more",
                            attached.session
                        );
                    }
                }
                FollowerEvent::Emitted(Emission::Status { turn: None, text }) => {
                    out::remark(TextStyle::Dim, &format!("({})", render::clean(&text)));
                }
                FollowerEvent::Emitted(emission) => {
                    if matches!(
                        &emission,
                        Emission::Record(Record {
                            event: Event::Turn(TurnEvent::ApprovalAsked { .. }),
                            ..
                        })
                    ) {
                        out::remark(
                            TextStyle::Dim,
                            "(a call waits for leave: `thoughtwire chat`, the page or any other client of yours gives it)",
                        );
                    }
                    if let Some(answer) = &mut self.answer
                        && let Some(outcome) = answer.show(&mut view, &emission)?
                    {
                        return Ok(if outcome == TurnOutcome::Completed {
                            CommandStatus::Done
                        } else {
                            CommandStatus::Failed
                        });
                    }
                }
                FollowerEvent::Offline { reason, pause } => offline(&reason, pause),
                FollowerEvent::CaughtUp => {}
                FollowerEvent::Ended(error) => return Err(error),
            }
        }
        anyhow::bail!("the connection ended before the turn did")
    }
}

impl SavedInput {
    fn read(session: SessionId, outcome: Result<Ack, Refused>) -> anyhow::Result<Self> {
        match outcome {
            Ok(Ack {
                acked: Acked::Input { seq, input: Some(input), disposition },
                duplicate,
                ..
            }) => Ok(Self { session, seq, input, disposition, duplicate }),
            Ok(_) => anyhow::bail!("the server did not say what became of the input"),
            Err(refused) => anyhow::bail!(refused.reason),
        }
    }
}

fn offline(reason: &str, pause: Duration) {
    out::remark(
        TextStyle::Dim,
        &format!("(offline: {reason}; again in {:.1} s)", pause.as_secs_f64()),
    );
}

async fn main_session(rest: &Rest, agent: &str) -> anyhow::Result<SessionId> {
    let found = rest.find_agent(agent).await?;
    let profile = found.with_context(|| {
        format!("there is no agent {agent:?}; make it with `thoughtwire agents create {agent}`")
    })?;
    Ok(profile.main_session)
}

/// The turn that answers the input.
struct AnsweringTurn {
    input: ItemId,
    turn: Option<TurnId>,
    json: bool,
}

impl AnsweringTurn {
    /// Prints what belongs to the turn; tells how it ended once it has.
    fn show(
        &mut self,
        view: &mut LiveView,
        emission: &Emission,
    ) -> anyhow::Result<Option<TurnOutcome>> {
        let of = match emission {
            Emission::Record(record) => {
                self.begin(record);
                record.turn.as_ref()
            }
            Emission::Delta(delta) => Some(&delta.turn),
            Emission::Partial(partial) => Some(&partial.turn),
            Emission::Status { .. } | Emission::Presence { .. } => None,
        };
        let is_ours = of.is_some() && of == self.turn.as_ref();
        let is_input = matches!(
            emission,
            Emission::Record(Record {
                event: Event::Input(InputEvent::UserMessage { item, .. }),
                ..
            })
                if *item == self.input
        );
        // Everything passes through the view, so that it follows the log; only what is ours is printed.
        view.typed_here(self.input.clone());
        let pieces = view.apply(emission);
        if self.json {
            if let Emission::Record(record) = emission
                && (is_ours || is_input)
            {
                out::json(record)?;
            }
        } else if is_ours {
            for piece in &pieces {
                print(piece)?;
            }
        }
        match emission {
            Emission::Record(Record {
                event: Event::Turn(TurnEvent::Ended { outcome, .. }),
                ..
            }) if is_ours => Ok(Some(*outcome)),
            Emission::Record(Record {
                event: Event::Input(InputEvent::Withdrawn { input }),
                ..
            }) if *input == self.input => {
                anyhow::bail!("the input was taken back before its turn")
            }
            Emission::Record(_)
            | Emission::Delta(_)
            | Emission::Partial(_)
            | Emission::Status { .. }
            | Emission::Presence { .. } => Ok(None),
        }
    }

    /// Learns which turn is ours: the one the input started, or the one it joined.
    fn begin(&mut self, record: &Record) {
        if let Event::Turn(TurnEvent::Started { input: item })
        | Event::Input(InputEvent::UserMessage { item, .. }) = &record.event
            && *item == self.input
            && record.turn.is_some()
        {
            self.turn.clone_from(&record.turn);
        }
    }
}

/// The answer goes to standard output, all else to standard error.
fn print(piece: &OutputPiece) -> std::io::Result<()> {
    match piece {
        OutputPiece::Text(TextStyle::Plain, text) => out::piece(text),
        OutputPiece::Text(look, text) => {
            out::remark_piece(*look, text);
            Ok(())
        }
        OutputPiece::End(TextStyle::Plain) => out::piece("\n"),
        OutputPiece::End(look) => {
            out::remark_piece(*look, "\n");
            Ok(())
        }
        OutputPiece::Whole((TextStyle::Plain, text)) => out::line(text),
        OutputPiece::Whole((look, text)) => {
            out::remark(*look, text);
            Ok(())
        }
        OutputPiece::TurnEnded(_) => Ok(()),
    }
}
