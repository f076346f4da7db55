//! The chat at a terminal: output streams above the line that is being typed.

use std::collections::HashMap;
use std::io;

use thoughtwire_proto::dialect::native::{Ack, Acked, ClientBody, RefusedFrame};
use thoughtwire_proto::transcript::{Approval, EntryBody};
use thoughtwire_proto::{
    ApprovalAbout, CallId, CommandId, Emission, Outcome as TurnOutcome, Policy, SessionId, Start,
    Verdict,
};

use super::ChatSession;
use super::input::{ChatInput, HELP};
use super::screen::{ChatTerminal, KeyboardInput};
use crate::CommandStatus;
use crate::client::{FollowerEvent, ReconnectPolicy, SessionFollower};
use crate::live_view::{LiveView, OutputPiece};
use crate::out::{ColourMode, TextStyle};
use crate::render::{clean, one_line};
use crate::rest::ServerAddress;
use crate::wrap::WordWrapper;

/// Number of past events that are shown at the start.
const RECENT: u64 = 60;

pub(super) async fn run(
    server: ServerAddress,
    chat_session: ChatSession,
) -> anyhow::Result<CommandStatus> {
    let follower = SessionFollower::new(
        server,
        chat_session.session.clone(),
        Some(Start::Last(RECENT)),
        ReconnectPolicy::Forever,
    );
    let terminal = ChatTerminal::open(ColourMode::for_stdout())?;
    let mut chat = TerminalChat {
        follower,
        session: chat_session.session,
        view: LiveView::default(),
        output: TerminalOutput { terminal, wrap: WordWrapper::new(columns()) },
        sent: HashMap::new(),
        link: ServerLink::Connecting,
        status: String::new(),
    };
    chat.output.whole(
        TextStyle::Dim,
        &format!("{} — /help lists the commands, Ctrl-D leaves", clean(&chat_session.name)),
    )?;
    chat.talk().await
}

struct TerminalChat {
    follower: SessionFollower,
    session: SessionId,
    view: LiveView,
    output: TerminalOutput,
    /// Sent inputs without an answer, by command id.
    sent: HashMap<CommandId, String>,
    link: ServerLink,
    /// The status text of the running turn.
    status: String,
}

/// The state of the connection to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ServerLink {
    Connecting,
    Online,
    Offline,
}

/// Whether the chat continues.
enum ChatStep {
    Continue,
    Leave,
}

impl TerminalChat {
    async fn talk(&mut self) -> anyhow::Result<CommandStatus> {
        loop {
            let (look, state) = self.prompt();
            self.output.terminal.prompt(&state, look)?;
            tokio::select! {
                typed = self.output.terminal.typed() => match typed? {
                    KeyboardInput::Text(text) => {
                        if let ChatStep::Leave = self.typed(&text).await? {
                            return Ok(CommandStatus::Done);
                        }
                    }
                    KeyboardInput::Interrupted => self.cancel().await?,
                    KeyboardInput::Left => return Ok(CommandStatus::Done),
                },
                happening = self.follower.next() => match happening {
                    Some(FollowerEvent::Ended(error)) => return Err(error),
                    Some(happening) => self.happened(happening).await?,
                    None => anyhow::bail!("the connection ended"),
                },
            }
        }
    }

    /// The prompt: an open approval, the connection's state or the running turn.
    fn prompt(&self) -> (TextStyle, String) {
        let waiting = match self.sent.len() {
            0 => String::new(),
            kept => format!(", {kept} kept"),
        };
        if let Some((_, about)) = self.question() {
            let answers = match about {
                ApprovalAbout::Run => "y to approve, n to deny ",
                ApprovalAbout::Retry => "y to run again, d if done, n if failed ",
            };
            return (TextStyle::Bold, answers.to_owned());
        }
        let state = match (self.link, self.view.transcript().turn()) {
            (ServerLink::Connecting, _) => format!("connecting{waiting} "),
            (ServerLink::Offline, _) => format!("offline{waiting} "),
            (ServerLink::Online, Some(_)) if self.status.is_empty() => "working ".to_owned(),
            (ServerLink::Online, Some(_)) => format!("{} ", self.status),
            (ServerLink::Online, None) => String::new(),
        };
        (TextStyle::Dim, state)
    }

