//! Histories of several nodes on one store: each node has a runtime and a clock of its own, so that
//! it can be killed, and paused for longer than its lease, while the others go on.
//!
//! Time passes in slices. One node after the other runs for a slice, so that their clocks differ by
//! a slice at most. Frames of one node reach another in a later slice.

mod faults;
mod list;
pub(crate) mod net;
mod node;
mod owner;
mod rest;

use std::sync::Arc;
use std::time::Duration;

use thoughtwire_store::RamDisk;

use super::count::NodeFault;
use super::history::History;
use super::life::Life;
use super::template::Template;
use net::Net;
use node::{Progress, SimNode};

/// Milliseconds of a slice, while little time passes and while much does.
const SLICE: u64 = 10;
const LONG_SLICE: u64 = 50;

/// A history of several nodes.
pub(crate) struct NodesHistory {
    pub(crate) history: History,
    disk: RamDisk,
    net: Arc<Net>,
    /// By slot.
    nodes: Vec<Option<SimNode>>,
    /// Milliseconds since the history began.
    now: u64,
    /// Nothing is killed, paused or refused in it: nodes are stopped as planned, and links are cut.
    is_calm: bool,
    /// Links that are cut, and until when.
    cut: Vec<((usize, usize), u64)>,
}

impl NodesHistory {
    pub(crate) fn new(seed: u64, template: &Template) -> Self {
        // The hubs draw from it as well.
        fastrand::seed(seed);
        let mut history = History::new(seed, template);
        let slots = history.dice.usize(2..=4);
        let net = Net::new(history.dice.fork());
        let is_calm = seed.is_multiple_of(4);
        {
            let mut ledger = history.ledger.lock().unwrap();
            (ledger.time_limit, ledger.has_nodes, ledger.is_calm) = (None, true, is_calm);
            let now = history.wall.load(std::sync::atomic::Ordering::Relaxed);
            ledger.begins(now);
            // Anything may be refused while nodes come and go.
            (ledger.excused, ledger.shaken) = (true, true);
        }
        history.resumes = history.dice.u8(0..5) != 0;
        let disk = history.disk.shared();
        let nodes = (0..slots).map(|_| None).collect();
        Self { history, disk, net, nodes, now: 0, is_calm, cut: Vec::new() }
    }

    /// Lives it through. Panics at the first thing that should not be.
    pub(crate) fn run(&mut self) {
        for slot in 0..self.nodes.len() {
            self.start(slot);
        }
        for _ in 0..self.history.dice.u32(10..80) {
            self.history.done.steps += 1;
            self.step();
            self.history.check_complaints();
        }
        self.come_to_rest();
        self.nodes.clear();
        let (store, _driver) = self.history.open();
        self.history.check_disk(&store, true);
        let (opened, lost) = self.net.counts();
        let done = &mut self.history.done;
        (done.links, done.links_cut) = (opened, lost);
        done.tally = self.history.ledger.lock().unwrap().tally;
    }

    fn step(&mut self) {
        match self.history.dice.u8(0..64) {
            0..=11 => self.on_any(History::send),
            12..=14 => self.on_any(History::again),
            15..=16 => self.on_any(History::cancel),
            17 => self.on_any(History::withdraw),
            18..=20 => self.on_any(History::decide),
            21..=22 => self.on_any(History::bring_result),
            23 => self.on_any(History::rename),
            24..=27 => self.on_any(History::attach),
            28 => self.on_any(History::vanish),
            29 => self.on_any(History::change_pace),
            30..=31 => self.on_any(History::make),
            32 => self.on_any(History::delete),
            33 => self.on_any(History::leave),
            34 | 58..=59 => self.on_any(History::trim),
            35..=36 => self.on_any(History::wait_for_turn),
            37..=40 => self.on_any(History::read_head),
            41..=43 => self.move_somebody(),
            44..=57 => self.disturb(),
            _ => {}
        }
        self.reconnect();
        let dice = &mut self.history.dice;
        let millis = match dice.u8(0..16) {
            0..=1 => 0,
            2..=5 => dice.u64(1..20),
            6..=11 => dice.u64(20..400),
            12..=14 => dice.u64(400..3_000),
            _ => dice.u64(3_000..12_000),
        };
        self.pass(millis);
    }

