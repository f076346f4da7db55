//! An agent inside a program of its own: no server, but a durable session, and clients that come
//! and go.
//!
//! Run it with `cargo run -p thoughtwire-hub --example interface`.

use thoughtwire_hub::Embedded;
use thoughtwire_hub::proto::ToolStatus;
use thoughtwire_hub::proto::connection::Encoding;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let embedded = Embedded::open(dir.path(), "weather").await?;
    let mut native = embedded.register_client(Encoding::Native).await?;
    let mut memgpt = embedded.register_client(Encoding::Memgpt).await?;

    let turn = embedded.user_message("Will it rain in Oslo?").await?;
    turn.internal_monologue("I should look at the sky.").await?;
    // Returns when the call is on disk: now the tool may run.
    let call = turn.tools().called("look_up", serde_json::Map::new()).await?;
    turn.tools().returned(&call, "look_up", ToolStatus::Success, "clouds", None).await?;
    // Clients are registered and unregistered at any time.
    let late = turn.register_client(Encoding::Native).await?;
    turn.unregister_client(late.id());
    let mut answer = turn.open_message();
    for piece in ["Take ", "an ", "umbrella."] {
        answer.write(piece).await?;
    }
    turn.finish(Some(answer.into()), None).await?;

    let mut out = tokio::io::stdout();
    while let Some(frame) = native.next().await {
        print(&mut out, "native", &frame).await?;
        if frame.contains("turn_ended") {
            break;
        }
    }
    for _ in 0..4 {
        if let Some(frame) = memgpt.next().await {
            print(&mut out, "memgpt", &frame).await?;
        }
    }
    embedded.close().await;
    Ok(())
}

async fn print(out: &mut tokio::io::Stdout, wire: &str, frame: &str) -> std::io::Result<()> {
    use tokio::io::AsyncWriteExt as _;
    out.write_all(format!("{wire}: {frame}\n").as_bytes()).await?;
    out.flush().await
}
