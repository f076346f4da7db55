//! A turn that kills the server each time it runs ends, and the server stays up.

use std::sync::Arc;

use serde_json::json;
use thoughtwire_proto::Style;

use super::checks::KilledLog;
use super::fakes::Fakes;
use super::play::{OwnerAnswer, play};
use super::round::{FaultPoint, KillAt, KillRound};
use super::script;
use super::server::KillSite;

/// Number of times that the turn runs: once, and once for each attempt to go on.
const RUNS: usize = 4;

/// Plays a turn that kills the server at the first such point of each run, and checks how it ends.
async fn loop_at(point: FaultPoint, number: usize) {
    let kill = KillAt(point, 1);
    let fakes = Fakes::start(None).await;
    let mut site = KillSite::new(&fakes.host, None);
    let server = site.start().await.expect("it starts");
    let round = Arc::new(KillRound::new(number, Style::Native, site.data(), &[kill; RUNS]));
    round.set_server(server);
    fakes.add(&round);
    let turn = play(&mut site, &round, OwnerAnswer::Again, &json!([])).await;
    assert_eq!(turn.kills, [kill; RUNS]);

    let path = format!("/v1/sessions/{}/events?limit=1000", turn.session);
    let log = KilledLog::new(&site.rest("GET", &path, None).await["events"]);
    log.check_seqs();
    let attempts: Vec<u64> =
        log.of("turn_resumed").map(|event| event["attempt"].as_u64().unwrap()).collect();
    assert_eq!(attempts, [1, 2, 3], "{log}");
    assert_eq!(log.of("turn_started").count(), 1, "{log}");
    let ends: Vec<_> = log.of("turn_ended").collect();
    assert_eq!(ends.len(), 1, "{log}");
    assert_eq!(
        (&ends[0]["outcome"], &ends[0]["code"]),
        (&json!("failed"), &json!("crash_loop")),
        "{log}"
    );
    // A call that was made in each run has one key, and nobody knows whether it returned.
    let effects = round.effects_of(script::TOOLS[0].name);
    let (calls, retries) = (log.of("tool_called").count(), log.of("tool_retried").count());
    if point == FaultPoint::ToolRan {
        assert_eq!((calls, retries, effects.len()), (1, 3, RUNS), "{effects:?} {log}");
        assert!(effects.iter().all(|effect| effect.header == effects[0].header), "{effects:?}");
        let returned = log.of("tool_returned").next().unwrap();
        assert_eq!(returned["status"], "unknown", "{log}");
    } else {
        assert_eq!((calls, retries, effects.len()), (0, 0, 0), "{effects:?} {log}");
    }

    // Another turn of the same session runs on the same server, and the server then stops as told.
    let agent = format!("/v1/agents/{}", turn.agent);
    site.rest("PATCH", &agent, Some(json!({"model": "offline"}))).await;
    let inputs = format!("/v1/sessions/{}/inputs?wait=60", turn.session);
    let answer = site.rest("POST", &inputs, Some(json!({"text": "say: still here"}))).await;
    assert!(answer.to_string().contains("still here"), "{answer}");
    let log = KilledLog::new(&site.rest("GET", &path, None).await["events"]);
    let outcomes: Vec<_> = log.of("turn_ended").map(|event| &event["outcome"]).collect();
    assert_eq!(outcomes, ["failed", "completed"], "{log}");
    let server = round.server().expect("it runs");
    assert_eq!(site.terminate(server).await.code(), Some(0), "{}", site.errors());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_turn_that_always_kills_the_server_ends_after_three_attempts() {
    let kills = [FaultPoint::ModelAsked, FaultPoint::ToolRan];
    let mut loops = tokio::task::JoinSet::new();
    for (number, point) in kills.into_iter().enumerate() {
        loops.spawn(loop_at(point, number));
    }
    while let Some(ended) = loops.join_next().await {
        ended.unwrap();
    }
}
