//! Blocks, notes, and what was said.

use std::sync::Arc;

use thoughtwire_proto::{AgentProfile, Event, Seq, SessionEvent, Timestamp};
use thoughtwire_store::{Block, BlockEdit, NewNote, Store};

use crate::support::{NOW, agent, append, new_agent, open, says, session};

fn edit_of(profile: &AgentProfile, text: &str) -> BlockEdit {
    let block =
        Block { label: "human".into(), text: text.into(), limit: 2000, description: String::new() };
    BlockEdit { agent: profile.id.clone(), label: "human".into(), to: Some(block) }
}

fn note(text: &str) -> NewNote {
    NewNote { text: text.into(), at: NOW, source: None, vector: None }
}

#[test]
fn a_block_changes_with_the_event_that_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let profile = agent(&store, "ada");
    let mut ada = session(&store, &profile);
    let labels: Vec<_> =
        store.blocks(&profile.id).unwrap().into_iter().map(|block| block.label).collect();
    assert_eq!(labels, ["persona", "human"]);
    let edited = Event::Session(SessionEvent::MemoryEdited {
        block: "human".into(),
        before: String::new(),
        after: "Likes tea.".into(),
        by: "agent".into(),
    });
    let mut edit = append(&mut ada, vec![(None, edited)]);
    edit.block = Some(edit_of(&profile, "Likes tea."));
    let mut stale = append(&mut ada.clone(), vec![(None, says("i-1", "x"))]);
    stale.block = Some(edit_of(&profile, "Lost."));
    stale.after = Seq(99);
    store.append(edit).wait().unwrap();
    store.append(stale).wait().unwrap_err();
    let blocks = store.blocks(&profile.id).unwrap();
    assert_eq!((blocks[1].text.as_str(), blocks[1].limit), ("Likes tea.", 2000));
}

#[test]
fn searches_rank_by_words_and_take_any_text_as_words() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let profile = agent(&store, "ada");
    let other = agent(&store, "bob");
    for text in ["tea tea tea with milk", "coffee, and once tea", "nothing of it"] {
        store.archival_add(&profile.id, vec![note(text)], u64::MAX).wait().unwrap();
    }
    store.archival_add(&other.id, vec![note("tea of somebody else")], u64::MAX).wait().unwrap();
    let page = store.archival_search(&profile.id, "tea", 0, 10).unwrap();
    assert_eq!((page.total, page.items[0].text.as_str()), (2, "tea tea tea with milk"));
    assert_eq!(store.archival_search(&profile.id, "tea", 1, 10).unwrap().items.len(), 1);
    assert_eq!(store.archival_count(&profile.id).unwrap(), 3);
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
        store
            .archival_search(&profile.id, hostile, 0, 10)
            .unwrap_or_else(|error| panic!("{hostile:?}: {error}"));
    }
    assert_eq!(store.archival_search(&profile.id, "", 0, 10).unwrap().total, 0);
}

#[test]
fn what_was_said_is_found_by_words_and_by_date() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let profile = agent(&store, "ada");
    let mut ada = session(&store, &profile);
    let many =
        (0..1200).map(|n| (None, says(&format!("i-{n}"), &format!("word{n} common")))).collect();
    store.append(append(&mut ada, many)).wait().unwrap();
    store.catch_up_recall().wait().unwrap();
    assert_eq!(store.recall_search(&profile.id, "common", 0, 5).unwrap().total, 1200);
    let found = store.recall_search(&profile.id, "word1199", 0, 5).unwrap();
    assert_eq!((found.items[0].seq.0, found.items[0].role.as_str()), (1201, "user"));
    assert_eq!(store.recall_count(&profile.id).unwrap(), 1200);
    let day = store.recall_by_date(&profile.id, NOW, NOW, 1195, 10).unwrap();
    assert_eq!((day.total, day.items.len()), (1200, 5));
    let later = Timestamp::from_millis(NOW.as_millis() + 1);
    assert_eq!(store.recall_by_date(&profile.id, later, later, 0, 10).unwrap().total, 0);
}

#[test]
fn what_was_imported_is_known_again_and_lies_near_what_it_means() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let profile = agent(&store, "ada");
    let imported = |text: &str, vector: [f32; 2]| NewNote {
        source: Some("notes.md".into()),
        vector: Some(("m".into(), vector.to_vec())),
        ..note(text)
    };
    let first = vec![
        imported("north", [0.0, 1.0]),
        imported("east", [1.0, 0.0]),
        imported("north", [0.0, 1.0]),
    ];
    let added = store.archival_add(&profile.id, first, u64::MAX).wait().unwrap();
    assert_eq!((added.added, added.duplicates), (2, 1));
    let again = store
        .archival_add(&profile.id, vec![imported("east", [1.0, 0.0]), note("east")], u64::MAX)
        .wait()
        .unwrap();
    assert_eq!(
        (again.added, again.duplicates),
        (1, 1),
        "what somebody writes twice is written twice"
    );
    let near = store.archival_nearest(&profile.id, "m", &[0.6, 0.8], 5).unwrap();
    assert_eq!(near.iter().map(|note| note.text.as_str()).collect::<Vec<_>>(), ["north", "east"]);
    assert_eq!(store.archival_nearest(&profile.id, "m", &[0.6, 0.8], 1).unwrap()[0].text, "north");
    assert!(store.archival_nearest(&profile.id, "other", &[0.6, 0.8], 5).unwrap().is_empty());
    let without = store.archival_without_vector(&profile.id, "m", 9).unwrap();
    assert_eq!(without.len(), 1);
    store
        .archival_set_vectors(&profile.id, "m", vec![(without[0].id, vec![0.9, 0.1])])
        .wait()
        .unwrap();
    assert!(store.archival_without_vector(&profile.id, "m", 9).unwrap().is_empty());
}

