//! Prompts made from a past that was kept, and from one that is read back: they are the same.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use thoughtwire_agent::{AgentOptions, Chat, ModelError, Piece, Prompt};
use thoughtwire_hub::HubOptions;
use thoughtwire_proto::{
    CallId, CommandReply, Emission, Event, Policy, SessionCommand, SessionId, SessionReply, Style,
    ToolDeclaration, ToolStatus, TurnEvent,
};
use thoughtwire_store::Retention;

use crate::home::{Home, PATIENCE, Script, call, done, options, text};

/// What happens in a made-up history.
#[derive(Debug, Clone)]
enum Act {
    Say {
        question: usize,
        answer: usize,
    },
    Reckon,
    /// A client's tool is called; meanwhile inputs come, and one is perhaps taken back.
    Wait {
        queued: usize,
        steered: bool,
        withdrawn: bool,
        end: End,
    },
    Fail,
    Instruct,
    Restart,
    Shorten {
        events: u64,
    },
}

#[derive(Debug, Clone, Copy)]
enum End {
    Returned,
    Cancelled,
}

impl Act {
    fn any(random: &mut fastrand::Rng) -> Self {
        match random.u32(..20) {
            0..8 => Self::Say { question: random.usize(1..1_500), answer: random.usize(1..1_500) },
            8..11 => Self::Reckon,
            11..16 => Self::Wait {
                queued: random.usize(..4),
                steered: random.bool(),
                withdrawn: random.bool(),
                end: if random.u8(..4) == 0 { End::Cancelled } else { End::Returned },
            },
            16 => Self::Fail,
            17 => Self::Instruct,
            18 => Self::Restart,
            _ => Self::Shorten { events: random.u64(5..60) },
        }
    }

    /// What the model replies to it.
    fn replies(&self, n: usize) -> Vec<Vec<Result<Piece, ModelError>>> {
        let plain = |pieces: Vec<Piece>| pieces.into_iter().map(Ok).collect();
        match self {
            Self::Say { answer, .. } => vec![plain(text(&format!("{n} {}", "b".repeat(*answer))))],
            Self::Reckon => vec![
                plain(call("calculator", &json!({"expression": format!("{n} + 1")}))),
                plain(text("That is it.")),
            ],
            Self::Wait { queued, withdrawn, end, .. } => {
                let runs = queued.saturating_sub(usize::from(*withdrawn));
                let mut replies = vec![plain(call("door", &json!({"n": n})))];
                match end {
                    End::Returned => replies.push(plain(text("It is open."))),
                    End::Cancelled => {}
                }
                replies.extend((0..runs).map(|_| plain(text("As you say."))));
                replies
            }
            Self::Fail => vec![vec![
                Ok(Piece::Message("I beg".to_owned())),
                Err(ModelError::Cut("cut".to_owned())),
            ]],
            Self::Instruct | Self::Restart | Self::Shorten { .. } => Vec::new(),
        }
    }
}

/// Every third time no summary is to be had.
fn summaries() -> impl Fn() -> Vec<Result<Piece, ModelError>> {
    let asked = std::sync::atomic::AtomicUsize::new(0);
    move || match asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
        n if n % 3 == 2 => vec![Err(ModelError::Failed("no".to_owned()))],
        n => vec![Ok(Piece::Message(format!("In short, for the {n}th time."))), Ok(done())],
    }
}

async fn open(dir: &Path, script: &Arc<Script>, past_bytes: usize) -> Home {
    let options = AgentOptions { context_window: 3_000, past_bytes, ..options("offline") };
    Home::scripted_within(dir, script, options, HubOptions::default()).await
}

/// Plays a history and gives every prompt that was made of it.
async fn prompts(acts: &[Act], past_bytes: usize) -> Vec<Arc<Prompt>> {
    let dir = tempfile::tempdir().unwrap();
    let replies = acts.iter().enumerate().flat_map(|(n, act)| act.replies(n));
    let script = Script::of_results(replies).with_summaries(summaries());
    let mut home = open(dir.path(), &script, past_bytes).await;
    let (_, session) = home.agent("tess", Style::Native).await;
    for (n, act) in acts.iter().enumerate() {
        match act {
            Act::Say { question, .. } => {
                home.send(&session, &format!("{n} {}", "a".repeat(*question)), Policy::Queue).await;
            }
            Act::Reckon => home.send(&session, &format!("{n} + 1?"), Policy::Queue).await,
            Act::Wait { queued, steered, withdrawn, end } => {
                wait(&home, &session, n, *queued, *steered, *withdrawn, *end).await;
            }
            Act::Fail => home.send(&session, &format!("{n} and?"), Policy::Queue).await,
            Act::Instruct => {
                let instructions = format!("Be {n}.");
                home.execute(SessionCommand::Instruct { instructions }.on(session.clone())).await;
            }
            Act::Restart => {
                home.close().await;
                home = open(dir.path(), &script, past_bytes).await;
            }
            Act::Shorten { events } => {
                home.hub
                    .keep(&home.user, &session, Retention { days: None, events: Some(*events) })
                    .await
                    .unwrap();
                home.hub.sweep().await.unwrap();
            }
        }
        rest(&home, &session).await;
    }
    script.prompts()
}

