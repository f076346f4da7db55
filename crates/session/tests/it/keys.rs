//! Idempotency keys: a command that is sent again takes effect once.

use thoughtwire_proto::{Refusal, RefusalCode, Seq, SessionReply};
use thoughtwire_session::SessionInput;

use crate::script::{SAVED, SessionScript, cancel, failed, reloaded, say, send, send_once};

#[test]
fn a_repetition_joins_the_first_while_that_is_under_way() {
    SessionScript::new()
        .on(
            send_once("s1", "k", "d"),
            &[
                "append 2-3: user_message turn_started with k",
                "standing none",
                "start t-1 on \"hello\"",
            ],
        )
        .on(send_once("s2", "k", "d"), &[])
        .on(send_once("s3", "k", "other"), &["s3: id_reused"])
        .on(SAVED, &["s1: started at 2", "s2: started at 2 again", "publish 2-3"]);
}

#[test]
fn a_repetition_fails_with_the_first() {
    SessionScript::new()
        .skip(send_once("s1", "k", "d"))
        .skip(send_once("s2", "k", "d"))
        .on(
            failed(RefusalCode::StoreUnknown),
            &["s1: store_unknown", "s2: store_unknown", "discard", "reload"],
        )
        // Whether the first took effect is in the store.
        .skip(reloaded(&[]))
        .on(send_once("s3", "k", "d"), &["look up k"]);
}

#[test]
fn a_new_key_needs_no_lookup_and_a_known_one_does() {
    SessionScript::new()
        .skip(send_once("s1", "k", "d"))
        .skip(SAVED)
        .on(send_once("s2", "k2", "d"), &["append 4: user_message with k2"])
        .on(send_once("s3", "k", "d"), &["look up k"]);
}

#[test]
fn commands_behind_a_lookup_keep_their_order_and_the_agent_goes_on() {
    let mut script = SessionScript::with_unknown_keys();
    script
        .on(send_once("s1", "k", "d"), &["look up k"])
        .on(cancel("c"), &[])
        .on(send("s2"), &[])
        .on(
            SessionInput::ReceiptLookedUp(Ok(None)),
            &[
                "append 2-3: user_message turn_started with k",
                "standing none",
                "start t-1 on \"hello\"",
                "append 4: turn_ended(cancelled)",
                "drop turn",
                "append 5-6: user_message turn_started",
                "standing none",
                "start t-2 on \"hello\"",
            ],
        )
        .on(send_once("s3", "k3", "d"), &["look up k3"])
        .on(say("t-2", "a1", false), &["append 7: message", "a1: at 7"])
        .on(SAVED, &["s1: started at 2", "publish 2-3"]);
}

#[test]
fn a_command_that_took_effect_is_answered_and_not_repeated() {
    let answer = SessionReply::Done { seq: Some(Seq(9)), duplicate: true };
    SessionScript::with_unknown_keys()
        .on(send_once("s1", "k", "d"), &["look up k"])
        .on(SessionInput::ReceiptLookedUp(Ok(Some(answer))), &["s1: done at 9 again"])
        .on(send_once("s2", "k", "d"), &["look up k"])
        .on(
            SessionInput::ReceiptLookedUp(Err(Refusal::new(RefusalCode::StoreFailed, "no"))),
            &["s2: store_failed"],
        );
}

#[test]
fn a_lookup_during_which_an_append_failed_waits_for_the_reload() {
    SessionScript::with_unknown_keys()
        .skip(send("s0"))
        .on(send_once("s1", "k", "d"), &["look up k"])
        .on(failed(RefusalCode::StoreFailed), &["s0: store_failed", "discard", "reload"])
        .on(SessionInput::ReceiptLookedUp(Ok(None)), &[])
        .on(reloaded(&[]), &["drop turn", "look up k"])
        .on(
            SessionInput::ReceiptLookedUp(Ok(None)),
            &[
                "append 2-3: user_message turn_started with k",
                "standing none",
                "start t-2 on \"hello\"",
            ],
        );
}

#[test]
fn held_commands_have_a_limit() {
    let mut script = SessionScript::with_unknown_keys();
    script.skip(send_once("s1", "k", "d"));
    for _ in 0..64 {
        assert!(script.core.takes_commands());
        script.on(send("s"), &[]);
    }
    assert!(!script.core.takes_commands());
}
