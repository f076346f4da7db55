//! A disk that fails: the session goes back to what is there, and goes on.

use thoughtwire_proto::{Refusal, RefusalCode};
use thoughtwire_session::{SessionInput, SessionRequest};

use crate::script::{
    SAVED, ScriptHost, SessionScript, TIME, asked, cancel, delta, exited, failed, finish, reloaded,
    reloaded_unseen, say, send,
};

fn checkpoint_failed() -> SessionInput<ScriptHost> {
    SessionInput::CheckpointSettled(Err(Refusal::new(RefusalCode::StoreFailed, "no")))
}

fn unread() -> SessionInput<ScriptHost> {
    SessionInput::Reloaded(Err(Refusal::new(RefusalCode::StoreFailed, "no")))
}

#[test]
fn a_turn_that_is_on_disk_is_ended_after_a_pause() {
    let mut script = SessionScript::new();
    script
        .skip(send("s1"))
        .skip(SAVED)
        .skip(delta("t-1", "m", "Half"))
        .skip(say("t-1", "a1", true))
        .skip(failed(RefusalCode::StoreFailed));
    let log = asked(Some("t-1"));
    script.on(reloaded(&log), &["show status \"the disk failed\"", "drop turn"]);
    // Its agent is silenced, and inputs are refused with the reason until the end is appended.
    script
        .on(exited("t-1"), &[])
        .on(send("s2"), &["s2: store_failed"])
        .wait(999)
        .on(TIME, &["checkpoint \"Half\""])
        .wait(1)
        .on(TIME, &["append 4-5: message(Half…) turn_ended(store_failed) closes a checkpoint"])
        .on(failed(RefusalCode::StoreFailed), &["discard", "reload"]);
    // The disk still fails: the end is tried again.
    script.on(reloaded(&log), &["show status \"the disk failed\""]).wait(1_000);
    script.on(TIME, &["append 4: turn_ended(store_failed)"]).on(SAVED, &["publish 4"]);
}

#[test]
fn what_was_saved_although_nobody_knew_is_published() {
    let log = asked(Some("t-1"));
    SessionScript::new()
        .on(
            send("s1"),
            &["append 2-3: user_message turn_started", "standing none", "start t-1 on \"hello\""],
        )
        .on(failed(RefusalCode::StoreUnknown), &["s1: store_unknown", "discard", "reload"])
        .on(
            reloaded_unseen(&log),
            &["publish 2-3", "show status \"the disk failed\"", "drop turn"],
        );
}

#[test]
fn a_lost_store_ends_the_session_in_memory_and_leaves_the_turn_open() {
    let lost = || SessionInput::StoreLost(Refusal::new(RefusalCode::StoreFailed, "away"));
    SessionScript::new()
        .skip(send("s1"))
        .on(lost(), &["s1: store_failed", "discard", "drop turn", "end store lost"])
        .on(lost(), &[]);
    // A session that reads the log again, or stands still, ends as well.
    SessionScript::new()
        .skip(send("s1"))
        .skip(failed(RefusalCode::StoreFailed))
        .skip(send("s2"))
        .on(lost(), &["discard", "drop turn", "s2: store_failed", "end store lost"]);
    SessionScript::after(&asked(Some("t-1")))
        .on(lost(), &["discard", "drop turn", "end store lost"]);
}

#[test]
fn a_session_that_is_gone_when_it_is_read_again_ends() {
    SessionScript::new()
        .skip(send("s1"))
        .on(failed(RefusalCode::StoreFailed), &["s1: store_failed", "discard", "reload"])
        .on(SessionInput::Reloaded(Ok(None)), &["discard", "drop turn", "end deleted"]);
}

#[test]
fn a_turn_that_is_not_on_disk_is_dropped_and_its_input_runs_again() {
    SessionScript::after(&asked(None))
        .on(say("t-1", "a1", true), &["append 4: message"])
        .on(failed(RefusalCode::StoreFailed), &["a1: store_failed", "discard", "reload"])
        .on(
            reloaded(&asked(None)),
            &["drop turn", "append 3: turn_started", "standing none", "start t-2 on \"before\""],
        );
}

