//! Turns that a crash, a stop or a lost worker interrupted.

use std::time::Duration;

use thoughtwire_proto::{
    ApprovalAbout, Event, Policy, Record, ResumeReason, Seq, Timestamp, TurnEvent, Verdict,
};
use thoughtwire_session::{SessionInput, SessionRequest, TurnVerb, time_spent};

use crate::script::{
    OPTIONS, SAVED, ScriptHost, SessionScript, TIME, TurnLeft, agent, answer, ask_about, asked,
    broke, calls, cancel, delta, exited, rest, send, send_as,
};

/// A log whose turn was resumed so often, with a call that was running.
fn running(attempt: u32) -> Vec<(Option<&'static str>, Event)> {
    let turn = Some("t-0");
    let mut log = asked(turn);
    let (call, name, args) = ("c-1".parse().unwrap(), "dig".to_owned(), serde_json::Map::new());
    log.push((turn, Event::Turn(TurnEvent::ToolCalled { call, name, args })));
    let reason = ResumeReason::Restart;
    log.extend((1..=attempt).map(|attempt| {
        let resumed = TurnEvent::Resumed { attempt, reason };
        (turn, Event::Turn(resumed))
    }));
    log
}

fn crashed(attempt: u32) -> (SessionScript, Vec<String>) {
    SessionScript::interrupted(&running(attempt), ScriptHost::default(), TurnLeft::default())
}

#[test]
fn a_turn_that_a_crash_interrupted_goes_on_at_once() {
    let (mut script, lines) = crashed(0);
    assert_eq!(
        lines,
        ["append 5: turn_resumed(1 Restart)", "standing none", "start t-0 on \"before\""]
    );
    script.on(SAVED, &["publish 5"]).on(
        exited("t-0"),
        &["append 6-7: tool_returned(unknown) turn_ended(Completed)", "drop turn"],
    );
}

#[test]
fn pauses_before_a_turn_goes_on_grow_and_inputs_wait_meanwhile() {
    for (attempt, pause) in [(1, 5_000), (2, 30_000)] {
        let (mut script, lines) = crashed(attempt);
        assert_eq!((lines.len(), script.timeout()), (0, Some(pause)));
        let head = 4 + u64::from(attempt);
        let queued = format!("append {}: user_message", head + 1);
        script.on(send("s1"), &[&queued]).skip(SAVED);
        let resumed = format!("append {}: turn_resumed({} Restart)", head + 2, attempt + 1);
        script
            .wait(u64::try_from(pause).unwrap() - 1)
            .on(TIME, &[])
            .wait(1)
            .on(TIME, &[&resumed, "standing none", "start t-0 on \"before\""]);
    }
}

#[test]
fn a_turn_that_is_interrupted_again_and_again_fails_and_the_next_one_starts() {
    let (mut script, lines) = crashed(3);
    assert_eq!(
        lines,
        ["append 8-9: tool_returned(unknown) turn_ended(crash_loop)", "drop turn"][..1]
    );
    script.on(SAVED, &["publish 8-9"]).on(
        send("s1"),
        &["append 10-11: user_message turn_started", "standing none", "start t-1 on \"hello\""],
    );
}

#[test]
fn a_planned_stop_does_not_count_as_a_crash() {
    let left = TurnLeft { was_stopped: true, ..TurnLeft::default() };
    let (_, lines) = SessionScript::interrupted(&running(3), ScriptHost::default(), left);
    assert_eq!(lines[0], "append 8: turn_resumed(3 Restart)");
}

#[test]
fn an_agent_may_want_its_turns_to_end() {
    let host = ScriptHost { ends_interrupted: true, ..ScriptHost::default() };
    let (_, lines) = SessionScript::interrupted(&running(0), host, TurnLeft::default());
    assert_eq!(lines, ["append 5-6: tool_returned(unknown) turn_ended(server_stopped)"]);
}

#[test]
fn a_turn_can_be_cancelled_and_joined_while_it_waits_to_go_on() {
    let (mut script, _) = crashed(1);
    script
        .on(send_as("s1", Policy::Steer), &["append 6: user_message"])
        .skip(SAVED)
        .on(cancel("c"), &["append 7-8: tool_returned(unknown) turn_ended(cancelled)"])
        .wait(60_000)
        .on(TIME, &[]);
    assert_eq!(script.timeout(), None);
}

#[test]
fn a_stop_leaves_a_turn_open_with_its_text() {
    let mut script = SessionScript::new();
    script.skip(send("s1")).skip(SAVED).skip(delta("t-1", "m", "Half"));
    let stop = script.stop_in(0);
    script
        .on(stop, &["append 4: message(Half…)", "drop turn"])
        .on(SAVED, &["publish 4", "end stopped"]);
    let (mut waiting, _) = crashed(1);
    let stop = waiting.stop_in(5_000);
    waiting.on(stop, &["end stopped"]);
}