    /// The call that a single letter decides: none while the server is unreachable.
    fn question(&self) -> Option<(CallId, ApprovalAbout)> {
        self.asked(None).filter(|_| self.link == ServerLink::Online)
    }

    async fn settle(&mut self, call: CallId, decision: Verdict, result: Option<String>) {
        self.follower
            .send(
                None,
                ClientBody::Decide { session: Some(self.session.clone()), call, decision, result },
            )
            .await;
    }

    async fn typed(&mut self, line: &str) -> anyhow::Result<ChatStep> {
        // Only a whole line decides, so that a half typed text cannot.
        if let Some((call, about)) = self.question() {
            let decision = match (line.trim().to_ascii_lowercase().as_str(), about) {
                ("y" | "yes", _) => Some(Verdict::Approved),
                ("n" | "no", _) => Some(Verdict::Denied),
                ("d" | "done", ApprovalAbout::Retry) => Some(Verdict::Done),
                (_, _) => None,
            };
            if let Some(decision) = decision {
                self.settle(call, decision, None).await;
                return Ok(ChatStep::Continue);
            }
        }
        match ChatInput::parse(line) {
            ChatInput::Empty => {}
            ChatInput::Say(text, policy) => self.say(text, policy).await?,
            ChatInput::Cancel => self.cancel().await?,
            ChatInput::Decide(decision) => self.decide(decision).await?,
            ChatInput::Done(result) => self.done(result).await?,
            ChatInput::Help => self.output.whole(TextStyle::Dim, HELP)?,
            ChatInput::Quit => return Ok(ChatStep::Leave),
            ChatInput::Unknown(line) => self.output.whole(
                TextStyle::Dim,
                &format!("unknown command {line:?}; /help lists the commands"),
            )?,
        }
        Ok(ChatStep::Continue)
    }

    async fn say(&mut self, text: String, policy: Policy) -> io::Result<()> {
        if self.link == ServerLink::Offline {
            self.output.whole(TextStyle::Dim, "(kept until the server is back online)")?;
        }
        let policy = (policy != Policy::Queue).then_some(policy);
        let body = ClientBody::Send {
            session: self.session.clone(),
            text: text.clone(),
            attachments: Vec::new(),
            policy,
        };
        let id = self.follower.send(None, body).await;
        self.sent.insert(id, text);
        Ok(())
    }

    async fn cancel(&mut self) -> io::Result<()> {
        let Some(turn) = self.view.transcript().turn().cloned() else {
            return self.output.whole(TextStyle::Dim, "(no turn is running; Ctrl-D leaves)");
        };
        // Names the turn, so that a late cancel cannot hit the next one.
        let body = ClientBody::Cancel { session: self.session.clone(), turn: Some(turn) };
        self.follower.send(None, body).await;
        Ok(())
    }

    async fn decide(&mut self, decision: Verdict) -> io::Result<()> {
        let Some((call, _)) = self.asked(None) else {
            return self.output.whole(TextStyle::Dim, "(no call is waiting for approval)");
        };
        self.settle(call, decision, None).await;
        Ok(())
    }

    async fn done(&mut self, result: Option<String>) -> io::Result<()> {
        let Some((call, _)) = self.asked(Some(ApprovalAbout::Retry)) else {
            let nothing = "(no call was interrupted and waits for your answer)";
            return self.output.whole(TextStyle::Dim, nothing);
        };
        self.settle(call, Verdict::Done, result).await;
        Ok(())
    }

    /// The call that has been waiting longest for an approval, of one kind if that is given.
    fn asked(&self, kind: Option<ApprovalAbout>) -> Option<(CallId, ApprovalAbout)> {
        let turn = self.view.transcript().turn()?;
        self.view.transcript().entries().iter().find_map(|entry| match &entry.body {
            EntryBody::Call(call)
                if entry.turn.as_ref() == Some(turn)
                    && matches!(call.approval, Some(Approval::Asked(_)))
                    && kind.is_none_or(|kind| kind == call.about) =>
            {
                Some((call.call.clone(), call.about))
            }
            EntryBody::Call(_)
            | EntryBody::Input { .. }
            | EntryBody::Thought { .. }
            | EntryBody::Message { .. }
            | EntryBody::Ended { .. }
            | EntryBody::Fact(_) => None,
        })
    }

