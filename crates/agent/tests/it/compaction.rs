//! Conversations longer than their model's context window.

use thoughtwire_agent::{AgentOptions, ModelError, PromptEntry, Purpose, ReplyPiece};
use thoughtwire_proto::{Event, InputEvent, Style};

use crate::harness::{AgentHarness, ScriptedModel, done, options, text};

fn small() -> AgentOptions {
    AgentOptions { context_window: 3_000, ..options("offline") }
}

#[tokio::test]
async fn a_conversation_of_ten_windows_is_searchable_from_its_beginning() {
    let harness = AgentHarness::new(small()).await;
    let (_, session) = harness.agent("tess", Style::Native).await;
    assert_eq!(
        harness
            .run_turn(&session, "say: The treasure lies under the third palm of Skull Island")
            .await
            .end()
            .0,
        "Completed"
    );
    // About 30,000 tokens; the window has 3,000.
    let mut compactions = 0;
    for n in 0..60 {
        let log = harness
            .run_turn(&session, &format!("say: {n} {}", "about nothing at all ".repeat(48)))
            .await;
        assert_eq!(log.end().0, "Completed", "{:?}", log.end());
        compactions += log.kinds().iter().filter(|kind| **kind == "compacted").count();
    }
    assert!(compactions > 3, "{compactions}");
    let log = harness.run_turn(&session, "What did I say about the treasure?").await;
    assert_eq!(log.called(), ["conversation_search"]);
    assert!(log.message().contains("third palm of Skull Island"), "{}", log.message());
    // The whole conversation is still in the log, in order.
    let stored = harness.hub.store().directory().session(&session).await.unwrap().unwrap();
    let all = harness
        .hub
        .store()
        .logs()
        .records_after(&stored.id, thoughtwire_proto::Seq::ZERO, 10_000)
        .await
        .unwrap();
    assert!(matches!(&all[1].event, Event::Input(InputEvent::UserMessage { text, .. })
            if text.contains("treasure")));
}

#[tokio::test]
async fn a_summary_replaces_the_turns_it_covers_and_is_continued() {
    let long = "x".repeat(1_500);
    let mut replies = Vec::new();
    for _ in 0..20 {
        replies.push(text(&long));
    }
    let script = ScriptedModel::summing(replies, "They spoke of tea.");
    let harness = AgentHarness::scripted(&script, small()).await;
    let (_, session) = harness.agent("tess", Style::Native).await;
    for n in 0..12 {
        assert_eq!(harness.run_turn(&session, &format!("question {n}")).await.end().0, "Completed");
    }
    let prompts = script.prompts();
    let summaries: Vec<_> =
        prompts.iter().filter(|prompt| prompt.purpose == Purpose::Summary).collect();
    assert!(summaries.len() > 1);
    let PromptEntry::User(second) = &*summaries[1].chat[0] else { panic!("no text to sum up") };
    assert!(second.contains("They spoke of tea."), "the earlier summary is continued: {second}");
    let last = prompts.last().unwrap();
    assert!(
        matches!(&*last.chat[0], PromptEntry::Note(text) if text.contains("They spoke of tea.")),
        "{:?}",
        last.chat[0]
    );
    // A summary is followed by a question, also in the turn that made it: providers require that.
    for prompt in prompts.iter().filter(|prompt| {
        prompt.purpose == Purpose::Turn && matches!(*prompt.chat[0], PromptEntry::Note(_))
    }) {
        assert!(matches!(&*prompt.chat[1], PromptEntry::User(_)), "{:?}", prompt.chat[1]);
    }
    for prompt in prompts.iter().filter(|prompt| prompt.purpose == Purpose::Turn) {
        assert!(prompt.tokens() <= 3_000, "{}", prompt.tokens());
    }
    // A restart finds the summary again.
    let state = harness.hub.store().directory().session(&session).await.unwrap().unwrap().state;
    assert!(state.compaction().is_some_and(|compaction| compaction.through < compaction.seq));
}

#[tokio::test]
async fn without_a_summary_the_oldest_turns_are_left_out() {
    let long = "x".repeat(1_500);
    let broken = || vec![Err(ModelError::Failed("no".to_owned()))];
    let mut replies = Vec::new();
    for _ in 0..12 {
        replies.push(vec![Ok(ReplyPiece::Message(long.clone())), Ok(done())]);
    }
    let script = ScriptedModel::of_results(replies).with_summaries(broken);
    let harness = AgentHarness::scripted(&script, small()).await;
    let (_, session) = harness.agent("tess", Style::Native).await;
    for n in 0..12 {
        assert_eq!(harness.run_turn(&session, &format!("question {n}")).await.end().0, "Completed");
    }
    let prompts = script.prompts();
    let last = prompts.last().unwrap();
    assert!(
        matches!(&**last.chat.last().unwrap(), PromptEntry::User(text) if text == "question 11")
    );
    assert!(last.tokens() <= 3_000);
}

#[tokio::test]
async fn an_overlong_turn_is_shortened_in_the_prompt_only() {
    let script = ScriptedModel::summing([text(&"ä".repeat(10_000)), text("Short.")], "In short.");
    let harness = AgentHarness::scripted(&script, small()).await;
    let (_, session) = harness.agent("tess", Style::Native).await;
    assert_eq!(harness.run_turn(&session, "a long one").await.message().len(), 20_000);
    assert_eq!(
        harness.run_turn(&session, &"a long question ".repeat(2_000)).await.end().0,
        "Completed"
    );
    let prompts = script.prompts();
    assert!(prompts.last().unwrap().tokens() <= 3_000, "{}", prompts.last().unwrap().tokens());
}

#[tokio::test]
async fn a_prompt_that_the_provider_finds_too_long_is_shortened() {
    let long = "x".repeat(1_500);
    let ok = |text: &str| vec![Ok(ReplyPiece::Message(text.to_owned())), Ok(done())];
    let too_long = vec![Err(ModelError::TooLong("too long".to_owned()))];
    let replies = vec![ok(&long), ok(&long), ok(&long), too_long, ok("Fine.")];
    let script = ScriptedModel::of_results(replies)
        .with_summaries(|| vec![Ok(ReplyPiece::Message("In short.".to_owned())), Ok(done())]);
    let harness = AgentHarness::scripted(
        &script,
        AgentOptions { context_window: 6_000, ..options("offline") },
    )
    .await;
    let (_, session) = harness.agent("tess", Style::Native).await;
    for n in 0..3 {
        harness.run_turn(&session, &format!("question {n}")).await;
    }
    let log = harness.run_turn(&session, "and now?").await;
    assert_eq!((log.end().0.as_str(), log.message().as_str()), ("Completed", "Fine."));
}

#[tokio::test]
async fn long_questions_are_summarised_in_parts_that_fit() {
    let replies = (0..12).map(|_| text("Yes."));
    let script = ScriptedModel::summing(replies, "They asked much.");
    let harness = AgentHarness::scripted(&script, small()).await;
    let (_, session) = harness.agent("tess", Style::Native).await;
    for n in 0..12 {
        let question = format!("question {n} {}", "what about it ".repeat(120));
        assert_eq!(harness.run_turn(&session, &question).await.end().0, "Completed");
    }
    let prompts = script.prompts();
    let summaries: Vec<_> =
        prompts.iter().filter(|prompt| prompt.purpose == Purpose::Summary).collect();
    assert!(!summaries.is_empty());
    for summary in summaries {
        assert!(summary.tokens() <= 3_000, "{}", summary.tokens());
    }
}
