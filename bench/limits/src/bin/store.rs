//! Measures durable events through Thoughtwire's store alone, or through plain SQL.
//!
//! `store PLACE SESSIONS EVENTS SECONDS KIND` saves batches of EVENTS events in each session, as
//! fast as it can: a session's next batch follows when its last one is saved. PLACE is an empty
//! data directory or a PostgreSQL address. KIND is `thoughts`, or `messages`, which are indexed for
//! searches. `plain` in its place sends the same rows to PostgreSQL with one prepared statement on
//! one connection, without a fence, states or an index. It prints a line when it begins, and then
//! JSON.

use std::error::Error;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};
use thoughtwire_proto::{
    AgentSpec, Event, Id, InputEvent, Record, Seq, Timestamp, TurnEvent, TurnId, UserId,
};
use thoughtwire_store::{Batch, NewAgent, NewSession, NodeIdentity, Store, StoredSession};
use tokio_postgres::{Client, NoTls};

/// Length of each event's text.
const TEXT: usize = 200;

type Outcomes<T> = Result<T, Box<dyn Error>>;

/// The load.
struct StoreLoad {
    sessions: usize,
    events: usize,
    time: Duration,
    kind: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcomes<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [place, sessions, events, seconds, kind] = arguments.as_slice() else {
        return Err("store PLACE SESSIONS EVENTS SECONDS KIND".into());
    };
    let load = StoreLoad {
        sessions: sessions.parse()?,
        events: events.parse()?,
        time: Duration::from_secs_f64(seconds.parse()?),
        kind: kind.clone(),
    };
    if load.kind == "plain" { plain(place, &load).await } else { store(place, &load).await }
}

/// Tells that the measurement begins. Gives the time and the CPU time so far.
fn begin() -> (Instant, Duration) {
    println!("begins");
    (Instant::now(), cpu_time())
}