#[test]
fn an_embedders_turn_ends_with_a_stop() {
    let mut script = SessionScript::new();
    let text = "hello".to_owned();
    script.skip(SessionInput::Request(SessionRequest::Begin { text, reply: "b" }));
    let stop = script.stop_in(0);
    script.on(stop, &["append 4: turn_ended(server_stopped)", "drop turn"]);
}

fn resume(reply: &'static str) -> SessionInput<ScriptHost> {
    agent("t-1", TurnVerb::Resume { reason: ResumeReason::WorkerLost, reply })
}

#[test]
fn another_worker_takes_a_turn_over_until_that_happens_too_often() {
    let mut script = SessionScript::new();
    script.skip(send("s1")).skip(SAVED).skip(delta("t-1", "m", "Half"));
    script
        .on(resume("r1"), &["append 4-5: message(Half…) turn_resumed(1 WorkerLost)"])
        .on(SAVED, &["r1: at 5", "publish 4-5"])
        .skip(resume("r2"))
        .skip(SAVED)
        .skip(resume("r3"))
        .skip(SAVED)
        .on(resume("r4"), &["r4: refused"]);
}

/// A turn that streams the rest of a text.
fn continuing() -> SessionScript {
    let mut script = SessionScript::new();
    script
        .skip(send("s1"))
        .skip(SAVED)
        .on(rest("t-1", "n", " a", "m"), &["show delta n.0 \" a\" continues m"])
        .on(rest("t-1", "n", " sen", "m"), &["show delta n.1 \" sen\""]);
    script
}

#[test]
fn a_continuation_that_is_cut_names_what_it_continues() {
    let cut = "message( a sen… continues m)";
    for (input, end) in [
        (cancel("c"), "turn_ended(cancelled)"),
        (broke("t-1"), "turn_ended(told_to)"),
        (exited("t-1"), "turn_ended(Completed)"),
        (resume("r"), "turn_resumed(1 WorkerLost)"),
    ] {
        assert_eq!(continuing().take(input)[0], format!("append 4-5: {cut} {end}"));
    }
    let superseded = continuing().take(send_as("s2", Policy::Interrupt));
    assert_eq!(
        superseded[0],
        format!("append 4-7: user_message {cut} turn_ended(interrupted) turn_started")
    );
    let mut stopped = continuing();
    let stop = stopped.stop_in(0);
    assert_eq!(stopped.take(stop)[0], format!("append 4: {cut}"));
    // A crash leaves the checkpoint.
    continuing().wait(900).on(TIME, &["checkpoint \" a sen\" continues m"]);
}

#[test]
fn an_item_without_text_leaves_nothing_and_begins_again() {
    let mut script = SessionScript::new();
    script.skip(send("s1")).skip(SAVED).skip(rest("t-1", "n", "", "m")).wait(900).on(TIME, &[]);
    script
        .on(resume("r"), &["append 4: turn_resumed(1 WorkerLost)"])
        .skip(SAVED)
        .on(rest("t-1", "n", " a", "m"), &["show delta n.0 \" a\" continues m"]);
}

/// The owner is asked whether a call is made again.
fn asked_again() -> SessionScript {
    let mut script = SessionScript::with(ScriptHost::default(), OPTIONS);
    script.skip(send("s1")).skip(SAVED).skip(calls("t-1", "a1", &["c-1"])).skip(SAVED);
    let later = script.in_millis(60_000);
    let question = ask_about("t-1", "c-1", ApprovalAbout::Retry, later, ("w", None));
    script.skip(question).skip(SAVED);
    script
}

#[test]
fn each_answer_about_an_unknown_outcome_gives_the_call_its_account() {
    asked_again()
        .on(
            answer("d", "c-1", Verdict::Approved, None),
            &["append 6-7: approval_settled(Approved) tool_retried(1 Approved)"],
        )
        .on(SAVED, &["d: done at 6", "w: Approved", "publish 6-7"]);
    asked_again()
        .on(
            answer("d", "c-1", Verdict::Done, Some("a hole")),
            &["append 6-7: approval_settled(Done) tool_returned(a hole)"],
        )
        .on(SAVED, &["d: done at 6", "w: returned Success", "publish 6-7"]);
    let mut failed = asked_again();
    failed.skip(answer("d", "c-1", Verdict::Denied, None));
    failed.on(SAVED, &["d: done at 6", "w: returned Error", "publish 6-7"]);
    asked_again()
        .wait(60_000)
        .on(TIME, &["append 6-7: approval_settled(Expired) tool_returned(unknown)"])
        .on(SAVED, &["w: returned Unknown", "publish 6-7"]);
}

