//! The transcript: it is the same whatever a client missed or saw twice.

use serde_json::Map;
use thoughtwire_proto::transcript::{
    Approval, EntryBody, InputStatus, Transcript, TranscriptChange,
};
use thoughtwire_proto::{
    ApprovalAbout, Decision, Delta, Emission, Event, Outcome, Partial, Record, Seq, StreamKind,
    Timestamp, ToolStatus, TurnEvent, TurnId,
};

use crate::transcript_log::TranscriptLog;

/// Applies the emissions from `at` to `until`.
fn follow(transcript: &mut Transcript, session: &TranscriptLog, at: usize, until: usize) {
    let after = transcript.cursor().seq;
    let (attached, replay) = session.attach(at, after);
    transcript.attach(&attached);
    for emission in replay.iter().chain(&session.emitted[at..until]) {
        let change = transcript.apply(emission);
        assert!(!matches!(change, TranscriptChange::Gap { .. }), "{change:?}");
    }
}

#[test]
fn a_reconnect_at_any_moment_gives_the_same_transcript() {
    let session = TranscriptLog::full_log();
    let all = session.emitted.len();
    let mut whole = Transcript::default();
    follow(&mut whole, &session, 0, all);
    for left in 0..=all {
        for back in left..=all {
            let mut cut = Transcript::default();
            follow(&mut cut, &session, 0, left);
            follow(&mut cut, &session, back, all);
            assert_eq!(cut, whole, "left at {left}, back at {back}");
        }
    }
}

#[test]
fn late_clients_have_the_same_open_items() {
    let session = TranscriptLog::full_log();
    for at in 0..=session.emitted.len() {
        let (mut early, mut late) = (Transcript::default(), Transcript::default());
        follow(&mut early, &session, 0, at);
        follow(&mut late, &session, at, at);
        assert_eq!(early.open(), late.open(), "at {at}");
        assert_eq!(early.entries(), late.entries(), "at {at}");
        assert_eq!(early.turn(), late.turn(), "at {at}");
        for open in early.open() {
            assert_eq!(early.continued(open), late.continued(open), "at {at}");
        }
    }
}

#[test]
fn repeated_emissions_change_nothing() {
    let session = TranscriptLog::full_log();
    let mut transcript = Transcript::default();
    follow(&mut transcript, &session, 0, session.emitted.len());
    let before = transcript.clone();
    for emission in &session.emitted {
        assert_eq!(transcript.apply(emission), TranscriptChange::Nothing);
    }
    assert_eq!(transcript, before);
}

#[test]
fn a_whole_log_gives_the_expected_transcript() {
    let session = TranscriptLog::full_log();
    let mut transcript = Transcript::default();
    follow(&mut transcript, &session, 0, session.emitted.len());
    let fates: Vec<_> = transcript
        .entries()
        .iter()
        .filter_map(|entry| match &entry.body {
            EntryBody::Input { item, status, .. } => Some((item.as_str(), *status)),
            _ => None,
        })
        .collect();
    let expected = [
        ("in-1", InputStatus::Ended(Outcome::Completed)),
        ("in-2", InputStatus::Withdrawn),
        ("in-3", InputStatus::Ended(Outcome::Cancelled)),
        ("in-4", InputStatus::Ended(Outcome::Completed)),
        ("in-5", InputStatus::Ended(Outcome::Completed)),
    ];
    assert_eq!(fates, expected);
    let call = transcript.entries().iter().find_map(|entry| match &entry.body {
        EntryBody::Call(call) => Some(call),
        _ => None,
    });
    let call = call.unwrap();
    assert_eq!(call.approval, Some(Approval::Settled(Decision::Approved)));
    assert_eq!(call.returned.as_ref().unwrap().text, "1");
    assert_eq!(transcript.title(), Some("Tale"));
    assert_eq!(transcript.cursor().seq, Seq(session.head));
    assert!(transcript.open().is_empty() && transcript.turn().is_none());
}