/// Prints what was measured since an instant and a CPU time.
fn tell(saved: u64, begun: Instant, cpu: Duration) {
    let cpu_us = (cpu_time() - cpu).as_secs_f64() * 1e6;
    let seconds = begun.elapsed().as_secs_f64();
    let rate = saved as f64 / seconds;
    println!("{{\"events\": {saved}, \"per_second\": {rate}, \"cpu_us\": {cpu_us}}}");
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

async fn store(place: &str, load: &StoreLoad) -> Outcomes<()> {
    let now = Timestamp::from_millis(i64::try_from(
        SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis(),
    )?);
    let store = if place.starts_with("postgres") {
        Store::connect(place, NodeIdentity::new("bench", None), now).await?
    } else {
        Store::open(Path::new(place), now)?
    };
    let opened = open(&store, load.sessions, now).await?;
    let saved = AtomicU64::new(0);
    let (begun, cpu) = begin();
    let writers = tokio::task::LocalSet::new();
    let outcome = writers
        .run_until(async {
            let each = opened.into_iter().map(|session| write(&store, session, load, now, &saved));
            futures::future::try_join_all(each).await
        })
        .await;
    outcome?;
    tell(saved.load(Ordering::Relaxed), begun, cpu);
    store.close().await;
    Ok(())
}

async fn open(store: &Store, sessions: usize, now: Timestamp) -> Outcomes<Vec<StoredSession>> {
    let user: UserId = "local".parse()?;
    let agent = store.directory().create_agent(NewAgent {
        id: "a-bench".parse()?,
        user: user.clone(),
        spec: AgentSpec { name: "bench".to_owned(), ..AgentSpec::default() },
        main_session: "s-0".parse()?,
        epoch: "e-0".parse()?,
        blocks: Vec::new(),
        notes: Vec::new(),
        sessions: Vec::new(),
        at: now,
        receipt: None,
    });
    let agent = agent.await?.id;
    let created: Vec<_> = (1..=sessions)
        .map(|number| {
            Ok(store.directory().create_session(NewSession {
                id: format!("s-{number}").parse()?,
                user: user.clone(),
                agent: agent.clone(),
                epoch: format!("e-{number}").parse()?,
                title: None,
                instructions: None,
                history: Vec::new(),
                records: Vec::new(),
                at: now,
                receipt: None,
            }))
        })
        .collect::<Outcomes<_>>()?;
    Ok(futures::future::try_join_all(created).await?)
}

/// Begins a turn in a session, and saves batches in it until the time is over.
async fn write(
    store: &Store,
    mut session: StoredSession,
    load: &StoreLoad,
    now: Timestamp,
    saved: &AtomicU64,
) -> Outcomes<()> {
    let (begun, turn): (_, TurnId) = (Instant::now(), Id::new("1")?);
    let input = InputEvent::UserMessage {
        item: Id::new("1")?,
        text: "go".to_owned(),
        attachments: Vec::new(),
        from: None,
    };
    let started = TurnEvent::Started { input: Id::new("1")? };
    let mut next = vec![(None, Event::Input(input)), (Some(turn.clone()), Event::Turn(started))];
    while begun.elapsed() < load.time {
        let after = session.state.head();
        let mut records = Vec::with_capacity(next.len());
        for (turn, event) in next {
            session.state.apply(turn.as_ref(), &event)?;
            records.push(Record { seq: session.state.head(), at: now, turn, event });
        }
        let count = records.len() as u64;
        let batch = Batch::new(session.id.clone(), after, records, session.state.clone())?;
        store.logs().append(batch).await?;
        saved.fetch_add(count, Ordering::Relaxed);
        let after = session.state.head().0;
        next = (1..=load.events as u64)
            .map(|at| Ok((Some(turn.clone()), event(after + at, &load.kind)?)))
            .collect::<Outcomes<_>>()?;
    }
    Ok(())
}

fn event(seq: u64, kind: &str) -> Outcomes<Event> {
    let item = Id::new(format!("{seq:032x}"))?;
    let text = format!("{seq} is a number, and this is text ").repeat(TEXT / 33 + 1);
    let text = text.get(..TEXT).ok_or("the text is too short")?.to_owned();
    Ok(Event::Turn(match kind {
        "thoughts" => TurnEvent::Thought { item, text, complete: true, continues: None },
        "messages" => TurnEvent::Message { item, text, complete: true, continues: None },
        _ => return Err("KIND is thoughts, messages or plain".into()),
    }))
}

/// Inserts the rows of the events of all sessions with one statement after the other.
async fn plain(url: &str, load: &StoreLoad) -> Outcomes<()> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    tokio::spawn(connection);
    client
        .batch_execute(
            "CREATE TABLE plain_events (session bigint NOT NULL, seq bigint NOT NULL,
                 at bigint NOT NULL, turn text, body text NOT NULL, call text,
                 PRIMARY KEY (session, seq))",
        )
        .await?;
    let outcome = insert(&client, load).await;
    client.batch_execute("DROP TABLE plain_events").await?;
    outcome
}

async fn insert(client: &Client, load: &StoreLoad) -> Outcomes<()> {
    let insert = client
        .prepare(
            "INSERT INTO plain_events (session, seq, at, turn, body, call)
             SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[], $5::text[],
                                  $6::text[])",
        )
        .await?;
    let (begun, cpu) = begin();
    let (mut head, mut saved) = (0, 0);
    while begun.elapsed() < load.time {
        let (mut sessions, mut seqs, mut bodies) = (Vec::new(), Vec::new(), Vec::new());
        for session in 0..load.sessions {
            for at in 1..=load.events {
                sessions.push(i64::try_from(session)?);
                let seq = Seq(head + at as u64);
                seqs.push(i64::try_from(seq.0)?);
                bodies.push(serde_json::to_string(&event(seq.0, "thoughts")?)?);
            }
        }
        head += load.events as u64;
        let times = vec![1_000_i64; seqs.len()];
        let turns = vec![Some("1"); seqs.len()];
        let calls = vec![None::<&str>; seqs.len()];
        saved +=
            client.execute(&insert, &[&sessions, &seqs, &times, &turns, &bodies, &calls]).await?;
    }
    tell(saved, begun, cpu);
    Ok(())
}
