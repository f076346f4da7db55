//! A stop and a deletion: everything is answered, and nothing starts any more.

use thoughtwire_proto::{Refusal, RefusalCode, SessionCommand};
use thoughtwire_session::SessionInput;

use crate::script::{
    OPTIONS, SAVED, ScriptHost, SessionScript, TIME, calls, client_runs, command, delta, exited,
    failed, reloaded, say, send, send_once, tool_return,
};

fn delete(reply: &'static str) -> SessionInput<ScriptHost> {
    command(reply, None, SessionCommand::Delete)
}

#[test]
fn an_idle_session_stops_at_once() {
    let mut script = SessionScript::new();
    let stop = script.stop_in(5_000);
    script.on(stop, &["end stopped"]);
}

#[test]
fn a_turn_gets_its_time_and_ends_then_if_it_may_not_go_on() {
    let host = ScriptHost { ends_interrupted: true, ..ScriptHost::default() };
    let mut script = SessionScript::with(host, OPTIONS);
    script.skip(send("s1")).skip(SAVED).skip(send("s2")).skip(delta("t-1", "m", "Half"));
    let stop = script.stop_in(5_000);
    script.on(stop, &[]).on(send("s3"), &["s3: stopping"]);
    assert_eq!(script.timeout(), Some(900));
    script
        .wait(5_000)
        .on(
            TIME,
            &[
                "checkpoint \"Half\"",
                "append 5-6: message(Half…) turn_ended(server_stopped) closes a checkpoint",
                "drop turn",
            ],
        )
        .on(say("t-1", "a1", true), &["a1: ended"])
        .on(SAVED, &["s2: queued at 4", "publish 4, delta m.0 \"Half\""])
        .on(SAVED, &["publish 5-6", "end stopped"]);
}

#[test]
fn a_turn_that_ends_within_the_grace_is_the_last() {
    let mut script = SessionScript::new();
    script.skip(send("s1")).skip(send("s2"));
    let stop = script.stop_in(5_000);
    script
        .on(stop, &[])
        .on(exited("t-1"), &["append 5: turn_ended(Completed)", "drop turn"])
        .skip(SAVED)
        .skip(SAVED)
        .on(SAVED, &["publish 5", "end stopped"]);
}

#[test]
fn a_turn_that_waits_for_people_is_left_open() {
    let mut script = SessionScript::new();
    let later = script.in_millis(60_000);
    script
        .skip(send("s1"))
        .skip(calls("t-1", "a1", &["c-1"]))
        .skip(client_runs("t-1", "c-1", later, "w"));
    let stop = script.stop_in(5_000);
    script
        .on(stop, &["drop turn", "w: ended"])
        .on(tool_return("r", "c-1"), &["r: stopping"])
        .skip(SAVED)
        .skip(SAVED)
        .on(SAVED, &["publish 5", "end stopped"]);
}

#[test]
fn a_turn_that_waits_for_people_keeps_its_open_text() {
    let mut script = SessionScript::new();
    let later = script.in_millis(60_000);
    script
        .skip(send("s1"))
        .skip(delta("t-1", "m", "Half"))
        .skip(calls("t-1", "a1", &["c-1"]))
        .skip(client_runs("t-1", "c-1", later, "w"));
    let stop = script.stop_in(5_000);
    script.on(stop, &["append 6: message(Half…)", "drop turn", "w: ended"]);
}

#[test]
fn what_fails_during_a_stop_is_refused_and_not_read_back() {
    let mut script = SessionScript::new();
    script.skip(send("s1"));
    let stop = script.stop_in(0);
    script
        .skip(delta("t-1", "m", "Half"))
        .on(stop, &["append 4: message(Half…)", "drop turn"])
        .on(failed(RefusalCode::StoreFull), &["s1: store_full", "discard", "end stopped"]);
}

#[test]
fn a_stop_does_not_wait_for_a_disk_that_neither_takes_nor_gives() {
    let mut script = SessionScript::new();
    script.skip(send("s1")).skip(failed(RefusalCode::StoreFailed));
    let stop = script.stop_in(5_000);
    script.on(stop, &[]).on(send("s2"), &[]).wait(5_000);
    script.on(TIME, &["drop turn", "s2: stopping", "end stopped"]);
    script.on(reloaded(&[]), &[]);
}

#[test]
fn a_stop_during_a_reload_ends_when_that_is_done() {
    let mut script = SessionScript::new();
    script.skip(send("s1")).skip(failed(RefusalCode::StoreFailed));
    let stop = script.stop_in(5_000);
    script.on(stop, &[]).on(reloaded(&[]), &["drop turn", "end stopped"]);
}

#[test]
fn a_lookup_under_way_is_refused_with_the_stop() {
    let mut script = SessionScript::with_unknown_keys();
    script.skip(send_once("s1", "k", "d")).on(send("s2"), &[]);
    let stop = script.stop_in(0);
    script.on(stop, &["s1: stopping", "s2: stopping", "end stopped"]);
}

#[test]
fn a_deletion_waits_for_what_is_under_way_and_refuses_what_comes() {
    let mut script = SessionScript::new();
    script.skip(send("s1")).on(delete("d1"), &["delete"]);
    assert!(!script.core.takes_agent_messages(), "nothing is appended to what is being deleted");
    script
        .on(delete("d2"), &[])
        .on(send("s2"), &[])
        .on(SAVED, &["s1: started at 2", "publish 2-3"])
        .on(
            SessionInput::Deleted(Ok(())),
            &["d1: done", "drop turn", "d2: unknown_session", "s2: unknown_session", "end deleted"],
        );
}

#[test]
fn a_deletion_that_fails_changes_nothing() {
    let mut script = SessionScript::new();
    script.skip(send("s1")).skip(delete("d1")).on(send("s2"), &[]).on(
        SessionInput::Deleted(Err(Refusal::new(RefusalCode::StoreFailed, "no"))),
        &["d1: store_failed", "append 4: user_message"],
    );
    assert!(script.core.takes_agent_messages());
}

#[test]
fn a_session_that_is_erased_with_its_agent_ends_at_once() {
    SessionScript::new()
        .skip(send("s1"))
        .on(SessionInput::Erased, &["s1: unknown_session", "discard", "drop turn", "end deleted"])
        .on(SAVED, &[])
        .on(send("s2"), &["s2: unknown_session"]);
}

#[test]
fn presence_is_gathered_and_told_once() {
    let mut script = SessionScript::new();
    script.on(SessionInput::PresenceChanged, &[]).wait(50);
    assert!(script.core.is_gathering_presence());
    script.on(SessionInput::PresenceChanged, &[]);
    assert_eq!(script.timeout(), Some(50));
    script
        .wait(50)
        .on(TIME, &["count clients"])
        .on(SessionInput::ClientsCounted(2), &["show presence 2"])
        .on(SessionInput::PresenceChanged, &[])
        .wait(100)
        .on(TIME, &["count clients"])
        .on(SessionInput::ClientsCounted(2), &[]);
}
