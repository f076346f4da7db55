//! A mock provider for all five wires: npm's `@copilotkit/aimock`.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use thoughtwire_agent::{AgentOptions, Endpoint, Providers};
use tokio::process::{Child, Command};

use crate::harness::AgentHarness;

/// A model of each wire, and the variables that its errors name.
pub(crate) const WIRES: [MockWire; 5] = [
    MockWire {
        model: "openai/gpt-5-mini",
        key: "OPENAI_API_KEY",
        url: "OPENAI_BASE_URL",
        args: ArgsForm::InPieces,
    },
    MockWire {
        model: "openai-responses/gpt-5-mini",
        key: "OPENAI_API_KEY",
        url: "OPENAI_BASE_URL",
        args: ArgsForm::InPieces,
    },
    MockWire {
        model: "anthropic/claude-sonnet-4-5-low",
        key: "ANTHROPIC_API_KEY",
        url: "ANTHROPIC_BASE_URL",
        args: ArgsForm::InPieces,
    },
    MockWire {
        model: "gemini/gemini-2.5-flash",
        key: "GEMINI_API_KEY",
        url: "GEMINI_BASE_URL",
        args: ArgsForm::Whole,
    },
    MockWire {
        model: "ollama/qwen3",
        key: "OLLAMA_HOST",
        url: "OLLAMA_HOST",
        args: ArgsForm::Whole,
    },
];

#[derive(Debug, Clone, Copy)]
pub(crate) struct MockWire {
    pub(crate) model: &'static str,
    pub(crate) key: &'static str,
    pub(crate) url: &'static str,
    pub(crate) args: ArgsForm,
}

/// Form in which a wire sends the arguments of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ArgsForm {
    InPieces,
    Whole,
}

/// All providers behind one address.
pub(crate) fn providers(host: &str) -> Providers {
    let at = |base_url: String| Endpoint {
        api_key: Some("sk-secret".to_owned()),
        base_url: Some(base_url),
    };
    Providers {
        openai: at(format!("http://{host}/v1")),
        anthropic: at(format!("http://{host}")),
        gemini: at(format!("http://{host}/v1beta/")),
        // A bare host, as `OLLAMA_HOST` often is.
        ollama: at(host.to_owned()),
    }
}

pub(crate) async fn harness(host: &str, wire: MockWire) -> AgentHarness {
    AgentHarness::new(AgentOptions::new(wire.model, providers(host))).await
}

/// A port on which nothing listens. It is below those that systems give to outgoing connections:
/// one of another test would take it before a server listens there.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let first = 10_000 + std::process::id() % 2_000 * 10;
    std::iter::repeat_with(|| first + NEXT.fetch_add(1, Ordering::Relaxed))
        .map(|port| u16::try_from(port).unwrap())
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .unwrap()
}

/// The mock process. It ends with its test.
pub(crate) struct MockProvider {
    pub(crate) host: String,
    _process: Child,
}

impl MockProvider {
    pub(crate) async fn start() -> Self {
        let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let cli = here.join("../../.test-deps/node_modules/@copilotkit/aimock/dist/cli.js");
        assert!(cli.exists(), "the LLM mock is not installed: run `make test-deps`");
        let port = free_port();
        let process = Command::new("node")
            .arg(cli)
            .args(["-p", &port.to_string(), "-c", "16", "--log-level", "silent", "-f"])
            .arg(here.join("tests/fixtures/providers.json"))
            .env("NODE_NO_WARNINGS", "1")
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("node runs the LLM mock");
        for _ in 0..200 {
            if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
                return Self { host: format!("127.0.0.1:{port}"), _process: process };
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the LLM mock does not listen");
    }

    pub(crate) async fn harness(&self, wire: MockWire) -> AgentHarness {
        harness(&self.host, wire).await
    }
}