#[test]
fn an_agent_goes_with_everything_that_is_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let (bob, ada) = (agent(&store, "bob"), agent(&store, "ada"));
    let mut log = session(&store, &ada);
    let many = (0..9).map(|n| (None, says(&format!("i-{n}"), "tea"))).collect();
    store.append(append(&mut log, many)).wait().unwrap();
    store.catch_up_recall().wait().unwrap();
    for profile in [&ada, &bob] {
        store.archival_add(&profile.id, vec![note("tea")], u64::MAX).wait().unwrap();
    }
    assert_eq!(
        store.delete_agent(&ada.id).wait().unwrap(),
        std::slice::from_ref(&ada.main_session)
    );
    assert!(
        store.agent_by_id(&ada.id).unwrap().is_none()
            && store.session(&ada.main_session).unwrap().is_none()
    );
    assert!(store.blocks(&ada.id).unwrap().is_empty());
    assert_eq!(
        (store.archival_count(&ada.id).unwrap(), store.archival_count(&bob.id).unwrap()),
        (0, 1)
    );
    assert_eq!(store.archival_search(&bob.id, "tea", 0, 9).unwrap().total, 1);

    // The numbers of its events are given out again: what is said from now on is found all the same.
    let carl = agent(&store, "carl");
    let mut log = session(&store, &carl);
    store
        .append(append(
            &mut log,
            vec![(None, says("i-2", "oolong")), (None, says("i-3", "sencha"))],
        ))
        .wait()
        .unwrap();
    store.catch_up_recall().wait().unwrap();
    for word in ["oolong", "sencha"] {
        assert_eq!(store.recall_search(&carl.id, word, 0, 9).unwrap().total, 1, "{word}");
    }
}

#[tokio::test]
async fn what_an_agent_knows_is_what_the_file_has_after_every_write() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mut pen) = Store::open_by_hand(dir.path(), NOW).unwrap();
    let store = Arc::new(store);
    let making = store.create_agent(new_agent("ada"));
    pen.write(usize::MAX).unwrap().tell();
    let profile = making.await.unwrap();
    let mut ada = session(&store, &profile);
    let known = async || {
        let known = store.known(&profile.id).await.unwrap();
        // Asked again, nothing is read.
        assert!(Arc::ptr_eq(&known, &store.known(&profile.id).await.unwrap()));
        assert_eq!(known.blocks.to_vec(), store.blocks(&profile.id).unwrap());
        assert_eq!(known.archived, store.archival_count(&profile.id).unwrap());
        assert_eq!(known.remembered, store.recall_count(&profile.id).unwrap());
        (known.blocks[1].text.clone(), known.archived, known.remembered)
    };
    assert_eq!(known().await, (String::new(), 0, 0));
    let edited = Event::Session(SessionEvent::MemoryEdited {
        block: "human".into(),
        before: String::new(),
        after: "Likes tea.".into(),
        by: "agent".into(),
    });
    let mut edit = append(&mut ada, vec![(None, edited), (None, says("i-1", "x"))]);
    edit.block = Some(edit_of(&profile, "Likes tea."));
    drop(store.append(edit));
    let written = pen.write(usize::MAX).unwrap();
    assert_eq!(known().await, ("Likes tea.".into(), 0, 0));
    written.tell();
    pen.index().unwrap();
    assert_eq!(known().await, ("Likes tea.".into(), 0, 1));
    drop(store.append(append(&mut ada, vec![(None, says("i-2", "y"))])));
    drop(store.catch_up_recall());
    drop(store.archival_add(&profile.id, vec![note("tea"), note("milk")], u64::MAX));
    pen.write(usize::MAX).unwrap().tell();
    assert_eq!(known().await, ("Likes tea.".into(), 2, 2));
    drop(store.begin_at(ada.num, Seq(4)));
    drop(store.forget_some(ada.num));
    pen.write(usize::MAX).unwrap().tell();
    assert_eq!(known().await, ("Likes tea.".into(), 2, 1));
    drop(store.delete_session(&ada.id, None));
    pen.write(usize::MAX).unwrap().tell();
    assert_eq!(known().await.2, 0);
    drop(store.delete_agent(&profile.id));
    pen.write(usize::MAX).unwrap().tell();
    assert!(store.known(&profile.id).await.unwrap().blocks.is_empty());
}
