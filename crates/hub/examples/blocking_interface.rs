//! The same for a synchronous program: it owns its threads, and nothing of it is `async`.
//!
//! Run it with `cargo run -p thoughtwire-hub --example blocking_interface`.

use std::io::Write as _;

use thoughtwire_hub::blocking::Embedded;
use thoughtwire_hub::proto::connection::Encoding;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let embedded = Embedded::open(dir.path(), "parrot")?;
    let client = embedded.register_client(Encoding::Memgpt)?;
    let gone = embedded.register_client(Encoding::Native)?;
    embedded.unregister_client(gone.id());

    let turn = embedded.user_message("Hello")?;
    turn.internal_monologue("I repeat what I hear.")?;
    // The lines that MemGPT agents give their interface are understood.
    turn.function_message("Running squawk({\"times\": 2})")?;
    turn.function_message("Success: squawked")?;
    turn.finish(Some(turn.user_message().into()), None)?;
    // Carries out what is queued, and says if something was refused.
    turn.close()?;

    let mut out = std::io::stdout();
    for frame in client.take(4) {
        writeln!(out, "memgpt: {frame}")?;
    }
    embedded.close();
    Ok(())
}
