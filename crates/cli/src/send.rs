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

use crate::chat::{MAIN, found_or_made};
use crate::cli::SendFlags;
use crate::client::{Follower, Happening, Patience};
use crate::out::Look;
use crate::rest::RestClient;
use crate::view::{Piece, View};
use crate::{Outcome, Usage, out, story};

/// How long a server may be away before the answer is given up.
const GIVE_UP: Duration = Duration::from_secs(60);

pub(crate) async fn run(flags: SendFlags) -> anyhow::Result<Outcome> {
    let SendFlags { reach, text, agent, session, policy, id, wait, no_wait, json } = flags;
    let text = match text.as_str() {
        "-" => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("standard input")?;
            text
        }
        _ => text,
    };
    if text.trim().is_empty() {
        return Err(Usage("there is nothing to send: the text is empty".to_owned()).into());
    }
    let rest = RestClient::new(reach.server().await?)?;
    let session = match session {
        Some(session) => session,
        None => match agent {
            Some(agent) => main_session(&rest, &agent).await?,
            None => found_or_made(&rest, MAIN).await?.session,
        },
    };
    let follower = Follower::new(
        rest.transport.server().clone(),
        session.clone(),
        None,
        Patience::For(GIVE_UP),
    );
    let body = ClientBody::Send {
        session: session.clone(),
        text,
        attachments: Vec::new(),
        policy: Some(policy.into()),
    };
    let sent = follower.ask(id, body).await;
    let mut errand = Errand { follower, session, sent, json, answer: None };
    if no_wait {
        return errand.saved().await;
    }
    let Some(limit) = wait.flatten() else { return errand.ended().await };
    if let Ok(ended) = tokio::time::timeout(limit, errand.ended()).await {
        return ended;
    }
    let Errand { session, answer, .. } = errand;
    match answer {
        Some(Answer { turn: None, .. }) => {
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
struct Errand {
    follower: Follower,
    session: SessionId,
    /// Its command's id.
    sent: CommandId,
    json: bool,
    /// Once the input is saved.
    answer: Option<Answer>,
}

/// What became of an input; for programs with the same keys as REST's.
#[derive(Serialize)]
struct Saved {
    session: SessionId,
    seq: Seq,
    input: ItemId,
    disposition: Disposition,
    duplicate: bool,
}

impl Errand {
    /// Waits until the input is on disk, and says what became of it.
    async fn saved(mut self) -> anyhow::Result<Outcome> {
        while let Some(happening) = self.follower.next().await {
            match happening {
                Happening::Answered { id, outcome } if id == self.sent => {
                    let saved = Saved::read(self.session, outcome)?;
                    if self.json {
                        out::json(&saved)?;
                    } else {
                        let fate = match saved.disposition {
                            Disposition::Started => "its turn runs",
                            Disposition::Queued => "it waits for its turn",
                            Disposition::Steered => "it joined the running turn",
                        };
                        out::remark(
                            Look::Dim,
                            &format!("(saved as #{} of {}: {fate})", saved.seq, saved.session),
                        );
                    }
                    return Ok(Outcome::Done);
                }
                Happening::Offline { reason, pause } => offline(&reason, pause),
                Happening::Over(error) => return Err(error),
                Happening::Answered { .. }
                | Happening::Attached(_)
                | Happening::Shown(_)
                | Happening::CaughtUp => {}
            }
        }
        anyhow::bail!("the connection ended before the input was saved")
    }

    /// Prints the turn, up to its end.
    async fn ended(&mut self) -> anyhow::Result<Outcome> {
        let mut view = View::default();
        while let Some(happening) = self.follower.next().await {
            match happening {
                Happening::Answered { id, .. } if id != self.sent => {}
                Happening::Answered { outcome, .. } => {
                    let Saved { seq, input, .. } = Saved::read(self.session.clone(), outcome)?;
                    self.answer = Some(Answer { input, turn: None, json: self.json });
                    // From just before the input on, so that an answer of long ago is told as well.
                    let seq = Seq(seq.0.saturating_sub(1));
                    self.follower.attach(Start::After(Cursor { epoch: None, seq })).await;
                }
                Happening::Attached(attached) => {
                    drop(view.attach(&attached));
                    if !attached.recovered {
                        anyhow::bail!(
                            "the log of {} does not reach back to the input any more",
                            attached.session
                        );
                    }
                }
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
                    if let Some(answer) = &mut self.answer
                        && let Some(outcome) = answer.show(&mut view, &emission)?
                    {
                        return Ok(if outcome == TurnOutcome::Completed {
                            Outcome::Done
                        } else {
                            Outcome::Failed
                        });
                    }
                }
                Happening::Offline { reason, pause } => offline(&reason, pause),
                Happening::CaughtUp => {}
                Happening::Over(error) => return Err(error),
            }
        }
        anyhow::bail!("the connection ended before the turn did")
    }
}

impl Saved {
    fn read(session: SessionId, outcome: Result<Ack, RefusedFrame>) -> anyhow::Result<Self> {
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
    out::remark(Look::Dim, &format!("(offline: {reason}; again in {:.1} s)", pause.as_secs_f64()));
}

async fn main_session(rest: &RestClient, agent: &str) -> anyhow::Result<SessionId> {
    let found = rest.find_agent(agent).await?;
    let profile = found.with_context(|| {
        format!("there is no agent {agent:?}; make it with `thoughtwire agents create {agent}`")
    })?;
    Ok(profile.main_session)
}

/// The turn that answers the input.
struct Answer {
    input: ItemId,
    turn: Option<TurnId>,
    json: bool,
}

impl Answer {
    /// Prints what belongs to the turn; tells how it ended once it has.
    fn show(
        &mut self,
        view: &mut View,
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
fn print(piece: &Piece) -> std::io::Result<()> {
    match piece {
        Piece::Text(Look::Plain, text) => out::piece(text),
        Piece::Text(look, text) => {
            out::remark_piece(*look, text);
            Ok(())
        }
        Piece::End(Look::Plain) => out::piece("\n"),
        Piece::End(look) => {
            out::remark_piece(*look, "\n");
            Ok(())
        }
        Piece::Whole((Look::Plain, text)) => out::line(text),
        Piece::Whole((look, text)) => {
            out::remark(*look, text);
            Ok(())
        }
        Piece::TurnEnded(_) => Ok(()),
    }
}
