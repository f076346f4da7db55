//! Model names: known, incomplete and wrong ones.

use thoughtwire_agent::{Endpoint, Providers, check_model};
use thoughtwire_proto::{AgentSpec, Style};

use crate::harness::{AgentHarness, options};

#[test]
fn model_names_are_checked_without_a_network() {
    let none = Providers::default();
    let with = |key: Option<&str>, url: Option<&str>| Providers {
        openai: Endpoint { api_key: key.map(str::to_owned), base_url: url.map(str::to_owned) },
        ..Providers::default()
    };
    for (name, providers) in [
        ("offline", &none),
        ("load", &none),
        ("load:items=3,bytes=10,rate=5,deltas=yes,marks=yes", &none),
        ("openai/gpt-5-mini", &with(Some("sk-1"), None)),
        ("openai/meta/llama:8b", &with(None, Some("http://127.0.0.1:8000/v1"))),
    ] {
        assert_eq!(check_model(name, providers), Ok(()), "{name}");
    }
    for (name, providers, complaint) in [
        ("", &none, "known are `offline`, `openai/NAME`"),
        ("gpt-5", &none, "there is no model `gpt-5`"),
        ("openai/", &with(Some("sk-1"), None), "lacks its name"),
        ("openai/gpt-5", &none, "OPENAI_API_KEY"),
        ("openai/gpt-5", &with(Some("  "), None), "OPENAI_API_KEY"),
        ("openai/gpt-5", &with(None, Some("127.0.0.1:8000")), "OPENAI_BASE_URL is not an http"),
        ("load:items=0", &none, "`items` is a whole number from 1"),
        ("load:bytes=many", &none, "`bytes` is a whole number"),
        ("load:rate", &none, "`rate` is a whole number"),
        ("load:deltas=maybe", &none, "`yes` or `no`"),
        ("load:marks=2", &none, "`yes` or `no`"),
        ("load:speed=9", &none, "no parameter `speed`"),
        ("load:items=10000000,bytes=1000,deltas=yes", &none, "one message of"),
    ] {
        let error = check_model(name, providers).unwrap_err().to_string();
        assert!(error.contains(complaint), "{name}: {error}");
    }
    assert!(!format!("{:?}", with(Some("sk-secret"), None)).contains("secret"));
}

#[tokio::test]
async fn a_turn_with_an_unknown_model_fails_with_a_list_of_models() {
    let harness = AgentHarness::new(options("offline")).await;
    let spec = AgentSpec {
        name: "tess".to_owned(),
        model: Some("gpt-4".to_owned()),
        style: Some(Style::Native),
        ..AgentSpec::default()
    };
    let (_, session) = harness.create(spec).await;
    let (outcome, code, reason) = harness.run_turn(&session, "hello").await.end();
    assert_eq!((outcome.as_str(), code.as_str()), ("Failed", "model_unknown"));
    assert!(reason.contains("openai/NAME"), "{reason}");
}
