//! Blocks, notes, and what was said.

use thoughtwire_proto::Timestamp;
use thoughtwire_store::BlockEdit;

use crate::support::{NOW, agent, append, open, says, session};

#[test]
fn a_block_changes_with_the_event_that_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let profile = agent(&store, "ada");
    let mut ada = session(&store, &profile);
    let labels: Vec<_> = store.blocks(&profile.id).unwrap().into_iter().map(|block| block.label).collect();
    assert_eq!(labels, ["persona", "human"]);
    let edited = thoughtwire_proto::Event::MemoryEdited {
        block: "human".into(),
        before: String::new(),
        after: "Likes tea.".into(),
        by: "agent".into(),
    };
    let mut edit = append(&mut ada, vec![(None, edited)]);
    edit.block = Some(BlockEdit { agent: profile.id.clone(), label: "human".into(), text: "Likes tea.".into() });
    let mut stale = append(&mut ada.clone(), vec![(None, says("i-1", "x"))]);
    stale.block = Some(BlockEdit { agent: profile.id.clone(), label: "human".into(), text: "Lost.".into() });
    stale.after = thoughtwire_proto::Seq(99);
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
        store.archival_insert(&profile.id, text, NOW).wait().unwrap();
    }
    store.archival_insert(&other.id, "tea of somebody else", NOW).wait().unwrap();
    let page = store.archival_search(&profile.id, "tea", 0, 10).unwrap();
    assert_eq!((page.total, page.items[0].text.as_str()), (2, "tea tea tea with milk"));
    assert_eq!(store.archival_search(&profile.id, "tea", 1, 10).unwrap().items.len(), 1);
    assert_eq!(store.archival_count(&profile.id).unwrap(), 3);
    for hostile in ["\"", "tea*", "NEAR(tea", "tea AND (", "text:tea", "-tea", "'; DROP TABLE notes", "", "   ", "\u{0}"] {
        store.archival_search(&profile.id, hostile, 0, 10).unwrap_or_else(|error| panic!("{hostile:?}: {error}"));
    }
    assert_eq!(store.archival_search(&profile.id, "", 0, 10).unwrap().total, 0);
}

#[test]
fn what_was_said_is_found_by_words_and_by_date() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let profile = agent(&store, "ada");
    let mut ada = session(&store, &profile);
    let many = (0..1200).map(|n| (None, says(&format!("i-{n}"), &format!("word{n} common")))).collect();
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
