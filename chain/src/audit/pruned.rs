//! Where the audit of a pruned chain begins.

use std::collections::BTreeMap;

use super::{Audit, AuditError, PAGE};
use crate::commitment::{leaf_changes, update};
use crate::execute::{Order, Range};
use crate::header::Header;
use crate::rules::context;
use crate::rules::isolation;
use crate::store::MemoryStore;

impl Audit<'_> {
    /// Checks the headers up to the height of the last body that was removed, and goes on from the
    /// state after that block.
    pub(super) fn start_at(&mut self, pruned: u32, tip: u32) -> Result<(), AuditError> {
        let mut headers = self.archive.main_headers(0, 1)?;
        while (headers.len() as u64) <= u64::from(pruned) {
            let from = u32::try_from(headers.len()).expect("heights are 32-bit");
            let left = (pruned + 1 - from) as usize;
            let page = self.archive.main_headers(from, left.min(PAGE))?;
            if page.is_empty() {
                let what = "no block at this height".to_string();
                return Err(AuditError::Index { height: from, what });
            }
            self.headers(from, &page)?;
            headers.extend(page);
        }
        let state = self.state_at(pruned, tip)?;
        let rows = state.iter().map(|(key, value)| (&key[..], Some(&value[..])));
        let change = update(&MemoryStore::default(), &leaf_changes(&**self.machine, rows))?;
        self.root = change.root;
        self.replay = MemoryStore::resumed(&headers, state, &change.pages);
        Ok(())
    }

    fn headers(&mut self, from: u32, headers: &[Header]) -> Result<(), AuditError> {
        let rule = |height| move |error| AuditError::Rule { height, error };
        isolation::check_headers(self.network, headers).map_err(rule(from))?;
        for (height, header) in (from..).zip(headers) {
            let hash = header.hash();
            if header.prev != self.parent_hash {
                let what = format!("block {hash} is not on the block before it");
                return Err(AuditError::Index { height, what });
            }
            context::check_header(self.network, header, &self.parent).map_err(rule(height))?;
            self.find_by_hash(&hash, height)?;
            self.parent.advance(header);
            self.parent_hash = hash;
        }
        Ok(())
    }

    /// The state after a block: that of the tip, with what came in between undone.
    fn state_at(&self, height: u32, tip: u32) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, AuditError> {
        let (mut state, mut from) = (BTreeMap::new(), Vec::new());
        loop {
            let range =
                Range { from: &from, to: &[0xff; 300], order: Order::Ascending, limit: PAGE };
            let page = self.archive.range(range)?;
            let Some((last, _)) = page.last() else { break };
            from = [&last[..], &[0]].concat();
            state.extend(page);
        }
        for height in (height + 1..=tip).rev() {
            for (key, before) in self.archive.undo(height)? {
                match before {
                    Some(value) => state.insert(key, value),
                    None => state.remove(&key),
                };
            }
        }
        Ok(state)
    }
}
