//! Readers of one session in every form, on sockets with little room.

use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use thoughtwire_hub::{
    Agent, AgentError, Hub, HubOptions, Presence, Read, Subscription, TailEntry, Turn, WakeSignal,
    now,
};
use thoughtwire_proto::rest::StreamClosed;
use thoughtwire_proto::{
    AgentSpec, Cursor, Emission, Policy, Record, Seq, SessionCommand, SessionId, Start,
};
use thoughtwire_store::Store;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::output::{ContentCoding, MAX_UNSENT};
use super::reader::EventStreamReader;
use super::{EventEncoder, EventStream, SharedEvents};
use crate::metrics::ServerMetrics;
use crate::phase::Phase;
use crate::takeover::BodyFraming;
use crate::upgraded_stream::narrow;

/// Messages of one turn, and the longest of them in bytes.
const MESSAGES: usize = 150;
const LONGEST: usize = 90_000;

/// Says messages of all sizes.
struct Talker;

impl Agent for Talker {
    fn run(&self, turn: Turn) -> BoxFuture<'static, Result<(), AgentError>> {
        Box::pin(async move {
            for n in 1..=MESSAGES {
                turn.interface.assistant_message("say it ".repeat(n * 7919 % LONGEST / 7)).await?;
            }
            turn.interface.finish(None, None).await?;
            Ok(())
        })
    }
}

/// A format without state: its events are shared.
struct StatelessEncoder;

/// A format that numbers its events for each reader, as several protocols do.
struct NumberingEncoder(u64);

fn record(entry: &TailEntry) -> Option<&Record> {
    match &entry.emitted().emission {
        Emission::Record(record) => Some(record),
        Emission::Delta(_)
        | Emission::Partial(_)
        | Emission::Status { .. }
        | Emission::Presence { .. } => None,
    }
}

impl EventEncoder for StatelessEncoder {
    fn encode(&mut self, entry: &TailEntry) -> Option<Arc<SharedEvents>> {
        let record = record(entry)?;
        let text = || format!("data: {}\n\n", serde_json::to_string(record).unwrap());
        let shared =
            entry.shared(|_: &Arc<SharedEvents>| true, |_| Arc::new(SharedEvents::new(&text())));
        Some(Arc::clone(&shared))
    }

    fn end(&mut self, _: &StreamClosed) -> String {
        "data: end\n\n".to_owned()
    }
}

impl EventEncoder for NumberingEncoder {
    fn encode(&mut self, entry: &TailEntry) -> Option<Arc<SharedEvents>> {
        let record = record(entry)?;
        self.0 += 1;
        let data = serde_json::to_string(record).unwrap();
        let text = format!("id: {}\ndata: {data}\n\n", self.0);
        Some(Arc::new(SharedEvents::new(&text)))
    }

    fn end(&mut self, _: &StreamClosed) -> String {
        format!("id: {}\ndata: end\n\n", self.0 + 1)
    }
}

async fn hub(dir: &tempfile::TempDir) -> (Hub, SessionId) {
    let store = Arc::new(Store::open(dir.path(), now()).unwrap());
    let hub = Hub::new(store, Arc::new(Talker), HubOptions::default()).await.unwrap();
    let user = "local".parse().unwrap();
    let spec = AgentSpec { name: "ada".to_owned(), ..AgentSpec::default() };
    let created = hub.directory().create_agent(&user, None, spec).await.unwrap();
    (hub, created.thing.main_session)
}

async fn attach(hub: &Hub, session: &SessionId) -> (Subscription, WakeSignal) {
    let wake = WakeSignal::default();
    let start = Start::After(Cursor { epoch: None, seq: Seq::ZERO });
    let user = "local".parse().unwrap();
    let attached = hub.attach(&user, session, start, Arc::clone(&wake), Presence::Unseen).await;
    (attached.unwrap().1, wake)
}

/// A reader on a socket with little room, and the socket's other end.
async fn reader(
    (hub, session): (&Hub, &SessionId),
    encoder: Box<dyn EventEncoder>,
    phase: &watch::Sender<Phase>,
    form: (BodyFraming, ContentCoding),
) -> (EventStreamReader, TcpStream) {
    let (subscription, wake) = attach(hub, session).await;
    let (stream, far) = narrow().await;
    let stream_of = EventStream {
        subscription,
        wake,
        encoder,
        greeting: "data: hello\n\n".to_owned(),
        ended: futures::future::pending().boxed(),
        metrics: ServerMetrics::new(hub, &thoughtwire_agent::ModelMetrics::default()),
        held: (),
    };
    (stream_of.on(stream, phase.subscribe(), form).0, far)
}

