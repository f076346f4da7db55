//! Faults of nodes, of their database and of the connections between them, while clients of all
//! nodes send and read: nothing is lost, doubled or out of order, and turns go on.
//!
//! `THOUGHTWIRE_ROUNDS` and `THOUGHTWIRE_SESSIONS` set the number of faults and of sessions.

mod checks;
mod cluster;
mod faults;
mod older;
mod reader;
mod rest;
mod stage;
mod writer;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use self::cluster::{ChaosCluster, NODES};
use self::faults::{Draws, Fault};
use self::older::{OlderClient, OlderWire, open_chat};
use self::reader::{ChaosRead, ChaosReader, ReadingWire};
use self::stage::ChaosStage;
use self::writer::{ChaosWriter, SendingWire, Written};

/// A turn with one message in five deltas.
const MODEL: &str = "load:items=5,bytes=20,rate=50,deltas=yes";
/// Time after which a session that does not answer is a failure.
const PATIENCE: Duration = Duration::from_secs(120);

/// The clients of one session.
struct SessionClients {
    session: String,
    writer: JoinHandle<Written>,
    reader: JoinHandle<ChaosRead>,
    goal: watch::Sender<u64>,
}

/// Times from a fault until the sessions that it hit answered, and from the end of the lease until
/// then, by kind of fault.
type Times = BTreeMap<Fault, Vec<(Duration, Duration)>>;