#[test]
fn only_a_call_whose_outcome_is_unknown_can_be_done() {
    let mut script = asked_again();
    script
        .on(answer("d", "c-1", Verdict::Approved, Some("a hole")), &["d: bad_request"])
        .skip(answer("d", "c-1", Verdict::Approved, None))
        .skip(SAVED);
    let later = script.in_millis(60_000);
    script
        .skip(ask_about("t-1", "c-1", ApprovalAbout::Run, later, ("w", None)))
        .on(answer("d", "c-1", Verdict::Done, None), &["d: bad_request"]);
}

#[test]
fn time_that_a_turn_ran_before_counts() {
    let left = TurnLeft { time_spent: Duration::from_secs(3_590), ..TurnLeft::default() };
    let (mut script, _) = SessionScript::interrupted(&running(0), ScriptHost::default(), left);
    assert_eq!(script.timeout(), Some(10_000));
    script
        .wait(10_000)
        .on(TIME, &["append 6-7: tool_returned(unknown) turn_ended(turn_limit)", "drop turn"]);
}

#[test]
fn time_of_a_turn_that_was_ended_does_not_count_for_the_next_one() {
    let left = TurnLeft { time_spent: Duration::from_secs(3_590), ..TurnLeft::default() };
    let (mut script, _) = SessionScript::interrupted(&running(3), ScriptHost::default(), left);
    script.skip(SAVED).skip(send("s1")).skip(SAVED);
    assert_eq!(script.timeout(), Some(3_600_000));
}

#[test]
fn waits_and_interruptions_are_not_time_spent() {
    let at = |seconds: i64, event: TurnEvent| Record {
        seq: Seq(1),
        at: Timestamp::from_millis(seconds * 1_000),
        turn: None,
        event: Event::Turn(event),
    };
    let (call, name, about) = ("c-1".parse().unwrap(), "dig".to_owned(), ApprovalAbout::Run);
    let expires_at = Timestamp::from_millis(0);
    let records = [
        at(10, TurnEvent::Started { input: "i-1".parse().unwrap() }),
        at(12, TurnEvent::ToolCalled { call, name: name.clone(), args: serde_json::Map::new() }),
        at(13, TurnEvent::ApprovalAsked { call: "c-1".parse().unwrap(), name, about, expires_at }),
        at(
            900,
            TurnEvent::ApprovalSettled {
                call: "c-1".parse().unwrap(),
                decision: thoughtwire_proto::Decision::Approved,
                by: None,
            },
        ),
        at(5_000, TurnEvent::Resumed { attempt: 1, reason: ResumeReason::Restart }),
        at(5_004, TurnEvent::Usage(thoughtwire_proto::Usage::default())),
    ];
    assert_eq!(time_spent(&records, OPTIONS.turn_within), Duration::from_secs(3 + 4));
}

/// How long a turn has run whose records have these times, in seconds.
fn spent_by(seconds: &[i64], limit: u64) -> u64 {
    let records = seconds.iter().map(|seconds| Record {
        seq: Seq(1),
        at: Timestamp::from_millis(seconds * 1_000),
        turn: None,
        event: Event::Turn(TurnEvent::Usage(thoughtwire_proto::Usage::default())),
    });
    time_spent(&records.collect::<Vec<_>>(), Duration::from_secs(limit)).as_secs()
}

#[test]
fn a_wall_clock_that_jumps_does_not_use_up_a_turns_time() {
    let (hour, year) = (3_600, 365 * 86_400);
    assert_eq!(spent_by(&[0, 500, 1_000], 6 * 3_600), 1_000);
    assert_eq!(spent_by(&[0, 60, 60 + 5 * hour, 90 + 5 * hour], 6 * 3_600), 60 + 600 + 30);
    assert_eq!(spent_by(&[0, 60, 60 + year, 90 + year], 6 * 3_600), 60 + 30);
    assert_eq!(spent_by(&[year, year + 60, 0, 30], 6 * 3_600), 60 + 30);
    assert_eq!(spent_by(&[0, 8, 100, 101], 10), 8 + 1);
    assert_eq!(spent_by(&[0, i64::MAX / 1_000, 5], 10), 0);
}

#[test]
fn a_wall_clock_that_jumps_ends_no_turn_of_this_process() {
    let (mut script, _) = crashed(0);
    script.skip(SAVED).jump(100 * 86_400_000).on(TIME, &[]);
    assert_eq!(script.timeout(), Some(3_600_000));
    script.jump(-200 * 86_400_000).on(TIME, &[]);
    assert_eq!(script.timeout(), Some(3_600_000));
}
