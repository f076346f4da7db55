//! Retention, and clocks that outlive a restart.

use std::time::Duration;

use thoughtwire_proto::Seq;
use thoughtwire_store::{NewSession, Retention, StoreError};

use super::on_every_backend;
use crate::support::{agent, at, log, new_session, search_said, session, stored, turn, user};

const DAY_MS: i64 = 86_400_000;

#[tokio::test]
async fn a_log_longer_than_its_retention_loses_whole_turns_from_its_beginning() {
    on_every_backend(async |place| {
        let store = place.open().await;
        let (upkeep, memory) = (store.upkeep(), store.memory());
        let profile = agent(&store, "ada").await;
        let mut ada = session(&store, &profile).await;
        for number in 0..10 {
            turn(&store, &mut ada, &format!("word{number}"), at(number * DAY_MS)).await;
        }
        let head = 41;
        while memory.index_recall().await.unwrap() {}
        let late = at(9 * DAY_MS);
        assert_eq!(upkeep.overlong(late).await.unwrap(), []);
        let through = async |days, events| {
            let keep = Retention { days, events };
            upkeep.set_retention(&ada.id, keep).await.unwrap();
            assert_eq!(upkeep.retention(&ada.id).await.unwrap(), keep);
            upkeep.overlong(late).await.unwrap().first().map(|overlong| overlong.through.0)
        };
        assert_eq!(through(None, Some(41)).await, None);
        assert_eq!(through(None, Some(30)).await, Some(11));
        assert_eq!(through(Some(9), None).await, None);
        // `session_opened` and the turns of the first three days.
        assert_eq!(through(Some(6), None).await, Some(13));
        assert_eq!(through(Some(6), Some(3)).await, Some(38));
        assert_eq!(through(None, None).await, None);
        // The agent's own setting counts where the session has none.
        let mut settings = profile.clone();
        settings.spec.settings.keep_events = Some(20);
        store.directory().update_agent(settings).await.unwrap();
        assert_eq!(through(None, None).await, Some(21));
        assert_eq!(through(None, Some(40)).await, Some(1));

        upkeep.trim(&ada.id, Seq(18)).await.unwrap();
        upkeep.trim(&ada.id, Seq(2)).await.unwrap();
        // Cut here, the rest goes another time.
        assert_eq!(upkeep.overlong(late).await.unwrap().len(), 1);
        assert!(!upkeep.erase_trimmed(&ada.id).await.unwrap());
        assert_eq!(upkeep.overlong(late).await.unwrap(), []);
        let kept = store.logs().records_after(&ada.id, Seq::ZERO, 100).await.unwrap();
        let kept: Vec<u64> = kept.iter().map(|record| record.seq.0).collect();
        assert_eq!(kept, (18..=head).collect::<Vec<_>>());
        assert_eq!(stored(&store, &ada.id).await.unwrap().first, Seq(18));
        let found = async |word: &str| search_said(&store, &profile.id, word, 0, 10).await.total;
        assert_eq!((found("word3").await, found("word4").await), (0, 2));
        assert_eq!(memory.recall_count(&profile.id).await.unwrap(), 12);

        // Even with nothing left, what comes next is numbered on and found.
        upkeep.trim(&ada.id, Seq(42)).await.unwrap();
        upkeep.erase_trimmed(&ada.id).await.unwrap();
        assert!(log(&store, &ada.id).await.is_empty());
        turn(&store, &mut ada, "afterwards", late).await;
        while memory.index_recall().await.unwrap() {}
        assert_eq!(found("afterwards").await, 2);
        let kept = store.logs().records_after(&ada.id, Seq::ZERO, 100).await.unwrap();
        assert_eq!(kept[0].seq, Seq(42));
    })
    .await;
}

#[tokio::test]
async fn retention_of_a_session_that_does_not_exist_is_refused() {
    on_every_backend(async |place| {
        let store = place.open().await;
        let nobody = "s-none".parse().unwrap();
        let set = store.upkeep().set_retention(&nobody, Retention::default()).await;
        assert!(matches!(set, Err(StoreError::Missing(_))));
        let keep = store.upkeep().retention(&nobody).await.unwrap();
        assert_eq!(keep, Retention::default());
        assert!(!store.upkeep().erase_trimmed(&nobody).await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn clocks_outlive_a_restart() {
    on_every_backend(async |place| {
        let store = place.open().await;
        assert_eq!(store.upkeep().clock("one").await.unwrap(), None);
        assert_eq!(store.upkeep().newest_record_at().await.unwrap(), None);
        store.upkeep().set_clocks(vec![("one", at(1)), ("two", at(2))]).await.unwrap();
        store.upkeep().set_clocks(vec![("one", at(3))]).await.unwrap();
        let mut ada = session(&store, &agent(&store, "ada").await).await;
        turn(&store, &mut ada, "tea", at(7)).await;
        let store = place.reopen(store).await;
        assert_eq!(store.upkeep().clock("one").await.unwrap(), Some(at(3)));
        assert_eq!(store.upkeep().clock("two").await.unwrap(), Some(at(2)));
        assert_eq!(store.upkeep().newest_record_at().await.unwrap(), Some(at(7)));
    })
    .await;
}

#[tokio::test]
async fn a_session_that_is_not_kept_for_ever_is_idle_after_its_time_without_records() {
    on_every_backend(async |place| {
        let store = place.open().await;
        let profile = agent(&store, "ada").await;
        let keep_idle = Some(Duration::from_millis(1_000));
        let kept = new_session(&profile, "s-kept");
        let short = NewSession { keep_idle, ..new_session(&profile, "s-short") };
        store.directory().create_session(kept).await.unwrap();
        let mut short = store.directory().create_session(short).await.unwrap();
        let idle = async |after: i64| store.upkeep().idle(at(after)).await.unwrap();
        assert_eq!(idle(999).await, []);
        assert_eq!(idle(1_000).await, [(user(), short.id.clone())]);
        turn(&store, &mut short, "tea", at(5_000)).await;
        assert_eq!(idle(5_999).await, []);
        assert_eq!(idle(6_000).await.len(), 1);
        store.directory().delete_session(&short.id, None).await.unwrap();
        assert_eq!(idle(6_000).await, []);
    })
    .await;
}
