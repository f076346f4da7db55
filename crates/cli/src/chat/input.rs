//! Parsing of a typed line: a message or a `/command`.

use thoughtwire_proto::Policy;
use thoughtwire_proto::Verdict;

/// A parsed line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ChatInput {
    /// An empty line.
    Empty,
    /// A message for the agent.
    Say(String, Policy),
    /// `/cancel`.
    Cancel,
    /// `/approve`, `/deny`.
    Decide(Verdict),
    /// `/done`, with the call's result if one is given.
    Done(Option<String>),
    /// `/help`.
    Help,
    /// `/quit`.
    Quit,
    /// An unknown command.
    Unknown(String),
}

/// The text that `/help` prints.
pub(super) const HELP: &str = "\
A line is sent to the agent. While a turn is running, it is queued.
  /now TEXT     cancel the running turn and send TEXT
  /also TEXT    add TEXT to the running turn
  /cancel       cancel the running turn (also Ctrl-C)
  /approve      run the tool call that is waiting for approval (also y)
  /deny         refuse it (also n)
  /done [TEXT]  a call that was interrupted and may have taken effect was done, with the result
                TEXT (also d); /approve runs it again, /deny counts it as failed
  /quit         leave the chat (also Ctrl-D); the turn continues without you
  //TEXT        send a message that begins with a slash
Alt-Enter or Ctrl-J starts a new line. A paste of several lines is one message.";

impl ChatInput {
    pub(super) fn parse(line: &str) -> Self {
        let line = line.trim();
        let Some(command) = line.strip_prefix('/') else {
            return if line.is_empty() {
                Self::Empty
            } else {
                Self::Say(line.to_owned(), Policy::Queue)
            };
        };
        if command.starts_with('/') {
            return Self::Say(command.to_owned(), Policy::Queue);
        }
        let (word, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
        match (word, rest.trim()) {
            ("now", text) if !text.is_empty() => Self::Say(text.to_owned(), Policy::Interrupt),
            ("also", text) if !text.is_empty() => Self::Say(text.to_owned(), Policy::Steer),
            ("cancel", "") => Self::Cancel,
            ("approve", "") => Self::Decide(Verdict::Approved),
            ("deny", "") => Self::Decide(Verdict::Denied),
            ("done", result) => Self::Done((!result.is_empty()).then(|| result.to_owned())),
            ("help", "") => Self::Help,
            ("quit" | "exit", "") => Self::Quit,
            (_, _) => Self::Unknown(line.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_parsed() {
        let say = |text: &str, policy| ChatInput::Say(text.to_owned(), policy);
        for (line, meant) in [
            ("", ChatInput::Empty),
            ("  \t", ChatInput::Empty),
            (" hi there ", say("hi there", Policy::Queue)),
            ("//etc/passwd?", say("/etc/passwd?", Policy::Queue)),
            ("/now stop that", say("stop that", Policy::Interrupt)),
            ("/also be brief", say("be brief", Policy::Steer)),
            ("/now", ChatInput::Unknown("/now".to_owned())),
            ("/cancel", ChatInput::Cancel),
            ("/approve", ChatInput::Decide(Verdict::Approved)),
            ("/deny", ChatInput::Decide(Verdict::Denied)),
            ("/done", ChatInput::Done(None)),
            ("/done  paid 12 CHF ", ChatInput::Done(Some("paid 12 CHF".to_owned()))),
            ("/help", ChatInput::Help),
            ("/quit", ChatInput::Quit),
            ("/dance", ChatInput::Unknown("/dance".to_owned())),
        ] {
            assert_eq!(ChatInput::parse(line), meant, "{line:?}");
        }
    }
}
