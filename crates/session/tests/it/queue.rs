//! The queue: which input runs next, and with whose permit.

use thoughtwire_proto::{Policy, RefusalCode, SessionCommand};
use thoughtwire_session::{SessionInput, SessionRequest};

use crate::script::{
    OPTIONS, SAVED, ScriptHost, SessionScript, cancel, command, exited, finish, send, send_as,
    withdraw,
};

/// A session whose agent workers run, with free permits.
fn offered(free: &[u8]) -> SessionScript {
    let free = free.iter().copied().collect();
    SessionScript::with(ScriptHost { is_offered: true, free, ..ScriptHost::default() }, OPTIONS)
}

#[test]
fn an_input_is_withdrawn_before_it_starts_or_not_at_all() {
    SessionScript::new()
        .skip(send("s1"))
        .skip(send("s2"))
        .on(withdraw("w1", "i-2"), &["append 5: input_withdrawn"])
        .on(withdraw("w2", "i-2"), &["w2: unknown_input"])
        .on(withdraw("w3", "i-1"), &["w3: unknown_input"])
        // It does not run.
        .on(exited("t-1"), &["append 6: turn_ended(Completed)", "drop turn"]);
    SessionScript::new()
        .skip(send("s1"))
        .skip(send("s2"))
        .skip(exited("t-1"))
        .on(withdraw("w", "i-2"), &["w: unknown_input"]);
}

#[test]
fn policies_decide_while_a_turn_runs() {
    SessionScript::new()
        .skip(send("s1"))
        .on(send_as("s2", Policy::Reject), &["s2: turn_running"])
        .skip(send("s3"))
        .skip(send("s4"))
        .on(send("s5"), &["s5: queue_full"])
        .on(send_as("s6", Policy::Steer), &["append 6: user_message"]);
}

#[test]
fn an_input_without_words_is_refused() {
    let (text, attachments) = ("  ".to_owned(), Vec::new());
    let action = SessionCommand::Send { text, attachments, policy: Policy::Queue };
    SessionScript::new().on(command("s1", None, action), &["s1: empty_text"]);
}

#[test]
fn without_a_permit_an_input_waits_until_one_is_given() {
    let mut script = offered(&[]);
    script
        .on(send("s1"), &["append 2: user_message"])
        .on(SAVED, &["s1: queued at 2", "publish 2"])
        .on(SessionInput::PermitGiven, &[]);
    script.core.host_mut().free.push_back(7);
    script
        .on(
            SessionInput::PermitGiven,
            &["append 3: turn_started", "standing none", "start t-1 on \"hello\" with permit 7"],
        )
        .on(SessionInput::PermitGiven, &[]);
}

#[test]
fn a_permit_that_is_free_starts_the_turn_with_its_input() {
    offered(&[7]).on(
        send("s1"),
        &[
            "append 2-3: user_message turn_started",
            "standing none",
            "start t-1 on \"hello\" with permit 7",
        ],
    );
}

#[test]
fn the_next_turn_takes_the_permit_over_unless_others_wait() {
    let mut script = offered(&[7]);
    script.skip(send("s1")).skip(send("s2"));
    script.core.host_mut().kept = Some(7);
    script.on(
        exited("t-1"),
        &[
            "append 5-6: turn_ended(Completed) turn_started",
            "drop turn",
            "standing none",
            "start t-2 on \"hello\" with permit 7",
        ],
    );
    let mut script = offered(&[7]);
    script.skip(send("s1")).skip(send("s2"));
    script.core.host_mut().kept = Some(7);
    script.core.host_mut().is_wanted = true;
    script.on(exited("t-1"), &["append 5: turn_ended(Completed)", "drop turn"]);
}

#[test]
fn an_interrupt_takes_the_permit_over_although_others_wait() {
    let mut script = offered(&[7]);
    script.skip(send("s1"));
    script.core.host_mut().kept = Some(7);
    script.core.host_mut().is_wanted = true;
    script.on(
        send_as("s2", Policy::Interrupt),
        &[
            "append 4-6: user_message turn_ended(interrupted) turn_started",
            "drop turn",
            "standing none",
            "start t-2 on \"hello\" with permit 7",
        ],
    );
}

#[test]
fn an_input_that_is_withdrawn_needs_its_permit_no_more() {
    let mut script = offered(&[]);
    script.skip(send("s1")).skip(withdraw("w", "i-1"));
    script.core.host_mut().free.push_back(7);
    script.on(SessionInput::PermitGiven, &[]);
    assert_eq!(script.core.host_mut().free.len(), 1, "the permit is not taken");
}

#[test]
fn an_embedder_runs_its_turn_and_ends_it_by_letting_go() {
    let begin =
        |reply| SessionInput::Request(SessionRequest::Begin { text: "hello".to_owned(), reply });
    SessionScript::new()
        .on(begin("b1"), &["append 2-3: user_message turn_started", "start t-1 on \"hello\" by b1"])
        .on(begin("b2"), &["b2: turn_running"])
        .on(send("s1"), &["append 4: user_message"])
        // The interface was dropped.
        .on(
            exited("t-1"),
            &[
                "append 5-6: turn_ended(Completed) turn_started",
                "drop turn",
                "standing none",
                "start t-2 on \"hello\"",
            ],
        );
}

#[test]
fn a_hub_at_rest_takes_no_inputs() {
    let options = thoughtwire_session::SessionOptions { resting: true, ..OPTIONS };
    let mut script = SessionScript::with(ScriptHost::default(), options);
    script
        .on(send("s1"), &[&format!("s1: {}", RefusalCode::Stopping.as_str())])
        .on(
            command("r", None, SessionCommand::Rename { title: "Tea".to_owned() }),
            &["append 2: session_renamed"],
        )
        .on(cancel("c"), &["c: no_turn"])
        .on(finish("t-1", "f"), &["f: ended"]);
}

#[test]
fn instructions_that_stay_the_same_leave_no_event() {
    let instruct = |reply, words: &str| {
        command(reply, None, SessionCommand::Instruct { instructions: words.to_owned() })
    };
    SessionScript::new()
        .on(instruct("n1", ""), &["n1: done"])
        .on(instruct("n2", "Be brief."), &["append 2: instructions_changed"])
        .on(instruct("n3", "Be brief."), &["n3: done"]);
}