    async fn happened(&mut self, happening: FollowerEvent) -> anyhow::Result<()> {
        match happening {
            FollowerEvent::Attached(attached) => {
                let is_first = self.link == ServerLink::Connecting;
                if self.link == ServerLink::Offline {
                    self.output.whole(TextStyle::Dim, "(online again)")?;
                }
                self.link = ServerLink::Online;
                for piece in self.view.attach(&attached) {
                    self.output.print(piece)?;
                }
                if is_first && attached.after.next() > attached.first {
                    self.output.whole(
                        TextStyle::Dim,
                        "… (`thoughtwire sessions show` prints earlier events)",
                    )?;
                }
            }
            FollowerEvent::CaughtUp => {}
            FollowerEvent::Emitted(Emission::Status { turn: Some(_), text }) => {
                self.status = one_line(&text);
            }
            // A status of the session: the prompt shows only those of a turn.
            FollowerEvent::Emitted(Emission::Status { turn: None, text }) => {
                self.output.whole(TextStyle::Dim, &format!("({})", clean(&text)))?;
            }
            FollowerEvent::Emitted(emission) => {
                for piece in self.view.apply(&emission) {
                    if let OutputPiece::TurnEnded(_) = piece {
                        self.status.clear();
                    }
                    self.output.print(piece)?;
                }
            }
            FollowerEvent::Replied { id, outcome } => self.answered(&id, outcome)?,
            FollowerEvent::Offline { reason, .. } => {
                // Printed once; the prompt shows that it keeps trying.
                if self.link != ServerLink::Offline {
                    self.output.whole(
                        TextStyle::Dim,
                        &format!("(offline: {}; reconnecting)", clean(&reason)),
                    )?;
                }
                self.link = ServerLink::Offline;
            }
            FollowerEvent::Ended(error) => return Err(error),
        }
        Ok(())
    }

    fn answered(&mut self, id: &CommandId, outcome: Result<Ack, RefusedFrame>) -> io::Result<()> {
        let said = self.sent.remove(id);
        match outcome {
            Ok(Ack { acked: Acked::Input { input: Some(input), .. }, .. }) => {
                self.view.typed_here(input);
            }
            Ok(_) => {}
            Err(refused) => {
                let about = said
                    .map(|text| format!(" (your message: {})", one_line(&text)))
                    .unwrap_or_default();
                self.output
                    .whole(TextStyle::Bad, &format!("✗ {}{about}", clean(&refused.reason)))?;
            }
        }
        Ok(())
    }
}

/// The output above the line that is being typed.
struct TerminalOutput {
    terminal: ChatTerminal,
    wrap: WordWrapper,
}

impl TerminalOutput {
    fn print(&mut self, piece: OutputPiece) -> io::Result<()> {
        match piece {
            OutputPiece::Text(look, text) => {
                self.wrap.resize(columns());
                let text = self.wrap.feed(&text);
                self.terminal.print(look, &text)
            }
            OutputPiece::End(look) => {
                let text = self.wrap.end();
                self.terminal.print(look, &text)
            }
            OutputPiece::Whole((look, text)) => self.whole(look, &text),
            OutputPiece::TurnEnded(
                TurnOutcome::Completed
                | TurnOutcome::Cancelled
                | TurnOutcome::Failed
                | TurnOutcome::Interrupted,
            ) => self.terminal.print(TextStyle::Plain, "\n"),
        }
    }

    /// Prints a text on lines of its own.
    fn whole(&mut self, look: TextStyle, text: &str) -> io::Result<()> {
        let begun = self.wrap.end();
        let mut wrap = WordWrapper::new(columns());
        let text = wrap.feed(text) + &wrap.end();
        self.terminal.print(look, &(begun + &text))
    }
}

/// The width for text: one column less than the terminal's, because terminals differ in how they
/// wrap a full line.
fn columns() -> usize {
    crossterm::terminal::size().map_or(80, |(columns, _)| usize::from(columns)).saturating_sub(1)
}