async fn say(hub: &Hub, session: &SessionId) {
    let (text, policy) = ("go".to_owned(), Policy::Queue);
    let send = SessionCommand::Send { text, attachments: vec![], policy };
    hub.execute(&"local".parse().unwrap(), None, None, session.clone(), send).await.unwrap();
}

/// Reads a body without its framing and coding.
fn decoded(mut body: &[u8], (framing, coding): (BodyFraming, ContentCoding)) -> String {
    let mut bytes = Vec::new();
    match framing {
        BodyFraming::UntilClose => bytes.extend_from_slice(body),
        BodyFraming::Chunked => loop {
            let line = body.windows(2).position(|two| two == b"\r\n").unwrap();
            let size = std::str::from_utf8(&body[..line]).unwrap();
            let size = usize::from_str_radix(size, 16).unwrap();
            let chunk = &body[line + 2..];
            bytes.extend_from_slice(&chunk[..size]);
            assert_eq!(&chunk[size..size + 2], b"\r\n");
            body = &chunk[size + 2..];
            if size == 0 {
                assert!(body.is_empty(), "nothing follows the last chunk");
                break;
            }
        },
    }
    match coding {
        ContentCoding::Identity => String::from_utf8(bytes).unwrap(),
        ContentCoding::Gzip => {
            let mut text = String::new();
            flate2::read::GzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap();
            text
        }
    }
}

#[tokio::test]
async fn readers_of_every_form_get_each_event_once_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let (hub, session) = hub(&dir).await;
    let (phase, _) = watch::channel(Phase::Serving);
    let mut bodies = Vec::new();
    for framing in [BodyFraming::Chunked, BodyFraming::UntilClose] {
        for coding in [ContentCoding::Identity, ContentCoding::Gzip] {
            for is_shared in [true, false] {
                let encoder: Box<dyn EventEncoder> = if is_shared {
                    Box::new(StatelessEncoder)
                } else {
                    Box::new(NumberingEncoder(0))
                };
                let (reader, mut far) =
                    reader((&hub, &session), encoder, &phase, (framing, coding)).await;
                tokio::spawn(reader.run());
                let body = tokio::spawn(async move {
                    let mut body = Vec::new();
                    far.read_to_end(&mut body).await.unwrap();
                    body
                });
                bodies.push((framing, coding, is_shared, body));
            }
        }
    }
    say(&hub, &session).await;
    let (mut subscription, wake) = attach(&hub, &session).await;
    let mut records = Vec::new();
    while records.len() < MESSAGES + 4 {
        if subscription.has_news() {
            if let Read::Entries { entries, .. } = subscription.next().await.unwrap() {
                records.extend(entries.iter().filter_map(|entry| record(entry).cloned()));
            }
        } else {
            wake.notified().await;
        }
    }
    drop(subscription);
    hub.stop(Duration::ZERO).await;
    let data: Vec<_> = std::iter::once("hello".to_owned())
        .chain(records.iter().map(|record| serde_json::to_string(record).unwrap()))
        .chain(["end".to_owned()])
        .collect();
    for (framing, coding, is_shared, body) in bodies {
        let text = decoded(&body.await.unwrap(), (framing, coding));
        let mut expected = String::new();
        for (number, data) in data.iter().enumerate() {
            if !is_shared && number > 0 {
                expected.push_str(&format!("id: {number}\n"));
            }
            expected.push_str(&format!("data: {data}\n\n"));
        }
        assert!(text == expected, "{framing:?} {coding:?} shared: {is_shared}");
    }
}

#[tokio::test]
async fn a_reader_that_takes_nothing_holds_little_and_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let (hub, session) = hub(&dir).await;
    let (phase, _) = watch::channel(Phase::Serving);
    let form = (BodyFraming::Chunked, ContentCoding::Identity);
    let (reader, far) = reader((&hub, &session), Box::new(StatelessEncoder), &phase, form).await;
    let sink = Arc::clone(&reader.sink);
    let running = tokio::spawn(reader.run());
    say(&hub, &session).await;
    // Everything was said, and most of it is not on the socket.
    let (mut subscription, wake) = attach(&hub, &session).await;
    let mut seen = 0;
    while seen < MESSAGES + 4 {
        if subscription.has_news() {
            if let Read::Entries { entries, .. } = subscription.next().await.unwrap() {
                seen += entries.iter().filter(|entry| record(entry).is_some()).count();
            }
        } else {
            wake.notified().await;
        }
    }
    while !sink.output.lock().has_unsent() {
        tokio::task::yield_now().await;
    }
    let held = sink.output.lock().unsent_bytes();
    assert!(held <= MAX_UNSENT + LONGEST + 1000, "{held} bytes");
    assert!(!running.is_finished());
    // From here on the clock runs ahead while nothing happens.
    tokio::time::pause();
    running.await.unwrap();
    drop(far);
}
