//! Conversations that are longer than their model's window.

use thoughtwire_agent::{AgentOptions, Chat, ModelError, Piece, Purpose};
use thoughtwire_proto::{Event, InputEvent, Style};

use crate::home::{Home, Script, done, options, text};

fn small() -> AgentOptions {
    AgentOptions { context_window: 3_000, ..options("offline") }
}

#[tokio::test]
async fn ten_windows_long_it_still_answers_from_its_beginning_by_search() {
    let home = Home::new(small()).await;
    let (_, session) = home.agent("tess", Style::Native).await;
    assert_eq!(
        home.say(&session, "say: The treasure lies under the third palm of Skull Island")
            .await
            .end()
            .0,
        "Completed"
    );
    // About 30,000 tokens, where the window has 3,000.
    let mut compactions = 0;
    for n in 0..60 {
        let told =
            home.say(&session, &format!("say: {n} {}", "about nothing at all ".repeat(48))).await;
        assert_eq!(told.end().0, "Completed", "{:?}", told.end());
        compactions += told.kinds().iter().filter(|kind| **kind == "compacted").count();
    }
    assert!(compactions > 3, "{compactions}");
    let told = home.say(&session, "What did I say about the treasure?").await;
    assert_eq!(told.called(), ["conversation_search"]);
    assert!(told.message().contains("third palm of Skull Island"), "{}", told.message());
    // All of it is still in the log, and in order.
    let stored = home.hub.store().directory().session(&session).await.unwrap().unwrap();
    let all = home
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
async fn a_summary_stands_for_what_it_covers_and_is_carried_on() {
    let long = "x".repeat(1_500);
    let mut replies = Vec::new();
    for _ in 0..20 {
        replies.push(text(&long));
    }
    let script = Script::summing(replies, "They spoke of tea.");
    let home = Home::scripted(&script, small()).await;
    let (_, session) = home.agent("tess", Style::Native).await;
    for n in 0..12 {
        assert_eq!(home.say(&session, &format!("question {n}")).await.end().0, "Completed");
    }
    let prompts = script.prompts();
    let summaries: Vec<_> =
        prompts.iter().filter(|prompt| prompt.purpose == Purpose::Summary).collect();
    assert!(summaries.len() > 1);
    let Chat::User(second) = &*summaries[1].chat[0] else { panic!("no text to sum up") };
    assert!(second.contains("They spoke of tea."), "the summary before is taken up: {second}");
    let last = prompts.last().unwrap();
    assert!(
        matches!(&*last.chat[0], Chat::Note(text) if text.contains("They spoke of tea.")),
        "{:?}",
        last.chat[0]
    );
    // What follows a summary begins with a question, also in the turn that made it: providers insist on that.
    for prompt in prompts.iter().filter(|prompt| {
        prompt.purpose == Purpose::Turn && matches!(*prompt.chat[0], Chat::Note(_))
    }) {
        assert!(matches!(&*prompt.chat[1], Chat::User(_)), "{:?}", prompt.chat[1]);
    }
    for prompt in prompts.iter().filter(|prompt| prompt.purpose == Purpose::Turn) {
        assert!(prompt.tokens() <= 3_000, "{}", prompt.tokens());
    }
    // A restart finds the summary again.
    let state = home.hub.store().directory().session(&session).await.unwrap().unwrap().state;
    assert!(state.compaction().is_some_and(|compaction| compaction.through < compaction.seq));
}

#[tokio::test]
async fn without_a_summary_the_oldest_turns_are_left_out_and_no_turn_fails() {
    let long = "x".repeat(1_500);
    let broken = || vec![Err(ModelError::Failed("no".to_owned()))];
    let mut replies = Vec::new();
    for _ in 0..12 {
        replies.push(vec![Ok(Piece::Message(long.clone())), Ok(done())]);
    }
    let script = Script::of_results(replies).with_summaries(broken);
    let home = Home::scripted(&script, small()).await;
    let (_, session) = home.agent("tess", Style::Native).await;
    for n in 0..12 {
        assert_eq!(home.say(&session, &format!("question {n}")).await.end().0, "Completed");
    }
    let prompts = script.prompts();
    let last = prompts.last().unwrap();
    assert!(matches!(&**last.chat.last().unwrap(), Chat::User(text) if text == "question 11"));
    assert!(last.tokens() <= 3_000);
}

#[tokio::test]
async fn a_turn_that_is_too_long_by_itself_is_shortened_in_the_prompt_only() {
    let script = Script::summing([text(&"ä".repeat(10_000)), text("Short.")], "In short.");
    let home = Home::scripted(&script, small()).await;
    let (_, session) = home.agent("tess", Style::Native).await;
    assert_eq!(home.say(&session, "a long one").await.message().len(), 20_000);
    assert_eq!(home.say(&session, &"a long question ".repeat(2_000)).await.end().0, "Completed");
    let prompts = script.prompts();
    assert!(prompts.last().unwrap().tokens() <= 3_000, "{}", prompts.last().unwrap().tokens());
}

#[tokio::test]
async fn a_provider_that_finds_the_prompt_too_long_is_asked_with_a_shorter_one() {
    let long = "x".repeat(1_500);
    let ok = |text: &str| vec![Ok(Piece::Message(text.to_owned())), Ok(done())];
    let too_long = vec![Err(ModelError::TooLong("too long".to_owned()))];
    let replies = vec![ok(&long), ok(&long), ok(&long), too_long, ok("Fine.")];
    let script = Script::of_results(replies)
        .with_summaries(|| vec![Ok(Piece::Message("In short.".to_owned())), Ok(done())]);
    let home =
        Home::scripted(&script, AgentOptions { context_window: 6_000, ..options("offline") }).await;
    let (_, session) = home.agent("tess", Style::Native).await;
    for n in 0..3 {
        home.say(&session, &format!("question {n}")).await;
    }
    let told = home.say(&session, "and now?").await;
    assert_eq!((told.end().0.as_str(), told.message().as_str()), ("Completed", "Fine."));
}

#[tokio::test]
async fn long_questions_with_short_answers_are_summed_up_in_parts_that_fit() {
    let replies = (0..12).map(|_| text("Yes."));
    let script = Script::summing(replies, "They asked much.");
    let home = Home::scripted(&script, small()).await;
    let (_, session) = home.agent("tess", Style::Native).await;
    for n in 0..12 {
        let question = format!("question {n} {}", "what about it ".repeat(120));
        assert_eq!(home.say(&session, &question).await.end().0, "Completed");
    }
    let prompts = script.prompts();
    let summaries: Vec<_> =
        prompts.iter().filter(|prompt| prompt.purpose == Purpose::Summary).collect();
    assert!(!summaries.is_empty());
    for summary in summaries {
        assert!(summary.tokens() <= 3_000, "{}", summary.tokens());
    }
}
