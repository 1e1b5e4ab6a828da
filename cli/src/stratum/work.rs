//! What is mined, and who is paid for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use chain::template::Template;
use chain::tx::PublicKey;
use miner::Job;

/// How an address in a user name begins.
const ADDRESS_START: &str = "grvn1";

/// What is mined.
pub(super) struct Work {
    template: Arc<Template>,
    /// For each payee; made when first asked for.
    jobs: BTreeMap<PublicKey, Arc<Job>>,
}

impl Work {
    pub(super) fn new(template: Arc<Template>) -> Work {
        Work { template, jobs: BTreeMap::new() }
    }

    /// What is new in another template.
    pub(super) fn change(&self, new: &Template) -> Change {
        if self.template.job().prev != new.job().prev {
            Change::Tip
        } else if !self.template.has_transactions() && new.has_transactions() {
            Change::FirstTransactions
        } else {
            Change::Contents
        }
    }

    /// The job that pays somebody.
    pub(super) fn job(&mut self, payee: PublicKey) -> Arc<Job> {
        let job = self.jobs.entry(payee).or_insert_with(|| self.template.job_for(payee));
        Arc::clone(job)
    }
}

/// What is new in a template.
pub(super) enum Change {
    Tip,
    /// The one before was empty. Whoever wrote should not have to wait for the half minute.
    FirstTransactions,
    Contents,
}

/// Who is paid for a user's shares: the address before the first dot, or else the node's payee.
pub(super) fn payee_of(user: &str, own: PublicKey) -> Result<PublicKey, String> {
    let name = user.split_once('.').map_or(user, |(name, _)| name);
    if name.to_ascii_lowercase().starts_with(ADDRESS_START) {
        name.parse().map_err(|error| format!("{name:?} is no address: {error}"))
    } else {
        Ok(own)
    }
}