    /// Lets time pass.
    fn pass(&mut self, millis: u64) {
        let until = self.now + millis;
        while self.now < until {
            let slice = if until - self.now > 500 { LONG_SLICE } else { SLICE };
            let slice = slice.min(until - self.now);
            self.now += slice;
            self.disk.pass(Duration::from_millis(slice));
            let now = self.now;
            for (pair, _) in self.cut.extract_if(.., |(_, until)| *until <= now) {
                self.net.connect_again(pair);
            }
            for slot in 0..self.nodes.len() {
                let Some(node) = &mut self.nodes[slot] else { continue };
                if node.drive(now, slice, &mut self.history.dice) == Progress::Stopped {
                    self.history.note(format!("{now}: node {slot} has stopped"));
                    self.net.remove(slot);
                    self.nodes[slot] = None;
                }
            }
        }
    }

    fn start(&mut self, slot: usize) {
        self.history.note(format!("{}: node {slot} starts", self.now));
        self.nodes[slot] = Some(SimNode::start(&mut self.history, &self.net, slot, self.now));
    }

    /// A slot with a node. One is started if there is none.
    fn any_slot(&mut self) -> usize {
        let there: Vec<usize> =
            (0..self.nodes.len()).filter(|slot| self.nodes[*slot].is_some()).collect();
        match self.history.dice.choice(there) {
            Some(slot) => slot,
            None => {
                let slot = self.history.dice.usize(0..self.nodes.len());
                self.start(slot);
                slot
            }
        }
    }

    /// People do something on a node.
    fn on_any(&mut self, work: impl FnOnce(&mut History, &mut Life)) {
        let slot = self.any_slot();
        self.on(slot, work);
    }

    fn on(&mut self, slot: usize, work: impl FnOnce(&mut History, &mut Life)) {
        let Some(node) = &mut self.nodes[slot] else { return };
        let before = self.history.trace.len();
        node.within(|life| work(&mut self.history, life));
        for note in &mut self.history.trace[before..] {
            *note = format!("{}: on {slot}: {note}", self.now);
        }
        // Somebody who is attached here now has left the other nodes.
        let here: Vec<usize> = node.life.readers.keys().copied().collect();
        for other in (0..self.nodes.len()).filter(|other| *other != slot) {
            if let Some(other) = &mut self.nodes[other] {
                here.iter().for_each(|number| drop(other.life.readers.remove(number)));
            }
        }
    }

    /// Somebody goes over to another node.
    fn move_somebody(&mut self) {
        let places = self.history.ledger.lock().unwrap().places.len();
        if places > 0 {
            let number = self.history.dice.usize(0..places);
            self.on_any(|history, life| history.come_back(life, number));
        }
    }

    /// Those whose nodes are gone, or have sent them away, come back on any node.
    fn reconnect(&mut self) {
        for number in self.away() {
            if self.history.dice.u8(0..3) == 0 {
                self.on_any(|history, life| history.come_back(life, number));
            }
        }
    }

    /// Places that nobody is at.
    fn away(&self) -> Vec<usize> {
        let ledger = self.history.ledger.lock().unwrap();
        let is_there = |number: &usize| {
            let readers =
                self.nodes.iter().flatten().filter_map(|node| node.life.readers.get(number));
            readers.into_iter().any(|reader| !reader.has_ended())
        };
        let wants = |number: &usize| !ledger.places[*number].told_gone;
        (0..ledger.places.len()).filter(wants).filter(|number| !is_there(number)).collect()
    }

    fn count(&mut self, fault: NodeFault, what: &str) {
        *self.history.done.node_faults.entry(fault).or_default() += 1;
        self.history.note(format!("{}: {what}", self.now));
    }
}