#[test]
fn a_cancelled_turn_that_could_not_be_saved_is_cancelled_again() {
    let mut script = SessionScript::new();
    script
        .skip(send("s1"))
        .skip(SAVED)
        .skip(cancel("c1"))
        .on(failed(RefusalCode::StoreFailed), &["c1: store_failed", "discard", "reload"])
        .on(reloaded(&asked(Some("t-1"))), &["show status \"the disk failed\""])
        .on(cancel("c2"), &["append 4: turn_ended(cancelled)"])
        .on(SAVED, &["c2: done at 4", "publish 4"])
        .wait(2_000)
        .on(TIME, &[]);
}

#[test]
fn while_the_disk_cannot_be_read_it_is_read_again() {
    let mut script = SessionScript::new();
    script
        .skip(send("s1"))
        .on(failed(RefusalCode::StoreFailed), &["s1: store_failed", "discard", "reload"]);
    script.on(unread(), &[]);
    assert_eq!(script.timeout(), Some(1_000));
    // Commands wait for the next attempt, in their order, and the agent is not heard.
    script.on(send("s2"), &[]).on(send("s3"), &[]);
    assert!(!script.core.takes_agent_messages());
    script.wait(1_000).on(TIME, &["reload"]).on(TIME, &[]);
    script.on(unread(), &["s2: store_failed", "s3: store_failed"]);
    script.on(send("s4"), &[]).on(send("s5"), &[]);
    script.wait(1_000).on(TIME, &["reload"]).on(
        reloaded(&[]),
        &[
            "drop turn",
            "append 2-3: user_message turn_started",
            "standing none",
            "start t-2 on \"hello\"",
            "append 4: user_message",
        ],
    );
}

#[test]
fn a_checkpoint_that_is_under_way_is_not_doubled() {
    let mut script = SessionScript::new();
    script.skip(send("s1")).skip(SAVED).skip(delta("t-1", "m", "Half"));
    assert_eq!(script.timeout(), Some(900));
    script.wait(900).on(TIME, &["checkpoint \"Half\""]).skip(delta("t-1", "m", " a"));
    script.wait(900).on(TIME, &[]).skip(delta("t-1", "m", " sen")).wait(900).on(TIME, &[]);
    script.on(SessionInput::CheckpointSettled(Ok(())), &[]).wait(900);
    script.on(TIME, &["checkpoint \"Half a sen\""]).on(
        finish("t-1", "f"),
        &[
            "append 4-5: message(Half a sen…) turn_ended(Completed) closes a checkpoint",
            "drop turn",
            "f: ended",
        ],
    );
}

#[test]
fn a_checkpoint_that_failed_is_repeated_though_nothing_was_added() {
    let mut script = SessionScript::new();
    script.skip(send("s1")).skip(SAVED).skip(delta("t-1", "m", "Half"));
    script.skip(delta("t-1", "m-a1", "wo")).wait(900);
    script.on(TIME, &["checkpoint \"Half\" \"wo\""]).wait(100).on(checkpoint_failed(), &[]);
    assert_eq!(script.timeout(), Some(900));
    script.wait(900).on(TIME, &["checkpoint \"Half\" \"wo\""]);
    // Only what is still open is repeated.
    script.skip(say("t-1", "a1", true)).skip(SAVED).on(checkpoint_failed(), &[]);
    script.wait(900).on(TIME, &["checkpoint \"Half\""]);
    let before = script.timeout();
    script.on(SessionInput::CheckpointSettled(Ok(())), &[]);
    assert_eq!(script.timeout(), before);
    script.wait(900).on(TIME, &[]);
}

#[test]
fn readers_have_open_text_saved_and_share_the_next_checkpoint() {
    let save = |reply| SessionInput::Request(SessionRequest::SaveOpenText { reply });
    let settled = || SessionInput::CheckpointSettled(Ok(()));
    let mut script = SessionScript::new();
    script.on(save("r0"), &["r0: done"]);
    script.skip(send("s1")).skip(SAVED).skip(delta("t-1", "m", "Half"));
    script.on(save("r1"), &["checkpoint \"Half\""]).skip(delta("t-1", "m", " a"));
    script.on(save("r2"), &[]).on(save("r3"), &[]);
    script.on(settled(), &["r1: done", "checkpoint \"Half a\""]);
    script.on(settled(), &["r2: done", "r3: done"]).on(save("r4"), &["r4: done"]);
    script.skip(delta("t-1", "m", " sen")).on(save("r5"), &["checkpoint \"Half a sen\""]);
    script.on(checkpoint_failed(), &["r5: store_failed"]);
}