/// Texts of a session's third turn, with their seams and whether they are complete.
fn texts(transcript: &Transcript) -> Vec<(String, Vec<usize>, bool)> {
    let of_turn = |turn: &Option<TurnId>| turn.as_ref().is_some_and(|turn| turn.as_str() == "t-3");
    let entries = transcript.entries().iter().filter(|entry| of_turn(&entry.turn));
    entries
        .filter_map(|entry| match &entry.body {
            EntryBody::Thought { text, seams, complete, .. }
            | EntryBody::Message { text, seams, complete, .. } => {
                Some((text.clone(), seams.clone(), *complete))
            }
            _ => None,
        })
        .collect()
}

#[test]
fn a_continued_text_is_one_entry_with_its_seams() {
    let session = TranscriptLog::full_log();
    let mut transcript = Transcript::default();
    follow(&mut transcript, &session, 0, session.emitted.len());
    let expected = [
        ("think th-4", vec![5], true),
        ("hello m-4 m-5", vec![5, 9], true),
        ("new", vec![], false),
        ("other", vec![], true),
    ];
    let expected: Vec<_> =
        expected.into_iter().map(|(text, seams, whole)| (text.to_owned(), seams, whole)).collect();
    assert_eq!(texts(&transcript), expected);
    let call = transcript.entries().iter().rev().find_map(|entry| match &entry.body {
        EntryBody::Call(call) => Some(call),
        _ => None,
    });
    let call = call.unwrap();
    assert_eq!((call.about, call.retries), (ApprovalAbout::Retry, 1));
    assert_eq!(call.returned.as_ref().unwrap().status, ToolStatus::Unknown);
    let resumed = transcript.entries().iter().filter(|entry| {
        matches!(entry.body, EntryBody::Fact(Event::Turn(TurnEvent::Resumed { .. })))
    });
    assert_eq!(resumed.count(), 3);
}

#[test]
fn an_open_text_continues_the_entry_that_its_deltas_name() {
    let session = TranscriptLog::full_log();
    let mut transcript = Transcript::default();
    let mut expected: Vec<(String, String)> = Vec::new();
    follow(&mut transcript, &session, 0, 0);
    for emission in &session.emitted {
        let _ = transcript.apply(emission);
        for open in transcript.open() {
            let Some(at) = transcript.continued(open) else { continue };
            let (EntryBody::Thought { item, .. } | EntryBody::Message { item, .. }) =
                &transcript.entries()[at].body
            else {
                panic!()
            };
            let pair = (open.item.to_string(), item.to_string());
            if expected.last() != Some(&pair) {
                expected.push(pair);
            }
        }
    }
    // The item of the third piece continues the second; their entry has the first one's id.
    let pairs = [("th-4", "th-3"), ("m-4", "m-3"), ("m-5", "m-3")];
    assert_eq!(expected, pairs.map(|(open, cut)| (open.to_owned(), cut.to_owned())));
}

#[test]
fn a_transcript_may_begin_between_a_text_and_its_continuation() {
    let session = TranscriptLog::full_log();
    let cut = session.emitted.iter().find_map(|emission| match emission {
        Emission::Record(Record {
            seq,
            event: Event::Turn(TurnEvent::Message { item, .. }),
            ..
        }) if item.as_str() == "m-3" => Some(*seq),
        _ => None,
    });
    let mut transcript = Transcript::default();
    let (attached, replay) = session.attach(session.emitted.len(), cut.unwrap());
    transcript.attach(&attached);
    for emission in &replay {
        let _ = transcript.apply(emission);
    }
    let (text, seams, _) = &texts(&transcript)[1];
    assert_eq!((text.as_str(), seams.as_slice()), (" m-4 m-5", [0, 4].as_slice()));
}

