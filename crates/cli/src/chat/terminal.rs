//! The conversation at a terminal: what happens streams above the line that is being typed.

use std::collections::HashMap;
use std::io;

use thoughtwire_proto::dialect::native::{Ack, Acked, ClientBody, RefusedFrame, Verdict};
use thoughtwire_proto::transcript::{Approval, EntryBody};
use thoughtwire_proto::{
    CallId, CommandId, Emission, Outcome as TurnOutcome, Policy, SessionId, Start,
};

use super::Partner;
use super::input::{HELP, Input, Leave};
use super::screen::{Terminal, Typed};
use crate::Outcome;
use crate::client::{Follower, Happening, Patience};
use crate::out::{Look, Paint};
use crate::rest::ServerAddress;
use crate::story::{clean, short};
use crate::view::{Piece, View};
use crate::wrap::Wrap;

/// How much of the conversation so far is shown at the beginning.
const RECENT: u64 = 60;

pub(super) async fn run(server: ServerAddress, partner: Partner) -> anyhow::Result<Outcome> {
    let follower = Follower::new(
        server,
        partner.session.clone(),
        Some(Start::Last(RECENT)),
        Patience::Endless,
    );
    let terminal = Terminal::open(Paint::of_stdout())?;
    let mut chat = Chat {
        follower,
        session: partner.session,
        view: View::default(),
        page: Page { terminal, wrap: Wrap::new(columns()) },
        sent: HashMap::new(),
        line: Line::Connecting,
        status: String::new(),
    };
    chat.page.whole(
        Look::Dim,
        &format!("{} — /help tells what can be done, Ctrl-D leaves", clean(&partner.name)),
    )?;
    chat.talk().await
}

struct Chat {
    follower: Follower,
    session: SessionId,
    view: View,
    page: Page,
    /// What was said and is not answered, by its command's id.
    sent: HashMap<CommandId, String>,
    line: Line,
    /// What the agent says it is about.
    status: String,
}

/// Whether the server is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    Connecting,
    Online,
    Offline,
}

/// Whether to go on.
enum Next {
    On,
    Leave,
}

impl Chat {
    async fn talk(&mut self) -> anyhow::Result<Outcome> {
        loop {
            let (look, state) = self.prompt();
            self.page.terminal.prompt(&state, look)?;
            tokio::select! {
                typed = self.page.terminal.typed() => match typed? {
                    Typed::Text(text) => {
                        if let Next::Leave = self.typed(&text).await? {
                            return Ok(Outcome::Done);
                        }
                    }
                    Typed::Interrupted => self.cancel().await?,
                    Typed::Left => return Ok(Outcome::Done),
                },
                happening = self.follower.next() => match happening {
                    Some(Happening::Over(error)) => return Err(error),
                    Some(happening) => self.happened(happening).await?,
                    None => anyhow::bail!("the connection ended"),
                },
            }
        }
    }

    /// The line's beginning says what goes on.
    fn prompt(&self) -> (Look, String) {
        let waiting = match self.sent.len() {
            0 => String::new(),
            kept => format!(", {kept} kept"),
        };
        if self.question().is_some() {
            return (Look::Bold, "y to allow it, n to deny it ".to_owned());
        }
        let state = match (self.line, self.view.transcript().turn()) {
            (Line::Connecting, _) => format!("connecting{waiting} "),
            (Line::Offline, _) => format!("offline{waiting} "),
            (Line::Online, Some(_)) if self.status.is_empty() => "working ".to_owned(),
            (Line::Online, Some(_)) => format!("{} ", self.status),
            (Line::Online, None) => String::new(),
        };
        (Look::Dim, state)
    }

    /// The question that a line answers.
    fn question(&self) -> Option<CallId> {
        self.asked().filter(|_| self.line == Line::Online)
    }

    async fn settle(&mut self, call: CallId, decision: Verdict) {
        self.follower
            .ask(None, ClientBody::Decide { session: Some(self.session.clone()), call, decision })
            .await;
    }

    async fn typed(&mut self, line: &str) -> anyhow::Result<Next> {
        // A line of its own, so that nothing half typed decides.
        if let Some(call) = self.question() {
            let decision = match line.trim().to_ascii_lowercase().as_str() {
                "y" | "yes" => Some(Verdict::Approved),
                "n" | "no" => Some(Verdict::Denied),
                _ => None,
            };
            if let Some(decision) = decision {
                self.settle(call, decision).await;
                return Ok(Next::On);
            }
        }
        match Input::read(line) {
            Input::Empty => {}
            Input::Say(text, policy) => self.say(text, policy).await?,
            Input::Cancel => self.cancel().await?,
            Input::Decide(leave) => self.decide(leave).await?,
            Input::Help => self.page.whole(Look::Dim, HELP)?,
            Input::Quit => return Ok(Next::Leave),
            Input::Unknown(line) => self
                .page
                .whole(Look::Dim, &format!("{line:?} is not known; /help tells what is"))?,
        }
        Ok(Next::On)
    }

