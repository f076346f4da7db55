//! A turn ends exactly once, whatever comes at the same time.

use thoughtwire_proto::{Event, Policy, TurnEvent, Usage};
use thoughtwire_session::{AgentError, AgentExit, SessionInput, TurnVerb};

use crate::script::{
    OPTIONS, SAVED, ScriptHost, SessionScript, TIME, agent, broke, calls, cancel, client_runs,
    delta, exited, finish, say, send, send_as,
};

#[test]
fn cancel_comes_before_the_agent_returns() {
    SessionScript::new()
        .skip(send("s1"))
        .on(cancel("c"), &["append 4: turn_ended(cancelled)", "drop turn"])
        .on(exited("t-1"), &[])
        .on(finish("t-1", "f"), &["f: ended"])
        .on(cancel("c2"), &["c2: no_turn"])
        .on(SAVED, &["s1: started at 2", "publish 2-3"])
        .on(SAVED, &["c: done at 4", "publish 4"]);
}

#[test]
fn the_agent_returns_before_cancel_comes() {
    SessionScript::new()
        .skip(send("s1"))
        .on(exited("t-1"), &["append 4: turn_ended(Completed)", "drop turn"])
        .on(cancel("c"), &["c: no_turn"]);
}

#[test]
fn finish_and_return_end_a_turn_once() {
    SessionScript::new()
        .skip(send("s1"))
        .on(finish("t-1", "f"), &["append 4: turn_ended(Completed)", "drop turn", "f: ended"])
        .on(finish("t-1", "f2"), &["f2: ended"])
        .on(exited("t-1"), &[])
        .on(broke("t-1"), &[]);
}

#[test]
fn nothing_of_one_turn_gets_into_the_next() {
    SessionScript::new()
        .skip(send("s1"))
        .skip(send("s2"))
        .on(
            cancel("c"),
            &[
                "append 5-6: turn_ended(cancelled) turn_started",
                "drop turn",
                "standing none",
                "start t-2 on \"hello\"",
            ],
        )
        .on(say("t-1", "a1", true), &["a1: ended"])
        .on(delta("t-1", "m", "boo"), &[])
        .on(finish("t-1", "f1"), &["f1: ended"])
        .on(exited("t-1"), &[])
        .on(exited("t-2"), &["append 7: turn_ended(Completed)", "drop turn"]);
}

#[test]
fn an_end_closes_what_is_open() {
    SessionScript::new()
        .skip(send("s1"))
        .skip(delta("t-1", "m", "Half a sen"))
        .skip(calls("t-1", "a1", &["c-1"]))
        .on(
            broke("t-1"),
            &[
                "append 5-7: message(Half a sen…) tool_returned(unknown) turn_ended(told_to)",
                "drop turn",
            ],
        );
}

#[test]
fn a_panic_and_an_abort_say_so() {
    for (exit, code) in
        [(AgentExit::Panicked, "agent_panicked"), (AgentExit::Aborted, "agent_gone")]
    {
        let turn = "t-1".parse().unwrap();
        SessionScript::new().skip(send("s1")).on(
            SessionInput::AgentExited { turn, exit },
            &[&format!("append 4: turn_ended({code})"), "drop turn"],
        );
    }
}

#[test]
fn an_input_that_joins_before_the_end_keeps_the_turn_going() {
    SessionScript::new()
        .skip(send("s1"))
        .on(send_as("s2", Policy::Steer), &["append 4: user_message"])
        .on(finish("t-1", "f"), &["append nothing: ", "f: 1 steered"])
        .on(finish("t-1", "f2"), &["append 5: turn_ended(Completed)", "drop turn", "f2: ended"]);
}

#[test]
fn an_input_that_comes_after_the_end_starts_a_turn() {
    SessionScript::new().skip(send("s1")).skip(finish("t-1", "f")).on(
        send_as("s2", Policy::Steer),
        &["append 5-6: user_message turn_started", "standing none", "start t-2 on \"hello\""],
    );
}

#[test]
fn a_failed_turn_ends_although_an_input_has_joined() {
    let failed = Some(AgentError::new("lost", "It was lost."));
    let verb = TurnVerb::Finish { events: Vec::new(), failed, on_disk: Some("d"), reply: "f" };
    SessionScript::new()
        .skip(send("s1"))
        .skip(send_as("s2", Policy::Steer))
        .on(agent("t-1", verb), &["append 5: turn_ended(lost)", "drop turn", "f: ended"])
        .skip(SAVED)
        .skip(SAVED)
        .on(SAVED, &["d: at 5", "publish 5"]);
}