#[test]
fn a_gap_is_reported_and_not_applied() {
    let session = TranscriptLog::full_log();
    let mut transcript = Transcript::default();
    let (attached, _) = session.attach(0, Seq::ZERO);
    transcript.attach(&attached);
    let _ = transcript.apply(&session.emitted[0]);
    assert_eq!(
        transcript.apply(&session.emitted[2]),
        TranscriptChange::Gap { expected: Seq(2), found: Seq(3) }
    );
    assert_eq!(transcript.cursor().seq, Seq(1));
    assert_eq!(transcript.apply(&session.emitted[1]), TranscriptChange::Entry(1));
}

#[test]
fn deltas_apply_only_in_order() {
    let session = TranscriptLog::full_log();
    let mut transcript = Transcript::default();
    let started = 3;
    follow(&mut transcript, &session, 0, started);
    let delta = |n: u64, text: &str| {
        let (turn, item) = ("t-1".parse().unwrap(), "m".parse().unwrap());
        let (kind, text, continues) = (StreamKind::Message, text.to_owned(), None);
        Emission::Delta(Delta { turn, item, n, kind, text, continues })
    };
    let text = |transcript: &Transcript| transcript.open().first().map(|open| open.text.clone());
    assert_eq!(
        transcript.apply(&delta(1, "b")),
        TranscriptChange::Nothing,
        "the first piece is missing"
    );
    assert!(matches!(transcript.apply(&delta(0, "a")), TranscriptChange::Open(_)));
    assert_eq!(transcript.apply(&delta(0, "a")), TranscriptChange::Nothing, "twice");
    assert_eq!(transcript.apply(&delta(2, "c")), TranscriptChange::Nothing, "one is missing");
    assert_eq!(text(&transcript).unwrap(), "a");
    let partial = Partial {
        turn: "t-1".parse().unwrap(),
        item: "m".parse().unwrap(),
        n: 3,
        kind: StreamKind::Message,
        text: "abc".to_owned(),
        continues: None,
    };
    assert!(matches!(
        transcript.apply(&Emission::Partial(partial.clone())),
        TranscriptChange::Open(_)
    ));
    assert!(matches!(transcript.apply(&delta(3, "d")), TranscriptChange::Open(_)));
    assert_eq!(text(&transcript).unwrap(), "abcd");
    let other_turn = Partial { turn: "t-9".parse().unwrap(), ..partial };
    assert_eq!(transcript.apply(&Emission::Partial(other_turn)), TranscriptChange::Nothing);
}

#[test]
fn another_epoch_starts_over() {
    let session = TranscriptLog::full_log();
    let mut transcript = Transcript::default();
    follow(&mut transcript, &session, 0, session.emitted.len());
    let (mut attached, _) = session.attach(session.emitted.len(), Seq::ZERO);
    attached.epoch = "e-2".parse().unwrap();
    attached.recovered = false;
    transcript.attach(&attached);
    assert!(transcript.entries().is_empty());
    assert_eq!(transcript.cursor().seq, Seq::ZERO);
    assert_eq!(transcript.cursor().epoch, "e-2".parse().ok());
}

#[test]
fn a_transcript_may_begin_after_a_call() {
    let mut transcript = Transcript::default();
    let mut attached = TranscriptLog::full_log().attach(0, Seq(7)).0;
    attached.turn = "t-1".parse().ok();
    transcript.attach(&attached);
    let (call, name, text) = ("c-0".parse().unwrap(), "f".to_owned(), "x".to_owned());
    let event = Event::Turn(TurnEvent::ToolReturned {
        call,
        name,
        status: ToolStatus::Error,
        text,
        content: None,
    });
    let record = Record { seq: Seq(8), at: Timestamp::default(), turn: "t-1".parse().ok(), event };
    assert_eq!(transcript.apply(&Emission::Record(record)), TranscriptChange::Entry(0));
    let EntryBody::Call(call) = &transcript.entries()[0].body else { panic!() };
    assert_eq!((call.args.as_ref(), call.name.as_str()), (None::<&Map<_, _>>, "f"));
}
