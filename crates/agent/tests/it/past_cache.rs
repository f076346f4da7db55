//! Prompts from a cached past equal prompts from a past that is read from the log.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use thoughtwire_agent::{AgentOptions, ModelError, Prompt, PromptEntry, ReplyPiece};
use thoughtwire_hub::HubOptions;
use thoughtwire_proto::{
    CallId, CommandReply, Emission, Event, Policy, SessionCommand, SessionId, SessionReply, Style,
    ToolDeclaration, ToolStatus, TurnEvent,
};
use thoughtwire_store::Retention;

use crate::harness::{AgentHarness, PATIENCE, ScriptedModel, call, done, options, text};

/// A step of a generated history.
#[derive(Debug, Clone)]
enum HistoryStep {
    Say {
        question: usize,
        answer: usize,
    },
    Reckon,
    /// A client's tool is called. Meanwhile inputs arrive, and one may be withdrawn.
    Wait {
        queued: usize,
        steered: bool,
        withdrawn: bool,
        end: CallEnd,
    },
    Fail,
    Instruct,
    Restart,
    Shorten {
        events: u64,
    },
}

#[derive(Debug, Clone, Copy)]
enum CallEnd {
    Returned,
    Cancelled,
}

impl HistoryStep {
    fn any(random: &mut fastrand::Rng) -> Self {
        match random.u32(..20) {
            0..8 => Self::Say { question: random.usize(1..1_500), answer: random.usize(1..1_500) },
            8..11 => Self::Reckon,
            11..16 => Self::Wait {
                queued: random.usize(..4),
                steered: random.bool(),
                withdrawn: random.bool(),
                end: if random.u8(..4) == 0 { CallEnd::Cancelled } else { CallEnd::Returned },
            },
            16 => Self::Fail,
            17 => Self::Instruct,
            18 => Self::Restart,
            _ => Self::Shorten { events: random.u64(5..60) },
        }
    }

    /// The model's replies to this step.
    fn replies(&self, n: usize) -> Vec<Vec<Result<ReplyPiece, ModelError>>> {
        let plain = |pieces: Vec<ReplyPiece>| pieces.into_iter().map(Ok).collect();
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
                    CallEnd::Returned => replies.push(plain(text("It is open."))),
                    CallEnd::Cancelled => {}
                }
                replies.extend((0..runs).map(|_| plain(text("As you say."))));
                replies
            }
            Self::Fail => vec![vec![
                Ok(ReplyPiece::Message("I beg".to_owned())),
                Err(ModelError::Cut("cut".to_owned())),
            ]],
            Self::Instruct | Self::Restart | Self::Shorten { .. } => Vec::new(),
        }
    }
}

/// Replies to prompts for a summary. Every third one fails.
fn summaries() -> impl Fn() -> Vec<Result<ReplyPiece, ModelError>> {
    let asked = std::sync::atomic::AtomicUsize::new(0);
    move || match asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
        n if n % 3 == 2 => vec![Err(ModelError::Failed("no".to_owned()))],
        n => vec![Ok(ReplyPiece::Message(format!("In short, for the {n}th time."))), Ok(done())],
    }
}

async fn open(dir: &Path, script: &Arc<ScriptedModel>, past_bytes: usize) -> AgentHarness {
    let options = AgentOptions { context_window: 3_000, past_bytes, ..options("offline") };
    AgentHarness::scripted_within(dir, script, options, HubOptions::default()).await
}

