//! Counts of what happened in histories.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Instant;

use super::disk::Moment;
use super::tally::Tally;

/// Faults of nodes, their store and their links.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum NodeFault {
    Killed,
    /// A planned stop.
    Stopped,
    /// For less than a lease, and for longer.
    Paused,
    PausedLong,
    /// The lease was not renewed for a while.
    NotRenewed,
    /// The store was out of one node's reach, and of all.
    Away,
    AwayForAll,
    /// Writes fail before their commit, behind it, and so that nothing is saved or known.
    BeforeCommit,
    AfterCommit,
    Unknown,
    Cut,
    Slow,
}

/// Counts of one history.
#[derive(Debug, Default, Clone)]
pub(crate) struct Done {
    pub(crate) steps: u64,
    pub(crate) crashes: BTreeMap<Moment, u64>,
    pub(crate) stops: u64,
    /// Planned stops that a crash cut.
    pub(crate) stops_cut: BTreeMap<Moment, u64>,
    pub(crate) faults: u64,
    pub(crate) jumps: u64,
    pub(crate) tally: Tally,
    pub(crate) records: u64,
    pub(crate) turns: u64,
    pub(crate) most_waiting: usize,
    pub(crate) node_faults: BTreeMap<NodeFault, u64>,
    /// Links between nodes that were opened, and those that were cut.
    pub(crate) links: u64,
    pub(crate) links_cut: u64,
}

/// Counts of all histories.
#[derive(Default)]
pub(crate) struct Sum {
    pub(crate) histories: u64,
    done: Done,
    pub(crate) failures: Vec<(u64, String)>,
    pub(crate) told: Option<Instant>,
}

impl Sum {
    pub(crate) fn add(&mut self, done: &Done) {
        self.histories += 1;
        let sum = &mut self.done;
        for (moment, times) in &done.crashes {
            *sum.crashes.entry(*moment).or_default() += times;
        }
        for (moment, times) in &done.stops_cut {
            *sum.stops_cut.entry(*moment).or_default() += times;
        }
        for (fault, times) in &done.node_faults {
            *sum.node_faults.entry(*fault).or_default() += times;
        }
        for (sum, one) in [
            (&mut sum.links, done.links),
            (&mut sum.links_cut, done.links_cut),
            (&mut sum.steps, done.steps),
            (&mut sum.stops, done.stops),
            (&mut sum.faults, done.faults),
            (&mut sum.jumps, done.jumps),
            (&mut sum.records, done.records),
            (&mut sum.turns, done.turns),
        ] {
            *sum += one;
        }
        sum.tally.add(&done.tally);
        sum.most_waiting = sum.most_waiting.max(done.most_waiting);
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Done {
            steps,
            crashes,
            stops,
            stops_cut,
            faults,
            jumps,
            tally,
            records,
            turns,
            most_waiting,
            node_faults,
            links,
            links_cut,
        } = &self.done;
        write!(
            f,
            "{} histories, {steps} steps; crashes {crashes:?}, {stops} planned stops, \
             cut by a crash {stops_cut:?}, {faults} disk faults, {jumps} jumps of the clock; \
             {tally}; {turns} turns, {records} events on disk; \
             at most {most_waiting} writes waited",
            self.histories,
        )?;
        if !node_faults.is_empty() {
            write!(f, "; nodes: {node_faults:?}, {links} links, {links_cut} of them cut")?;
        }
        Ok(())
    }
}
