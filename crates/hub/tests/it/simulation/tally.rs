//! How often what happened to people.

use std::fmt;

/// Counted by the [`Ledger`](super::ledger::Ledger).
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Tally {
    pub(crate) commands: u64,
    pub(crate) acknowledged: u64,
    pub(crate) repeated: u64,
    pub(crate) refused: u64,
    /// Commands whose askers left before the answer.
    pub(crate) abandoned: u64,
    /// Agents and sessions.
    pub(crate) made: u64,
    pub(crate) deleted: u64,
    /// Deletions that a crash cut, which were done, and which were not.
    pub(crate) cut_done: u64,
    pub(crate) cut_undone: u64,
    /// Subscribers that were told that their session is gone, and that found it gone.
    pub(crate) told_gone: u64,
    pub(crate) turned_away: u64,
    pub(crate) attached: u64,
    pub(crate) read: u64,
    pub(crate) pieces: u64,
    /// Attachments of clients of the older wires: all, those that went on at their position, and
    /// those whose proof counted no more.
    pub(crate) callers_attached: u64,
    pub(crate) came_back: u64,
    pub(crate) came_anew: u64,
    /// Frames that they heard, and events among these that they had heard before.
    pub(crate) frames: u64,
    pub(crate) heard_again: u64,
    /// Proofs that were kept.
    pub(crate) proofs: u64,
    /// Logs that retention made shorter, and readers that were told so.
    pub(crate) shortened: u64,
    pub(crate) trimmed: u64,
    /// Callers that waited for a turn: told all of it, told that it was trimmed, and out of time.
    pub(crate) waited: u64,
    pub(crate) waited_trimmed: u64,
    pub(crate) waited_late: u64,
    /// Turns that workers got, and their verbs: answered, repeated, refused.
    pub(crate) handed_out: u64,
    pub(crate) verbs: u64,
    pub(crate) verbs_repeated: u64,
    pub(crate) verbs_refused: u64,
    /// Turns that their agent went on with after an interruption.
    pub(crate) resumed: u64,
    /// Turns that workers got after an interruption.
    pub(crate) taken_over: u64,
    /// Texts that a crash cut, and that were found as far as they had to be on disk.
    pub(crate) texts_kept: u64,
    /// Turns that an interruption ended, as their agent's settings say.
    pub(crate) stopped: u64,
    /// Turns that ran out of time, and those of them that had been interrupted before.
    pub(crate) out_of_time: u64,
    pub(crate) out_of_time_later: u64,
    /// Operations of which the checker found that they fit one order.
    pub(crate) operations: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Self) {
        for (sum, one) in [
            (&mut self.commands, other.commands),
            (&mut self.acknowledged, other.acknowledged),
            (&mut self.repeated, other.repeated),
            (&mut self.refused, other.refused),
            (&mut self.abandoned, other.abandoned),
            (&mut self.made, other.made),
            (&mut self.deleted, other.deleted),
            (&mut self.cut_done, other.cut_done),
            (&mut self.cut_undone, other.cut_undone),
            (&mut self.told_gone, other.told_gone),
            (&mut self.turned_away, other.turned_away),
            (&mut self.attached, other.attached),
            (&mut self.read, other.read),
            (&mut self.pieces, other.pieces),
            (&mut self.callers_attached, other.callers_attached),
            (&mut self.came_back, other.came_back),
            (&mut self.came_anew, other.came_anew),
            (&mut self.frames, other.frames),
            (&mut self.heard_again, other.heard_again),
            (&mut self.proofs, other.proofs),
            (&mut self.shortened, other.shortened),
            (&mut self.trimmed, other.trimmed),
            (&mut self.waited, other.waited),
            (&mut self.waited_trimmed, other.waited_trimmed),
            (&mut self.waited_late, other.waited_late),
            (&mut self.handed_out, other.handed_out),
            (&mut self.verbs, other.verbs),
            (&mut self.verbs_repeated, other.verbs_repeated),
            (&mut self.verbs_refused, other.verbs_refused),
            (&mut self.resumed, other.resumed),
            (&mut self.taken_over, other.taken_over),
            (&mut self.texts_kept, other.texts_kept),
            (&mut self.stopped, other.stopped),
            (&mut self.out_of_time, other.out_of_time),
            (&mut self.out_of_time_later, other.out_of_time_later),
            (&mut self.operations, other.operations),
        ] {
            *sum += one;
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} commands ({} acknowledged, {} of them as repeated, {} refused, {} left alone); \
             {} agents and sessions made, {} deleted, {} deletions cut and done, \
             {} cut and undone, {} subscribers told so, {} turned away; \
             {} events read by {} subscribers, {} pieces; \
             older wires: attached {} times ({} went on, {} from the start), {} frames ({} again), \
             {} proofs; {} logs trimmed, {} readers told so; \
             {} turns waited for, {} of them trimmed, {} too long; {} turns handed to workers, \
             {} verbs ({} repeated, {} refused); {} turns resumed by their agent, \
             {} by a worker, {} cut texts kept; \
             {} turns ended by an interruption, {} out of time ({} after an interruption); \
             {} operations in order",
            self.commands,
            self.acknowledged,
            self.repeated,
            self.refused,
            self.abandoned,
            self.made,
            self.deleted,
            self.cut_done,
            self.cut_undone,
            self.told_gone,
            self.turned_away,
            self.read,
            self.attached,
            self.pieces,
            self.callers_attached,
            self.came_back,
            self.came_anew,
            self.frames,
            self.heard_again,
            self.proofs,
            self.shortened,
            self.trimmed,
            self.waited,
            self.waited_trimmed,
            self.waited_late,
            self.handed_out,
            self.verbs,
            self.verbs_repeated,
            self.verbs_refused,
            self.resumed,
            self.taken_over,
            self.texts_kept,
            self.stopped,
            self.out_of_time,
            self.out_of_time_later,
            self.operations,
        )
    }
}
