//! Changes of many rows at once: every page above them is read, hashed and written once.

use super::page::{Leaf, Page, PageChange, Pages, Slot, nibble, read};
use super::{EMPTY, Root};
use crate::store::StoreError;

/// A row that changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeafChange {
    /// Where it lies.
    pub path: [u8; 32],
    /// SHA-256 of its value after the change; `None` = it is gone.
    pub value: Option<[u8; 32]>,
}

/// What changes of rows do to the pages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// Root of the state after them.
    pub root: Root,
    /// Each page once, ascending by prefix.
    pub pages: Vec<PageChange>,
}

/// Applies changes, ascending by path, each path once.
///
/// # Errors
/// When the store fails or its pages contradict each other.
pub fn update<P: Pages + ?Sized>(pages: &P, changes: &[LeafChange]) -> Result<Update, StoreError> {
    debug_assert!(changes.is_sorted_by(|a, b| a.path < b.path), "ascending, each path once");
    let mut updating = Updating { pages, changed: Vec::new() };
    let stored = pages.page(&[])?;
    let mut page = match &stored {
        Some(bytes) => Page::decode(&[], bytes)?,
        None => Page::default(),
    };
    let own = updating.note(&[]);
    updating.change(&mut Vec::new(), &mut page, changes)?;
    let root = page.hash(0);
    if root.is_some() {
        updating.changed[own].after = Some(page.encode());
    } else if stored.is_none() {
        updating.changed.clear(); // nothing was there and nothing is
    }
    Ok(Update { root: root.unwrap_or(EMPTY), pages: updating.changed })
}

struct Updating<'a, P: ?Sized> {
    pages: &'a P,
    changed: Vec<PageChange>,
}

impl<P: Pages + ?Sized> Updating<'_, P> {
    /// Takes note that a page changes, before those below it do. Until said otherwise it goes.
    fn note(&mut self, prefix: &[u8]) -> usize {
        self.changed.push(PageChange { prefix: prefix.to_vec(), after: None });
        self.changed.len() - 1
    }

    /// Changes a page as rows below it do.
    fn change(
        &mut self,
        prefix: &mut Vec<u8>,
        page: &mut Page,
        changes: &[LeafChange],
    ) -> Result<(), StoreError> {
        let at = prefix.len();
        let below = |a: &LeafChange, b: &LeafChange| nibble(&a.path, at) == nibble(&b.path, at);
        for group in changes.chunk_by(below) {
            let number = nibble(&group[0].path, at);
            let slot = &mut page.slots[usize::from(number)];
            prefix.push(number);
            *slot = match *slot {
                Slot::Empty => self.without_page(prefix, None, group)?,
                Slot::Leaf(leaf) => self.without_page(prefix, Some(leaf), group)?,
                Slot::Subtree(_) => self.with_page(prefix, group)?,
            };
            prefix.pop();
        }
        Ok(())
    }

    /// What a slot becomes that has no row or one.
    fn without_page(
        &mut self,
        prefix: &mut Vec<u8>,
        before: Option<Leaf>,
        changes: &[LeafChange],
    ) -> Result<Slot, StoreError> {
        let before = before.filter(|leaf| changes.iter().all(|change| change.path != leaf.path));
        let added = changes
            .iter()
            .filter_map(|&LeafChange { path, value }| Some(Leaf { path, value: value? }));
        let mut rows = before.into_iter().chain(added);
        match (rows.next(), rows.next()) {
            (None, _) => Ok(Slot::Empty),
            (Some(leaf), None) => Ok(Slot::Leaf(leaf)),
            (Some(_), Some(_)) => {
                let mut page = Page::default();
                if let Some(leaf) = before {
                    let number = nibble(&leaf.path, prefix.len());
                    page.slots[usize::from(number)] = Slot::Leaf(leaf);
                }
                let own = self.note(prefix);
                self.change(prefix, &mut page, changes)?;
                Ok(self.keep(own, &page))
            }
        }
    }

    /// What a slot becomes that has more rows.
    fn with_page(
        &mut self,
        prefix: &mut Vec<u8>,
        changes: &[LeafChange],
    ) -> Result<Slot, StoreError> {
        let mut page = read(self.pages, prefix)?;
        let own = self.note(prefix);
        self.change(prefix, &mut page, changes)?;
        let mut filled = page.filled();
        let slot = match (filled.next(), filled.next()) {
            (None, _) => Slot::Empty,
            (Some(Slot::Leaf(leaf)), None) => Slot::Leaf(*leaf),
            _ => return Ok(self.keep(own, &page)),
        };
        Ok(slot)
    }

    /// Writes a page of two rows or more.
    fn keep(&mut self, own: usize, page: &Page) -> Slot {
        let PageChange { prefix, after } = &mut self.changed[own];
        *after = Some(page.encode());
        Slot::Subtree(page.hash(prefix.len()).expect("there are rows below it"))
    }
}
