//! The sink of a parked connection: it writes frames to the connection's socket.

use std::sync::Arc;

use parking_lot::Mutex;
use thoughtwire_hub::{DeliveryProof, DirectSink, TailEntry, WakeSignal};
use thoughtwire_proto::connection::Encoding;
use thoughtwire_proto::dialect::FrameLimit;
use thoughtwire_websocket::{MAX_HEADER_BYTES, OpCode, append_frame};

use crate::metrics::ServerMetrics;
use crate::upgraded_stream::SharedWriter;

/// Bytes of one pushed write. An entry that has more is left to the connection's own task.
const MAX_PUSH_BYTES: usize = 64 << 10;

/// Writes the entries of one attached session while the connection is parked.
pub(crate) struct ConnectionSink {
    pub(crate) writer: Arc<SharedWriter>,
    pub(crate) encoding: Encoding,
    pub(crate) limit: FrameLimit,
    /// The proof of delivery on the older wires.
    pub(crate) proof: Option<Arc<Mutex<DeliveryProof>>>,
    pub(crate) wake: WakeSignal,
    pub(crate) metrics: ServerMetrics,
}

impl DirectSink<Arc<TailEntry>> for ConnectionSink {
    fn accept(&self, entries: &[Arc<TailEntry>]) -> usize {
        let mut accepted = 0;
        let written = self.writer.try_write(|| {
            let (bytes, count) = self.frames(entries);
            accepted = count;
            bytes
        });
        let Some(is_whole) = written else { return 0 };
        let entries = entries.get(..accepted).unwrap_or_default();
        if let Some(first) = entries.first() {
            self.metrics.fan_out.observe(first.at().elapsed().as_secs_f64());
        }
        let checks_sooner = self.note_sent(entries);
        if !is_whole || checks_sooner {
            self.wake.notify_one();
        }
        accepted
    }
}

impl ConnectionSink {
    /// The frames of the first entries, and how many entries these are. It is none when the first
    /// one cannot be pushed.
    fn frames(&self, entries: &[Arc<TailEntry>]) -> (Vec<u8>, usize) {
        let (mut bytes, mut count) = (Vec::new(), 0);
        for entry in entries {
            if self.encoding.is_for_machine(&entry.emitted().emission) {
                break;
            }
            let frames = entry.frames(&self.encoding, self.limit);
            if bytes.len()
                + frames.iter().map(|frame| frame.len() + MAX_HEADER_BYTES).sum::<usize>()
                > MAX_PUSH_BYTES
            {
                break;
            }
            for frame in frames.iter() {
                append_frame(OpCode::Text, frame, &mut bytes);
            }
            count += 1;
        }
        (bytes, count)
    }

    /// Takes note of what was sent, for the proof of delivery. Tells whether the connection has to
    /// check the proof sooner than it would.
    fn note_sent(&self, entries: &[Arc<TailEntry>]) -> bool {
        let Some(proof) = &self.proof else { return false };
        let mut proof = proof.lock();
        let before = proof.next_check();
        for entry in entries {
            proof.note_sent(&entry.emitted().emission);
        }
        proof.next_check() != before
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::future::BoxFuture;
    use thoughtwire_hub::{Agent, AgentError, Hub, HubOptions, Presence, Read, Turn, now};
    use thoughtwire_proto::{AgentSpec, Cursor, Policy, Seq, SessionCommand, Start};
    use thoughtwire_store::Store;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::upgraded_stream::narrow;

    /// Says messages of all sizes, some of them too large to be pushed.
    struct LongTalker;

    impl Agent for LongTalker {
        fn run(&self, turn: Turn) -> BoxFuture<'static, Result<(), AgentError>> {
            Box::pin(async move {
                for n in 1..200 {
                    turn.interface.assistant_message("x".repeat(n * 7919 % 70_000)).await?;
                }
                turn.interface.finish(None, None).await?;
                Ok(())
            })
        }
    }

    /// All entries of one of its turns.
    async fn entries(hub: &Hub) -> Vec<Arc<TailEntry>> {
        let user = "local".parse().unwrap();
        let spec = AgentSpec { name: "ada".to_owned(), ..AgentSpec::default() };
        let session =
            hub.directory().create_agent(&user, None, spec).await.unwrap().thing.main_session;
        let (text, policy) = ("go".to_owned(), Policy::Queue);
        let send = SessionCommand::Send { text, attachments: vec![], policy };
        hub.execute(&user, None, None, session.clone(), send).await.unwrap();
        let wake = WakeSignal::default();
        let start = Start::After(Cursor { epoch: None, seq: Seq::ZERO });
        let (_, mut subscription) =
            hub.attach(&user, &session, start, Arc::clone(&wake), Presence::Unseen).await.unwrap();
        let mut entries = Vec::new();
        while entries.len() < 200 {
            if subscription.has_news() {
                if let Read::Entries { entries: more, .. } = subscription.next().await.unwrap() {
                    entries.extend(more);
                }
            } else {
                wake.notified().await;
            }
        }
        entries
    }

    #[tokio::test]
    async fn frames_that_a_stream_takes_in_pieces_are_whole_at_its_other_end() {
        let dir = tempfile::tempdir().unwrap();
        let hub = Hub::new(
            Arc::new(Store::open(dir.path(), now()).unwrap()),
            Arc::new(LongTalker),
            HubOptions::default(),
        )
        .await
        .unwrap();
        let entries = entries(&hub).await;
        let (mut stream, mut far) = narrow().await;
        let writer = Arc::clone(stream.writer().unwrap());
        let sink = ConnectionSink {
            writer: Arc::clone(&writer),
            encoding: Encoding::Native,
            limit: FrameLimit::default(),
            proof: None,
            wake: WakeSignal::default(),
            metrics: ServerMetrics::new(&hub, &thoughtwire_agent::ModelMetrics::default()),
        };
        let mut expected = Vec::new();
        for frame in entries
            .iter()
            .flat_map(|entry| entry.frames(&Encoding::Native, FrameLimit::default()).to_vec())
        {
            append_frame(OpCode::Text, &frame, &mut expected);
        }
        let (mut in_pieces, mut alone) = (0, 0);
        let write = async {
            let mut position = 0;
            while position < entries.len() {
                let accepted = sink.accept(&entries[position..entries.len().min(position + 3)]);
                position += accepted;
                if writer.try_write(Vec::new).is_none() {
                    assert_eq!(sink.accept(&entries), 0, "nothing goes in front of the rest");
                }
                let rest = writer.take_rest();
                if !rest.is_empty() {
                    // As a connection does that was woken: the rest of the begun frame first.
                    tokio::time::timeout(Duration::from_secs(10), sink.wake.notified())
                        .await
                        .expect("it is woken");
                    in_pieces += 1;
                    stream.write_all(&rest).await.unwrap();
                } else if accepted == 0 {
                    // Too large to be pushed, or no room at all: the connection's own task writes.
                    let mut bytes = Vec::new();
                    for frame in entries[position].frames(&Encoding::Native, sink.limit).iter() {
                        append_frame(OpCode::Text, frame, &mut bytes);
                    }
                    stream.write_all(&bytes).await.unwrap();
                    position += 1;
                    alone += 1;
                }
            }
            stream.shutdown().await.unwrap();
        };
        let mut read = Vec::new();
        let (_, outcome) = tokio::join!(write, far.read_to_end(&mut read));
        outcome.unwrap();
        assert!(read == expected, "{} bytes of {}", read.len(), expected.len());
        assert!(in_pieces > 10 && alone > 10, "{in_pieces} in pieces, {alone} alone");
    }
}
