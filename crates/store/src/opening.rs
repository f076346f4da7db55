//! The first records of a new session.

use thoughtwire_proto::{Event, InputEvent, Record, Seq, SessionEvent, State};

use crate::{Batch, NewAgent, NewSession, StoreError, recovery};

/// Which session of its agent is created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SessionRole {
    Main,
    Other,
}

/// Makes the first batch of a session: `session_opened`, its title, and the records of another log
/// that it continues. A turn and inputs that were open there are ended, since nothing of them is
/// to run here.
pub(crate) fn first_batch(new: &NewSession) -> Result<Batch, StoreError> {
    let opened = Event::Session(SessionEvent::Opened {
        agent: new.agent.clone(),
        instructions: new.instructions.clone(),
        history: new.history.clone(),
    });
    let titled = new.title.clone().map(|title| Event::Session(SessionEvent::Renamed { title }));
    let own = std::iter::once(opened).chain(titled).map(|event| (new.at, None, event));
    let carried = new.records.iter().cloned().map(|record| (record.at, record.turn, record.event));
    let mut state = State::default();
    let mut records = Vec::new();
    for (at, turn, event) in own.chain(carried) {
        state
            .apply(turn.as_ref(), &event)
            .map_err(|illegal| StoreError::Invalid(illegal.to_string()))?;
        records.push(Record { seq: state.head(), at, turn, event });
    }
    let (closing, mut state) = recovery::end_turn(&state, new.at)?;
    records.extend(closing);
    for queued in state.queue().clone() {
        let event = Event::Input(InputEvent::Withdrawn { input: queued.input });
        state.apply(None, &event).map_err(|illegal| StoreError::Invalid(illegal.to_string()))?;
        records.push(Record { seq: state.head(), at: new.at, turn: None, event });
    }
    Ok(Batch::new(new.id.clone(), Seq::ZERO, records, state)?)
}

impl NewAgent {
    /// The sessions that a new agent is created with, its main session first.
    pub(crate) fn first_sessions(&self) -> Vec<NewSession> {
        let mut sessions = self.sessions.clone();
        match sessions.first_mut() {
            Some(main) => main.id = self.main_session.clone(),
            None => sessions.push(NewSession {
                id: self.main_session.clone(),
                user: self.user.clone(),
                agent: self.id.clone(),
                epoch: self.epoch.clone(),
                title: None,
                instructions: None,
                history: Vec::new(),
                records: Vec::new(),
                keep_idle: None,
                at: self.at,
                receipt: None,
            }),
        }
        sessions
    }
}
