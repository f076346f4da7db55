//! An external worker as load: offers the bench's agent, and produces in each turn what the model
//! `load:` would.

use std::rc::Rc;
use std::time::Duration;

use anyhow::Context as _;
use futures::{SinkExt as _, StreamExt as _};
use thoughtwire_proto::dialect::native::{ClientBody, ClientFrame, PartJoiner, ServerFrame};
use thoughtwire_proto::{CommandId, Directive, ItemId, Offer, StreamKind, TurnId, Usage, Verb};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;
use tokio_websockets::Message;

use super::connect;
use super::mark::now;
use super::plan::{BenchLoad, BenchPlan};

/// Capacity of the queue of frames that are not written yet, over all turns.
const UNWRITTEN: usize = 64;
/// Turns at the same time: the most that one worker may run.
const TURNS: u64 = 1_000;

/// Offers the agent and runs its turns while it is polled.
pub(crate) async fn offer(plan: Rc<BenchPlan>) -> anyhow::Result<()> {
    let (mut writing, mut reading) = connect::connect(&plan, 0, "/v1/ws").await?.split();
    let offer = Offer {
        agent: plan.name.clone(),
        worker: None,
        turns: Some(TURNS),
        history: None,
        memory: None,
        tools: Vec::new(),
        cursors: None,
        resumable: None,
    };
    let (outgoing, mut queued) = mpsc::channel::<ClientFrame>(UNWRITTEN);
    outgoing.send(ClientFrame { id: None, body: ClientBody::Offer(Box::new(offer)) }).await?;
    let write = async {
        while let Some(frame) = queued.recv().await {
            writing.feed(Message::text(frame.encode())).await?;
            // Sends all queued frames with one flush.
            while let Ok(frame) = queued.try_recv() {
                writing.feed(Message::text(frame.encode())).await?;
            }
            writing.flush().await?;
        }
        Ok(())
    };
    let read = async {
        let mut turns = JoinSet::new();
        let mut parts = PartJoiner::default();
        while let Some(message) = reading.next().await {
            let message = message?;
            let Some(text) = message.as_text() else { continue };
            // Most frames are acks, which need no parsing.
            if text.starts_with("{\"type\":\"ack\"") {
                continue;
            }
            let Some(frame) = parts.take(ServerFrame::decode(text)?)? else { continue };
            match frame {
                ServerFrame::Directed(Directive::Run(run)) => {
                    while turns.try_join_next().is_some() {}
                    turns.spawn_local(run_turn(plan.load, run.turn, outgoing.clone()));
                }
                ServerFrame::Directed(Directive::OfferEnded { reason, .. }) => {
                    anyhow::bail!("the offer ended: {reason}")
                }
                ServerFrame::Refused(refused) => {
                    anyhow::bail!("the server refused a frame of the worker: {}", refused.reason)
                }
                ServerFrame::Welcome { .. }
                | ServerFrame::Attached(_)
                | ServerFrame::CaughtUp { .. }
                | ServerFrame::Ack(_)
                | ServerFrame::SessionEmission(_)
                | ServerFrame::Session(_)
                | ServerFrame::SessionGone { .. }
                | ServerFrame::Directed(_)
                | ServerFrame::Detached { .. }
                | ServerFrame::Pong { .. }
                | ServerFrame::GoAway { .. }
                | ServerFrame::Part(_)
                | ServerFrame::Other(_) => {}
            }
        }
        anyhow::bail!("the server closed the worker's connection")
    };
    tokio::select! {
        outcome = write => outcome,
        outcome = read => outcome,
    }
    .context("the worker that offers the agent failed")
}

/// Runs one turn: sends its pieces, its usage and its end.
async fn run_turn(load: BenchLoad, turn: TurnId, outgoing: mpsc::Sender<ClientFrame>) {
    let say = async |id: Option<CommandId>, verb: Verb| {
        // The receiver is gone only after the run has ended.
        drop(
            outgoing
                .send(ClientFrame { id, body: ClientBody::Say { turn: turn.clone(), verb } })
                .await,
        );
    };
    let id = |n: u64| CommandId::new(format!("{turn}-{n}")).ok();
    let mut timer = (load.rate > 0).then(|| {
        let mut timer = tokio::time::interval(Duration::from_secs(1).div_f64(load.rate as f64));
        timer.set_missed_tick_behavior(MissedTickBehavior::Burst);
        timer
    });
    let mut whole = String::new();
    for n in 1..=load.items {
        if let Some(timer) = &mut timer {
            timer.tick().await;
        }
        let head = format!("~{n}~{}~ ", now());
        let text = format!("{head:x<width$}", width = usize::try_from(load.bytes).unwrap_or(0));
        if load.deltas {
            whole.push_str(&text);
            if let Ok(item) = ItemId::new(format!("{turn}-{}", load.items)) {
                say(
                    None,
                    Verb::Delta {
                        item,
                        n: n - 1,
                        kind: StreamKind::Message,
                        text,
                        continues: None,
                    },
                )
                .await;
            }
        } else if n < load.items {
            say(id(n), Verb::AssistantMessage { text, continues: None }).await;
        } else {
            whole = text;
        }
    }
    say(
        None,
        Verb::Usage(Usage {
            input_tokens: 0,
            output_tokens: load.items * load.bytes / 4,
            cached_tokens: None,
        }),
    )
    .await;
    say(id(load.items), Verb::Finish { text: Some(whole) }).await;
}
