//! Appends: order, numbering, idempotence, and that a bad one harms no other; pages.

use thoughtwire_proto::{Event, Seq, ToolStatus, TurnEvent, TurnId};
use thoughtwire_store::{Batch, BatchExtras, LogPage, Receipt, StoreError};

use super::on_every_backend;
use crate::support::{
    agent, append, batch, called, log, says, session, started, stored, turn, user,
};

fn receipt() -> Receipt {
    Receipt { user: user(), id: "c-1".parse().unwrap(), digest: "d".into(), answer: "{}".into() }
}

#[tokio::test]
async fn many_appends_under_way_keep_their_order() {
    on_every_backend(async |place| {
        let store = place.open().await;
        let mut ada = session(&store, &agent(&store, "ada").await).await;
        let mut commits = Vec::new();
        for n in 0..500 {
            let events = vec![(None, says(&format!("i-{n}"), &n.to_string()))];
            commits.push(store.logs().append(batch(&mut ada, events)));
        }
        for commit in commits {
            commit.await.unwrap();
        }
        let logs = store.logs();
        let records = logs.records_after(&ada.id, Seq::ZERO, 1000).await.unwrap();
        assert_eq!(records.len(), 501);
        assert!((1..).zip(&records).all(|(seq, record)| record.seq == Seq(seq)));
        assert_eq!(logs.records_after(&ada.id, Seq(499), 10).await.unwrap().len(), 2);
        let before = logs.records_before(&ada.id, Seq(10), 3).await.unwrap();
        let before: Vec<_> = before.iter().map(|record| record.seq.0).collect();
        assert_eq!(before, [7, 8, 9]);
        assert_eq!(stored(&store, &ada.id).await.unwrap().state, ada.state);
        let nobody = "s-none".parse().unwrap();
        assert!(logs.records_after(&nobody, Seq::ZERO, 10).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_bad_append_between_good_ones_aborts_only_itself() {
    on_every_backend(async |place| {
        let store = place.open().await;
        let mut ada = session(&store, &agent(&store, "ada").await).await;
        let mut bob = session(&store, &agent(&store, "bob").await).await;
        let logs = store.logs();
        let mut ahead = bob.clone();
        batch(&mut ahead, vec![(None, says("i-0", "never saved"))]);
        let good = logs.append(batch(&mut ada, vec![(None, says("i-1", "one"))]));
        let bad = logs.append(batch(&mut ahead, vec![(None, says("i-2", "two"))]));
        let also_good = logs.append(batch(&mut bob, vec![(None, says("i-3", "three"))]));
        assert!(good.await.is_ok());
        assert!(matches!(bad.await, Err(StoreError::HeadMoved { found: 1, expected: 2 })));
        assert!(also_good.await.is_ok());
        assert_eq!(log(&store, &bob.id).await.len(), 2);
    })
    .await;
}

#[tokio::test]
async fn an_append_to_a_deleted_session_reaches_no_other() {
    on_every_backend(async |place| {
        let store = place.open().await;
        let profile = agent(&store, "ada").await;
        let create =
            |id| store.directory().create_session(crate::support::new_session(&profile, id));
        let mut gone = create("s-1").await.unwrap();
        append(&store, &mut gone, vec![(None, says("i-1", "cached by now"))]).await;
        store.directory().delete_session(&gone.id, None).await.unwrap();
        let mut next = create("s-2").await.unwrap();
        append(&store, &mut next, vec![(None, says("i-2", "the same head"))]).await;
        let late = store.logs().append(batch(&mut gone, vec![(None, says("i-3", "late"))]));
        assert!(matches!(late.await, Err(StoreError::Missing(_))));
        assert_eq!(log(&store, &next.id).await.len(), 2);
        assert!(log(&store, &gone.id).await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn a_receipt_is_written_with_its_append_and_only_once() {
    on_every_backend(async |place| {
        let store = place.open().await;
        let mut ada = session(&store, &agent(&store, "ada").await).await;
        let with = |batch: Batch| {
            batch.with(BatchExtras { receipt: Some(receipt()), ..BatchExtras::default() })
        };
        let first = with(batch(&mut ada, vec![(None, says("i-1", "once"))]));
        let (logs, id) = (store.logs(), receipt().id);
        logs.append(first).await.unwrap();
        assert_eq!(logs.receipt(&user(), &ada.id, &id).await.unwrap(), Some(receipt()));
        assert_eq!(store.directory().receipt(&user(), &id).await.unwrap(), None);
        let other = "other".parse().unwrap();
        assert_eq!(logs.receipt(&other, &ada.id, &id).await.unwrap(), None);
        let ids = async |most| logs.receipt_ids(&user(), &ada.id, most).await.unwrap();
        assert_eq!(ids(1).await, Some(vec!["c-1".to_owned()]));
        assert_eq!(ids(0).await, None);
        assert_eq!(logs.receipt_ids(&other, &ada.id, 9).await.unwrap(), Some(vec![]));

        let mut ahead = ada.clone();
        let again = with(batch(&mut ahead, vec![(None, says("i-2", "twice"))]));
        assert!(logs.append(again).await.is_err());
        assert_eq!(log(&store, &ada.id).await.len(), 2);
    })
    .await;
}

#[tokio::test]
async fn pages_of_a_log_end_where_the_log_says_whoever_reads_it() {
    on_every_backend(async |place| {
        let store = place.open().await;
        let mut ada = session(&store, &agent(&store, "ada").await).await;
        for number in 0..40 {
            // Small ones, and at times one that is larger than a page.
            let text = "x".repeat(if number % 7 == 6 { 5_000 } else { 100 });
            append(&store, &mut ada, vec![(None, says(&format!("i-{number}"), &text))]).await;
        }
        let head = ada.state.head().0;
        let mut pages = Vec::new();
        for after in 0..head {
            let page = store.logs().page(&ada.id, Seq(after), 16, 1_000).await.unwrap();
            let LogPage { records, is_whole } = page;
            let seqs: Vec<u64> = records.iter().map(|record| record.seq.0).collect();
            assert!(seqs.contains(&(after + 1)), "{after}: {seqs:?}");
            assert!(seqs.windows(2).all(|pair| pair[1] == pair[0] + 1));
            assert!(is_whole || seqs.contains(&head), "{seqs:?}");
            let lengths =
                records.iter().map(|record| serde_json::to_string(&record.event).unwrap().len());
            let bytes: usize = lengths.sum();
            assert!(bytes <= 1_000 || records.len() == 1, "{bytes} bytes in {seqs:?}");
            pages.push(seqs);
        }
        pages.dedup();
        // Each record is in one page, whoever asked for it.
        assert_eq!(pages.concat(), (1..=head).collect::<Vec<_>>());
        assert!(pages.len() > 10);
    })
    .await;
}

#[tokio::test]
async fn what_is_saved_beside_records_is_found_by_call_and_position() {
    on_every_backend(async |place| {
        let store = place.open().await;
        let mut ada = session(&store, &agent(&store, "ada").await).await;
        let turn: TurnId = "t-1".parse().unwrap();
        let returned = |call: &str, text: &str| {
            Event::Turn(TurnEvent::ToolReturned {
                call: call.parse().unwrap(),
                name: "find".into(),
                status: ToolStatus::Success,
                text: text.into(),
                content: None,
            })
        };
        let begun = vec![(None, says("i-1", "look")), (Some(&turn), started("i-1"))];
        append(&store, &mut ada, begun).await;
        let calls =
            vec![(Some(&turn), called("c-1", "find")), (Some(&turn), called("c-2", "find"))];
        let calls = batch(&mut ada, calls).with(BatchExtras {
            provider_reply: Some("{\"signed\":1}".into()),
            ..BatchExtras::default()
        });
        store.logs().append(calls).await.unwrap();
        append(&store, &mut ada, vec![(Some(&turn), returned("c-1", "under the mat"))]).await;
        let part = batch(&mut ada, vec![(Some(&turn), returned("c-2", "a part"))]);
        let output = Some(("c-2".parse().unwrap(), "a part and the rest".to_owned()));
        let part = part.with(BatchExtras { output, ..BatchExtras::default() });
        store.logs().append(part).await.unwrap();

        let output = async |call: &str| {
            store.logs().tool_output(&ada.id, &call.parse().unwrap()).await.unwrap()
        };
        assert_eq!(output("c-1").await.as_deref(), Some("under the mat"));
        assert_eq!(output("c-2").await.as_deref(), Some("a part and the rest"));
        assert_eq!(output("c-none").await, None);
        let replies = async |after, through| {
            let logs = store.logs();
            logs.provider_replies(&ada.id, Seq(after), Seq(through)).await.unwrap()
        };
        assert_eq!(replies(3, 4).await, [(Seq(4), "{\"signed\":1}".to_owned())]);
        assert!(replies(4, 9).await.is_empty() && replies(0, 3).await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn the_last_turn_that_ended_is_found_from_any_position() {
    on_every_backend(async |place| {
        let store = place.open().await;
        let mut ada = session(&store, &agent(&store, "ada").await).await;
        for word in ["one", "two"] {
            turn(&store, &mut ada, word, crate::support::NOW).await;
        }
        let end = async |at| store.logs().last_turn_end(&ada.id, Seq(at)).await.unwrap();
        assert_eq!((end(4).await, end(5).await), (None, Some(Seq(5))));
        assert_eq!((end(8).await, end(99).await), (Some(Seq(5)), Some(Seq(9))));
    })
    .await;
}
