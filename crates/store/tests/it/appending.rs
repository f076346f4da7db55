//! Appends: order, group commit, idempotence, and that a bad one harms no other.

use thoughtwire_proto::{Refusal, RefusalCode, Seq};
use thoughtwire_store::{LogPage, NewSession, Receipt, Store, StoreError};

use crate::support::{NOW, agent, append, log, new_agent, open, says, session, user};

#[test]
fn many_appends_under_way_keep_their_order() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut ada = session(&store, &agent(&store, "ada"));
    let commits: Vec<_> = (0..500)
        .map(|n| {
            store.append(append(&mut ada, vec![(None, says(&format!("i-{n}"), &n.to_string()))]))
        })
        .collect();
    for commit in commits {
        commit.wait().unwrap();
    }
    let records = store.events(ada.num, Seq::ZERO, 1000).unwrap();
    assert_eq!(records.len(), 501);
    assert!((1..).zip(&records).all(|(seq, record)| record.seq == Seq(seq)));
    assert_eq!(store.events(ada.num, Seq(499), 10).unwrap().len(), 2);
    let before: Vec<_> = store
        .events_before(ada.num, Seq(10), 3)
        .unwrap()
        .iter()
        .map(|record| record.seq.0)
        .collect();
    assert_eq!(before, [7, 8, 9]);
    assert_eq!(store.session(&ada.id).unwrap().unwrap().state, ada.state);
}

#[test]
fn a_bad_append_between_good_ones_aborts_only_itself() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut ada = session(&store, &agent(&store, "ada"));
    let mut bob = session(&store, &agent(&store, "bob"));
    let good = store.append(append(&mut ada, vec![(None, says("i-1", "one"))]));
    let mut stale = append(&mut bob.clone(), vec![(None, says("i-2", "two"))]);
    stale.after = Seq(40);
    let bad = store.append(stale);
    let also_good = store.append(append(&mut bob, vec![(None, says("i-3", "three"))]));
    assert!(good.wait().is_ok());
    assert!(matches!(bad.wait(), Err(StoreError::HeadMoved { found: 1, expected: 40 })));
    assert!(also_good.wait().is_ok());
    assert_eq!(log(&store, &bob).len(), 2);
}

#[test]
fn a_receipt_is_written_with_its_append_and_only_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut ada = session(&store, &agent(&store, "ada"));
    let receipt = Receipt {
        user: user(),
        session: Some(ada.num),
        id: "c-1".parse().unwrap(),
        digest: "d".into(),
        answer: "{}".into(),
    };
    let before = ada.clone();
    let mut first = append(&mut ada, vec![(None, says("i-1", "once"))]);
    first.receipt = Some(receipt.clone());
    store.append(first).wait().unwrap();
    assert_eq!(store.receipt(&user(), Some(ada.num), &receipt.id).unwrap(), Some(receipt.clone()));
    assert_eq!(store.receipt(&user(), None, &receipt.id).unwrap(), None);
    assert_eq!(store.receipt(&"other".parse().unwrap(), Some(ada.num), &receipt.id).unwrap(), None);

    let mut again = append(&mut ada, vec![(None, says("i-2", "twice"))]);
    again.receipt = Some(receipt);
    assert!(store.append(again).wait().is_err());
    assert_eq!(log(&store, &before).len(), 2);
}

#[test]
fn a_session_is_opened_listed_and_deleted_whole() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let ada = agent(&store, "ada");
    let new = NewSession {
        id: "s-2".parse().unwrap(),
        user: user(),
        agent: ada.id.clone(),
        epoch: "e-2".parse().unwrap(),
        title: Some("Tea".into()),
        instructions: None,
        history: vec![],
        records: vec![],
        at: NOW,
        receipt: None,
    };
    let mut second = store.create_session(new).wait().unwrap();
    store.append(append(&mut second, vec![(None, says("i-1", "camomile"))])).wait().unwrap();
    store.catch_up_recall().wait().unwrap();
    let listed = store.sessions(&user(), &Default::default()).unwrap();
    assert_eq!(
        listed
            .iter()
            .map(|entry| (entry.title.as_deref(), entry.queued, entry.main))
            .collect::<Vec<_>>(),
        [(Some("Tea"), 1, false), (None, 0, true)]
    );
    assert!(store.sessions(&"other".parse().unwrap(), &Default::default()).unwrap().is_empty());
    assert_eq!(store.sessions_with_work().unwrap(), [second.id.clone()]);

    store.delete_session(&second.id, None).wait().unwrap();
    assert!(store.session(&second.id).unwrap().is_none());
    while store.erase_some().wait().unwrap() {}
    assert!(store.events(second.num, Seq::ZERO, 10).unwrap().is_empty());
    assert_eq!(store.recall_search(&ada.id, "camomile", 0, 10).unwrap().total, 0);
    assert!(matches!(store.delete_session(&second.id, None).wait(), Err(StoreError::Missing(_))));
}

