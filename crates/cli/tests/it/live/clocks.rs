//! A wall clock that is wrong: ahead, set back, and before 1970.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::rest::{call, http};
use super::shim::FaultyMachine;
use super::support::Live;

const DAY: i64 = 86_400;

async fn first(live: &Live, session: &str) -> u64 {
    let (_, shown) = call(live, "GET", &format!("/v1/sessions/{session}"), &[], None).await;
    shown["first"].as_u64().unwrap()
}

async fn keep(live: &Live, session: &str, what: Value) {
    let path = format!("/v1/sessions/{session}");
    assert_eq!(call(live, "PATCH", &path, &[], Some(what)).await.0, 200);
}

/// Runs a turn in a session.
async fn talk(live: &Live, session: &str) {
    let mut client = live.native().await;
    client.attach(session, None).await;
    client.send(json!({"type": "send", "session": session, "text": "hello"})).await;
    client.turn().await;
}

#[tokio::test]
async fn a_clock_that_jumps_ahead_deletes_nothing_by_its_age() {
    let Some(machine) = FaultyMachine::make() else { return };
    let mut live = machine.serve(&[]).await;
    let (_, old) = live.agent("ada", "load:items=1,bytes=10").await;
    talk(&live, &old).await;
    keep(&live, &old, json!({"keep_days": 1})).await;
    // Shortened by number: it comes behind the other, so that it tells when that was looked at.
    let (_, witness) = live.agent("bob", "load:items=1,bytes=10").await;
    for starts_anew in [false, true] {
        machine.set_clock(400 * DAY);
        if starts_anew {
            live.kill().await;
            live = machine.serve(&[]).await;
        }
        // Records that are written now have the wrong time.
        talk(&live, &old).await;
        let before = first(&live, &witness).await;
        for _ in 0..2 {
            talk(&live, &witness).await;
        }
        keep(&live, &witness, json!({"keep_events": 1})).await;
        while first(&live, &witness).await == before {}
        assert_eq!(first(&live, &old).await, 1, "after a start: {starts_anew}");
        machine.set_clock(0);
    }
}

#[tokio::test]
async fn expired_keys_stay_expired_when_the_clock_is_set_back() {
    let Some(machine) = FaultyMachine::make() else { return };
    let mut live = machine.serve(&["--auth", "keys"]).await;
    let owner = || {
        let file = std::fs::read_to_string(machine.data().join("server.json")).unwrap();
        let file: Value = serde_json::from_str(&file).unwrap();
        file["token"].as_str().unwrap().to_owned()
    };
    let add = async |live: &Live, seconds: Option<u64>| {
        let bearer = format!("Bearer {}", owner());
        let body = json!({"user": "ada", "expires_in_seconds": seconds});
        let (status, made) =
            call(live, "POST", "/v1/keys", &[("authorization", &bearer)], Some(body)).await;
        assert_eq!(status, 201, "{made}");
        made["secret"].as_str().unwrap().to_owned()
    };
    let whoami = async |live: &Live, headers: &[(&str, &str)]| {
        call(live, "GET", "/v1/whoami", headers, None).await.0
    };
    let (short, endless) = (add(&live, Some(3600)).await, add(&live, None).await);
    let login = http().post(format!("{}/v1/login", live.url)).json(&json!({"key": endless}));
    let login = login.send().await.unwrap();
    let cookie =
        login.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let short = format!("Bearer {short}");
    let opens = [("authorization", short.as_str())];
    let logged_in = [("cookie", cookie.as_str())];
    assert_eq!((whoami(&live, &opens).await, whoami(&live, &logged_in).await), (200, 200));
    machine.set_clock(13 * 3600);
    assert_eq!((whoami(&live, &opens).await, whoami(&live, &logged_in).await), (401, 401));
    machine.set_clock(0);
    assert_eq!((whoami(&live, &opens).await, whoami(&live, &logged_in).await), (401, 401));
    assert_eq!(live.terminate().await, Some(0));
    let live = machine.serve(&["--auth", "keys"]).await;
    assert_eq!((whoami(&live, &opens).await, whoami(&live, &logged_in).await), (401, 401));
    // A key that is made now lasts as long as it is to.
    let fresh = format!("Bearer {}", add(&live, Some(3600)).await);
    assert_eq!(whoami(&live, &[("authorization", &fresh)]).await, 200);
    machine.set_clock(2 * 3600);
    assert_eq!(whoami(&live, &[("authorization", &fresh)]).await, 200, "that was seen before");
    machine.set_clock(15 * 3600);
    assert_eq!(whoami(&live, &[("authorization", &fresh)]).await, 401);
}

#[tokio::test]
async fn a_server_does_not_start_before_1970_and_goes_on_when_the_clock_is_set_there() {
    let Some(machine) = FaultyMachine::make() else { return };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let before_1970 = -i64::try_from(now).unwrap() - 365 * DAY;
    for seconds in [before_1970, 9_000 * 365 * DAY] {
        machine.set_clock(seconds);
        let said = machine.refused().await;
        let sentence = "the system's clock shows a time before 1970 or after 9999";
        assert!(said.contains(sentence) && !said.contains("panicked"), "{said}");
    }
    machine.set_clock(0);
    let mut live = machine.serve(&[]).await;
    let (mut client, session) = live.agent("ada", "offline").await;
    client.attach(&session, None).await;
    keep(&live, &session, json!({"keep_days": 1})).await;
    for (id, seconds) in [("m", before_1970), ("n", 0), ("o", before_1970)] {
        machine.set_clock(seconds);
        let text = "what is 6*7?";
        client.send(json!({"type": "send", "id": id, "session": session, "text": text})).await;
        let turn = client.turn().await;
        assert_eq!(turn.last().unwrap()["event"]["outcome"], "completed");
        let at = turn.last().unwrap()["at"].as_str().unwrap();
        assert_eq!(at == "1970-01-01T00:00:00.000Z", seconds != 0, "{at}");
    }
    let asked = client.ask(json!({"type": "create_session", "id": "s", "agent": "ada"})).await;
    assert_eq!(asked["type"], "ack", "{asked}");
    assert_eq!(live.terminate().await, Some(0));
    let said = machine.errors();
    assert!(!said.contains("panicked"), "{said}");
}
