//! Search: a small benchmark, and what an index in memory must not get wrong.

use thoughtwire_proto::{AgentProfile, Seq, Timestamp};
use thoughtwire_store::{MemoryQuery, NewNote, QueryMeaning, SearchedTexts, Store};

use super::on_every_backend;
use crate::support::{
    NOW, agent, append, at, erase_deleted, note, says, search_notes, search_said, session, turn,
};

/// Notes of one person, in several languages.
const NOTES: [&str; 30] = [
    "Marta starts her new job at the observatory on 3 March.",
    "The spare key is under the blue flowerpot behind the shed.",
    "Marta is allergic to walnuts, so no baklava.",
    "We hiked up the Schneeberg with Ilir and got soaked by a thunderstorm.",
    "Ilir's phone number is +43 660 1234567.",
    "Invoice INV-2024-0815 over 1,250.00 euros is still unpaid.",
    "The wifi password is Tr0ub4dor-and-3.",
    "parseHttpRequest panics when the header is empty; see ticket TW-4411.",
    "The setting max_retry_count belongs into retry.toml.",
    "Write to jana.novak@example.org about the piano lessons.",
    "Dentist appointment on 2026-02-17 at half past nine.",
    "The cat was named Schrödinger because nobody knew where he was.",
    "Grandmother's goulash needs two hours and a lot of paprika.",
    "The car's licence plate is W-73921K.",
    "He proposed to her on a ferry between Naxos and Paros.",
    "The museum is closed on Tuesdays, except in August.",
    "Our landlord raised the rent to 840 euros.",
    "Die Heizung muss jeden Herbst entlüftet werden.",
    "Der Zug nach Györ fährt von Gleis 7.",
    "Le médecin a dit de boire plus d'eau.",
    "La reunión con el arquitecto es el jueves.",
    "我昨天在东京买了一把雨伞",
    "北京的图书馆周一不开门",
    "母は来週の金曜日に京都へ行きます",
    "弟の誕生日プレゼントは青い自転車です",
    "저는 도쿄에서 우산을 샀어요",
    "여동생은 부산에서 의사로 일합니다",
    "ฉันซื้อร่มที่โตเกียวเมื่อวานนี้",
    "Бабушка живёт в Самаре и любит шахматы.",
    "Η συνάντηση είναι στη Θεσσαλονίκη.",
];

/// Questions, each with the number of the note that answers it.
const QUESTIONS: [(&str, usize); 38] = [
    ("When does Marta begin her job?", 0),
    ("Where is the spare key?", 1),
    ("What is Marta allergic to?", 2),
    ("Who did we hike with?", 3),
    ("What is the phone number of Ilir?", 4),
    ("Which invoices are unpaid?", 5),
    ("INV-2024-0815", 5),
    ("0815", 5),
    ("invoice over 1250.00", 5),
    ("password for the wifi", 6),
    ("http request panic", 7),
    ("parseHttpRequest", 7),
    ("TW-4411", 7),
    ("max_retry_count", 8),
    ("how many retries", 8),
    ("jana.novak@example.org", 9),
    ("Who teaches the piano lesson? Novak?", 9),
    ("2026-02-17", 10),
    ("Schrodinger", 11),
    ("How long does the goulash need?", 12),
    ("W-73921K", 13),
    ("Where did he propose?", 14),
    ("Is the museum closed on Tuesday?", 15),
    ("\"closed on Tuesdays\"", 15),
    ("How much is the rent?", 16),
    ("Heizung entluften", 17),
    ("Gyor", 18),
    ("medecin", 19),
    ("reunion con el arquitecto", 20),
    ("雨伞", 21),
    ("图书馆什么时候不开门？", 22),
    ("京都", 23),
    ("自転車は何色？", 24),
    ("우산은 어디에서?", 25),
    ("의사", 26),
    ("ร่ม", 27),
    ("шахматы", 28),
    ("Θεσσαλονικη", 29),
];

async fn ranks(store: &Store, agent: &AgentProfile) -> Vec<Option<usize>> {
    let mut ranks = Vec::new();
    for (question, answer) in QUESTIONS {
        let found = search_notes(store, &agent.id, question, 0, 5).await;
        ranks.push(found.items.iter().position(|note| note.text == NOTES[answer]));
    }
    ranks
}

#[tokio::test]
async fn questions_find_their_notes_in_every_language() {
    on_every_backend(async |place| {
        let store = place.open().await;
        let ada = agent(&store, "ada").await;
        let notes = NOTES.iter().map(|text| note(text)).collect();
        store.memory().add_notes(&ada.id, notes, u64::MAX, None).await.unwrap();
        let found = ranks(&store, &ada).await;
        let within = |most: usize| found.iter().flatten().filter(|rank| **rank < most).count();
        let ranked = QUESTIONS.iter().zip(&found);
        let missed: Vec<_> = ranked.filter(|(_, rank)| **rank != Some(0)).collect();
        assert!(within(1) >= QUESTIONS.len() - 2, "not the first: {missed:?}");
        assert_eq!(within(5), QUESTIONS.len(), "{missed:?}");
        // Another user's notes change nothing, though they have the same words.
        let bob = agent(&store, "bob").await;
        let theirs = NOTES.iter().map(|text| note(&format!("{text} {text}"))).collect();
        store.memory().add_notes(&bob.id, theirs, u64::MAX, None).await.unwrap();
        assert_eq!(ranks(&store, &ada).await, found);
        // Nor does a restart.
        let store = place.reopen(store).await;
        assert_eq!(ranks(&store, &ada).await, found);
    })
    .await;
}

