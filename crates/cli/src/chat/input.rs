//! What a line that was typed means.

use thoughtwire_proto::Policy;
use thoughtwire_proto::dialect::native::Verdict;

/// A line, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ChatInput {
    /// Nothing.
    Empty,
    /// Something to say to the agent.
    Say(String, Policy),
    /// `/cancel`.
    Cancel,
    /// `/approve`, `/deny`.
    Decide(Verdict),
    /// `/help`.
    Help,
    /// `/quit`.
    Quit,
    /// Another word behind a slash.
    Unknown(String),
}

/// What `/help` prints.
pub(super) const HELP: &str = "\
What you type goes to the agent; while it works, it waits its turn.
  /now TEXT     say it at once: what the agent is doing is cancelled
  /also TEXT    say it into what the agent is doing
  /cancel       cancel that (Ctrl-C does too)
  /approve      let the tool run that waits for your leave; /deny to forbid it (y and n do
                so at once while the question stands)
  /quit         leave (Ctrl-D does too); the agent goes on without you
  //TEXT        say something that begins with a slash
Alt-Enter or Ctrl-J begins a new line; a paste of several lines is one message.";

impl ChatInput {
    pub(super) fn read(line: &str) -> Self {
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
    fn lines() {
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
            ("/help", ChatInput::Help),
            ("/quit", ChatInput::Quit),
            ("/dance", ChatInput::Unknown("/dance".to_owned())),
        ] {
            assert_eq!(ChatInput::read(line), meant, "{line:?}");
        }
    }
}
