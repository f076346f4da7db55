//! An agent that runs in a process of its own: it counts to the number that it is told, word by
//! word.
//!
//! ```sh
//! cargo run -p thoughtwire --example offered -- --agent counter &
//! thoughtwire send --agent counter --wait "3"
//! ```
//!
//! It may be killed and started again in the middle of a turn, and so may the server: every item
//! has an id that follows from its turn, so what is said twice is said once, and starting over is
//! going on.

#![allow(clippy::print_stderr, reason = "a command-line program reports errors to its user")]

use std::collections::HashMap;
use std::time::Duration;

use clap::Parser;
use futures::{SinkExt as _, StreamExt as _};
use thoughtwire_proto::dialect::native::{ClientBody, ClientFrame, PartJoiner, ServerFrame};
use thoughtwire_proto::{
    CommandId, Directive, ItemId, Offer, Run, StreamKind, TurnId, Verb, WorkerId,
};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio_websockets::{ClientBuilder, Message};

#[derive(Parser)]
struct CounterFlags {
    /// The server's native wire.
    #[arg(long, default_value = "ws://127.0.0.1:8282/v1/ws")]
    url: String,
    /// Name of the agent to run. It is made if it does not exist.
    #[arg(long, default_value = "counter")]
    agent: String,
    /// Name of the worker, under which it gets its turns back.
    #[arg(long, default_value = "counter-1")]
    worker: WorkerId,
    /// Most turns at once.
    #[arg(long, default_value_t = 4)]
    turns: u64,
}

#[tokio::main]
async fn main() {
    let flags = CounterFlags::parse();
    loop {
        if let Err(error) = serve(&flags).await {
            eprintln!("{error}; trying again");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// One connection, to its end.
async fn serve(flags: &CounterFlags) -> Result<(), Box<dyn std::error::Error>> {
    let (mut socket, _) = ClientBuilder::from_uri(flags.url.parse()?).connect().await?;
    let offer = Offer {
        agent: flags.agent.clone(),
        worker: Some(flags.worker.clone()),
        turns: Some(flags.turns),
        history: None,
        memory: None,
        tools: Vec::new(),
        cursors: None,
        resumable: None,
    };
    let frame = ClientFrame {
        id: Some(CommandId::new("offer")?),
        body: ClientBody::Offer(Box::new(offer)),
    };
    socket.send(Message::text(frame.encode())).await?;
    // A full channel slows the turns down to the pace of the connection.
    let (frames, mut outgoing) = mpsc::channel::<ClientFrame>(16);
    let mut running: HashMap<TurnId, AbortHandle> = HashMap::new();
    let mut parts = PartJoiner::default();
    let ended = loop {
        tokio::select! {
            Some(frame) = outgoing.recv() => socket.send(Message::text(frame.encode())).await?,
            heard = socket.next() => {
                let Some(message) = heard else { break "the server went away".to_owned() };
                let Some(text) = message?.as_text().map(str::to_owned) else { continue };
                let Some(frame) = parts.take(ServerFrame::decode(&text)?)? else { continue };
                match frame {
                    ServerFrame::Directed(Directive::Run(run)) => {
                        let turn = run.turn.clone();
                        let task = tokio::spawn(count(*run, frames.clone()));
                        if let Some(before) = running.insert(turn, task.abort_handle()) {
                            before.abort();
                        }
                    }
                    ServerFrame::Directed(Directive::Cancel { turn, .. }) => {
                        running.remove(&turn).into_iter().for_each(|task| task.abort());
                    }
                    ServerFrame::Directed(Directive::OfferEnded { reason, .. }) => break reason,
                    ServerFrame::Refused(refused) => eprintln!("refused: {}", refused.reason),
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
        }
    };
    running.into_values().for_each(|task| task.abort());
    Err(ended.into())
}

/// Runs one turn.
async fn count(run: Run, frames: mpsc::Sender<ClientFrame>) {
    let turn = run.turn;
    let id = |n: &str| CommandId::new(format!("{turn}-{n}")).ok();
    let say = async |id: Option<CommandId>, verb: Verb| {
        let frame = ClientFrame { id, body: ClientBody::Say { turn: turn.clone(), verb } };
        // If the connection is gone, its turns are handed out again.
        drop(frames.send(frame).await);
    };
    let Ok(to) = run.input.text.trim().parse::<u32>() else {
        let reason = format!("{:?} is no number to count to", run.input.text);
        return say(id("fail"), Verb::Fail { code: Some("no_number".to_owned()), reason }).await;
    };
    say(
        id("thought"),
        Verb::InternalMonologue { text: format!("I am to count to {to}."), continues: None },
    )
    .await;
    for n in 1..=to {
        let text = n.to_string();
        if let Ok(item) = ItemId::new(format!("{turn}-{n}")) {
            say(
                None,
                Verb::Delta {
                    item,
                    n: 0,
                    kind: StreamKind::Message,
                    text: text.clone(),
                    continues: None,
                },
            )
            .await;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
        say(id(&text), Verb::AssistantMessage { text, continues: None }).await;
    }
    say(id("end"), Verb::Finish { text: None }).await;
}
