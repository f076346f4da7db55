//! Searches in every script, over what was said and over notes, also those of an older file.

use thoughtwire_proto::AgentProfile;
use thoughtwire_store::{NewNote, Store};

use crate::support::{NOW, agent, append, as_version_5, open, says, session};

const CHINESE: &str = "我昨天在东京买了一把雨伞";
const JAPANESE: &str = "私は東京で傘を買いました";
const KOREAN: &str = "저는 도쿄에서 우산을 샀어요";
const THAI: &str = "ฉันซื้อร่มที่โตเกียวเมื่อวานนี้";

/// A text, a query, and whether the one is found by the other.
const SEARCHES: [(&str, &str, bool); 42] = [
    (CHINESE, "雨伞", true),
    (CHINESE, "伞", true),
    (CHINESE, "东京", true),
    (CHINESE, "东京 雨伞", true),
    (CHINESE, "我昨天在东京买了一把雨伞", true),
    (CHINESE, "雨伞在哪里？", true),
    (CHINESE, "雨衣", false),
    (CHINESE, "京东", false),
    (CHINESE, "电脑", false),
    (JAPANESE, "東京", true),
    (JAPANESE, "傘", true),
    (JAPANESE, "買いました", true),
    (JAPANESE, "大阪", false),
    ("アメリカでｺｰﾋｰを飲んだ", "コーヒー", true),
    ("アメリカでコーヒーを飲んだ", "ｱﾒﾘｶ", true),
    ("がぎぐ", "か\u{3099}き\u{3099}", true),
    (KOREAN, "우산", true),
    (KOREAN, "도쿄", true),
    (KOREAN, "우산이", true),
    (KOREAN, "기차", false),
    ("한국어를 배운다", "\u{1112}\u{1161}\u{11ab}\u{1100}\u{116e}\u{11a8}", true),
    (THAI, "ร่ม", true),
    (THAI, "โตเกียว", true),
    (THAI, "ซื้อร่ม", true),
    (THAI, "กาแฟ", false),
    ("ຂ້ອຍຊື້ຄັນຮົ່ມ", "ຄັນຮົ່ມ", true),
    ("ខ្ញុំបានទិញឆ័ត្រ", "ឆ័ត្រ", true),
    ("ကျွန်တော် ထီးဝယ်တယ်", "ထီး", true),
    ("The party was great 🎉!", "🎉", true),
    ("great🎉🎉party", "🎉", true),
    ("great🎉🎉party", "party", true),
    ("well done 👍🏽", "👍", true),
    ("I ❤\u{fe0f} tea", "❤", true),
    ("👨\u{200d}👩\u{200d}👧 at home", "👩", true),
    ("The party was great 🎉!", "🎂", false),
    ("新しいiPhone15を買った", "iphone15", true),
    ("新しいiPhone15を買った", "買った", true),
    ("部屋はＡ１２です", "a12", true),
    ("A cafe\u{301} in Berlin", "café", true),
    ("I bought an umbrella", "umbrellas", true),
    ("I bought an umbrella", "brella", false),
    ("u20254x is no character", "伞", true),
];

fn found(store: &Store, agent: &AgentProfile, query: &str) -> [bool; 2] {
    store.catch_up_recall().wait().unwrap();
    let said = store.recall_search(&agent.id, query, 0, 10).unwrap();
    let noted = store.archival_search(&agent.id, query, 0, 10).unwrap();
    assert_eq!((said.items.len(), noted.items.len()), (said.total, noted.total));
    [said.total == 1, noted.total == 1]
}

fn tell(store: &Store, agent: &AgentProfile, text: &str) {
    let mut session = session(store, agent);
    store.append(append(&mut session, vec![(None, says("i-1", text))])).wait().unwrap();
    let note = NewNote { text: text.to_owned(), at: NOW, source: None, vector: None };
    store.archival_add(&agent.id, vec![note], u64::MAX).wait().unwrap();
}

#[test]
fn every_script_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for (at, (text, query, wanted)) in SEARCHES.into_iter().enumerate() {
        let agent = agent(&store, &format!("a{at}"));
        tell(&store, &agent, text);
        assert_eq!(found(&store, &agent, query), [wanted; 2], "{query} in {text}");
    }
}

#[test]
fn an_older_file_is_indexed_anew_and_deleted_texts_leave_the_index() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let agent = agent(&store, "ada");
    tell(&store, &agent, CHINESE);
    assert_eq!(found(&store, &agent, "雨伞"), [true; 2]);
    store.close();
    let file = Store::file(dir.path());
    as_version_5(dir.path());
    let store = open(dir.path());
    assert_eq!(found(&store, &agent, "雨伞"), [true; 2]);
    store.delete_agent(&agent.id).wait().unwrap();
    while store.erase_some().wait().unwrap() {}
    store.close();
    let left = rusqlite::Connection::open(&file).unwrap();
    for index in ["said_words", "notes_words"] {
        let check = format!("INSERT INTO {index} ({index}, rank) VALUES ('integrity-check', 1)");
        left.execute_batch(&check).unwrap();
        let count = format!("SELECT count(*) FROM {index} WHERE {index} MATCH '\"u20254x\"'");
        assert_eq!(left.query_row(&count, [], |row| row.get::<_, i64>(0)).unwrap(), 0, "{index}");
    }
}
