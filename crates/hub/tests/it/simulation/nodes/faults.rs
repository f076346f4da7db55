//! Faults of nodes, of their store and of the links between them.

use std::time::Duration;

use thoughtwire_proto::SessionCommand;
use thoughtwire_store::WriteFault;

use super::super::count::NodeFault;
use super::super::history::History;
use super::NodesHistory;
use super::node::StorePace;

impl NodesHistory {
    /// Something goes wrong, or a node comes back.
    pub(super) fn disturb(&mut self) {
        let slot = self.history.dice.usize(0..self.nodes.len());
        if self.nodes[slot].is_none() {
            return self.start(slot);
        }
        if self.history.dice.bool() {
            // Something runs that it can disturb.
            self.on_any(History::stream_before_end);
            let millis = self.history.dice.u64(0..3_000);
            self.pass(millis);
            if self.nodes[slot].is_none() {
                return;
            }
        }
        match self.history.dice.u8(0..20) {
            0..=2 => self.stop(slot),
            3..=5 => self.cut(slot),
            6..=8 => self.slow(slot),
            _ if self.is_calm => {}
            9..=11 => self.kill(slot),
            12..=14 => self.pause(slot),
            15 => self.hold_renewal(slot),
            16..=17 => self.lose_store(slot),
            18 => self.break_writes(slot),
            _ => self.heal(slot),
        }
    }

    fn stop(&mut self, slot: usize) {
        let (now, grace) = (self.now, self.history.dice.u64(0..3_000));
        let Some(node) = self.nodes[slot].as_mut().filter(|node| !node.is_stopping()) else {
            return;
        };
        node.stop(now, grace);
        self.count(NodeFault::Stopped, &format!("node {slot} stops within {grace} ms"));
    }

    fn kill(&mut self, slot: usize) {
        let Some(node) = self.nodes[slot].take() else { return };
        self.net.remove(slot);
        node.kill(&mut self.history.dice);
        self.count(NodeFault::Killed, &format!("node {slot} is killed"));
        if self.history.dice.bool() {
            // The same node again, which waits for no lease.
            self.start(slot);
        }
    }

    /// Nothing of a node runs for a while.
    fn pause(&mut self, slot: usize) {
        if self.history.dice.bool() {
            return self.pause_behind_write(slot);
        }
        let millis = self.history.dice.u64(500..14_000);
        let Some(node) = &mut self.nodes[slot] else { return };
        node.pause(self.now, self.now + millis, &mut self.history.dice);
        let fault = if millis > 5_000 { NodeFault::PausedLong } else { NodeFault::Paused };
        self.count(fault, &format!("node {slot} is paused for {millis} ms"));
    }

    /// A node is paused for longer than its lease behind a write that it has sent, and that may
    /// arrive when somebody reads the session on another node.
    fn pause_behind_write(&mut self, slot: usize) {
        let Some((room, session)) = self.history.dice.choice(self.history.rooms_there()) else {
            return;
        };
        let (until, millis) = (self.now + 100, self.history.dice.u64(6_500..14_000));
        let Some(node) = &mut self.nodes[slot] else { return };
        node.hold_writes(until);
        // Without a turn, nobody takes the session over before a client wants it.
        self.on(slot, |history, life| {
            history.ask(life, Some(room), true, |tag| {
                SessionCommand::Rename { title: format!("{tag} title") }.on(session)
            });
        });
        self.pass(50);
        let Some(node) = &mut self.nodes[slot] else { return };
        node.pause(self.now, self.now + millis, &mut self.history.dice);
        let what = format!("node {slot} is paused for {millis} ms behind a write to room {room}");
        self.count(NodeFault::PausedLong, &what);
        let others = (0..self.nodes.len()).filter(|other| *other != slot).collect::<Vec<_>>();
        if let Some(other) = self.history.dice.choice(others) {
            self.pass(5_500);
            let place = {
                let mut ledger = self.history.ledger.lock().unwrap();
                let its = ledger.places.iter().position(|place| place.room == room);
                its.unwrap_or_else(|| ledger.add_place(room))
            };
            self.on(other, |history, life| history.come_back(life, place));
        }
    }

    /// Renewals of the lease do not get through, and everything else does.
    fn hold_renewal(&mut self, slot: usize) {
        let millis = self.history.dice.u64(1_000..9_000);
        let Some(node) = &mut self.nodes[slot] else { return };
        node.beat_at = self.now + millis;
        self.count(NodeFault::NotRenewed, &format!("node {slot} renews in {millis} ms"));
    }

    /// The store cannot be reached from a node, or from any.
    fn lose_store(&mut self, slot: usize) {
        let (millis, is_one) = (self.history.dice.u64(100..9_000), self.history.dice.bool());
        for (at, node) in self.nodes.iter_mut().enumerate() {
            if let Some(node) = node.as_mut().filter(|_| !is_one || at == slot) {
                node.lose_store(self.now + millis);
            }
        }
        let fault = if is_one { NodeFault::Away } else { NodeFault::AwayForAll };
        self.count(fault, &format!("{fault:?} of node {slot}: no store for {millis} ms"));
    }

    fn break_writes(&mut self, slot: usize) {
        let dice = &mut self.history.dice;
        let every = dice.u64(1..4);
        let (fault, counted) = match dice.u8(0..4) {
            0 => (WriteFault::Transactions { every }, NodeFault::BeforeCommit),
            1 => (WriteFault::Records { every: every + 1 }, NodeFault::BeforeCommit),
            2 => (WriteFault::UnknownUnsaved, NodeFault::Unknown),
            _ => (WriteFault::UnknownSaved, NodeFault::AfterCommit),
        };
        let Some(node) = &mut self.nodes[slot] else { return };
        node.set_fault(Some(fault));
        self.count(counted, &format!("writes of node {slot}: {fault:?}"));
    }

    fn cut(&mut self, slot: usize) {
        let other = self.history.dice.usize(0..self.nodes.len());
        let millis = self.history.dice.u64(100..9_000);
        if other != slot {
            self.net.cut((slot, other));
            self.cut.push(((slot, other), self.now + millis));
            let what = format!("nodes {slot} and {other} are cut off each other for {millis} ms");
            self.count(NodeFault::Cut, &what);
        }
    }

    /// Writes, reads or frames take long.
    fn slow(&mut self, slot: usize) {
        let dice = &mut self.history.dice;
        let (kind, before, after) = (dice.u8(0..3), dice.u64(0..1_500), dice.u64(0..1_500));
        let Some(node) = &mut self.nodes[slot] else { return };
        let what = match kind {
            0 => {
                node.pace = StorePace { before, after };
                format!("writes of node {slot} take up to {before} + {after} ms")
            }
            1 => {
                let delay = Duration::from_millis(before / 4);
                node.life.driver.set_read_delay(Some(delay));
                format!("reads of node {slot} take {delay:?}")
            }
            _ => {
                self.net.set_delay(after / 2);
                format!("frames between nodes take up to {} ms", after / 2)
            }
        };
        self.count(NodeFault::Slow, &what);
    }

    fn heal(&mut self, slot: usize) {
        let Some(node) = &mut self.nodes[slot] else { return };
        node.heal();
        self.history.note(format!("{}: node {slot} is healed", self.now));
    }
}
