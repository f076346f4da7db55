//! `thoughtwire send`: one input, one answer.

use std::io::Read as _;
use std::time::Duration;

use anyhow::Context as _;
use serde::Serialize;
use thoughtwire_proto::dialect::native::{Ack, Acked, ClientBody, RefusedFrame};
use thoughtwire_proto::{
    CommandId, Cursor, Disposition, Emission, Event, InputEvent, ItemId, Outcome as TurnOutcome,
    Record, Seq, SessionId, Start, TurnEvent, TurnId,
};

use crate::chat::{DEFAULT_AGENT, find_or_create};
use crate::cli::SendFlags;
use crate::client::{FollowerEvent, ReconnectPolicy, SessionFollower};
use crate::live_view::{LiveView, OutputPiece};
use crate::out::TextStyle;
use crate::rest::RestClient;
use crate::{CommandStatus, UsageError, out, render};

/// How long the server may be unreachable before the command fails.
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
        return Err(UsageError("the text is empty; there is nothing to send".to_owned()).into());
    }
    let rest = RestClient::new(target.server().await?)?;
    let session = match session {
        Some(session) => session,
        None => match agent {
            Some(agent) => main_session(&rest, &agent).await?,
            None => find_or_create(&rest, DEFAULT_AGENT).await?.session,
        },
    };
    let follower = SessionFollower::new(
        rest.transport.server().clone(),
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
                "the time is over and the input is still queued; `thoughtwire sessions show \
                {session}` shows it later"
            )
        }
        Some(_) => anyhow::bail!(
            "the turn has not ended in time and still runs; `thoughtwire sessions show {session}` \
            shows it"
        ),
        None => anyhow::bail!("the server did not answer in time"),
    }
}

/// An input that was sent, and the answer as far as it is known.
struct SentInput {
    follower: SessionFollower,
    session: SessionId,
    /// The id of the `send` command.
    sent: CommandId,
    json: bool,
    /// Set once the input is saved.
    answer: Option<AnsweringTurn>,
}

/// The server's answer to an input. The JSON keys are those of REST.
#[derive(Serialize)]
struct SavedInput {
    session: SessionId,
    seq: Seq,
    input: ItemId,
    disposition: Disposition,
    duplicate: bool,
}

impl SentInput {
    /// Waits until the input is on disk, and prints whether it started, queued or joined a turn.
    async fn saved(mut self) -> anyhow::Result<CommandStatus> {
        while let Some(happening) = self.follower.next().await {
            match happening {
                FollowerEvent::Replied { id, outcome } if id == self.sent => {
                    let saved = SavedInput::read(self.session, outcome)?;
                    if self.json {
                        out::json(&saved)?;
                    } else {
                        let fate = match saved.disposition {
                            Disposition::Started => "its turn is running",
                            Disposition::Queued => "it is queued",
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

    /// Prints the turn until it ends.
    async fn ended(&mut self) -> anyhow::Result<CommandStatus> {
        let mut view = LiveView::default();
        while let Some(happening) = self.follower.next().await {
            match happening {
                FollowerEvent::Replied { id, .. } if id != self.sent => {}
                FollowerEvent::Replied { outcome, .. } => {
                    let SavedInput { seq, input, .. } =
                        SavedInput::read(self.session.clone(), outcome)?;
                    self.answer = Some(AnsweringTurn { input, turn: None, json: self.json });
                    // Starts at the input, so that the answer to a duplicate is printed as well.
                    let seq = Seq(seq.0.saturating_sub(1));
                    self.follower.attach(Start::After(Cursor { epoch: None, seq })).await;
                }
                FollowerEvent::Attached(attached) => {
                    drop(view.attach(&attached));
                    if !attached.recovered {
                        anyhow::bail!(
                            "the input was already deleted from the log of {} by its retention",
                            attached.session
                        );
                    }
                }
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
    fn read(session: SessionId, outcome: Result<Ack, RefusedFrame>) -> anyhow::Result<Self> {
        match outcome {
            Ok(Ack {
                acked: Acked::Input { seq, input: Some(input), disposition },
                duplicate,
                ..
            }) => Ok(Self { session, seq, input, disposition, duplicate }),
            Ok(_) => anyhow::bail!("the server's answer does not say whether the input was saved"),
            Err(refused) => anyhow::bail!(refused.reason),
        }
    }
}

fn offline(reason: &str, pause: Duration) {
    out::remark(
        TextStyle::Dim,
        &format!("(offline: {reason}; reconnecting in {:.1} s)", pause.as_secs_f64()),
    );
}

async fn main_session(rest: &RestClient, agent: &str) -> anyhow::Result<SessionId> {
    let found = rest.find_agent(agent).await?;
    let profile = found.with_context(|| {
        format!("there is no agent {agent:?}; make it with `thoughtwire agents create {agent}`")
    })?;
    Ok(profile.main_session)
}

/// The turn that answers the input, as it is printed.
struct AnsweringTurn {
    input: ItemId,
    turn: Option<TurnId>,
    json: bool,
}

impl AnsweringTurn {
    /// Prints an emission if it belongs to the turn; returns the outcome when the turn ended.
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
        // The view follows the whole log; only this turn's output is printed.
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
                anyhow::bail!("the input was withdrawn before its turn started")
            }
            Emission::Record(_)
            | Emission::Delta(_)
            | Emission::Partial(_)
            | Emission::Status { .. }
            | Emission::Presence { .. } => Ok(None),
        }
    }

    /// Notes which turn answers the input: the one it started, or the one it joined.
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

/// Prints the answer to standard output, everything else to standard error.
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