/// A round that has ended.
struct PlayedRound {
    /// By session, the time from the fault until it answered.
    answered: BTreeMap<String, Duration>,
    /// Time from the fault until the end of the lease, where sessions wait for that.
    lease_end: Duration,
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_doubled_or_out_of_order_whatever_fails() {
    let (rounds, sessions) = (number("THOUGHTWIRE_ROUNDS", 4), number("THOUGHTWIRE_SESSIONS", 12));
    let mut cluster = ChaosCluster::start().await;
    let urls = std::array::from_fn(|node| Some(cluster.live(node).url.clone()));
    let stage = ChaosStage::new(urls);
    let mut clients = Vec::new();
    for number in 0..sessions {
        clients.push(SessionClients::start(&cluster, number, &stage).await);
    }
    let (mut draws, mut times) = (Draws::new(17), Times::new());
    for (round, fault) in draws.faults(rounds).into_iter().enumerate() {
        let mut victim = usize::try_from(draws.below(NODES as u64)).unwrap();
        let mut hit = cluster.sessions_of(fault.hits_one_node().then_some(victim)).await;
        while hit.is_empty() {
            victim = (victim + 1) % NODES;
            hit = cluster.sessions_of(Some(victim)).await;
        }
        stage.stir();
        // Some of the turns run when it happens.
        sleep(Duration::from_millis(draws.below(150))).await;
        let played = one_round(&mut cluster, &stage, fault, victim, sessions).await;
        let of_hit = played.answered.into_iter().filter(|(session, _)| hit.contains(session));
        let of_hit: Vec<_> =
            of_hit.map(|(_, time)| (time, time.saturating_sub(played.lease_end))).collect();
        let worst = of_hit.iter().map(|(time, _)| *time).max().unwrap_or_default();
        eprintln!(
            "{round}: {} at node {victim}: {worst:.2?}, {} sessions",
            fault.name(),
            hit.len()
        );
        times.entry(fault).or_default().extend(of_hit);
        assert_eq!(stage.breaches(), Vec::<String>::new(), "round {round}");
    }
    print_times(&times);
    stage.end();
    finish(&cluster, &stage, clients).await;
}

/// A fault, until all sessions have answered behind it and all nodes serve again.
async fn one_round(
    cluster: &mut ChaosCluster,
    stage: &Arc<ChaosStage>,
    fault: Fault,
    victim: usize,
    sessions: usize,
) -> PlayedRound {
    if fault.takes_node() {
        stage.set_url(victim, None);
    }
    stage.disturb();
    cluster.begin(fault, victim).await;
    stage.tell_of_fault();
    let began = Instant::now();
    let lease_end = match fault.ends_lease() {
        true => cluster.lease_left(victim).await + began.elapsed(),
        false => Duration::ZERO,
    };
    let (answered, back) = tokio::join!(
        timeout(PATIENCE, stage.until_answered(sessions)),
        cluster.go_on(fault, victim),
    );
    let answered = answered.unwrap_or_else(|_| {
        panic!("{}: of {sessions} sessions these answered: {:?}", fault.name(), stage.answered())
    });
    let back = cluster.end(fault, victim).await.or(back);
    timeout(PATIENCE, cluster.until_ready()).await.expect("all nodes serve again");
    if let Some(url) = back {
        stage.set_url(victim, Some(url));
    }
    PlayedRound { answered, lease_end }
}

impl SessionClients {
    /// Makes a session at one node, and its clients at the others.
    async fn start(cluster: &ChaosCluster, number: usize, stage: &Arc<ChaosStage>) -> Self {
        let (node, name) = (number % NODES, format!("chaos-{number}"));
        let (live, stage) = (cluster.live(node), Arc::clone(stage));
        let kind = (number + number / NODES) % 6;
        let is_native = kind.is_multiple_of(2);
        let reading = if is_native { ReadingWire::Native } else { ReadingWire::Events };
        let (session, writer) = if kind < 4 {
            let sending = if kind < 2 { SendingWire::Native } else { SendingWire::Rest };
            let (_, session) = live.agent(&name, MODEL).await;
            let writer = ChaosWriter::new(session.clone(), sending, node + 1, Arc::clone(&stage));
            (session, tokio::spawn(writer.run()))
        } else {
            let (wire, session) = match kind {
                4 => (OlderWire::MemGpt, live.agent(&name, "offline").await.1),
                _ => (OlderWire::Sparky, open_chat(&stage.http, live, &name).await),
            };
            let (node, stage) = (node + 1, Arc::clone(&stage));
            let client = OlderClient { wire, session: session.clone(), name, node, stage };
            (session, tokio::spawn(client.run()))
        };
        let goal = watch::Sender::new(u64::MAX);
        let reader = ChaosReader {
            session: session.clone(),
            wire: reading,
            node: node + 2,
            stage,
            goal: goal.subscribe(),
            read: ChaosRead::default(),
        };
        Self { session, writer, reader: tokio::spawn(reader.run()), goal }
    }
}

/// Waits until all turns have ended, and compares what is stored with what everybody saw.
async fn finish(cluster: &ChaosCluster, stage: &ChaosStage, clients: Vec<SessionClients>) {
    let (mut breaches, mut totals) = (Vec::new(), Totals::default());
    for SessionClients { session, writer, reader, goal } in clients {
        let written = timeout(PATIENCE, writer).await.expect("the writer ends").unwrap();
        let log = whole_log(cluster, 0, &session).await;
        goal.send_replace(log.len() as u64);
        let read = timeout(PATIENCE, reader).await.expect("the reader catches up").unwrap();
        for node in 1..NODES {
            if whole_log(cluster, node, &session).await != log {
                breaches.push(format!("{session} differs at node {node}"));
            }
        }
        let pages = rest::pages(&stage.http, &cluster.live(0).url, &session).await;
        let seqs = |log: &[Value]| log.iter().map(|one| one["seq"].clone()).collect::<Vec<_>>();
        if seqs(&pages) != seqs(&log) {
            breaches.push(format!("{session} differs in pages"));
        }
        let found = checks::check(&log, &written, &read);
        breaches.extend(found.into_iter().map(|breach| format!("{session}: {breach}")));
        totals.add(&log, &written, &read);
    }
    breaches.extend(stage.breaches());
    eprintln!("{totals:#?}");
    assert_eq!(breaches, Vec::<String>::new());
}

/// A session's log through a node, once the turns of all its inputs have ended.
async fn whole_log(cluster: &ChaosCluster, node: usize, session: &str) -> Vec<Value> {
    let mut client = cluster.live(node).native().await;
    let (_, mut frames) = client.attach(session, Some(0)).await;
    let count = |frames: &[Value], kind: &str| {
        frames.iter().filter(|frame| frame["event"]["kind"] == kind).count()
    };
    while count(&frames, "turn_ended") < count(&frames, "user_message") {
        frames.push(client.next().await);
    }
    frames.retain(|frame| frame["type"] == "event");
    frames
}

/// Sums over all sessions.
#[derive(Debug, Default)]
struct Totals {
    records: usize,
    acknowledged: usize,
    sent_again: usize,
    acknowledged_as_duplicates: usize,
    /// Inputs of older wires whose answers did not come.
    unsure: usize,
    turns_resumed: usize,
    messages_streamed: usize,
    messages_streamed_in_part: usize,
    attachments: usize,
}

impl Totals {
    fn add(&mut self, log: &[Value], written: &Written, read: &ChaosRead) {
        let resumed = log.iter().filter(|frame| frame["event"]["kind"] == "turn_resumed");
        self.records += log.len();
        self.acknowledged += written.acknowledged.len();
        self.sent_again += written.repeated;
        self.acknowledged_as_duplicates += written.duplicates;
        self.unsure += written.unsure.len();
        self.turns_resumed += resumed.count();
        self.messages_streamed += read.streamed;
        self.messages_streamed_in_part += read.streamed_in_part;
        self.attachments += read.attached;
    }
}

fn print_times(times: &Times) {
    for (fault, times) in times {
        let mut whole: Vec<_> = times.iter().map(|(whole, _)| *whole).collect();
        let mut behind_lease: Vec<_> = times.iter().map(|(_, behind)| *behind).collect();
        whole.sort();
        behind_lease.sort();
        let (name, count) = (fault.name(), whole.len());
        eprintln!("{name}: {count} answers, {}", median_and_worst(&whole));
        if fault.ends_lease() {
            eprintln!("{name}, behind the end of the lease: {}", median_and_worst(&behind_lease));
        }
    }
}

fn median_and_worst(sorted: &[Duration]) -> String {
    let median = sorted.get(sorted.len() / 2).copied().unwrap_or_default();
    let worst = sorted.last().copied().unwrap_or_default();
    format!("median {median:.2?}, worst {worst:.2?}")
}

fn number(variable: &str, otherwise: usize) -> usize {
    std::env::var(variable).map_or(otherwise, |text| text.parse().unwrap())
}
