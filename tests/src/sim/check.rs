//! What must hold, always and in the end.

use chain::ledger::{HeadersVerdict, Output, PeerId, TipChange};
use chain::mempool::PoolLimits;
use chain::store::Archive;
use net::AddressBook;

use super::Simulation;
use super::faults::Fault;
use super::node::Site;

/// Most connections of a node: its own slots and those it gives.
const MAX_LINKS: usize = super::OUTBOUND_SLOTS + 64 + 1;

impl Simulation {
    /// A node has been started: what it had stored and told others must be there.
    pub(super) fn check_start(&mut self, node: usize) {
        let standing = self.live(node).ledger.standing();
        let site = &mut self.nodes[node];
        if standing.work < site.work {
            let (got, had) = (standing.tip.height, site.tip);
            return self.fail(format!(
                "node {node} comes back at height {got}, and had told of the heavier {had}"
            ));
        }
        (site.tip, site.work) = (standing.tip.hash, standing.work);
    }

    /// A ledger has said something.
    pub(super) fn check_output(&mut self, node: usize, output: &Output) {
        if let Some(meter) = &mut self.meter {
            meter.hear(self.now, node, output);
        }
        match output {
            Output::TipChanged(change) => self.check_tip(node, change),
            Output::HeadersJudged { verdict, .. } => self.counts.add(match verdict {
                HeadersVerdict::Accepted { .. } => "headers accepted",
                HeadersVerdict::Unconnected => "headers unconnected",
                HeadersVerdict::TooNew => "headers too new",
                HeadersVerdict::TooMany => "headers too many",
                HeadersVerdict::LowWork { .. } => "headers of little work",
                HeadersVerdict::Again { .. } => "headers asked for again",
                HeadersVerdict::OtherChain => "headers of another chain",
                HeadersVerdict::Invalid => "headers of invalid blocks",
            }),
            Output::PeerFault { .. } => self.counts.add("blocks or headers against the rules"),
            Output::Dropped { .. } => self.counts.add("transactions dropped"),
            Output::Refused { .. } => self.counts.add("transactions refused"),
            _ => {}
        }
    }

    fn check_tip(&mut self, node: usize, change: &TipChange) {
        let site = &self.nodes[node];
        if change.connected.is_empty() && change.reverted.is_empty() {
            return;
        }
        for connected in &change.connected {
            self.reference.learn(connected.height, &connected.block);
        }
        let mut at = site.tip;
        for reverted in &change.reverted {
            let block = reverted.block.as_ref().filter(|block| block.hash() == at);
            let Some(block) = block else {
                return self.fail(format!("node {node} takes off a block that is not its tip"));
            };
            at = block.header().prev;
        }
        for connected in &change.connected {
            if connected.block.header().prev != at {
                return self.fail(format!("node {node} connects a block to what is not its tip"));
            }
            at = connected.block.hash();
        }
        let stored = self.nodes[node].live.as_ref().expect("it speaks").ledger.store().tip();
        let stored = stored.expect("memory does not fail");
        if at != change.tip.hash || stored.hash != at {
            return self.fail(format!("node {node} tells of a tip that it has not stored"));
        }
        if change.work <= self.nodes[node].work {
            return self.fail(format!("node {node} leaves its chain for one that is not heavier"));
        }
        (self.nodes[node].tip, self.nodes[node].work) = (at, change.work);
        if !change.reverted.is_empty() {
            self.counts.add("reorganisations");
            self.counts.most("most blocks reverted at once", change.reverted.len() as u64);
            self.trace.say(self.now, || format!("reorganised {node} {}", change.reverted.len()));
            self.check_state(node);
        }
    }

    /// An honest node never gives another a reason to shun it.
    pub(super) fn judge_punishment(&mut self, node: usize, peer: PeerId, why: &str) {
        let Some(other) = self.other_end(node, peer) else { return };
        if self.nodes[node].byzantine {
            return;
        }
        if !self.nodes[other].byzantine {
            return self.fail(format!("honest node {node} shuns honest node {other}: {why}"));
        }
        self.counts.add("byzantine nodes shunned");
    }