#[test]
fn an_interrupt_ends_one_turn_and_starts_the_next_in_one_append() {
    SessionScript::new()
        .skip(send("s1"))
        .skip(send("s2"))
        .on(
            send_as("s3", Policy::Interrupt),
            &[
                "append 5-7: user_message turn_ended(interrupted) turn_started",
                "drop turn",
                "standing none",
                "start t-2 on \"hello\"",
            ],
        )
        // The queued input runs behind the one that interrupted.
        .on(
            exited("t-2"),
            &[
                "append 8-9: turn_ended(Completed) turn_started",
                "drop turn",
                "standing none",
                "start t-3 on \"hello\"",
            ],
        );
}

#[test]
fn an_end_cancels_the_calls_that_wait() {
    let mut script = SessionScript::new();
    let later = script.in_millis(60_000);
    script
        .skip(send("s1"))
        .skip(calls("t-1", "a1", &["c-1", "c-2"]))
        .skip(crate::script::ask("t-1", "c-1", later, "w1", None))
        .skip(client_runs("t-1", "c-2", later, "w2"))
        .on(
            cancel("c"),
            &[
                "w1: ended",
                "w2: ended",
                "append 8-11: approval_settled(Void) tool_returned(abandoned) \
                 tool_returned(unknown) turn_ended(cancelled)",
                "drop turn",
            ],
        );
}

#[test]
fn a_turn_that_takes_too_long_is_ended_and_waiting_does_not_count() {
    let options = thoughtwire_session::SessionOptions {
        turn_within: std::time::Duration::from_millis(300),
        ..OPTIONS
    };
    let mut script = SessionScript::with(ScriptHost::default(), options);
    let later = script.in_millis(60_000);
    script.skip(send("s1")).wait(100).on(TIME, &[]).skip(calls("t-1", "a1", &["c-1"]));
    script.skip(client_runs("t-1", "c-1", later, "w"));
    assert_eq!(script.timeout(), Some(59_900));
    script.wait(10_000).on(TIME, &[]).skip(crate::script::tool_return("r", "c-1"));
    assert_eq!(script.timeout(), Some(200));
    script.wait(199).on(TIME, &[]);
    // The client's result is not on disk yet, so the agent that waits for it hears of the end.
    let ended = ["w: ended", "append 7: turn_ended(turn_limit)", "drop turn"];
    script.wait(1).on(TIME, &ended).on(TIME, &[]);
}

#[test]
fn a_wall_clock_that_jumps_ends_no_turn() {
    let mut script = SessionScript::new();
    script.skip(send("s1")).jump(10 * 365 * 86_400_000).on(TIME, &[]);
    script.jump(-20 * 365 * 86_400_000).on(TIME, &[]);
    assert_eq!(script.timeout(), Some(3_600_000));
}

#[test]
fn what_was_spent_is_written_when_the_agent_did_not_say_so_itself() {
    let spent = || TurnVerb::Spent(Usage { input_tokens: 1, ..Usage::default() });
    SessionScript::new()
        .skip(send("s1"))
        .on(agent("t-1", spent()), &[])
        .on(cancel("c"), &["append 4-5: usage turn_ended(cancelled)", "drop turn"])
        .skip(send("s2"))
        .on(agent("t-2", spent()), &[])
        .on(finish("t-2", "f"), &["append 8: turn_ended(Completed)", "drop turn", "f: ended"]);
}

#[test]
fn an_empty_last_message_is_refused_and_the_turn_goes_on() {
    let empty = Event::Turn(TurnEvent::Message {
        item: "m".parse().unwrap(),
        text: String::new(),
        complete: true,
        continues: None,
    });
    let verb =
        TurnVerb::Finish { events: vec![empty], failed: None, on_disk: Some("d"), reply: "f" };
    SessionScript::new()
        .skip(send("s1"))
        .on(agent("t-1", verb), &["d: illegal", "f: illegal"])
        .on(say("t-1", "a1", false), &["append 4: message", "a1: at 4"]);
}

#[test]
fn an_agent_cannot_say_what_is_the_sessions_to_say() {
    let ended = Event::Turn(TurnEvent::Started { input: "i-9".parse().unwrap() });
    let verb = TurnVerb::Append { events: vec![ended], extras: None, durable: false, reply: "a1" };
    SessionScript::new().skip(send("s1")).on(agent("t-1", verb), &["a1: illegal"]);
}