async fn wait(
    home: &Home,
    session: &SessionId,
    n: usize,
    queued: usize,
    steered: bool,
    withdrawn: bool,
    end: End,
) {
    let tool = ToolDeclaration {
        name: "door".to_owned(),
        description: String::new(),
        parameters: serde_json::Map::new(),
    };
    let awaits = |emission: &Emission| {
        matches!(emission, Emission::Record(record) if matches!(
            record.event,
            Event::Turn(TurnEvent::ToolAwaited { .. }))
        )
    };
    let waiting = home
        .listen_with(
            session,
            vec![tool],
            awaits,
            home.send(session, &format!("{n} open"), Policy::Queue),
        )
        .await;
    let mut last = None;
    for m in 0..queued {
        let text = format!("{n} queued {m} {}", "q".repeat(m * 100));
        let send = SessionCommand::Send {
            text,
            attachments: vec!["a.png".to_owned()],
            policy: Policy::Queue,
        }
        .on(session.clone());
        let CommandReply::Session(SessionReply::Input { input, .. }) = home.execute(send).await
        else {
            panic!("no input")
        };
        last = Some(input);
    }
    if steered {
        home.send(session, &format!("{n} quickly"), Policy::Steer).await;
    }
    if let (Some(input), true) = (last, withdrawn) {
        home.execute(SessionCommand::Withdraw { input }.on(session.clone())).await;
    }
    let call = waiting.records.iter().find_map(|record| {
        if let Event::Turn(TurnEvent::ToolAwaited { call, .. }) = &record.event {
            Some(call.clone())
        } else {
            None
        }
    });
    match end {
        End::Returned => {
            let (call, text) = (call.unwrap(), "open".to_owned());
            home.execute(
                SessionCommand::ToolReturn {
                    call,
                    status: ToolStatus::Success,
                    text,
                    content: None,
                }
                .on(session.clone()),
            )
            .await;
        }
        End::Cancelled => {
            drop(home.execute(SessionCommand::Cancel { turn: None }.on(session.clone())).await);
        }
    }
}

/// Waits until nothing runs and nothing waits.
async fn rest(home: &Home, session: &SessionId) {
    let resting = async {
        loop {
            let state = home.hub.store().directory().session(session).await.unwrap().unwrap().state;
            if state.turn().is_none() && state.queue().is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, resting).await.expect("it does not come to rest");
    // How much is indexed stands in the prompt and takes up room there: as much in each run.
    home.hub.store().memory().index_recall().await.unwrap();
}

/// A prompt's conversation, with calls numbered instead of named: their names are new in each run.
fn shape(prompt: &Prompt) -> (usize, Vec<Chat>) {
    let mut calls: Vec<CallId> = Vec::new();
    let mut numbered = |call: &mut CallId| {
        let at = calls.iter().position(|known| known == call).unwrap_or_else(|| {
            calls.push(call.clone());
            calls.len() - 1
        });
        *call = format!("c-{at}").parse().unwrap();
    };
    let chat = prompt.chat.iter().map(|entry| {
        let mut entry = Chat::clone(entry);
        if let Chat::Called { call, .. } | Chat::Returned { call, .. } = &mut entry {
            numbered(call);
        }
        entry
    });
    (prompt.turn_from, chat.collect())
}

#[tokio::test]
async fn a_kept_past_makes_the_same_prompts_as_one_that_is_read_back() {
    for seed in 0..6 {
        let mut random = fastrand::Rng::with_seed(seed);
        let acts: Vec<Act> = (0..60).map(|_| Act::any(&mut random)).collect();
        let (kept, read) = tokio::join!(prompts(&acts, 64 << 20), prompts(&acts, 0));
        for (n, (kept, read)) in kept.iter().zip(&read).enumerate() {
            assert_eq!(shape(kept), shape(read), "seed {seed}, prompt {n}");
        }
        assert_eq!(kept.len(), read.len(), "seed {seed}");
    }
}
