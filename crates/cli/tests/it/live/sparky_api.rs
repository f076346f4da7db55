//! REST as Sparky's pages use it.

use serde_json::{Value, json};

use super::access::Guarded;
use super::rest::call;
use super::support::{Live, types};

async fn get(live: &Live, path: &str, headers: &[(&str, &str)]) -> (u16, Value) {
    call(live, "GET", path, headers, None).await
}

/// Opens a chat of a user and says something in it.
async fn chat(live: &Live, connect: Value, text: &str) {
    let mut client = live.sparky(connect).await;
    client.until_type("ready").await;
    client.send(json!({"type": "message", "data": {"text": text}})).await;
    client.until_type("message").await;
}

fn ids(list: &Value) -> Vec<&str> {
    list["chats"]
        .as_array()
        .unwrap_or_else(|| panic!("{list}"))
        .iter()
        .map(|chat| chat["chat_id"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn chats_are_listed_renamed_archived_and_deleted() {
    let live = Live::start().await;
    for id in ["c1", "c2"] {
        let connect = json!({"user_id": "u1", "chat_id": id, "chat_name": format!("Chat {id}")});
        chat(&live, connect, "what is 6*7?").await;
    }
    let all = "/api/user/u1/chats?include_archived=true";
    let (status, list) = get(&live, "/api/user/u1/chats?include_archived=false", &[]).await;
    assert_eq!((status, &list["user_id"], ids(&list)), (200, &json!("u1"), vec!["c2", "c1"]));
    let first = &list["chats"][0];
    assert_eq!((&first["chat_name"], &first["archived"]), (&json!("Chat c2"), &json!(false)));
    assert!(first["created_at"].is_string() && first["updated_at"].is_string(), "{first}");
    let page = get(&live, "/api/user/u1/chats?limit=1&offset=1", &[]).await.1;
    assert_eq!(ids(&page), ["c1"]);

    let one = "/api/user/u1/chats/c1";
    let name = json!({"chat_name": "Tea"});
    let (status, renamed) = call(&live, "PUT", one, &[], Some(name)).await;
    assert_eq!((status, &renamed["chat_name"]), (200, &json!("Tea")), "{renamed}");
    let (status, archived) = call(&live, "POST", &format!("{one}/archive"), &[], None).await;
    assert_eq!((status, archived["archived_at"].is_string()), (200, true), "{archived}");
    assert_eq!(ids(&get(&live, "/api/user/u1/chats", &[]).await.1), ["c2"]);
    let (_, list) = get(&live, all, &[]).await;
    let tea = list["chats"].as_array().unwrap().iter().find(|chat| chat["chat_id"] == "c1");
    let tea = tea.unwrap_or_else(|| panic!("{list}"));
    assert_eq!((&tea["chat_name"], &tea["archived"]), (&json!("Tea"), &json!(true)));
    assert_eq!(call(&live, "POST", &format!("{one}/unarchive"), &[], None).await.0, 200);
    assert_eq!(ids(&get(&live, "/api/user/u1/chats", &[]).await.1).len(), 2);

    let (status, deleted) = call(&live, "DELETE", one, &[], None).await;
    assert_eq!((status, &deleted["chat_id"]), (200, &json!("c1")), "{deleted}");
    assert_eq!(ids(&get(&live, all, &[]).await.1), ["c2"]);
    for (method, path) in [
        ("DELETE", one.to_owned()),
        ("POST", format!("{one}/archive")),
        ("POST", format!("{one}/unarchive")),
        ("GET", "/api/chats/c1/messages".to_owned()),
    ] {
        let (status, gone) = call(&live, method, &path, &[], None).await;
        assert_eq!((status, &gone["detail"]), (404, &json!("Chat 'c1' not found")), "{path}");
    }
}

#[tokio::test]
async fn an_archived_chat_is_not_where_a_message_goes_by_itself() {
    let live = Live::start().await;
    let mut client = live.sparky(json!({"user_id": "u1"})).await;
    client.until_type("ready").await;
    for chat in ["c1", "c2"] {
        client.send(json!({"type": "start_chat", "data": {"chat_id": chat}})).await;
        client.until_type("chat_ready").await;
    }
    drop(client);
    call(&live, "POST", "/api/user/u1/chats/c2/archive", &[], None).await;
    let mut client = live.sparky(json!({"user_id": "u1"})).await;
    client.until_type("ready").await;
    client.send(json!({"type": "message", "data": {"text": "hello"}})).await;
    let turn = client.until_type("message").await;
    assert!(turn.iter().all(|frame| frame["chat_id"] == "default"), "{turn:?}");
}

#[tokio::test]
async fn a_chats_messages_are_what_its_page_draws() {
    let live = Live::start().await;
    let connect = json!({"user_id": "u1", "chat_id": "c1",
                         "history": [{"role": "user", "content": "Hi"}]});
    chat(&live, connect, "what is 6*7?").await;
    let (status, page) = get(&live, "/api/chats/c1/messages", &[]).await;
    assert_eq!((status, &page["chat_id"]), (200, &json!("c1")));
    let messages = page["messages"].as_array().unwrap();
    let shapes: Vec<_> = messages
        .iter()
        .map(|one| (one["role"].as_str().unwrap(), one["message_type"].as_str().unwrap()))
        .collect();
    assert_eq!(shapes[..2], [("user", "message"), ("user", "message")]);
    assert_eq!(
        (&messages[0]["text"], &messages[1]["text"]),
        (&json!("Hi"), &json!("what is 6*7?"))
    );
    assert_eq!(shapes.last(), Some(&("model", "message")));
    assert!(messages.last().unwrap()["text"].as_str().unwrap().contains("42"));
    let of = |kind: &str| messages.iter().find(|one| one["message_type"] == kind).unwrap();
    assert_eq!(of("tool_use")["tool_name"], "calculator");
    assert!(of("tool_use")["tool_args"].is_object());
    assert_eq!(
        (&of("tool_result")["status"], of("thought")["role"].as_str()),
        (&json!("success"), Some("model"))
    );
    assert!(messages.iter().all(|one| one["created_at"].is_string()));
    let second = get(&live, "/api/chats/c1/messages?limit=1&offset=1", &[]).await.1;
    assert_eq!(second["messages"], json!([messages[1]]));
    assert_eq!(get(&live, "/api/chats/c1/messages?limit=-1", &[]).await.0, 400);
}

#[tokio::test]
async fn without_keys_a_login_names_a_user_and_sees_no_other() {
    let live = Live::start().await;
    let login = json!({"username": "u1", "password": "whatever"});
    let (status, tokens) = call(&live, "POST", "/api/auth/login", &[], Some(login.clone())).await;
    assert_eq!((status, &tokens["token_type"]), (200, &json!("bearer")), "{tokens}");
    let token = tokens["access_token"].as_str().unwrap().to_owned();
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str())];
    let (_, me) = get(&live, "/api/auth/me", &headers).await;
    assert_eq!((&me["id"], &me["username"]), (&json!("u1"), &json!("u1")));
    assert_eq!(
        get(&live, "/api/user/u1/chats", &headers).await,
        (200, json!({"user_id": "u1", "chats": []}))
    );
    chat(&live, json!({"token": token, "chat_id": "mine"}), "hello").await;
    assert_eq!(ids(&get(&live, "/api/user/u1/chats", &headers).await.1), ["mine"]);
    chat(&live, json!({"user_id": "u2", "chat_id": "theirs"}), "hello").await;
    for path in ["/api/user/u2/chats", "/api/chats/theirs/messages"] {
        assert_eq!(get(&live, path, &headers).await.0, 404, "{path}");
        assert_eq!(get(&live, path, &[]).await.0, 200, "the owner of the machine sees it: {path}");
    }
    assert_eq!(get(&live, "/api/user/nobody/chats", &[]).await.0, 404);
    let refresh = json!({"refresh_token": tokens["refresh_token"]});
    let (status, again) = call(&live, "POST", "/api/auth/refresh", &[], Some(refresh)).await;
    assert_eq!((status, &again["access_token"]), (200, &json!(token)));
    let register = json!({"username": "u3", "email": "u3@example.org", "password": "x"});
    assert_eq!(call(&live, "POST", "/api/auth/register", &[], Some(register)).await.0, 201);
    let empty = json!({"username": " ", "password": "x"});
    assert_eq!(call(&live, "POST", "/api/auth/login", &[], Some(empty)).await.0, 400);
}

#[tokio::test]
async fn with_keys_a_key_is_the_password() {
    let guarded = Guarded::start().await;
    let live = &guarded.live;
    let (_, ada) = guarded.key("ada", &["chat"]).await;
    let (_, bob) = guarded.key("bob", &["chat"]).await;
    let login = |password: &str| json!({"username": "ada", "password": password});
    let (status, refused) = call(live, "POST", "/api/auth/login", &[], Some(login("wrong"))).await;
    assert_eq!(status, 401);
    assert!(refused["detail"].as_str().unwrap().contains("password is a key"), "{refused}");
    let (status, tokens) = call(live, "POST", "/api/auth/login", &[], Some(login(&ada))).await;
    assert_eq!(status, 200, "{tokens}");
    let token = tokens["access_token"].as_str().unwrap();
    assert!(!tokens.to_string().contains(&ada), "the page does not keep the key");
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str())];
    assert_eq!(get(live, "/api/auth/me", &headers).await.1["id"], "ada");
    chat(live, json!({"token": token, "chat_id": "c1"}), "hello").await;
    assert_eq!(ids(&get(live, "/api/user/ada/chats", &headers).await.1), ["c1"]);
    let theirs = format!("Bearer {bob}");
    let theirs = [("authorization", theirs.as_str())];
    for path in ["/api/user/ada/chats", "/api/chats/c1/messages"] {
        assert_eq!(get(live, path, &theirs).await.0, 404, "{path}");
        assert_eq!(get(live, path, &[]).await.0, 401, "{path}");
    }
    let refresh = json!({"refresh_token": tokens["refresh_token"]});
    assert_eq!(call(live, "POST", "/api/auth/refresh", &[], Some(refresh)).await.0, 200);
    let register =
        |password: &str| json!({"username": "ada", "email": "a@example.org", "password": password});
    let (status, made) = call(live, "POST", "/api/auth/register", &[], Some(register(&ada))).await;
    assert_eq!((status, &made["id"]), (201, &json!("ada")));
    let (status, refused) =
        call(live, "POST", "/api/auth/register", &[], Some(register("new"))).await;
    assert_eq!(status, 400);
    assert!(refused["detail"].as_str().unwrap().contains("thoughtwire keys add"), "{refused}");
}

