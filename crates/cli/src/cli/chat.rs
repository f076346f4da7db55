//! `chat` and `send`.

use std::time::Duration;

use clap::{Args, ValueEnum};
use thoughtwire_proto::{Policy, SessionId};

use super::TargetFlags;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  thoughtwire chat                          the agent `main`, made on first use
  thoughtwire chat --agent ada              another one
  thoughtwire chat --session SESSION        a session other than the agent's main one
  printf 'Hi\\nWhat is 6*7?\\n' | thoughtwire chat    one line, one turn; exit 1 if one fails

While chatting: Ctrl-C cancels what the agent is doing, Ctrl-D leaves (the agent goes on
without you), arrow keys bring back what you said, /help lists the rest.")]
pub(crate) struct ChatFlags {
    #[command(flatten)]
    pub(crate) target: TargetFlags,
    /// The agent; made if it is not there [default: main].
    #[arg(long, value_name = "NAME", conflicts_with = "session")]
    pub(crate) agent: Option<String>,
    /// An existing session [default: the agent's main one].
    #[arg(long, value_name = "ID")]
    pub(crate) session: Option<SessionId>,
    /// With piped input: print every event of each turn as a line of JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// With piped input: print thoughts and tools as well.
    #[arg(long, conflicts_with = "json")]
    pub(crate) thoughts: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  thoughtwire send \"What is 6*7?\"
  thoughtwire send --agent ada \"And again?\" 2>/dev/null     the answer alone
  git diff | thoughtwire send -                             the text from standard input
  thoughtwire send --wait --json \"Hi\" | jq -r .event.kind   every event, up to the end of the turn
  thoughtwire send --id order-66 \"Ship it\"                  takes effect once, however often it is sent
  thoughtwire send --no-wait --json \"Tidy up\" | jq .input   it goes on without you

The answer goes to stdout, thoughts and tools to stderr. Exit code 1 if the turn did not complete, or not in time.")]
pub(crate) struct SendFlags {
    #[command(flatten)]
    pub(crate) target: TargetFlags,
    /// What to say; `-` reads it from standard input.
    pub(crate) text: String,
    /// The agent, which must be there [default: main, made on first use].
    #[arg(long, value_name = "NAME", conflicts_with = "session")]
    pub(crate) agent: Option<String>,
    /// A session [default: the agent's main one].
    #[arg(long, value_name = "ID")]
    pub(crate) session: Option<SessionId>,
    /// What to do if a turn runs.
    #[arg(long, value_enum, default_value_t = PolicyChoice::Queue)]
    pub(crate) policy: PolicyChoice,
    /// A name for this input, unique in its session: sent again under the same name it is not said again.
    #[arg(long, value_name = "ID")]
    pub(crate) id: Option<thoughtwire_proto::CommandId>,
    /// Wait for the end of the turn, as it does unless told otherwise; with SECONDS no longer than that. The
    /// turn goes on when the time is over.
    #[arg(long, value_name = "SECONDS", require_equals = true, value_parser = seconds)]
    pub(crate) wait: Option<Option<Duration>>,
    /// Wait only until the input is saved, and say what became of it.
    #[arg(long, conflicts_with = "wait")]
    pub(crate) no_wait: bool,
    /// Print every event of the turn as a line of JSON; with --no-wait one line that says what became of the input.
    #[arg(long)]
    pub(crate) json: bool,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "it is a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

/// The values of `--policy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PolicyChoice {
    /// Wait for it to end.
    Queue,
    /// Cancel it.
    Interrupt,
    /// Be refused.
    Reject,
    /// Join it.
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
