//! Group commit: what is accepted runs ahead of the disk, and nothing is shown before it is there.

use thoughtwire_proto::RefusalCode;

use crate::script::{
    SAVED, SessionScript, asked, delta, failed, finish, reloaded, say, send, withdraw,
};

const STARTED: &[&str] =
    &["append 2-3: user_message turn_started", "standing none", "start t-1 on \"hello\""];

#[test]
fn the_agent_starts_before_the_disk_and_clients_hear_after_it() {
    SessionScript::new()
        .on(send("s1"), STARTED)
        .on(say("t-1", "a1", false), &["append 4: message", "a1: at 4"])
        .on(SAVED, &["s1: started at 2", "publish 2-3"])
        .on(SAVED, &["publish 4"]);
}

#[test]
fn a_durable_message_is_acknowledged_before_it_is_published() {
    SessionScript::new()
        .skip(send("s1"))
        .on(say("t-1", "a1", true), &["append 4: message"])
        .on(SAVED, &["s1: started at 2", "publish 2-3"])
        .on(SAVED, &["a1: at 4", "publish 4"]);
}

#[test]
fn deltas_wait_behind_the_append_in_front_of_them() {
    let mut script = SessionScript::new();
    script
        .skip(send("s1"))
        .on(delta("t-1", "m", "Once "), &[])
        .on(say("t-1", "a1", false), &["append 4: message", "a1: at 4"])
        .on(delta("t-1", "m", "upon"), &[])
        .on(SAVED, &["s1: started at 2", "publish 2-3, delta m.0 \"Once \""])
        .on(SAVED, &["publish 4, delta m.1 \"upon\""])
        .on(delta("t-1", "m", "."), &["show delta m.2 \".\""]);
    assert!(script.core.is_settled());
}

#[test]
fn at_256_appends_under_way_nothing_more_is_taken() {
    let mut script = SessionScript::new();
    script.skip(send("s1"));
    for _ in 1..256 {
        assert!(script.core.takes_commands() && script.core.takes_agent_messages());
        script.skip(say("t-1", "a", false));
    }
    assert!(!script.core.takes_commands() && !script.core.takes_agent_messages());
    script.skip(SAVED);
    assert!(script.core.takes_commands() && script.core.takes_agent_messages());
}

#[test]
fn emissions_behind_one_append_have_a_limit_too() {
    let mut script = SessionScript::new();
    script.skip(send("s1"));
    for _ in 1..1024 {
        assert!(script.core.takes_agent_messages());
        script.skip(delta("t-1", "m", "."));
    }
    assert!(!script.core.takes_agent_messages());
}

#[test]
fn a_failed_append_takes_all_that_is_behind_it_along() {
    let mut script = SessionScript::new();
    script
        .skip(send("s1"))
        .skip(SAVED)
        .skip(say("t-1", "a1", true))
        .skip(delta("t-1", "m", "Half"))
        .skip(say("t-1", "a2", true))
        .skip(send("s2"))
        .on(
            failed(RefusalCode::StoreFailed),
            &["a1: store_failed", "a2: store_failed", "s2: store_failed", "discard", "reload"],
        );
    assert!(!script.core.takes_agent_messages(), "nothing is numbered against a wrong state");
    // Results that come late are of appends that were given up.
    script.on(SAVED, &[]).on(failed(RefusalCode::StoreFailed), &[]);
}

#[test]
fn workers_and_agents_are_told_why_nothing_was_saved() {
    for code in [
        RefusalCode::StoreUnknown,
        RefusalCode::StoreFull,
        RefusalCode::Stopping,
        RefusalCode::StoreFailed,
    ] {
        let why = format!("a1: {}", code.as_str());
        let refused = format!("s1: {}", code.as_str());
        SessionScript::new()
            .skip(send("s1"))
            .skip(say("t-1", "a1", true))
            .on(failed(code), &[&refused, &why, "discard", "reload"]);
    }
}

#[test]
fn after_a_failure_numbers_go_on_from_the_disk() {
    SessionScript::new()
        .skip(send("s1"))
        .skip(failed(RefusalCode::StoreUnknown))
        // The outcome was unknown: the first append is there after all, without the turn's agent.
        .on(
            reloaded(&asked(None)),
            &["drop turn", "append 3: turn_started", "standing none", "start t-2 on \"before\""],
        )
        .on(say("t-1", "a1", true), &["a1: ended"])
        .on(withdraw("w", "i-0"), &["w: unknown_input"])
        .on(finish("t-2", "f"), &["append 4: turn_ended(Completed)", "drop turn", "f: ended"]);
}

#[test]
fn an_illegal_event_changes_nothing() {
    let mut script = SessionScript::new();
    script
        .skip(send("s1"))
        .on(crate::script::calls("t-1", "a1", &["c-1", "c-1"]), &["a1: illegal"])
        .on(say("t-1", "a2", false), &["append 4: message", "a2: at 4"]);
}
