//! Fills an empty data directory through Thoughtwire's own store: `fill DIR SESSIONS EVENTS`.
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
use thoughtwire_store::{Append, Commit, NewAgent, NewSession, Pen, Store, StoredSession};

/// Number of writes in one transaction.
const BATCH: usize = 1000;
/// Number of events in a turn, and the least: input, start, a message and end.
const TURN: u64 = 100;
const LEAST: u64 = 4;
/// Time between two progress reports.
const PROGRESS: Duration = Duration::from_secs(15);
/// The agent of all sessions, which answers each input with one short message.
const MODEL: &str = "load:items=1,bytes=60";

type Outcomes<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcomes<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [dir, sessions, events] = arguments.as_slice() else {
        return Err("fill DIR SESSIONS EVENTS".into());
    };
    let (sessions, events) = (sessions.parse()?, events.parse()?);
    let now = Timestamp::from_millis(i64::try_from(
        SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis(),
    )?);
    let (store, pen) = Store::open_by_hand(Path::new(dir), now)?;
    let mut filling = Filling { store, pen, now, begun: Instant::now(), told: Instant::now() };
    let opened = filling.open(sessions)?;
    filling.talk(opened, events)?;
    while filling.pen.index()? {
        filling.progress(|| "what was said is being indexed".to_owned());
    }
    filling.tell("all that was said is indexed");
    Ok(())
}

struct Filling {
    store: Store,
    pen: Pen,
    now: Timestamp,
    begun: Instant,
    /// Time of the last progress report.
    told: Instant,
}

impl Filling {
    fn open(&mut self, sessions: usize) -> Outcomes<Vec<StoredSession>> {
        let (agent, user): (AgentId, UserId) = ("a-filled".parse()?, "local".parse()?);
        let agents = self.store.create_agent(NewAgent {
            id: agent.clone(),
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
        self.write(vec![agents])?;
        let main = self.store.session(&"s-0".parse()?)?.ok_or("the main session is not there")?;
        let mut opened = vec![main];
        while opened.len() < sessions {
            let until = sessions.min(opened.len() + BATCH);
            let mut commits = Vec::new();
            for number in opened.len()..until {
                commits.push(self.store.create_session(NewSession {
                    id: format!("s-{number}").parse()?,
                    user: user.clone(),
                    agent: agent.clone(),
                    epoch: format!("e-{number}").parse()?,
                    title: None,
                    instructions: None,
                    history: Vec::new(),
                    records: Vec::new(),
                    at: self.now,
                    receipt: None,
                }));
            }
            opened.extend(self.write(commits)?);
        }
        self.tell(&format!("{sessions} sessions"));
        Ok(opened)
    }

    /// Writes turns in each session, one after the other, until each has its events.
    fn talk(&mut self, mut sessions: Vec<StoredSession>, events: u64) -> Outcomes<()> {
        let mut written = 0;
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
                    commits.push(self.store.append(Append {
                        session: session.num,
                        after,
                        records,
                        state: session.state.clone(),
                        receipt: None,
                        block: None,
                        output: None,
                        kept: None,
                        closed_items: Vec::new(),
                    }));
                }
                if commits.len() >= BATCH {
                    self.write(std::mem::take(&mut commits))?;
                    self.progress(|| format!("{written} events"));
                }
            }
            self.write(commits)?;
            self.progress(|| format!("{written} events"));
        }
        self.tell(&format!("{written} events"));
        Ok(())
    }

    /// Writes the waiting appends in one transaction.
    fn write<T>(&mut self, commits: Vec<Commit<T>>) -> Outcomes<Vec<T>> {
        while let Some(written) = self.pen.write(commits.len()) {
            written.tell();
        }
        Ok(commits.into_iter().map(Commit::wait).collect::<Result<_, _>>()?)
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
                Event::Turn(TurnEvent::Thought { item, text, complete: true })
            } else {
                Event::Turn(TurnEvent::Message { item, text, complete: true })
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
