//! Faults, drawn from a fixed seed.

/// A fault of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    /// `kill -9`. The node starts again once others serve its sessions.
    Kill,
    /// `kill -9`. The node starts again at once.
    KillAndRestart,
    /// SIGSTOP for longer than the lease. SIGCONT comes once others serve its sessions.
    Pause,
    /// SIGTERM. The node starts again when it has ended.
    Terminate,
    /// PostgreSQL crashes, and starts again at once.
    DatabaseRestart,
    /// A node's connections to the database are cut once.
    DatabaseCut,
    /// A node does not reach the database for longer than its lease, and until others serve its
    /// sessions.
    DatabaseAway,
    /// All connections between nodes are cut, and new ones are refused for a second.
    NodesCut,
}

const ALL: [Fault; 8] = [
    Fault::Kill,
    Fault::DatabaseAway,
    Fault::DatabaseRestart,
    Fault::Pause,
    Fault::NodesCut,
    Fault::Terminate,
    Fault::DatabaseCut,
    Fault::KillAndRestart,
];

impl Fault {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill -9, start later",
            Self::KillAndRestart => "kill -9, start at once",
            Self::Pause => "SIGSTOP, 7 s or longer",
            Self::Terminate => "SIGTERM, start again",
            Self::DatabaseRestart => "crash of the database",
            Self::DatabaseCut => "cut to the database",
            Self::DatabaseAway => "no database, 7 s or longer",
            Self::NodesCut => "cut between nodes",
        }
    }

    /// Whether clients can tell that the node is gone. They then use the others.
    pub(super) fn takes_node(self) -> bool {
        match self {
            Self::Kill | Self::KillAndRestart | Self::Pause | Self::Terminate => true,
            Self::DatabaseAway | Self::DatabaseRestart | Self::DatabaseCut | Self::NodesCut => {
                false
            }
        }
    }

    /// Whether the node's sessions wait for the end of its lease.
    pub(super) fn ends_lease(self) -> bool {
        match self {
            Self::Kill | Self::Pause | Self::DatabaseAway => true,
            // A node that starts again takes its sessions back.
            Self::KillAndRestart
            | Self::Terminate
            | Self::DatabaseRestart
            | Self::DatabaseCut
            | Self::NodesCut => false,
        }
    }

    /// Whether it hits the sessions of one node only.
    pub(super) fn hits_one_node(self) -> bool {
        match self {
            Self::DatabaseRestart | Self::NodesCut => false,
            Self::Kill
            | Self::KillAndRestart
            | Self::Pause
            | Self::Terminate
            | Self::DatabaseCut
            | Self::DatabaseAway => true,
        }
    }
}

/// A generator with a fixed seed: the same numbers in every run.
pub(super) struct Draws(u64);

impl Draws {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below a limit.
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }

    /// Faults for some rounds: all kinds in turn, each time in another order.
    pub(super) fn faults(&mut self, rounds: usize) -> Vec<Fault> {
        let mut drawn = Vec::new();
        while drawn.len() < rounds {
            let mut deck = ALL.to_vec();
            // The first rounds are those of an ordinary run, and have the most different faults.
            if !drawn.is_empty() {
                for at in (1..deck.len()).rev() {
                    let other = self.below(at as u64 + 1);
                    deck.swap(at, usize::try_from(other).unwrap());
                }
            }
            drawn.extend(deck);
        }
        drawn.truncate(rounds);
        drawn
    }
}