    async fn say(&mut self, text: String, policy: Policy) -> io::Result<()> {
        if self.line == Line::Offline {
            self.page.whole(Look::Dim, "(kept until the server is back)")?;
        }
        let policy = (policy != Policy::Queue).then_some(policy);
        let body = ClientBody::Send {
            session: self.session.clone(),
            text: text.clone(),
            attachments: Vec::new(),
            policy,
        };
        let id = self.follower.ask(None, body).await;
        self.sent.insert(id, text);
        Ok(())
    }

    async fn cancel(&mut self) -> io::Result<()> {
        let Some(turn) = self.view.transcript().turn().cloned() else {
            return self.page.whole(Look::Dim, "(nothing runs; Ctrl-D leaves)");
        };
        // The turn by name: should this arrive late, it must not hit the next one.
        let body = ClientBody::Cancel { session: self.session.clone(), turn: Some(turn) };
        self.follower.ask(None, body).await;
        Ok(())
    }

    async fn decide(&mut self, leave: Leave) -> io::Result<()> {
        let Some(call) = self.asked() else {
            return self.page.whole(Look::Dim, "(nothing waits for your leave)");
        };
        let decision = match leave {
            Leave::Given => Verdict::Approved,
            Leave::Denied => Verdict::Denied,
        };
        self.settle(call, decision).await;
        Ok(())
    }

    /// The call that has waited longest for its owner's leave.
    fn asked(&self) -> Option<CallId> {
        let turn = self.view.transcript().turn()?;
        self.view.transcript().entries().iter().find_map(|entry| match &entry.body {
            EntryBody::Call(call)
                if entry.turn.as_ref() == Some(turn)
                    && matches!(call.approval, Some(Approval::Asked(_))) =>
            {
                Some(call.call.clone())
            }
            EntryBody::Call(_)
            | EntryBody::Input { .. }
            | EntryBody::Thought { .. }
            | EntryBody::Message { .. }
            | EntryBody::Ended { .. }
            | EntryBody::Fact(_) => None,
        })
    }

    async fn happened(&mut self, happening: Happening) -> anyhow::Result<()> {
        match happening {
            Happening::Attached(attached) => {
                let is_first = self.line == Line::Connecting;
                if self.line == Line::Offline {
                    self.page.whole(Look::Dim, "(online again)")?;
                }
                self.line = Line::Online;
                for piece in self.view.attach(&attached) {
                    self.page.print(piece)?;
                }
                if is_first && attached.after.next() > attached.first {
                    self.page
                        .whole(Look::Dim, "… (`thoughtwire sessions show` has what was before)")?;
                }
            }
            Happening::CaughtUp => {}
            Happening::Shown(Emission::Status { turn: Some(_), text }) => {
                self.status = short(&text);
            }
            // Of the session, and not of a turn that the prompt could tell of.
            Happening::Shown(Emission::Status { turn: None, text }) => {
                self.page.whole(Look::Dim, &format!("({})", clean(&text)))?;
            }
            Happening::Shown(emission) => {
                for piece in self.view.apply(&emission) {
                    if let Piece::TurnEnded(_) = piece {
                        self.status.clear();
                    }
                    self.page.print(piece)?;
                }
            }
            Happening::Answered { id, outcome } => self.answered(&id, outcome)?,
            Happening::Offline { reason, .. } => {
                // Told once; that it goes on trying is in the prompt.
                if self.line != Line::Offline {
                    self.page.whole(
                        Look::Dim,
                        &format!("(offline: {}; trying again)", clean(&reason)),
                    )?;
                }
                self.line = Line::Offline;
            }
            Happening::Over(error) => return Err(error),
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
                let about =
                    said.map(|text| format!(" (you said: {})", short(&text))).unwrap_or_default();
                self.page.whole(Look::Bad, &format!("✗ {}{about}", clean(&refused.reason)))?;
            }
        }
        Ok(())
    }
}

/// What stands above the line that is being typed.
struct Page {
    terminal: Terminal,
    wrap: Wrap,
}

impl Page {
    fn print(&mut self, piece: Piece) -> io::Result<()> {
        match piece {
            Piece::Text(look, text) => {
                self.wrap.resize(columns());
                let text = self.wrap.feed(&text);
                self.terminal.print(look, &text)
            }
            Piece::End(look) => {
                let text = self.wrap.end();
                self.terminal.print(look, &text)
            }
            Piece::Whole((look, text)) => self.whole(look, &text),
            Piece::TurnEnded(
                TurnOutcome::Completed
                | TurnOutcome::Cancelled
                | TurnOutcome::Failed
                | TurnOutcome::Interrupted,
            ) => self.terminal.print(Look::Plain, "\n"),
        }
    }

    /// Prints something on lines of its own.
    fn whole(&mut self, look: Look, text: &str) -> io::Result<()> {
        let begun = self.wrap.end();
        let mut wrap = Wrap::new(columns());
        let text = wrap.feed(text) + &wrap.end();
        self.terminal.print(look, &(begun + &text))
    }
}

/// The columns that text may fill: one less than there are, where terminals differ on when a full line ends.
fn columns() -> usize {
    crossterm::terminal::size().map_or(80, |(columns, _)| usize::from(columns)).saturating_sub(1)
}
