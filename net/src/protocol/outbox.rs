//! Where the sub-protocols put what they want done.

use std::collections::VecDeque;

use chain::ledger::PeerId;

use super::port::{Output, Work};
use crate::wire::Message;

/// Outputs in order. Emptied after every input, so it holds no more than one input causes.
#[derive(Debug, Default)]
pub(crate) struct Outbox(VecDeque<Output>);

impl Outbox {
    pub(crate) fn push(&mut self, output: Output) {
        self.0.push_back(output);
    }

    pub(crate) fn send(&mut self, peer: PeerId, message: Message) {
        self.push(Output::Send { peer, message });
    }

    pub(crate) fn work(&mut self, work: Work) {
        self.push(Output::Work(work));
    }

    pub(crate) fn pop(&mut self) -> Option<Output> {
        self.0.pop_front()
    }
}
