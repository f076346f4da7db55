//! The `load:` model: numbered pieces of the requested number and size.

use std::time::Instant;

use thoughtwire_proto::{Event, StreamKind, Style, TurnEvent};

use crate::harness::{AgentHarness, options};

#[tokio::test]
async fn messages_are_numbered_and_have_the_requested_length() {
    for style in [Style::Native, Style::Memgpt] {
        for (bytes, items) in [(1, 12), (2, 9), (50, 1500)] {
            let harness = AgentHarness::new(options(&format!(
                "load:items={items},bytes={bytes},rate=0,deltas=no"
            )))
            .await;
            let (_, session) = harness.agent("tess", style).await;
            let log = harness.run_turn(&session, "go").await;
            let texts: Vec<&str> = log
                .records
                .iter()
                .filter_map(|record| {
                    if let Event::Turn(TurnEvent::Message { text, .. }) = &record.event {
                        Some(text.as_str())
                    } else {
                        None
                    }
                })
                .collect();
            assert_eq!(texts.len(), items);
            for (at, text) in texts.iter().enumerate() {
                let number = (at + 1).to_string();
                assert_eq!(text.split(' ').next(), Some(number.as_str()));
                assert_eq!(text.len(), bytes.max(number.len()), "{text}");
            }
            assert_eq!(log.kinds()[log.kinds().len() - 3..], ["usage", "message", "turn_ended"]);
            assert!(log.deltas.is_empty());
        }
    }
}

#[tokio::test]
async fn deltas_make_one_message() {
    let harness = AgentHarness::new(options("load:items=40,bytes=20,rate=0,deltas=yes")).await;
    let (_, session) = harness.agent("tess", Style::Memgpt).await;
    let log = harness.run_turn(&session, "go").await;
    assert_eq!(log.message().len(), 800);
    assert_eq!(log.streamed(StreamKind::Message).len(), 40);
    assert_eq!(log.streamed(StreamKind::Message).concat(), log.message());
}

#[tokio::test]
async fn the_requested_rate_is_met() {
    let harness = AgentHarness::new(options("load:items=51,bytes=10,rate=100")).await;
    let (_, session) = harness.agent("tess", Style::Native).await;
    let begun = Instant::now();
    harness.run_turn(&session, "go").await;
    let took = begun.elapsed().as_millis();
    assert!((490..3000).contains(&took), "51 messages at 100 a second took {took} ms");
}

#[tokio::test]
async fn marks_contain_the_due_time_of_each_piece() {
    let harness = AgentHarness::new(options("load:items=20,bytes=40,rate=0,marks=yes")).await;
    let (_, session) = harness.agent("tess", Style::Native).await;
    let log = harness.run_turn(&session, "go").await;
    let mut last = 0;
    let mut number = 0;
    for record in &log.records {
        let Event::Turn(TurnEvent::Message { text, .. }) = &record.event else { continue };
        number += 1;
        let parts: Vec<&str> = text.split('~').collect();
        assert_eq!((parts[0], parts[1], text.len()), ("", number.to_string().as_str(), 40));
        let due: u64 = parts[2].parse().unwrap();
        assert!(due >= last);
        last = due;
    }
    assert_eq!(number, 20);
}
