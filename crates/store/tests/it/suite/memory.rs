//! Blocks, notes, and what was said.

use thoughtwire_proto::{AgentId, AgentProfile, Event, Seq, SessionEvent};
use thoughtwire_store::{
    BatchExtras, Block, BlockEdit, MemoryQuery, NewNote, QueryMeaning, Receipt, SearchedTexts,
    StoreError,
};

use super::on_every_backend;
use crate::support::{
    NOW, agent, append, at, batch, note, says, search_notes, search_said, session, user,
};

fn edit_of(profile: &AgentProfile, text: &str) -> BatchExtras {
    let block =
        Block { label: "human".into(), text: text.into(), limit: 2000, description: String::new() };
    let edit = BlockEdit { agent: profile.id.clone(), label: "human".into(), to: Some(block) };
    BatchExtras { block: Some(edit), ..BatchExtras::default() }
}

fn edited() -> Event {
    Event::Session(SessionEvent::MemoryEdited {
        block: "human".into(),
        before: String::new(),
        after: "Likes tea.".into(),
        by: "agent".into(),
    })
}

#[tokio::test]
async fn a_block_changes_with_the_event_that_says_so() {
    on_every_backend(async |place| {
        let store = place.open().await;
        let profile = agent(&store, "ada").await;
        let mut ada = session(&store, &profile).await;
        let blocks = async || store.memory().blocks(&profile.id).await.unwrap();
        let labels: Vec<_> = blocks().await.into_iter().map(|block| block.label).collect();
        assert_eq!(labels, ["persona", "human"]);
        let edit = batch(&mut ada, vec![(None, edited())]).with(edit_of(&profile, "Likes tea."));
        let mut ahead = ada.clone();
        batch(&mut ahead, vec![(None, says("i-0", "never saved"))]);
        let stale = batch(&mut ahead, vec![(None, says("i-1", "x"))]);
        store.logs().append(edit).await.unwrap();
        store.logs().append(stale.with(edit_of(&profile, "Lost."))).await.unwrap_err();
        let human = &blocks().await[1];
        assert_eq!((human.text.as_str(), human.limit), ("Likes tea.", 2000));
        let gone = BlockEdit { agent: profile.id.clone(), label: "human".into(), to: None };
        let gone = BatchExtras { block: Some(gone), ..BatchExtras::default() };
        let gone = batch(&mut ada, vec![(None, edited())]).with(gone);
        store.logs().append(gone).await.unwrap();
        assert_eq!(blocks().await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn searches_rank_by_words_and_take_any_text_as_words() {
    on_every_backend(async |place| {
        let store = place.open().await;
        let memory = store.memory();
        let (profile, other) = (agent(&store, "ada").await, agent(&store, "bob").await);
        for text in ["tea tea tea with milk", "coffee, and once tea", "nothing of it"] {
            memory.add_notes(&profile.id, vec![note(text)], u64::MAX, None).await.unwrap();
        }
        let theirs = vec![note("tea of somebody else")];
        memory.add_notes(&other.id, theirs, u64::MAX, None).await.unwrap();
        let page = search_notes(&store, &profile.id, "tea", 0, 10).await;
        assert_eq!((page.total, page.items[0].text.as_str()), (2, "tea tea tea with milk"));
        let page = search_notes(&store, &profile.id, "tea", 1, 10).await;
        assert_eq!(page.items.len(), 1);
        assert_eq!(memory.note_count(&profile.id).await.unwrap(), 3);
        for hostile in [
            "\"",
            "tea*",
            "NEAR(tea",
            "tea AND (",
            "text:tea",
            "-tea",
            "'; DROP TABLE notes",
            "",
            "   ",
            "\u{0}",
        ] {
            search_notes(&store, &profile.id, hostile, 0, 10).await;
        }
        assert_eq!(search_notes(&store, &profile.id, "", 0, 10).await.total, 0);
        let all = memory.notes(&profile.id, 0, 10).await.unwrap();
        let rest = memory.notes(&profile.id, all[0].id, 1).await.unwrap();
        assert_eq!((all.len(), rest[0].text.as_str()), (3, "coffee, and once tea"));
    })
    .await;
}

#[tokio::test]
async fn what_was_said_is_found_by_words_and_by_date() {
    on_every_backend(async |place| {
        let store = place.open().await;
        let memory = store.memory();
        let profile = agent(&store, "ada").await;
        let mut ada = session(&store, &profile).await;
        let many = (0..1200)
            .map(|n| (None, says(&format!("i-{n}"), &format!("word{n} common"))))
            .collect();
        append(&store, &mut ada, many).await;
        while memory.index_recall().await.unwrap() {}
        let search = async |words| search_said(&store, &profile.id, words, 0, 5).await;
        assert_eq!(search("common").await.total, 1200);
        let found = search("word1199").await;
        assert_eq!((found.items[0].seq.0, found.items[0].role.as_str()), (1201, "user"));
        assert_eq!(memory.recall_count(&profile.id).await.unwrap(), 1200);
        let day = memory.recall_by_date(&profile.id, (NOW, NOW), None, 1195, 10).await.unwrap();
        assert_eq!((day.total, day.items.len()), (1200, 5));
        let one = Some((ada.id.clone(), found.items[0].seq));
        let day = memory.recall_by_date(&profile.id, (NOW, NOW), one, 1195, 10).await.unwrap();
        assert_eq!((day.total, day.items.len()), (1199, 4));
        let later = memory.recall_by_date(&profile.id, (at(1), at(1)), None, 0, 10).await.unwrap();
        assert_eq!(later.total, 0);
        let bob = agent(&store, "bob").await;
        assert_eq!(search_said(&store, &bob.id, "common", 0, 5).await.total, 0);
    })
    .await;
}

#[tokio::test]
async fn imported_notes_are_known_again_and_lie_near_what_they_mean() {
    on_every_backend(async |place| {
        let store = place.open().await;
        let memory = store.memory();
        let profile = agent(&store, "ada").await;
        let imported = |text: &str, vector: [f32; 2]| NewNote {
            source: Some("notes.md".into()),
            vector: Some(("m".into(), vector.to_vec())),
            ..note(text)
        };
        let add = async |notes| {
            let added = memory.add_notes(&profile.id, notes, u64::MAX, None).await.unwrap();
            (added.added, added.duplicates)
        };
        let first = vec![
            imported("north", [0.0, 1.0]),
            imported("east", [1.0, 0.0]),
            imported("north", [0.0, 1.0]),
        ];
        assert_eq!(add(first).await, (2, 1));
        let again = add(vec![imported("east", [1.0, 0.0]), note("east")]).await;
        assert_eq!(again, (1, 1), "what somebody writes twice is written twice");
        let nearest = async |model: &str, limit| {
            let meaning = QueryMeaning { model: model.into(), vector: vec![0.6, 0.8] };
            let query = MemoryQuery { meaning: Some(meaning), limit, ..MemoryQuery::default() };
            let near = store.search().notes(&profile.id, &query).await.unwrap();
            near.items.into_iter().map(|hit| hit.item.text).collect::<Vec<_>>()
        };
        assert_eq!(nearest("m", 5).await, ["north"], "what is further away than most is left out");
        assert_eq!(nearest("m", 1).await, ["north"]);
        assert!(nearest("other", 5).await.is_empty());
        let without = async |after| {
            let of = SearchedTexts::Notes;
            memory.without_vector(&profile.id, of, "m", after, 9).await.unwrap()
        };
        let count = async |agent, model: &str| -> Vec<(AgentId, usize)> {
            let counted = memory.count_without_vector(agent, model).await.unwrap();
            assert!(counted.iter().all(|texts| texts.of == SearchedTexts::Notes));
            counted.into_iter().map(|texts| (texts.agent, texts.count)).collect()
        };
        let missing = without(0).await;
        assert_eq!(missing.len(), 1);
        assert!(without(missing[0].0).await.is_empty());
        let other = agent(&store, "bob").await;
        memory.add_notes(&other.id, vec![note("west")], u64::MAX, None).await.unwrap();
        assert_eq!(count(Some(&profile.id), "m").await, [(profile.id.clone(), 1)]);
        assert_eq!(count(Some(&profile.id), "other").await, [(profile.id.clone(), 3)]);
        let mut all = count(None, "m").await;
        all.sort_by_key(|(agent, _)| agent.to_string());
        let mut expected = vec![(profile.id.clone(), 1), (other.id.clone(), 1)];
        expected.sort_by_key(|(agent, _)| agent.to_string());
        assert_eq!(all, expected);
        let vectors = vec![(missing[0].0, vec![0.7, 0.7])];
        memory.set_vectors(&profile.id, SearchedTexts::Notes, "m", vectors).await.unwrap();
        assert!(without(0).await.is_empty());
        assert_eq!(count(Some(&profile.id), "m").await, []);
        assert_eq!(nearest("m", 5).await, ["east"]);
    })
    .await;
}

#[tokio::test]
async fn a_full_archive_takes_nothing_and_a_receipt_has_the_numbers() {
    on_every_backend(async |place| {
        let store = place.open().await;
        let memory = store.memory();
        let profile = agent(&store, "ada").await;
        let receipt = Receipt {
            user: user(),
            id: "c-1".parse().unwrap(),
            digest: "d".into(),
            answer: String::new(),
        };
        let add =
            |text: &str| memory.add_notes(&profile.id, vec![note(text)], 5, Some(receipt.clone()));
        assert!(matches!(add("sixsix").await, Err(StoreError::ArchivalFull { most: 5 })));
        add("five5").await.unwrap();
        assert!(add("5").await.is_err(), "full, and the command took effect already");
        assert_eq!(memory.note_count(&profile.id).await.unwrap(), 1);
        let kept = store.directory().receipt(&user(), &receipt.id).await.unwrap().unwrap();
        assert_eq!(kept.answer, r#"{"added":1,"duplicates":0}"#);
    })
    .await;
}

#[tokio::test]
async fn a_summary_is_what_is_on_disk_after_every_write() {
    on_every_backend(async |place| {
        let store = place.open().await;
        let memory = store.memory();
        let profile = agent(&store, "ada").await;
        let mut ada = session(&store, &profile).await;
        let summary = async || {
            let summary = memory.summary(&profile.id).await.unwrap();
            assert_eq!(summary.blocks.to_vec(), memory.blocks(&profile.id).await.unwrap());
            assert_eq!(summary.archived, memory.note_count(&profile.id).await.unwrap());
            assert_eq!(summary.remembered, memory.recall_count(&profile.id).await.unwrap());
            let human = summary.blocks.get(1).map(|block| block.text.clone());
            (human.unwrap_or_default(), summary.archived, summary.remembered)
        };
        while memory.index_recall().await.unwrap() {}
        assert_eq!(summary().await, (String::new(), 0, 0));
        let edit = batch(&mut ada, vec![(None, edited()), (None, says("i-1", "x"))]);
        store.logs().append(edit.with(edit_of(&profile, "Likes tea."))).await.unwrap();
        while memory.index_recall().await.unwrap() {}
        assert_eq!(summary().await, ("Likes tea.".into(), 0, 1));
        append(&store, &mut ada, vec![(None, says("i-2", "y"))]).await;
        while memory.index_recall().await.unwrap() {}
        let notes = vec![note("tea"), note("milk")];
        memory.add_notes(&profile.id, notes, u64::MAX, None).await.unwrap();
        assert_eq!(summary().await, ("Likes tea.".into(), 2, 2));
        store.upkeep().trim(&ada.id, Seq(4)).await.unwrap();
        store.upkeep().erase_trimmed(&ada.id).await.unwrap();
        assert_eq!(summary().await, ("Likes tea.".into(), 2, 1));
        store.directory().delete_session(&ada.id, None).await.unwrap();
        assert_eq!(summary().await.2, 0);
        store.directory().delete_agent(&profile.id).await.unwrap();
        assert!(memory.summary(&profile.id).await.unwrap().blocks.is_empty());
    })
    .await;
}
