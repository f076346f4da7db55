//! Steps of people with a client of an older wire.

use std::time::Duration;

use serde_json::json;
use thoughtwire_proto::{PeerRef, PeerWire};

use super::actor::script;
use super::caller::Caller;
use super::heard::Heard;
use super::history::History;
use super::life::Life;

/// How many such clients there are at most.
const CALLERS: usize = 3;

impl History {
    /// Somebody connects, for the first time or again. The server may not know that they were away.
    pub(crate) fn call(&mut self, life: &mut Life) {
        let callers = self.ledger.lock().unwrap().callers.len();
        let number = if callers < CALLERS { callers } else { self.dice.usize(0..callers) };
        if number == callers {
            let twin = if callers > 0 && self.dice.u8(0..3) == 0 {
                Some(self.dice.usize(0..callers))
            } else {
                None
            };
            let (peer, with) = match twin {
                // The same client in another window, or on another machine.
                Some(twin) => {
                    let (mut peer, with) = self.whose(twin);
                    // Or another client of the same user's, in the same chat.
                    if peer.wire == PeerWire::Sparky && self.dice.bool() {
                        peer.name = format!("n{number}");
                    }
                    (peer, with)
                }
                None if self.dice.bool() => (
                    PeerRef {
                        wire: PeerWire::Memgpt,
                        space: String::new(),
                        name: format!("n{number}"),
                    },
                    "ada".to_owned(),
                ),
                None => (
                    PeerRef {
                        wire: PeerWire::Sparky,
                        space: format!("u{number}"),
                        name: format!("n{number}"),
                    },
                    format!("c{number}"),
                ),
            };
            self.ledger.lock().unwrap().callers.push(Heard::new(peer, with));
        }
        self.connect(life, number);
    }

    pub(crate) fn connect(&mut self, life: &mut Life, number: usize) {
        if let Some(before) = life.callers.remove(&number) {
            before.breaks(self.notice());
        }
        let pace = self.pace();
        let caller =
            Caller::connect(&life.hub, &life.clock, &self.user, number, pace, &self.ledger);
        let (peer, with) = self.whose(number);
        self.note(format!("caller {number} connects: {:?}", peer.wire));
        caller.types(match peer.wire {
            PeerWire::Memgpt => {
                json!({"type": "command", "command": "load_agent", "name": with}).to_string()
            }
            PeerWire::Sparky => {
                let data = json!({
                    "session_id": peer.name, "user_id": peer.space, "chat_id": with,
                });
                json!({"type": "connect", "data": data}).to_string()
            }
        });
        life.callers.insert(number, caller);
    }

    /// One of them says something.
    pub(crate) fn say(&mut self, life: &mut Life) {
        let there: Vec<usize> = life.callers.keys().copied().collect();
        let Some(number) = self.dice.choice(there) else { return };
        self.tags += 1;
        let text = format!("t{} {}", self.tags, script(&mut self.dice));
        self.note(format!("caller {number} says {text}"));
        let (peer, with) = self.whose(number);
        life.callers[&number].types(match peer.wire {
            PeerWire::Memgpt => {
                json!({"type": "user_message", "message": text, "agent_name": with}).to_string()
            }
            PeerWire::Sparky => json!({"type": "message", "data": {"text": text}}).to_string(),
        });
    }

    /// One of them is gone, with what is on the line, and perhaps comes back at once.
    pub(crate) fn hang_up(&mut self, life: &mut Life) {
        let there: Vec<usize> = life.callers.keys().copied().collect();
        let Some(number) = self.dice.choice(there) else { return };
        match self.dice.u8(0..3) {
            0 => self.connect(life, number),
            1 => {
                let pace = self.pace();
                life.callers[&number].pace(pace);
            }
            _ => {
                if let Some(caller) = life.callers.remove(&number) {
                    caller.breaks(self.notice());
                }
            }
        }
    }

    fn whose(&self, number: usize) -> (PeerRef, String) {
        let heard = &self.ledger.lock().unwrap().callers[number];
        (heard.peer.clone(), heard.with.clone())
    }

    /// How long it takes the server to notice that somebody is gone.
    fn notice(&mut self) -> Duration {
        let millis = if self.dice.bool() { 0 } else { self.dice.u64(1..40_000) };
        Duration::from_millis(millis)
    }
}
