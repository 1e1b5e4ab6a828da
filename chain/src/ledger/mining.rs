//! When there is something to mine, and what: templates, and the blocks made of them.

use std::sync::Arc;

use super::{Ledger, Mined, Output, Time};
use crate::params;
use crate::rules::isolation::CheckedHeader;
use crate::store::{Store, StoreError};
use crate::template::{Base, Template};
use crate::tx::PublicKey;

/// New transactions wait at most so long for a template that has them, in milliseconds.
const POOL_REFRESH_MS: u64 = 1_000;

/// A template is renewed after so long even if nothing changed, so that its time stays true, in
/// milliseconds.
const TIME_REFRESH_MS: u64 = 30_000;

/// What the ledger remembers for its miners.
pub(super) struct Mining {
    payee: PublicKey,
    extranonce_start: u64,
    next_job: u64,
    /// Whether a job is out.
    active: bool,
    /// When the next template is due; `None` while there is nothing to mine.
    due: Option<Time>,
    outdated: bool,
    work_may_wait: bool,
    /// On networks mined on demand: mine at least up to this height.
    mine_to: u32,
}

impl Mining {
    pub(super) fn new(payee: PublicKey, extranonce_start: u64) -> Mining {
        Mining {
            payee,
            extranonce_start,
            next_job: 1,
            active: false,
            due: None,
            outdated: true,
            work_may_wait: false,
            mine_to: 0,
        }
    }

    pub(super) fn refresh_at(&self) -> Option<Time> {
        self.due
    }
}

impl<S: Store> Ledger<S> {
    /// Notes that the tip moved: every template is stale.
    pub(super) fn mark_job_outdated(&mut self) {
        if let Some(mining) = &mut self.mining {
            mining.outdated = true;
        }
    }

    /// Notes that there may be something to mine that was not there before.
    pub(super) fn look_for_work(&mut self) {
        if let Some(mining) = &mut self.mining {
            mining.work_may_wait = true;
        }
    }

    pub(super) fn mine_to(&mut self, height: u32) {
        if let Some(mining) = &mut self.mining
            && height > mining.mine_to
        {
            mining.mine_to = height;
            mining.work_may_wait = true;
        }
    }

    /// Gives miners a new job if one is due, or takes the old one away.
    pub(super) fn refresh_job(&mut self, now: Time) -> Result<(), StoreError> {
        let next_height = self.next_height();
        let Some(mining) = &mut self.mining else {
            return Ok(());
        };
        let late = mining.due.is_some_and(|due| due <= now);
        let idle_and_asked = !mining.active && mining.work_may_wait;
        if mining.work_may_wait && mining.active {
            // Miners are busy: do not disturb them for every single transaction.
            let soon = now.plus_ms(POOL_REFRESH_MS);
            mining.due = Some(mining.due.map_or(soon, |due| due.min(soon)));
            mining.work_may_wait = false;
        }
        if !(mining.outdated || late || idle_and_asked) {
            return Ok(());
        }
        let on_demand = self.network.mining == params::Mining::OnDemand;
        // A tie is decided even if nothing waits: else nodes would differ until something does.
        let forced = mining.mine_to >= next_height || self.tree.is_tied();
        let wanted = !on_demand || forced || !self.pool.is_empty();
        (mining.outdated, mining.work_may_wait, mining.due) = (false, false, None);
        let template = if wanted { Some(self.template(now)?) } else { None };
        // Transactions can wait in the pool that cannot stand in a block yet.
        let template =
            template.filter(|template| !on_demand || forced || template.has_transactions());
        let mining = self.mining.as_mut().expect("checked above");
        if template.is_some() || mining.active {
            mining.due = template.is_some().then(|| now.plus_ms(TIME_REFRESH_MS));
            mining.active = template.is_some();
            mining.next_job += 1;
            // Now: nothing of it is news to anybody but miners, who need not wait for the commit.
            self.sayable.push_back(Output::Template(template.map(Arc::new)));
        }
        Ok(())
    }

    fn template(&self, now: Time) -> Result<Template, StoreError> {
        let mining = self.mining.as_ref().expect("only who mines needs templates");
        let tip = self.tree.tip();
        let base = Base {
            network: &self.network,
            machine: &*self.machine,
            tip: &self.store,
            parent: self.tree.parent_facts(tip),
            parent_hash: self.tree.point(tip).hash,
            payee: mining.payee,
            now_s: now.seconds(),
            extranonce_start: mining.extranonce_start,
        };
        Template::build(&base, &self.pool, mining.next_job)
    }

    /// Makes a block of a solved template. Solutions on an older tip are too late.
    pub(super) fn mined(&mut self, now: Time, mined: &Mined) -> Result<(), StoreError> {
        let Mined { template, payee, solution } = mined;
        if template.job().prev != self.tree.point(self.tree.tip()).hash {
            tracing::debug!(target: "chain", job = solution.job_id, "solution came too late");
            return Ok(());
        }
        let header = template.solved(&self.network, *payee, solution).and_then(|block| {
            let added =
                self.tree.admit(&self.network, now.seconds(), &CheckedHeader::of(&block))?;
            Ok((block, added))
        });
        match header {
            Ok((block, Some(added))) => {
                let executed =
                    (*payee == template.payee()).then(|| (block.hash(), template.delta()));
                match self.take_body(added.id(), block)? {
                    Ok(()) => self.activate(executed)?,
                    Err(error) => refuse_own(&error),
                }
            }
            Ok((_, None)) => unreachable!("templates are built on the tip, which is in the tree"),
            Err(error) => refuse_own(&error),
        }
        // If the block did not become the tip, miners need a new job all the same.
        self.mark_job_outdated();
        Ok(())
    }
}

fn refuse_own(error: &crate::rules::RuleError) {
    tracing::error!(target: "chain", %error, "a block of our own is invalid and was dropped");
}
