//! Inputs that earlier connections of a client sent.

use crate::{ItemId, PeerRef, Seq};

/// The inputs of a client's earlier connections whose turns have not ended. They hold no frame of
/// this connection back.
#[derive(Default)]
pub(super) struct EarlierInputs {
    inputs: Vec<ItemId>,
    /// The client as the sender of inputs; `None` if it cannot be recognised.
    sender: Option<String>,
    /// Head of the log when this connection began. A later input of the same client is another
    /// connection's, which is still open.
    head: Seq,
}

impl EarlierInputs {
    /// The inputs whose turns were under way where this connection begins to read.
    pub(super) fn new(inputs: Vec<ItemId>, peer: Option<&PeerRef>, head: Seq) -> Self {
        Self { inputs, sender: peer.and_then(PeerRef::sender), head }
    }

    /// Takes note of an input that is sent again.
    pub(super) fn note(&mut self, seq: Seq, input: &ItemId, from: Option<&str>) {
        if seq <= self.head && from.is_some() && from == self.sender.as_deref() {
            self.inputs.push(input.clone());
        }
    }

    pub(super) fn contains(&self, input: &ItemId) -> bool {
        self.inputs.contains(input)
    }

    /// Forgets an input. Returns whether it was among them.
    pub(super) fn remove(&mut self, input: &ItemId) -> bool {
        let before = self.inputs.len();
        self.inputs.retain(|own| own != input);
        self.inputs.len() != before
    }
}