#[test]
fn an_agents_name_is_unique_per_user() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let ada = agent(&store, "ada");
    let mut again = new_agent("ada");
    again.id = "a-9".parse().unwrap();
    let refusal = store.create_agent(again.clone()).wait().unwrap_err();
    assert_eq!(Refusal::from(&refusal).code, RefusalCode::NameTaken);
    again.user = "other".parse().unwrap();
    again.main_session = "s-9".parse().unwrap();
    store.create_agent(again).wait().unwrap();
    assert_eq!(store.agent(&user(), "ada").unwrap(), Some(ada.clone()));
    assert_eq!(store.agent(&user(), ada.id.as_str()).unwrap(), Some(ada));
    assert_eq!(store.agent(&user(), "a-9").unwrap(), None, "another user's agent, known by its id");
}

#[test]
fn a_store_opened_by_hand_writes_when_its_pen_moves_and_tells_afterwards() {
    let dir = tempfile::tempdir().unwrap();
    drop(agent(&open(dir.path()), "ada"));
    let (store, mut pen) = Store::open_by_hand(dir.path(), NOW).unwrap();
    let mut ada = store.session(&"s-ada".parse().unwrap()).unwrap().unwrap();
    let appends = [says("i-1", "one"), says("i-2", "two")]
        .map(|event| store.append(append(&mut ada, vec![(None, event)])));
    assert_eq!((pen.waiting(), log(&store, &ada).len()), (2, 1));
    let written = pen.write(1).unwrap();
    assert_eq!(
        (pen.waiting(), log(&store, &ada).len()),
        (1, 2),
        "it is on disk before anybody is told"
    );
    written.tell();
    let [first, second] = appends;
    first.wait().unwrap();
    // What was not written when the pen is put down never happened.
    drop(pen);
    assert!(matches!(second.wait(), Err(StoreError::Stopped)));
}

#[test]
fn pages_of_a_log_end_where_the_log_says_whoever_reads_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut ada = session(&store, &agent(&store, "ada"));
    for number in 0..40 {
        // Small ones, and at times one that is larger than a page.
        let text = "x".repeat(if number % 7 == 6 { 5_000 } else { 100 });
        store
            .append(append(&mut ada, vec![(None, says(&format!("i-{number}"), &text))]))
            .wait()
            .unwrap();
    }
    let head = ada.state.head().0;
    let page = |after: u64| store.log_page(ada.num, Seq(after), 16, 1_000).unwrap();
    let mut pages = Vec::new();
    for after in 0..head {
        let LogPage { records, is_whole } = page(after);
        let seqs: Vec<u64> = records.iter().map(|record| record.seq.0).collect();
        assert!(seqs.contains(&(after + 1)), "{after}: {seqs:?}");
        assert!(seqs.windows(2).all(|pair| pair[1] == pair[0] + 1));
        assert!(is_whole || seqs.contains(&head), "{seqs:?}");
        let bytes: usize =
            records.iter().map(|record| serde_json::to_string(&record.event).unwrap().len()).sum();
        assert!(bytes <= 1_000 || records.len() == 1, "{bytes} bytes in {} records", records.len());
        pages.push(seqs);
    }
    pages.dedup();
    // Each record is in one page, whoever asked for it.
    assert_eq!(pages.concat(), (1..=head).collect::<Vec<_>>());
    assert!(pages.len() > 10);
}
