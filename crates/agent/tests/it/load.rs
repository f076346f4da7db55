//! `load:`: as many pieces of as many bytes as asked for, each with its number.

use std::time::Instant;

use thoughtwire_proto::{Event, StreamKind, Style, TurnEvent};

use crate::home::{Home, options};

#[tokio::test]
async fn messages_are_numbered_and_as_long_as_asked() {
    for style in [Style::Native, Style::Memgpt] {
        for (bytes, items) in [(1, 12), (2, 9), (50, 1500)] {
            let home =
                Home::new(options(&format!("load:items={items},bytes={bytes},rate=0,deltas=no")))
                    .await;
            let (_, session) = home.agent("tess", style).await;
            let told = home.say(&session, "go").await;
            let texts: Vec<&str> = told
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
            assert_eq!(told.kinds()[told.kinds().len() - 3..], ["usage", "message", "turn_ended"]);
            assert!(told.deltas.is_empty());
        }
    }
}

#[tokio::test]
async fn deltas_make_one_message() {
    let home = Home::new(options("load:items=40,bytes=20,rate=0,deltas=yes")).await;
    let (_, session) = home.agent("tess", Style::Memgpt).await;
    let told = home.say(&session, "go").await;
    assert_eq!(told.message().len(), 800);
    assert_eq!(told.streamed(StreamKind::Message).len(), 40);
    assert_eq!(told.streamed(StreamKind::Message).concat(), told.message());
}

#[tokio::test]
async fn the_rate_is_kept() {
    let home = Home::new(options("load:items=51,bytes=10,rate=100")).await;
    let (_, session) = home.agent("tess", Style::Native).await;
    let begun = Instant::now();
    home.say(&session, "go").await;
    let took = begun.elapsed().as_millis();
    assert!((490..3000).contains(&took), "51 messages at 100 a second took {took} ms");
}

#[tokio::test]
async fn marks_tell_when_each_piece_was_due() {
    let home = Home::new(options("load:items=20,bytes=40,rate=0,marks=yes")).await;
    let (_, session) = home.agent("tess", Style::Native).await;
    let told = home.say(&session, "go").await;
    let mut last = 0;
    let mut number = 0;
    for record in &told.records {
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
