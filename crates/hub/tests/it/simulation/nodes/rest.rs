//! The end of a history of nodes: everything is healed, and everybody must get everything.

use std::collections::{BTreeMap, HashSet};

use thoughtwire_proto::{Policy, SessionCommand, SessionId};

use super::super::checking::ready;
use super::super::reader::Pace;
use super::NodesHistory;

/// Milliseconds within which leases end, orphans are taken over and followers find owners.
const SETTLES_WITHIN: u64 = 30_000;

impl NodesHistory {
    /// Heals what is broken, and lets everything run to its end.
    pub(super) fn come_to_rest(&mut self) {
        self.history.note(format!("{}: everything is healed", self.now));
        for (pair, _) in std::mem::take(&mut self.cut) {
            self.net.connect_again(pair);
        }
        self.net.set_delay(5);
        self.nodes.iter_mut().flatten().for_each(super::SimNode::heal);
        for _ in 0..SETTLES_WITHIN / 1_000 {
            self.pass(1_000);
            self.history.check_complaints();
        }
        for slot in 0..self.nodes.len() {
            if self.nodes[slot].is_none() && self.history.dice.bool() {
                self.start(slot);
            }
        }
        // Also if all of them are gone.
        self.any_slot();
        self.pass(SETTLES_WITHIN);
        let is_stopping = |node: &super::SimNode| node.is_stopping();
        assert!(!self.nodes.iter().flatten().any(is_stopping), "a node does not stop");
        // Readers that were slow are told now that their node has stopped.
        for _ in 0..3 {
            self.everybody_reads();
            self.pass(5_000);
        }
        self.history.ledger.lock().unwrap().excused = false;
        self.finish_sweeps();
        self.send_everywhere();
        let mut rounds = 0;
        loop {
            self.pass(2_000);
            self.history.check_complaints();
            let busy = self.busy();
            if busy.is_empty() && rounds > 3 && self.lists_are_read() {
                break;
            }
            rounds += 1;
            assert!(rounds < 100, "it does not come to rest: {busy:?}");
            if rounds > 2 {
                for (room, session) in busy {
                    self.on_any(|history, life| {
                        history.ask(life, Some(room), false, |_| {
                            SessionCommand::Cancel { turn: None }.on(session)
                        });
                    });
                }
            }
        }
        self.check_rest();
    }

    fn everybody_reads(&mut self) {
        for number in self.away() {
            self.on_any(|history, life| history.come_back(life, number));
        }
        for node in self.nodes.iter_mut().flatten() {
            node.life.readers.values().for_each(|reader| reader.pace(Pace::Eager));
        }
    }

    /// Retention that runs comes to its end.
    fn finish_sweeps(&mut self) {
        for _ in 0..100 {
            let mut sweeps =
                self.nodes.iter().flatten().filter_map(|node| node.life.sweep.as_ref());
            if sweeps.all(tokio::task::JoinHandle::is_finished) {
                return;
            }
            self.pass(500);
        }
        panic!("a retention job does not end");
    }

    /// Nothing is wrong any more: every node takes a message for every session.
    fn send_everywhere(&mut self) {
        for slot in 0..self.nodes.len() {
            for (room, session) in self.history.rooms_there() {
                self.on(slot, |history, life| {
                    history.ask(life, Some(room), true, |tag| {
                        let (text, policy) = (format!("{tag} say finish"), Policy::Steer);
                        SessionCommand::Send { text, attachments: Vec::new(), policy }.on(session)
                    });
                });
                self.pass(100);
            }
        }
    }

    /// Rooms with a turn or a waiting input.
    fn busy(&mut self) -> Vec<(usize, SessionId)> {
        let (store, _driver) = self.history.disk.image().open_driven(thoughtwire_hub::now());
        let is_busy = |(_, session): &(usize, SessionId)| {
            let stored = ready(store.directory().session(session));
            stored.is_some_and(|it| it.state.turn().is_some() || !it.state.queue().is_empty())
        };
        self.history.rooms_there().into_iter().filter(is_busy).collect()
    }

    fn lists_are_read(&self) -> bool {
        self.nodes.iter().flatten().all(|node| !node.list.lock().unwrap().is_behind)
    }

    fn check_rest(&mut self) {
        let (store, _driver) = self.history.disk.image().open_driven(thoughtwire_hub::now());
        self.history.check_rooms(&store);
        let rooms = self.history.rooms_there();
        let heads: BTreeMap<usize, u64> = rooms
            .iter()
            .filter_map(|(room, session)| {
                let stored = ready(store.directory().session(session))?;
                Some((*room, stored.state.head().0))
            })
            .collect();
        let there: HashSet<SessionId> = rooms.into_iter().map(|(_, session)| session).collect();
        let mut ledger = self.history.ledger.lock().unwrap();
        for (slot, node) in self.nodes.iter().enumerate() {
            let Some(node) = node else { continue };
            let listed = &node.list.lock().unwrap().sessions;
            ledger.hold(*listed == there, || {
                format!("node {slot} lists {listed:?}, and there are {there:?}")
            });
        }
        let head = |room| heads.get(&room).copied().unwrap_or(0);
        ledger.check_rest(head, |_| true);
        drop(ledger);
        self.history.check_complaints();
    }
}
