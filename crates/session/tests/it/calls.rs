//! Calls that wait for people and clients: asked once, settled once, answered once that is on disk.

use thoughtwire_proto::{ApprovalAbout, Event, RefusalCode, TurnEvent, TurnId};

use crate::script::{
    OPTIONS, SAVED, ScriptHost, SessionScript, TIME, ask, asked, calls, cancel, client_runs,
    decide, failed, reloaded, send, tool_return,
};

/// A turn with open calls, everything on disk.
fn with_calls(names: &[&str]) -> SessionScript {
    let mut script = SessionScript::new();
    script.skip(send("s1")).skip(calls("t-1", "a1", names)).skip(SAVED).skip(SAVED);
    script
}

#[test]
fn an_approval_reaches_the_agent_once_it_is_on_disk() {
    let mut script = with_calls(&["c-1"]);
    let later = script.in_millis(60_000);
    script
        .on(ask("t-1", "c-1", later, "w", Some("q")), &["append 5: approval_asked"])
        .on(SAVED, &["q: at 5", "publish 5"])
        .on(decide("d", "c-1", true), &["append 6: approval_settled(Approved)"])
        .on(SAVED, &["d: done at 6", "w: Approved", "publish 6"]);
}

#[test]
fn a_call_is_decided_once() {
    let mut script = with_calls(&["c-1"]);
    let later = script.in_millis(60_000);
    script
        .skip(ask("t-1", "c-1", later, "w", None))
        .skip(decide("d1", "c-1", true))
        .on(decide("d2", "c-1", false), &["d2: unknown_call"])
        .on(decide("d3", "c-9", true), &["d3: unknown_call"]);
}

#[test]
fn a_decision_before_the_deadline_wins() {
    let mut script = with_calls(&["c-1"]);
    let later = script.in_millis(1_000);
    script.skip(ask("t-1", "c-1", later, "w", None)).skip(SAVED);
    script.skip(decide("d", "c-1", true)).wait(2_000).on(TIME, &[]);
    script.on(SAVED, &["d: done at 6", "w: Approved", "publish 6"]);
}

#[test]
fn an_expiry_before_the_decision_wins() {
    let mut script = with_calls(&["c-1"]);
    let later = script.in_millis(1_000);
    script.skip(ask("t-1", "c-1", later, "w", None)).skip(SAVED);
    assert_eq!(script.timeout(), Some(1_000));
    script
        .wait(1_000)
        .on(TIME, &["append 6: approval_settled(Expired)"])
        .on(TIME, &[])
        .on(decide("d", "c-1", true), &["d: unknown_call"])
        .on(SAVED, &["w: Expired", "publish 6"]);
}

#[test]
fn a_cancel_before_the_decision_voids_it() {
    let mut script = with_calls(&["c-1"]);
    let later = script.in_millis(1_000);
    script
        .skip(ask("t-1", "c-1", later, "w", None))
        .on(
            cancel("c"),
            &[
                "w: ended",
                "append 6-8: approval_settled(Void) tool_returned(abandoned) turn_ended(cancelled)",
                "drop turn",
            ],
        )
        .on(decide("d", "c-1", true), &["d: unknown_call"]);
    script.wait(2_000).on(TIME, &[]);
}

#[test]
fn a_cancel_behind_a_decision_that_is_not_on_disk_tells_nobody_to_run() {
    let mut script = with_calls(&["c-1"]);
    let later = script.in_millis(1_000);
    script
        .skip(ask("t-1", "c-1", later, "w", None))
        .skip(SAVED)
        .skip(decide("d", "c-1", true))
        .on(
            cancel("c"),
            &["w: ended", "append 7-8: tool_returned(unknown) turn_ended(cancelled)", "drop turn"],
        )
        .on(SAVED, &["d: done at 6", "publish 6"]);
}

#[test]
fn a_clients_result_and_its_deadline_come_once() {
    let mut script = with_calls(&["c-1"]);
    let later = script.in_millis(1_000);
    script
        .on(client_runs("t-1", "c-1", later, "w"), &["append 5: tool_awaited"])
        .on(decide("d", "c-1", true), &["d: unknown_call"])
        .on(tool_return("r1", "c-1"), &["append 6: tool_returned(dug)"])
        .on(tool_return("r2", "c-1"), &["r2: unknown_call"])
        .skip(SAVED)
        .on(SAVED, &["r1: done at 6", "w: returned Success", "publish 6"]);
    let mut script = with_calls(&["c-1"]);
    let later = script.in_millis(1_000);
    script.skip(client_runs("t-1", "c-1", later, "w")).wait(1_000);
    script
        .on(TIME, &["append 6: tool_returned(No client ran the tool in time.)"])
        .on(tool_return("r", "c-1"), &["r: unknown_call"])
        .skip(SAVED)
        .on(SAVED, &["w: returned Error", "publish 6"]);
}

