//! Flags of `chat` and `send`.

use std::time::Duration;

use clap::{Args, ValueEnum};
use thoughtwire_proto::{Policy, SessionId};

use super::TargetFlags;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  thoughtwire chat                          chat with `main`, created on first use
  thoughtwire chat --agent ada              chat with another agent
  thoughtwire chat --session SESSION        continue this session
  printf 'Hi\\nWhat is 6*7?\\n' | thoughtwire chat    one turn per line; exit code 1 if one fails

In a chat, Ctrl-C cancels the running turn, Ctrl-D leaves (the turn continues without you), the
arrow keys recall earlier messages, and /help lists all commands.")]
pub(crate) struct ChatFlags {
    #[command(flatten)]
    pub(crate) target: TargetFlags,
    /// Name of the agent, created if it does not exist [default: main].
    #[arg(long, value_name = "NAME", conflicts_with = "session")]
    pub(crate) agent: Option<String>,
    /// Id of an existing session [default: the agent's main session].
    #[arg(long, value_name = "ID")]
    pub(crate) session: Option<SessionId>,
    /// With piped input, print each event of a turn as a line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// With piped input, also print thoughts and tool calls.
    #[arg(long, conflicts_with = "json")]
    pub(crate) thoughts: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  thoughtwire send \"What is 6*7?\"
  thoughtwire send --agent ada \"And again?\" 2>/dev/null     print only the answer
  git diff | thoughtwire send -                             read the text from standard input
  thoughtwire send --json \"Hi\" | jq -r .event.kind          print every event of the turn
  thoughtwire send --id order-66 \"Ship it\"                  takes effect once, even if repeated
  thoughtwire send --no-wait --json \"Tidy up\" | jq .input   return once the input is saved

The answer goes to stdout, thoughts and tool calls to stderr. Exit code 1 if the turn does not
complete, or not within --wait.")]
pub(crate) struct SendFlags {
    #[command(flatten)]
    pub(crate) target: TargetFlags,
    /// Text of the input; `-` reads it from standard input.
    pub(crate) text: String,
    /// Name of an existing agent [default: main, created on first use].
    #[arg(long, value_name = "NAME", conflicts_with = "session")]
    pub(crate) agent: Option<String>,
    /// Id of a session [default: the agent's main session].
    #[arg(long, value_name = "ID")]
    pub(crate) session: Option<SessionId>,
    /// Handling of the input while another turn is running.
    #[arg(long, value_enum, default_value_t = PolicyChoice::Queue)]
    pub(crate) policy: PolicyChoice,
    /// Idempotency key, unique in the session: an input with the same key takes effect only once.
    #[arg(long, value_name = "ID")]
    pub(crate) id: Option<thoughtwire_proto::CommandId>,
    /// Wait until the turn ends (the default), for at most SECONDS if given. The turn continues
    /// after that time.
    #[arg(long, value_name = "SECONDS", require_equals = true, value_parser = seconds)]
    pub(crate) wait: Option<Option<Duration>>,
    /// Return once the input is saved; print whether it started, was queued or joined a turn.
    #[arg(long, conflicts_with = "wait")]
    pub(crate) no_wait: bool,
    /// Print each event of the turn as a line of JSON; with --no-wait, print one line about the
    /// input.
    #[arg(long)]
    pub(crate) json: bool,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "expected a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

/// The values of `--policy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PolicyChoice {
    /// Wait until it ends.
    Queue,
    /// Cancel it.
    Interrupt,
    /// Refuse the input.
    Reject,
    /// Add the input to it.
    Steer,
}

impl From<PolicyChoice> for Policy {
    fn from(choice: PolicyChoice) -> Self {
        match choice {
            PolicyChoice::Queue => Self::Queue,
            PolicyChoice::Interrupt => Self::Interrupt,
            PolicyChoice::Reject => Self::Reject,
            PolicyChoice::Steer => Self::Steer,
        }
    }
}