#[tokio::test]
async fn an_index_follows_what_is_added_trimmed_and_deleted() {
    on_every_backend(async |place| {
        let store = place.open().await;
        let ada = agent(&store, "ada").await;
        let mut main = session(&store, &ada).await;
        let total = async |text: &str| search_said(&store, &ada.id, text, 0, 5).await.total;
        append(&store, &mut main, vec![(None, says("i-1", "xylophone"))]).await;
        assert_eq!(total("xylophone").await, 1);
        append(&store, &mut main, vec![(None, says("i-2", "another xylophone"))]).await;
        assert_eq!((total("xylophone").await, total("another").await), (2, 1));
        // One goes and one comes, so that there are as many as before. The number of the one that
        // goes may be given out again.
        let last = main.state.head();
        store.upkeep().trim(&main.id, Seq(last.0 + 1)).await.unwrap();
        store.upkeep().erase_trimmed(&main.id).await.unwrap();
        append(&store, &mut main, vec![(None, says("i-3", "zither")), (None, says("i-4", "harp"))])
            .await;
        assert_eq!((total("xylophone").await, total("zither").await), (0, 1));
        store.directory().delete_agent(&ada.id).await.unwrap();
        assert_eq!(total("harp").await, 0);
        erase_deleted(&store).await;
    })
    .await;
}

#[tokio::test]
async fn results_have_their_neighbours_and_are_of_the_dates_asked_for() {
    on_every_backend(async |place| {
        let store = place.open().await;
        let ada = agent(&store, "ada").await;
        let mut main = session(&store, &ada).await;
        const DAY: i64 = 86_400_000;
        for day in 0..3 {
            turn(&store, &mut main, &format!("umbrella{day} rain"), at(day * DAY)).await;
        }
        let said = async |from: Option<Timestamp>, to: Option<Timestamp>| {
            let query =
                MemoryQuery { text: "rain".into(), from, to, limit: 10, ..MemoryQuery::default() };
            store.search().said(&ada.id, &query).await.unwrap()
        };
        let all = said(None, None).await;
        let second = said(Some(at(DAY)), Some(at(2 * DAY - 1))).await;
        assert!(second.total < all.total && second.total > 0);
        assert!(second.items.iter().all(|hit| hit.item.text.starts_with("umbrella1")));
        let hit = second.items.iter().find(|hit| hit.item.role == "user").unwrap();
        assert!(hit.why.words > 0.0 && hit.why.meaning == 0.0);
        let after = hit.after.as_ref().unwrap();
        assert_eq!((after.role.as_str(), after.at), ("assistant", at(DAY)));
        assert_eq!(hit.before, None, "a day lies between");
    })
    .await;
}

#[tokio::test]
async fn meaning_finds_what_has_other_words_with_vectors_of_one_model_only() {
    on_every_backend(async |place| {
        let store = place.open().await;
        let ada = agent(&store, "ada").await;
        let with = |text: &str, vector: [f32; 2]| NewNote {
            vector: Some(("m".into(), vector.to_vec())),
            ..note(text)
        };
        let notes = vec![
            with("She likes tea", [1.0, 0.0]),
            with("The train to Vienna", [0.0, 1.0]),
            with("A tram stops here", [0.1, 0.9]),
        ];
        store.memory().add_notes(&ada.id, notes, u64::MAX, None).await.unwrap();
        let search = async |model: &str, text: &str| {
            let meaning = Some(QueryMeaning { model: model.into(), vector: vec![1.0, 0.0] });
            let (text, limit) = (text.to_owned(), 5);
            let query = MemoryQuery { text, meaning, limit, ..MemoryQuery::default() };
            let found = store.search().notes(&ada.id, &query).await.unwrap();
            found.items.into_iter().map(|hit| (hit.item.text, hit.why)).collect::<Vec<_>>()
        };
        let found = search("m", "beverage").await;
        assert_eq!((found.len(), found[0].0.as_str()), (1, "She likes tea"));
        assert!(found[0].1.meaning > 0.0 && found[0].1.words == 0.0);
        assert_eq!(search("other", "beverage").await, []);
        // A new model's vectors take the place of the old ones.
        let all = store.memory().notes(&ada.id, 0, 9).await.unwrap();
        let vectors = all.iter().map(|note| (note.id, vec![0.0, 1.0])).collect();
        let set = store.memory().set_vectors(&ada.id, SearchedTexts::Notes, "other", vectors);
        set.await.unwrap();
        assert_eq!(search("m", "beverage").await, []);
        assert_eq!(search("other", "train").await[0].0, "The train to Vienna");
        assert_eq!(all[0].at, NOW);
    })
    .await;
}
