//! A provider that others wrote: npm's `@copilotkit/aimock`, which speaks all five wires.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use thoughtwire_agent::{AgentOptions, Endpoint, Providers};
use tokio::process::{Child, Command};

use crate::home::Home;

/// A model of each wire, and the variables that its errors name.
pub(crate) const WIRES: [Wire; 5] = [
    Wire {
        model: "openai/gpt-5-mini",
        key: "OPENAI_API_KEY",
        url: "OPENAI_BASE_URL",
        args: Args::InPieces,
    },
    Wire {
        model: "openai-responses/gpt-5-mini",
        key: "OPENAI_API_KEY",
        url: "OPENAI_BASE_URL",
        args: Args::InPieces,
    },
    Wire {
        model: "anthropic/claude-sonnet-4-5-low",
        key: "ANTHROPIC_API_KEY",
        url: "ANTHROPIC_BASE_URL",
        args: Args::InPieces,
    },
    Wire {
        model: "gemini/gemini-2.5-flash",
        key: "GEMINI_API_KEY",
        url: "GEMINI_BASE_URL",
        args: Args::Whole,
    },
    Wire { model: "ollama/qwen3", key: "OLLAMA_HOST", url: "OLLAMA_HOST", args: Args::Whole },
];

#[derive(Debug, Clone, Copy)]
pub(crate) struct Wire {
    pub(crate) model: &'static str,
    pub(crate) key: &'static str,
    pub(crate) url: &'static str,
    pub(crate) args: Args,
}

/// How the wire has the arguments of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Args {
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
        // As `OLLAMA_HOST` often is.
        ollama: at(host.to_owned()),
    }
}

pub(crate) async fn home(host: &str, wire: Wire) -> Home {
    Home::new(AgentOptions::new(wire.model, providers(host))).await
}

/// A port where nobody listens.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The mock, ended with its test.
pub(crate) struct Mock {
    pub(crate) host: String,
    _process: Child,
}

impl Mock {
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

    pub(crate) async fn home(&self, wire: Wire) -> Home {
        home(&self.host, wire).await
    }
}
