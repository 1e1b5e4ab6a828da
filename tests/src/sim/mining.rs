//! Mining without searching: miners find by chance, as often as their share of the hash rate says.

use std::sync::Arc;

use chain::ledger::{Input, Mined};
use chain::template::Template;

use super::Simulation;
use super::events::Event;
use super::network::{exponential, whole};
use crate::chains::solve;

/// Hashes a second of all miners together: four hashes a block at the intended pace.
const HASH_RATE: f64 = 4.0 / 60.0;

/// Hashes of difficulty 1.
const DIFFICULTY_1_HASHES: f64 = 4_295_032_833.0;

impl Simulation {
    /// A node's miner has something new to search, or nothing.
    pub(super) fn mine(&mut self, node: usize, template: Option<Arc<Template>>) {
        let (now, life, share) = (self.now, self.nodes[node].life, self.nodes[node].share);
        let live = self.nodes[node].live.as_mut().expect("its ledger speaks");
        let parent = template.as_ref().map(|template| template.job().prev);
        // Where broadcasts are measured, blocks are found on demand.
        let searches = parent != live.searched && share > 0.0 && self.meter.is_none();
        if let (Some(template), true) = (&template, searches) {
            // Finding has no memory: the draw holds for all templates on this parent.
            let hashes = template.job().target.difficulty() * DIFFICULTY_1_HASHES;
            let mean_ms = hashes / (HASH_RATE * share) * 1000.0;
            let at = now + whole(exponential(&mut self.draws.mining, mean_ms)).max(1);
            live.search += 1;
            self.queue.push(at, Event::Found { node, life, search: live.search });
        }
        live.searched = parent;
        live.template = template;
    }

    /// A miner has found something.
    pub(super) fn found(&mut self, node: usize, search: u64) {
        let live = self.live(node);
        let Some(template) = live.template.clone().filter(|_| live.search == search) else {
            return;
        };
        live.searched = None;
        let (solution, payee) = (solve(template.job()), template.payee());
        self.counts.add("blocks mined");
        self.feed(node, Input::Mined(Mined { template, payee, solution }));
    }
}
