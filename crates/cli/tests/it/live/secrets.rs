//! The secret that signs logins: no backup contains it, and `keys rotate` replaces it.

use std::path::Path;

use rusqlite::Connection;
use serde_json::json;

use super::access::{Guarded, owner_token};
use super::backups::command;
use super::rest::http;
use super::support::{Live, TestClient};

async fn log_in(live: &Live, key: &str) -> String {
    let login = http().post(format!("{}/v1/login", live.url)).json(&json!({"key": key}));
    let answer = login.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let cookie = answer.headers()["set-cookie"].to_str().unwrap();
    cookie.split(';').next().unwrap().to_owned()
}

async fn whoami(live: &Live, header: &str, value: &str) -> u16 {
    let request = http().get(format!("{}/v1/whoami", live.url)).header(header, value);
    request.send().await.unwrap().status().as_u16()
}

fn secrets(file: &Path) -> Vec<(String, Vec<u8>)> {
    let connection = Connection::open(file).unwrap();
    let mut select = connection.prepare("SELECT name, value FROM secrets").unwrap();
    let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

#[tokio::test]
async fn a_backup_lets_nobody_in_and_a_restored_server_signs_anew() {
    let guarded = Guarded::start().await;
    let (_, key) = guarded.key("ada", &["chat"]).await;
    let cookie = log_in(&guarded.live, &key).await;
    let elsewhere = tempfile::tempdir().unwrap();
    let file = elsewhere.path().join("copy");
    let (at, copy) = (guarded.dir.path().to_str().unwrap(), file.to_str().unwrap());
    let ran = command(&["backup", copy, "--data-dir", at]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(secrets(&file), []);
    let signing = secrets(&guarded.dir.path().join("thoughtwire.db"));
    let (_, signing) = signing.into_iter().find(|(name, _)| name == "login").unwrap();
    let bytes = std::fs::read(&file).unwrap();
    assert!(!bytes.windows(signing.len()).any(|window| window == signing));

    // A backup of an earlier version has it in it: it is left behind as well.
    let earlier = elsewhere.path().join("earlier");
    std::fs::copy(&file, &earlier).unwrap();
    let connection = Connection::open(&earlier).unwrap();
    connection
        .execute("INSERT INTO secrets (name, value) VALUES ('login', ?)", [&signing])
        .unwrap();
    drop(connection);
    for (number, file) in [&file, &earlier].into_iter().enumerate() {
        let dir = elsewhere.path().join(number.to_string());
        let (from, to) = (file.to_str().unwrap(), dir.to_str().unwrap());
        assert_eq!(command(&["restore", from, "--data-dir", to]).await.code, 0);
        assert_eq!(secrets(&dir.join("thoughtwire.db")), []);
        let live = Live::on(&dir, &["--auth", "keys"]).await;
        assert_eq!(whoami(&live, "cookie", &cookie).await, 401);
        assert_eq!(whoami(&live, "authorization", &format!("Bearer {key}")).await, 200);
    }
    assert_eq!(whoami(&guarded.live, "cookie", &cookie).await, 200);
}

#[tokio::test]
async fn a_rotation_ends_logins_and_tickets_and_what_came_in_with_them() {
    let mut guarded = Guarded::start().await;
    let (_, key) = guarded.key("ada", &["chat"]).await;
    let cookie = log_in(&guarded.live, &key).await;
    let owners = log_in(&guarded.live, &guarded.owner).await;
    let by_cookie = async |cookie: &str| {
        let uri = guarded.live.ws("/v1/ws").parse().unwrap();
        let builder = tokio_websockets::ClientBuilder::from_uri(uri)
            .add_header("cookie".parse().unwrap(), cookie.parse().unwrap())
            .unwrap();
        let mut client = TestClient { socket: builder.connect().await.unwrap().0 };
        assert_eq!(client.next().await["type"], "welcome");
        client
    };
    let (mut page, mut owners_page) = (by_cookie(&cookie).await, by_cookie(&owners).await);
    let mut by_key = guarded.native(&key).await;
    let (_, ticket) = guarded.call(&key, "POST", "/v1/tickets", None).await;
    assert_eq!(guarded.call(&key, "POST", "/v1/keys/rotate", None).await.0, 403);
    assert!(by_key.is_quiet().await && page.is_quiet().await);

    let at = guarded.dir.path().to_str().unwrap().to_owned();
    let ran = command(&["keys", "rotate", "--data-dir", &at, "--json"]).await;
    assert_eq!((ran.code, ran.out.trim()), (0, r#"{"rotated":true}"#), "{ran:?}");
    for client in [&mut page, &mut owners_page] {
        assert_eq!(client.next_or_close().await, Err(1008));
    }
    assert_eq!(whoami(&guarded.live, "cookie", &cookie).await, 401);
    assert_eq!(whoami(&guarded.live, "cookie", &owners).await, 401);
    let ticket = format!("/v1/ws?ticket={}", ticket["ticket"].as_str().unwrap());
    let late = tokio_websockets::ClientBuilder::from_uri(guarded.live.ws(&ticket).parse().unwrap());
    assert!(late.connect().await.is_err());
    assert!(by_key.is_quiet().await, "keys stay as they are");
    let again = log_in(&guarded.live, &key).await;
    assert_eq!(whoami(&guarded.live, "cookie", &again).await, 200);

    // At rest as well; and it outlives a restart.
    guarded.live.kill().await;
    guarded.live = Live::on(guarded.dir.path(), &["--auth", "keys"]).await;
    assert_eq!(whoami(&guarded.live, "cookie", &again).await, 200);
    assert_eq!(whoami(&guarded.live, "cookie", &cookie).await, 401);
    guarded.live.kill().await;
    assert_eq!(command(&["keys", "rotate", "--data-dir", &at]).await.code, 0);
    guarded.live = Live::on(guarded.dir.path(), &["--auth", "keys"]).await;
    assert_eq!(whoami(&guarded.live, "cookie", &again).await, 401);
    let owner = owner_token(&guarded.dir);
    assert_eq!(whoami(&guarded.live, "authorization", &format!("Bearer {owner}")).await, 200);
}

#[test]
fn addresses_in_the_configuration_are_shown_without_their_credentials() {
    let dir = tempfile::tempdir().unwrap();
    let show = |text: &str| {
        let file = dir.path().join("config.toml");
        std::fs::write(&file, text).unwrap();
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_thoughtwire"));
        command.args(["config", "show", "--json", "--config"]).arg(file);
        let output = command.arg("--data-dir").arg(dir.path()).output().unwrap();
        let text = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
        (output.status.success(), String::from_utf8(text).unwrap())
    };
    let (shown, text) = show(
        "fetch_proxy = \"http://me:hush@proxy.test:3128\"\n\
         [openai]\nbase_url = \"https://me:hush@openai.test/v1/?key=hush\"\n\
         [ollama]\nbase_url = \"http://hush@ollama.test/\"\n",
    );
    assert!(shown && !text.contains("hush"), "{text}");
    for address in [
        "http://***@proxy.test:3128",
        "https://***@openai.test/v1/?key=***",
        "http://***@ollama.test/",
    ] {
        assert!(text.contains(address), "{text}");
    }
    let (shown, text) = show("fetch_proxy = \"socks5://me:hush@proxy.test:3128\"\n");
    assert!(!shown && !text.contains("hush"), "{text}");
    assert!(text.contains("fetch_proxy") && text.contains("socks5://***@proxy.test"), "{text}");
}