#[tokio::test]
async fn missing_features_answer_in_the_form_that_the_page_shows() {
    let live = Live::start().await;
    for path in ["/api/prompts", "/api/resources"] {
        assert_eq!(get(&live, path, &[]).await, (200, json!([])), "{path}");
    }
    let (status, models) = get(&live, "/api/models", &[]).await;
    assert_eq!(status, 200);
    let default = models["default"].as_str().unwrap();
    assert!(
        models["models"]
            .as_array()
            .unwrap()
            .iter()
            .any(|one| one["id"] == default && one["is_default"] == true)
    );
    assert_eq!(get(&live, "/health", &[]).await.1["status"], "healthy");
    let url = format!("{}/upload_file?chat_id=c1&user_id=u1", live.url);
    let file = vec![b'x'; 3 << 20];
    let answer = super::rest::http().post(url).body(file).send().await.unwrap();
    assert_eq!(answer.status(), 501);
    let answer: Value = answer.json().await.unwrap();
    assert!(answer["detail"].as_str().unwrap().contains("does not store files"), "{answer}");
    assert!(answer.get("error").is_none(), "the page would show an object: {answer}");
}

#[tokio::test]
async fn a_chat_that_is_deleted_while_its_client_shows_it_is_opened_anew() {
    let live = Live::start().await;
    let mut client = live.sparky(json!({"user_id": "u1"})).await;
    client.until_type("ready").await;
    for chat in ["c1", "c2"] {
        client.send(json!({"type": "start_chat", "data": {"chat_id": chat}})).await;
        client.until_type("chat_ready").await;
    }
    assert_eq!(call(&live, "DELETE", "/api/user/u1/chats/c2", &[], None).await.0, 200);
    client.send(json!({"type": "message", "data": {"text": "hello"}})).await;
    let turn = client.until_type("message").await;
    assert!(turn.iter().all(|frame| frame["chat_id"] == "c2"), "{:?}", types(&turn));
}