    /// A node's state is what a second execution of its chain gives.
    fn check_state(&mut self, node: usize) {
        let site = &self.nodes[node];
        let Some(live) = &site.live else { return };
        match self.reference.at(site.tip) {
            Err(error) => self.fail(format!("node {node}: {error}")),
            Ok(expected) => {
                let index = live.ledger.store().index();
                if index.state() != expected.state() || index.pages() != expected.pages() {
                    self.fail(format!("the state of node {node} is not a fold of its chain"));
                }
            }
        }
    }

    /// The dear checks, on every node.
    pub(super) fn check_all(&mut self) {
        // Neighbours in this order share most of their chains.
        let mut order: Vec<usize> =
            (0..self.nodes.len()).filter(|node| self.nodes[*node].live.is_some()).collect();
        order.sort_by_key(|node| (self.nodes[*node].work, self.nodes[*node].tip));
        for node in order {
            self.check_state(node);
            self.check_limits(node);
        }
    }

    fn check_limits(&mut self, node: usize) {
        let tip = self.nodes[node].tip;
        let live = self.live(node);
        let pool_limit = PoolLimits::default().bytes;
        let broken = [
            (live.ledger.standing().tip.hash != tip, "the ledger's tip is not what it told"),
            (live.links.len() > MAX_LINKS, "too many connections"),
            (live.protocol.book().len() > net::protocol::MAX_BOOK, "too many addresses"),
            (live.ledger.pool().bytes() > pool_limit, "too many bytes in the pool"),
            (AddressBook::decode(&live.protocol.book().encode()).is_err(), "a bad address book"),
        ];
        let links = live.links.len() as u64;
        self.counts.most("most connections of a node", links);
        for (_, what) in broken.iter().filter(|(is_broken, _)| *is_broken) {
            self.fail(format!("node {node}: {what}"));
        }
    }

    /// What keeps the honest nodes from being in agreement, if anything does.
    pub(super) fn unsettled(&self) -> Option<String> {
        let mut honest = self.nodes.iter().filter(|site| !site.byzantine);
        let first = honest.next()?.tip;
        if let Some(other) = honest.find(|site| site.tip != first) {
            let (node_id, tip) = (other.node_id, other.tip);
            let number = self.nodes.iter().position(|site| site.node_id == node_id);
            let number = number.expect("it is one of them");
            let links = |site: &Site| site.live.as_ref().map_or(0, |live| live.links.len());
            let alone = self.nodes.iter().filter(|site| !site.byzantine && links(site) == 0);
            return Some(format!(
                "node 0 has tip {first} and node {number} has {tip}; \
                 {} nodes are without a connection",
                alone.count()
            ));
        }
        let honest = (0..self.nodes.len()).filter(|node| !self.nodes[*node].byzantine);
        for node in honest {
            let live = self.nodes[node].live.as_ref()?;
            let ready = live.ledger.pool().select(usize::MAX).len();
            if ready > 0 {
                return Some(format!("{ready} transactions wait in the pool of node {node}"));
            }
        }
        self.clients.are_waiting().then(|| "clients wait for their writes".to_string())
    }

    /// All is said and done: one chain, one state, and nothing acknowledged is lost.
    pub(super) fn check_end(&mut self) {
        self.check_all();
        let Some(tip) = self.nodes.first().map(|site| site.tip) else { return };
        let height = self.live(0).ledger.standing().tip.height;
        self.counts.more("blocks in final chains", u64::from(height));
        let state = match self.reference.at(tip) {
            Ok(store) => (store.state().clone(), store.pages().clone()),
            Err(error) => return self.fail(error),
        };
        match self.reference.afresh().at(tip) {
            Ok(fresh) if (fresh.state(), fresh.pages()) == (&state.0, &state.1) => {}
            Ok(_) => return self.fail("undoing and folding anew differ".to_string()),
            Err(error) => return self.fail(error),
        }
        for write in self.clients.acknowledged.clone() {
            let included = self.live(0).ledger.store().inclusion(&write.txid);
            if included.expect("memory does not fail").is_some() {
                self.counts.add("acknowledged writes included");
            } else if self.nodes[write.node].power_lost {
                self.counts.add("acknowledged writes lost with the power");
            } else {
                return self.fail(format!(
                    "a write that node {} acknowledged is lost: {}",
                    write.node, write.txid
                ));
            }
        }
        let alone = self.nodes.iter().any(|site| !site.byzantine && site.live.is_none());
        if alone && self.options.faults.has(Fault::Crash) {
            self.fail("a node did not come back".to_string());
        }
    }
}
