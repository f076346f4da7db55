//! Agents and sessions: names, lists, isolation between users, deletion.

use thoughtwire_proto::{Event, InputEvent, Record, Refusal, RefusalCode, Seq};
use thoughtwire_store::{NewSession, Receipt, SessionFilter, StoreError};

use super::on_every_backend;
use crate::support::{
    NOW, agent, append, batch, erase_deleted, log, new_agent, new_session, note, says,
    search_notes, search_said, session, stored, user,
};

#[tokio::test]
async fn a_session_is_created_listed_and_deleted_whole() {
    on_every_backend(async |place| {
        let store = place.open().await;
        let ada = agent(&store, "ada").await;
        let new = NewSession { title: Some("Tea".into()), ..new_session(&ada, "s-2") };
        let mut second = store.directory().create_session(new).await.unwrap();
        append(&store, &mut second, vec![(None, says("i-1", "camomile"))]).await;
        while store.memory().index_recall().await.unwrap() {}
        let list = async |user: &str, filter: SessionFilter| {
            store.directory().sessions(&user.parse().unwrap(), &filter).await.unwrap()
        };
        let listed = list("local", SessionFilter::default()).await;
        let shown = listed.iter().map(|entry| (entry.title.as_deref(), entry.queued, entry.main));
        assert_eq!(shown.collect::<Vec<_>>(), [(Some("Tea"), 1, false), (None, 0, true)]);
        assert!(list("other", SessionFilter::default()).await.is_empty());
        let only = SessionFilter { id: Some(second.id.clone()), ..SessionFilter::default() };
        assert_eq!(list("local", only.clone()).await.len(), 1);
        assert!(list("other", only).await.is_empty());
        let newest = SessionFilter { limit: Some(1), ..SessionFilter::default() };
        assert_eq!(list("local", newest).await[0].id, second.id);
        assert_eq!(store.logs().sessions_with_work().await.unwrap(), [second.id.clone()]);

        store.directory().delete_session(&second.id, None).await.unwrap();
        assert!(stored(&store, &second.id).await.is_none());
        assert!(log(&store, &second.id).await.is_empty());
        erase_deleted(&store).await;
        let found = search_said(&store, &ada.id, "camomile", 0, 10).await;
        assert_eq!(found.total, 0);
        let again = store.directory().delete_session(&second.id, None).await;
        assert!(matches!(again, Err(StoreError::Missing(_))));
    })
    .await;
}

#[tokio::test]
async fn a_session_that_continues_another_log_runs_nothing_of_it() {
    on_every_backend(async |place| {
        let store = place.open().await;
        let ada = agent(&store, "ada").await;
        let records = vec![Record { seq: Seq(2), at: NOW, turn: None, event: says("i-1", "go") }];
        let new = NewSession { records, ..new_session(&ada, "s-2") };
        let session = store.directory().create_session(new).await.unwrap();
        let kept = log(&store, &session.id).await;
        assert_eq!(kept.len(), 3);
        assert!(matches!(&kept[2], Event::Input(InputEvent::Withdrawn { .. })));
        assert!(store.logs().sessions_with_work().await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn an_agents_name_is_unique_per_user() {
    on_every_backend(async |place| {
        let store = place.open().await;
        let directory = store.directory();
        let ada = agent(&store, "ada").await;
        let mut again = new_agent("ada");
        again.id = "a-9".parse().unwrap();
        again.main_session = "s-9".parse().unwrap();
        let refusal = directory.create_agent(again.clone()).await.unwrap_err();
        assert_eq!(Refusal::from(refusal).code, RefusalCode::NameTaken);
        again.user = "other".parse().unwrap();
        directory.create_agent(again).await.unwrap();
        let find = async |name: &str| directory.agent(&user(), name).await.unwrap();
        assert_eq!(find("ada").await, Some(ada.clone()));
        assert_eq!(find(ada.id.as_str()).await, Some(ada.clone()));
        assert_eq!(find("a-9").await, None, "another user's agent, known by its id");

        agent(&store, "bob").await;
        let mut renamed = ada.clone();
        renamed.spec.name = "bob".into();
        let taken = directory.update_agent(renamed.clone()).await;
        assert!(matches!(taken, Err(StoreError::NameTaken { .. })));
        renamed.spec.name = "eve".into();
        directory.update_agent(renamed.clone()).await.unwrap();
        let names = directory.agents(&user()).await.unwrap();
        let names: Vec<_> = names.into_iter().map(|agent| agent.spec.name).collect();
        assert_eq!(names, ["eve", "bob"]);
    })
    .await;
}

#[tokio::test]
async fn a_command_of_no_session_takes_effect_once() {
    on_every_backend(async |place| {
        let store = place.open().await;
        let receipt = Receipt {
            user: user(),
            id: "c-1".parse().unwrap(),
            digest: "d".into(),
            answer: "made".into(),
        };
        let mut new = new_agent("ada");
        new.receipt = Some(receipt.clone());
        store.directory().create_agent(new).await.unwrap();
        let mut again = new_agent("bob");
        again.receipt = Some(receipt.clone());
        assert!(store.directory().create_agent(again).await.is_err());
        assert_eq!(store.directory().agents(&user()).await.unwrap().len(), 1);
        let found = store.directory().receipt(&user(), &receipt.id).await.unwrap();
        assert_eq!(found, Some(receipt));
    })
    .await;
}

#[tokio::test]
async fn an_agent_is_deleted_with_everything_it_has() {
    on_every_backend(async |place| {
        let store = place.open().await;
        let (bob, ada) = (agent(&store, "bob").await, agent(&store, "ada").await);
        let (directory, memory) = (store.directory(), store.memory());
        let mut hers = session(&store, &ada).await;
        let many = (0..9).map(|n| (None, says(&format!("i-{n}"), "tea"))).collect();
        store.logs().append(batch(&mut hers, many)).await.unwrap();
        while memory.index_recall().await.unwrap() {}
        for profile in [&ada, &bob] {
            memory.add_notes(&profile.id, vec![note("tea")], u64::MAX, None).await.unwrap();
        }
        let gone = directory.delete_agent(&ada.id).await.unwrap();
        assert_eq!(gone, std::slice::from_ref(&ada.main_session));
        assert_eq!(directory.delete_agent(&ada.id).await.unwrap(), []);
        assert!(directory.agent_by_id(&ada.id).await.unwrap().is_none());
        assert!(stored(&store, &ada.main_session).await.is_none());
        assert!(memory.blocks(&ada.id).await.unwrap().is_empty());
        assert_eq!(memory.note_count(&ada.id).await.unwrap(), 0);
        assert_eq!(memory.note_count(&bob.id).await.unwrap(), 1);
        assert_eq!(search_notes(&store, &bob.id, "tea", 0, 9).await.total, 1);

        // Its events' numbers are used again, and new messages are still found.
        let carl = agent(&store, "carl").await;
        let mut his = session(&store, &carl).await;
        let said = vec![(None, says("i-2", "oolong")), (None, says("i-3", "sencha"))];
        append(&store, &mut his, said).await;
        while memory.index_recall().await.unwrap() {}
        for word in ["oolong", "sencha"] {
            let found = search_said(&store, &carl.id, word, 0, 9).await;
            assert_eq!(found.total, 1, "{word}");
        }
    })
    .await;
}
