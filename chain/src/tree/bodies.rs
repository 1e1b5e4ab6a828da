//! Bodies that are not stored any more, and those that may go.

use super::{HeaderTree, NodeId};

impl HeaderTree {
    /// Notes that a node's body is not stored any more: the node and its descendants are no longer
    /// complete.
    ///
    /// # Panics
    /// When the tip is among them.
    pub fn body_lost(&mut self, id: NodeId) {
        let mut waiting = vec![id];
        while let Some(lost) = waiting.pop() {
            assert!(lost != self.tip, "the main chain keeps its place without a body");
            let node = &mut self.nodes[lost.0];
            if let Some(rank) = node.rank() {
                self.candidates.remove(&(rank, lost));
            }
            node.completed = None;
            waiting.extend(&node.children);
        }
        self.nodes[id.0].body = None;
    }

    /// Nodes up to a height whose bodies are stored and that are not on the best header chain.
    pub fn bodies_off_best(&self, height: u32) -> Vec<NodeId> {
        let is_off = |id: &NodeId| {
            let node = &self.nodes[id.0];
            node.height <= height && node.body.is_some() && self.best_at(node.height) != Some(*id)
        };
        (0..self.nodes.len()).map(NodeId).filter(is_off).collect()
    }
}