/// Plays a history and returns all its prompts.
async fn prompts(steps: &[HistoryStep], past_bytes: usize) -> Vec<Arc<Prompt>> {
    let dir = tempfile::tempdir().unwrap();
    let replies = steps.iter().enumerate().flat_map(|(n, step)| step.replies(n));
    let script = ScriptedModel::of_results(replies).with_summaries(summaries());
    let mut harness = open(dir.path(), &script, past_bytes).await;
    let (_, session) = harness.agent("tess", Style::Native).await;
    for (n, step) in steps.iter().enumerate() {
        match step {
            HistoryStep::Say { question, .. } => {
                harness
                    .send(&session, &format!("{n} {}", "a".repeat(*question)), Policy::Queue)
                    .await;
            }
            HistoryStep::Reckon => {
                harness.send(&session, &format!("{n} + 1?"), Policy::Queue).await;
            }
            HistoryStep::Wait { queued, steered, withdrawn, end } => {
                wait(&harness, &session, n, *queued, *steered, *withdrawn, *end).await;
            }
            HistoryStep::Fail => harness.send(&session, &format!("{n} and?"), Policy::Queue).await,
            HistoryStep::Instruct => {
                let instructions = format!("Be {n}.");
                harness
                    .execute(SessionCommand::Instruct { instructions }.on(session.clone()))
                    .await;
            }
            HistoryStep::Restart => {
                harness.close().await;
                harness = open(dir.path(), &script, past_bytes).await;
            }
            HistoryStep::Shorten { events } => {
                harness
                    .hub
                    .keep(&harness.user, &session, Retention { days: None, events: Some(*events) })
                    .await
                    .unwrap();
                harness.hub.sweep().await.unwrap();
            }
        }
        rest(&harness, &session).await;
    }
    script.prompts()
}

async fn wait(
    harness: &AgentHarness,
    session: &SessionId,
    n: usize,
    queued: usize,
    steered: bool,
    withdrawn: bool,
    end: CallEnd,
) {
    let tool = ToolDeclaration {
        replay: None,
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
    let waiting = harness
        .collect_with_tools(
            session,
            vec![tool],
            awaits,
            harness.send(session, &format!("{n} open"), Policy::Queue),
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
        let CommandReply::Session(SessionReply::Input { input, .. }) = harness.execute(send).await
        else {
            panic!("no input")
        };
        last = Some(input);
    }
    if steered {
        harness.send(session, &format!("{n} quickly"), Policy::Steer).await;
    }
    if let (Some(input), true) = (last, withdrawn) {
        harness.execute(SessionCommand::Withdraw { input }.on(session.clone())).await;
    }
    let call = waiting.records.iter().find_map(|record| {
        if let Event::Turn(TurnEvent::ToolAwaited { call, .. }) = &record.event {
            Some(call.clone())
        } else {
            None
        }
    });
    match end {
        CallEnd::Returned => {
            let (call, text) = (call.unwrap(), "open".to_owned());
            harness
                .execute(
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
        CallEnd::Cancelled => {
            drop(harness.execute(SessionCommand::Cancel { turn: None }.on(session.clone())).await);
        }
    }
}

/// Waits until no turn runs and no input waits.
async fn rest(harness: &AgentHarness, session: &SessionId) {
    let resting = async {
        loop {
            let state =
                harness.hub.store().directory().session(session).await.unwrap().unwrap().state;
            if state.turn().is_none() && state.queue().is_empty() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, resting).await.expect("the session does not become idle");
    // The amount of indexed text is in the prompt, so it must be the same in each run.
    while harness.hub.store().memory().index_recall().await.unwrap() {}
}

/// A prompt's conversation with numbered calls, because call ids differ in each run.
fn shape(prompt: &Prompt) -> (usize, Vec<PromptEntry>) {
    let mut calls: Vec<CallId> = Vec::new();
    let mut numbered = |call: &mut CallId| {
        let at = calls.iter().position(|known| known == call).unwrap_or_else(|| {
            calls.push(call.clone());
            calls.len() - 1
        });
        *call = format!("c-{at}").parse().unwrap();
    };
    let chat = prompt.chat.iter().map(|entry| {
        let mut entry = PromptEntry::clone(entry);
        if let PromptEntry::Called { call, .. } | PromptEntry::Returned { call, .. } = &mut entry {
            numbered(call);
        }
        entry
    });
    (prompt.turn_from, chat.collect())
}

#[tokio::test]
async fn a_cached_past_makes_the_same_prompts_as_one_read_from_the_log() {
    for seed in 0..6 {
        let mut random = fastrand::Rng::with_seed(seed);
        let steps: Vec<HistoryStep> = (0..60).map(|_| HistoryStep::any(&mut random)).collect();
        let (kept, read) = tokio::join!(prompts(&steps, 64 << 20), prompts(&steps, 0));
        for (n, (kept, read)) in kept.iter().zip(&read).enumerate() {
            assert_eq!(shape(kept), shape(read), "seed {seed}, prompt {n}");
        }
        assert_eq!(kept.len(), read.len(), "seed {seed}");
    }
}
