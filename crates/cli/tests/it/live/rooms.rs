//! Several wires in one session, and walls between sessions.

use serde_json::json;

use super::support::{Live, events};

#[tokio::test]
async fn a_native_and_a_memgpt_client_see_the_same_turn() {
    let live = Live::start().await;
    let (mut native, session) = live.agent("ada", "offline").await;
    native.attach(&session, None).await;
    let mut memgpt = live.connect("/").await;
    memgpt
        .send(json!({"type": "user_message", "message": "what is 6*7?", "agent_name": "ada"}))
        .await;
    let theirs = memgpt.until_type("agent_response_end").await;
    let ours = events(&native.turn().await);
    let said = |kind: &str| ours.iter().filter(|frame| frame["event"]["kind"] == kind).count();
    let shown = |kind: &str| theirs.iter().filter(|frame| frame["message_type"] == kind).count();
    assert_eq!(said("thought"), shown("internal_monologue"));
    assert_eq!(said("message"), shown("assistant_message"));
    assert_eq!(said("tool_called") + said("tool_returned"), shown("function_message"));
    let input = ours.iter().find(|frame| frame["event"]["kind"] == "user_message").unwrap();
    assert_eq!(input["event"]["from"], "memgpt");

    // And the other way round; the one who did not ask gets no start and no end.
    native.send(json!({"type": "send", "session": session, "text": "hello"})).await;
    native.turn().await;
    let frame = memgpt.next().await;
    assert_eq!(frame["type"], "agent_response");
}

#[tokio::test]
async fn the_native_sub_protocol_chooses_the_native_wire_on_any_path() {
    let live = Live::start().await;
    for path in ["/", "/anywhere", "/memgpt"] {
        let uri = live.ws(path).parse().unwrap();
        let builder = tokio_websockets::ClientBuilder::from_uri(uri)
            .add_header(
                "sec-websocket-protocol".parse().unwrap(),
                "other, thoughtwire.v1".parse().unwrap(),
            )
            .unwrap();
        let (socket, response) = builder.connect().await.unwrap();
        assert_eq!(response.headers()["sec-websocket-protocol"], "thoughtwire.v1");
        let mut client = super::support::TestClient { socket };
        assert_eq!(client.next().await["type"], "welcome", "{path}");
    }
}
