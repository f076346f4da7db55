//! Fills an empty data directory, or a PostgreSQL database, through Thoughtwire's own store:
//! `fill PLACE SESSIONS EVENTS`.
//!
//! The sessions `s-0`, `s-1` and so on belong to one agent, and have EVENTS events each. All texts
//! are indexed for searches, as on a server that has caught up with indexing.

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use thoughtwire_proto::{
    AgentId, AgentSpec, Event, Id, InputEvent, Outcome, Record, Seq, State, Timestamp, TurnEvent,
    TurnId, UserId,
};
use thoughtwire_store::{Batch, Commit, NewAgent, NewSession, NodeIdentity, Store, StoredSession};

/// Number of writes that are under way at once.
const BATCH: usize = 1000;
/// Time between two looks at how far indexing has come.
const LOOK: Duration = Duration::from_millis(250);
/// Number of events in a turn, and the least: input, start, a message and end.
const TURN: u64 = 100;
const LEAST: u64 = 4;
/// Time between two progress reports.
const PROGRESS: Duration = Duration::from_secs(15);
/// The agent of all sessions, which answers each input with one short message.
const MODEL: &str = "load:items=1,bytes=60";

type Outcomes<T> = Result<T, Box<dyn Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcomes<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [place, sessions, events] = arguments.as_slice() else {
        return Err("fill PLACE SESSIONS EVENTS".into());
    };
    let (sessions, events) = (sessions.parse()?, events.parse()?);
    let now = Timestamp::from_millis(i64::try_from(
        SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis(),
    )?);
    let store = if place.starts_with("postgres") {
        Store::connect(place, NodeIdentity::new("fill", None), now).await?
    } else {
        Store::open(Path::new(place), now)?
    };
    let (begun, agent) = (Instant::now(), "a-filled".parse()?);
    let mut filling = Filling { store, agent, now, begun, told: begun };
    let opened = filling.open(sessions).await?;
    let said = filling.talk(opened, events).await?;
    filling.index(said).await?;
    filling.store.close().await;
    Ok(())
}

struct Filling {
    store: Store,
    agent: AgentId,
    now: Timestamp,
    begun: Instant,
    /// Time of the last progress report.
    told: Instant,
}

impl Filling {
    async fn open(&mut self, sessions: usize) -> Outcomes<Vec<StoredSession>> {
        let user: UserId = "local".parse()?;
        let agents = self.store.directory().create_agent(NewAgent {
            id: self.agent.clone(),
            user: user.clone(),
            spec: AgentSpec {
                name: "filled".to_owned(),
                model: Some(MODEL.to_owned()),
                ..AgentSpec::default()
            },
            main_session: "s-0".parse()?,
            epoch: "e-0".parse()?,
            blocks: Vec::new(),
            notes: Vec::new(),
            sessions: Vec::new(),
            at: self.now,
            receipt: None,
        });
        agents.await?;
        let main = self.store.directory().session(&"s-0".parse()?).await?;
        let main = main.ok_or("the main session is not there")?;
        let mut opened = vec![main];
        while opened.len() < sessions {
            let until = sessions.min(opened.len() + BATCH);
            let mut commits = Vec::new();
            for number in opened.len()..until {
                commits.push(self.store.directory().create_session(NewSession {
                    id: format!("s-{number}").parse()?,
                    user: user.clone(),
                    agent: self.agent.clone(),
                    epoch: format!("e-{number}").parse()?,
                    title: None,
                    instructions: None,
                    history: Vec::new(),
                    records: Vec::new(),
                    at: self.now,
                    receipt: None,
                }));
            }
            opened.extend(wait(commits).await?);
        }
        self.tell(&format!("{sessions} sessions"));
        Ok(opened)
    }

    /// Writes turns in each session, one after the other, until each has its events. Gives the
    /// number of messages in them.
    async fn talk(&mut self, mut sessions: Vec<StoredSession>, events: u64) -> Outcomes<usize> {
        let (mut written, mut said) = (0, 0);
        let mut is_more = true;
        while is_more {
            is_more = false;
            let mut commits = Vec::new();
            for session in &mut sessions {
                // A long log is written in large pieces.
                for _ in 0..10 {
                    let left = events.saturating_sub(session.state.head().0);
                    if left < LEAST {
                        break;
                    }
                    is_more = true;
                    let after = session.state.head();
                    let records = turn(&mut session.state, left.min(TURN), self.now)?;
                    written += records.len() as u64;
                    said += records.iter().filter(|record| record.event.said().is_some()).count();
                    let state = session.state.clone();
                    let batch = Batch::new(session.id.clone(), after, records, state)?;
                    commits.push(self.store.logs().append(batch));
                }
                if commits.len() >= BATCH {
                    wait(std::mem::take(&mut commits)).await?;
                    self.progress(|| format!("{written} events"));
                }
            }
            wait(commits).await?;
            self.progress(|| format!("{written} events"));
        }
        self.tell(&format!("{written} events"));
        Ok(said)
    }

    /// Waits until the store has indexed all messages by itself, step by step.
    async fn index(&mut self, said: usize) -> Outcomes<()> {
        while self.store.memory().recall_count(&self.agent).await? < said {
            self.progress(|| "messages are being indexed".to_owned());
            tokio::time::sleep(LOOK).await;
        }
        self.tell("all messages are indexed");
        Ok(())
    }

    fn progress(&mut self, how_far: impl Fn() -> String) {
        if self.told.elapsed() >= PROGRESS {
            self.told = Instant::now();
            self.tell(&how_far());
        }
    }

    fn tell(&self, what: &str) {
        eprintln!("    {:>4} s: {what}", self.begun.elapsed().as_secs());
    }
}

/// Waits for writes.
async fn wait<T>(commits: Vec<Commit<T>>) -> Outcomes<Vec<T>> {
    let mut done = Vec::with_capacity(commits.len());
    for commit in commits {
        done.push(commit.await?);
    }
    Ok(done)
}

/// Makes the events of one turn, and folds them into the state.
fn turn(state: &mut State, events: u64, at: Timestamp) -> Outcomes<Vec<Record>> {
    let input = id(state.head().0 + 1)?;
    let turn: TurnId = id(state.head().0 + 2)?;
    let mut records = Vec::new();
    for number in 1..=events {
        let seq = Seq(state.head().0 + 1);
        let event = if number == 1 {
            Event::Input(InputEvent::UserMessage {
                item: input.clone(),
                text: "go".to_owned(),
                attachments: Vec::new(),
                from: None,
            })
        } else if number == 2 {
            Event::Turn(TurnEvent::Started { input: input.clone() })
        } else if number < events {
            // Thoughts and messages alternate.
            let (item, text) = (
                id(seq.0)?,
                format!("{} is what there was to say, and then a little more of it", seq.0),
            );
            if number % 2 == 1 && number + 1 < events {
                Event::Turn(TurnEvent::Thought { item, text, complete: true, continues: None })
            } else {
                Event::Turn(TurnEvent::Message { item, text, complete: true, continues: None })
            }
        } else {
            Event::Turn(TurnEvent::Ended {
                input: input.clone(),
                outcome: Outcome::Completed,
                code: None,
                reason: None,
            })
        };
        let turn = (number > 1).then(|| turn.clone());
        state.apply(turn.as_ref(), &event)?;
        records.push(Record { seq, at, turn, event });
    }
    Ok(records)
}

/// Makes an id of the length of a server's ids.
fn id<K>(number: u64) -> Outcomes<Id<K>> {
    Ok(Id::new(format!("{number:032x}"))?)
}
