//! Tickets that one node gives and any node takes, once.

use serde_json::{Value, json};
use tokio_websockets::ClientBuilder;

use super::support::SharedDatabase;
use crate::live::Live;

/// Posts to a node with a key. Gives the answer.
async fn post(node: &Live, key: &str, path: &str, body: &Value) -> Value {
    // A second installation is refused and changes nothing.
    drop(rustls::crypto::ring::default_provider().install_default());
    let request = reqwest::Client::new().post(format!("{}{path}", node.url)).bearer_auth(key);
    let answer = request.json(body).send().await.unwrap();
    assert_eq!(answer.status(), 201, "{path}");
    answer.json().await.unwrap()
}

/// A ticket that a node gives.
async fn ticket(node: &Live, key: &str) -> String {
    let given = post(node, key, "/v1/tickets", &json!({})).await;
    format!("/v1/ws?ticket={}", given["ticket"].as_str().unwrap())
}

/// Whether a ticket opens a connection at a node.
async fn opens(node: &Live, path: &str) -> bool {
    ClientBuilder::from_uri(node.ws(path).parse().unwrap()).connect().await.is_ok()
}

#[tokio::test]
async fn a_ticket_of_one_node_opens_one_connection_at_any_node() {
    let database = SharedDatabase::create();
    let (one, two) = tokio::join!(database.guarded("one"), database.guarded("two"));
    let file = std::fs::read_to_string(database.dir("one").join("server.json")).unwrap();
    let file: Value = serde_json::from_str(&file).unwrap();
    let owner = file["token"].as_str().unwrap();
    let new = json!({"user": "ada", "scopes": ["chat"]});
    let made = post(&one, owner, "/v1/keys", &new).await;
    let key = made["secret"].as_str().unwrap();

    // The other node need not have heard of the key.
    let first = ticket(&one, key).await;
    let mut client = two.connect(&first).await;
    assert_eq!(client.next().await["type"], "welcome");
    let ask = json!({"type": "create_session", "id": "s", "agent": "none"});
    assert_eq!(client.ask(ask).await["code"], "unknown_agent", "no hello is needed");
    assert!(!opens(&one, &first).await && !opens(&two, &first).await);

    for _ in 0..5 {
        let ticket = ticket(&one, key).await;
        let both = tokio::join!(opens(&one, &ticket), opens(&two, &ticket));
        assert!(both.0 != both.1, "{both:?}");
    }

    // A key that is revoked at one node opens nothing at the other.
    let late = ticket(&two, key).await;
    let id = made["key"]["id"].as_str().unwrap();
    let revoke = reqwest::Client::new().delete(format!("{}/v1/keys/{id}", one.url));
    assert_eq!(revoke.bearer_auth(owner).send().await.unwrap().status(), 204);
    assert!(!opens(&one, &late).await);
}
