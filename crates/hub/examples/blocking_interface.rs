//! An agent inside a synchronous program. The program owns its threads and has no `async` code.
//!
//! Run it with `cargo run -p thoughtwire-hub --example blocking_interface`.

use std::io::Write as _;

use thoughtwire_hub::blocking::Embedded;
use thoughtwire_hub::proto::ToolStatus;
use thoughtwire_hub::proto::connection::Encoding;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let embedded = Embedded::open(dir.path(), "parrot")?;
    let client = embedded.register_client(Encoding::Memgpt)?;
    let gone = embedded.register_client(Encoding::Native)?;
    embedded.unregister_client(gone.id());

    let turn = embedded.user_message("Hello")?;
    turn.internal_monologue("I repeat what I hear.")?;
    // The lines that MemGPT agents give their interface become calls and results.
    turn.function_message("Running squawk({\"times\": 2})")?;
    turn.function_message("Success: squawked")?;
    // Returns when the call is on disk, so that the tool may run.
    let call = turn.tools().called("preen", serde_json::Map::new())?;
    turn.tools().returned(&call, "preen", ToolStatus::Success, "preened", None)?;
    turn.memory().edit("human", |_| Ok("They greet me.".to_owned()))?;
    let mut answer = turn.open_message();
    answer.write(turn.user_message())?;
    turn.finish(Some(answer.into()), None)?;
    // Carries out what is queued, and reports an error of a queued verb.
    turn.close()?;

    let mut out = std::io::stdout();
    for frame in client.take(6) {
        writeln!(out, "memgpt: {frame}")?;
    }
    embedded.close();
    Ok(())
}