#[test]
fn whoever_asks_again_waits_in_place_of_the_first_and_asks_nothing() {
    let mut script = with_calls(&["c-1"]);
    let later = script.in_millis(60_000);
    script
        .skip(ask("t-1", "c-1", later, "w1", None))
        .on(ask("t-1", "c-1", later, "w2", Some("q2")), &["w1: ended", "q2: at 5"])
        .skip(SAVED)
        .skip(decide("d", "c-1", false))
        // Settled, and not on disk yet: nothing is asked again.
        .on(ask("t-1", "c-1", later, "w3", None), &["w2: ended"])
        .on(SAVED, &["d: done at 6", "w3: Denied", "publish 6"]);
}

/// A turn that was parked with a question when the server stopped.
fn parked(script: &SessionScript) -> Vec<(Option<&'static str>, Event)> {
    let turn = Some("t-0");
    let call: thoughtwire_proto::CallId = "c-1".parse().unwrap();
    let mut log = asked(turn);
    let (name, args) = ("dig".to_owned(), serde_json::Map::new());
    log.push((
        turn,
        Event::Turn(TurnEvent::ToolCalled { call: call.clone(), name: name.clone(), args }),
    ));
    let expires_at = script.in_millis(1_000);
    log.push((
        turn,
        Event::Turn(TurnEvent::ApprovalAsked { call, name, about: ApprovalAbout::Run, expires_at }),
    ));
    log
}

#[test]
fn a_decision_that_comes_before_the_agent_listens_is_kept() {
    let mut script = SessionScript::after(&parked(&SessionScript::new()));
    let later = script.in_millis(60_000);
    script
        .on(decide("d", "c-1", true), &["append 6: approval_settled(Approved)"])
        .on(SAVED, &["d: done at 6", "publish 6"])
        .on(ask("t-0", "c-1", later, "w", Some("q")), &["w: Approved", "q: at 6"]);
}

#[test]
fn a_question_that_stood_before_a_restart_keeps_its_deadline() {
    let mut script = SessionScript::after(&parked(&SessionScript::new()));
    assert_eq!(script.timeout(), Some(1_000));
    let later = script.in_millis(60_000);
    script.on(ask("t-0", "c-1", later, "w", Some("q")), &["q: at 5"]).wait(1_000);
    script
        .on(TIME, &["append 6: approval_settled(Expired)"])
        .on(SAVED, &["w: Expired", "publish 6"]);
}

#[test]
fn more_questions_than_may_be_open_are_not_asked() {
    let options = thoughtwire_session::SessionOptions { open_approvals: 1, ..OPTIONS };
    let mut script = SessionScript::with(ScriptHost::default(), options);
    let later = script.in_millis(60_000);
    script
        .skip(send("s1"))
        .skip(calls("t-1", "a1", &["c-1", "c-2"]))
        .skip(ask("t-1", "c-1", later, "w1", None))
        .on(ask("t-1", "c-2", later, "w2", Some("q2")), &["w2: not asked", "q2: refused"])
        .skip(decide("d", "c-1", true))
        .on(ask("t-1", "c-2", later, "w2", None), &["append 8: approval_asked"]);
}

#[test]
fn a_question_about_a_call_that_is_not_open_ends() {
    let mut script = with_calls(&[]);
    let later = script.in_millis(60_000);
    script.on(ask("t-1", "c-9", later, "w", Some("q")), &["q: illegal", "w: ended"]);
}

#[test]
fn a_question_that_could_not_be_saved_does_not_expire_again_and_again() {
    let mut script = with_calls(&["c-1"]);
    let later = script.in_millis(1_000);
    let mut log = parked(&script);
    log.pop();
    script
        .skip(ask("t-1", "c-1", later, "w", None))
        .on(failed(RefusalCode::StoreFailed), &["discard", "reload"])
        .wait(5_000)
        .on(TIME, &[]);
    assert_eq!(script.timeout(), None, "nothing is due before the state is read");
    log[1].0 = Some("t-1");
    log[2].0 = Some("t-1");
    script.on(reloaded(&log), &["show status \"the disk failed\"", "drop turn", "w: ended"]);
    assert_eq!(script.timeout(), Some(1_000), "only the turn's end is due");
    let _turn: TurnId = "t-1".parse().unwrap();
    script.wait(1_000).on(TIME, &["append 5-6: tool_returned(unknown) turn_ended(store_failed)"]);
}
