//! The door of the tree: what a header must keep before it is added.

use crate::params::Network;
use crate::rules::isolation::CheckedHeader;
use crate::rules::{RuleError, context};
use crate::tree::{Added, HeaderTree};

impl HeaderTree {
    /// Adds a header if it keeps the rules that need ancestors and contradicts no checkpoint;
    /// `None` when its parent is unknown.
    ///
    /// # Errors
    /// The first broken rule.
    pub fn admit(
        &mut self,
        network: &Network,
        now_s: u64,
        header: &CheckedHeader,
    ) -> Result<Option<Added>, RuleError> {
        if let Some(id) = self.find(&header.hash()) {
            if self.is_invalid(id) {
                return Err(RuleError::InvalidAncestor { hash: header.hash() });
            }
            return Ok(Some(Added::Known(id)));
        }
        let Some(parent) = self.find(&header.header().prev) else {
            return Ok(None);
        };
        if self.is_invalid(parent) {
            return Err(RuleError::InvalidAncestor { hash: header.hash() });
        }
        let facts = self.parent_facts(parent);
        context::check_header(network, header.header(), &facts)?;
        context::time_is_not_too_new(network, header.header(), now_s)?;
        network.landmarks.check(facts.height + 1, &header.hash())?;
        Ok(self.add(header.header(), header.hash()))
    }
}
