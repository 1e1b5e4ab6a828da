//! Changes of many rows at once: every page above them is read, hashed and written once. Reading is
//! for one thread, the rest for all cores.

use rayon::prelude::*;

use super::page::{Leaf, Page, PageChange, Pages, Slot, nibble, read};
use super::{EMPTY, Root};
use crate::store::StoreError;

/// So many rows are worth the way to other threads.
pub(super) const PARALLEL: usize = 512;

/// The pages above at most so many rows are in memory at a time, 1 KiB each.
const AT_A_TIME: usize = 16_384;

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
    assert!(changes.is_sorted_by(|a, b| a.path < b.path), "ascending, each path once");
    let stored = pages.page(&[])?;
    let page = match &stored {
        Some(bytes) => Page::decode(&[], bytes)?,
        None => Page::default(),
    };
    let mut changed = vec![PageChange { prefix: Vec::new(), after: None }];
    let page = read_and_change(pages, Box::new(page), 0, changes, &mut changed)?;
    let root = page.hash(0);
    if root.is_some() {
        changed[0].after = Some(page.encode());
    } else if stored.is_none() {
        changed.clear(); // nothing was there and nothing is
    }
    Ok(Update { root: root.unwrap_or(EMPTY), pages: changed })
}

/// Changes a page that `depth` nibbles lead to as rows below it do, part by part if they are many.
/// The pages below it that change are added to `changed`.
fn read_and_change<P: Pages + ?Sized>(
    pages: &P,
    mut page: Box<Page>,
    depth: usize,
    changes: &[LeafChange],
    changed: &mut Vec<PageChange>,
) -> Result<Box<Page>, StoreError> {
    if changes.len() <= AT_A_TIME {
        return Ok(change(touch(pages, page, depth, changes)?, depth, changes, changed));
    }
    for (number, group) in by_slot(changes, depth) {
        page.slots[number] = match page.slots[number] {
            Slot::Empty => change_slot(Before::Rows(None), depth + 1, group, changed),
            Slot::Leaf(leaf) => change_slot(Before::Rows(Some(leaf)), depth + 1, group, changed),
            Slot::Subtree(_) => {
                let prefix = prefix(group, depth + 1);
                let page = Box::new(read(pages, &prefix)?);
                let own = note(prefix, changed);
                let page = read_and_change(pages, page, depth + 1, group, changed)?;
                keep(own, &page, depth + 1, changed)
            }
        };
    }
    Ok(page)
}

/// A page above rows that change.
struct Touched {
    page: Box<Page>,
    /// Of its subtrees that rows change as well, by slot.
    below: Vec<Touched>,
}

/// Reads all pages below this one that are above the rows.
fn touch<P: Pages + ?Sized>(
    pages: &P,
    page: Box<Page>,
    depth: usize,
    changes: &[LeafChange],
) -> Result<Touched, StoreError> {
    let mut below = Vec::new();
    for (number, group) in by_slot(changes, depth) {
        if let Slot::Subtree(_) = page.slots[number] {
            let page = Box::new(read(pages, &prefix(group, depth + 1))?);
            below.push(touch(pages, page, depth + 1, group)?);
        }
    }
    Ok(Touched { page, below })
}

/// What the paths of these rows begin with.
fn prefix(changes: &[LeafChange], depth: usize) -> Vec<u8> {
    (0..depth).map(|at| nibble(&changes[0].path, at)).collect()
}

/// Changes grouped by the slot that they are below, in a page that `depth` nibbles lead to.
fn by_slot(changes: &[LeafChange], depth: usize) -> impl Iterator<Item = (usize, &[LeafChange])> {
    let slot = move |change: &LeafChange| nibble(&change.path, depth);
    let groups = changes.chunk_by(move |a, b| slot(a) == slot(b));
    groups.map(move |group| (usize::from(slot(&group[0])), group))
}

/// As [`read_and_change`], with all that has to be read.
fn change(
    touched: Touched,
    depth: usize,
    changes: &[LeafChange],
    changed: &mut Vec<PageChange>,
) -> Box<Page> {
    let Touched { mut page, below } = touched;
    let mut below = below.into_iter();
    let slots = by_slot(changes, depth).map(|(number, group)| {
        let before = match page.slots[number] {
            Slot::Empty => Before::Rows(None),
            Slot::Leaf(leaf) => Before::Rows(Some(leaf)),
            Slot::Subtree(_) => Before::Page(below.next().expect("each of them was read")),
        };
        (number, before, group)
    });
    let slots: Vec<(usize, Before, &[LeafChange])> = slots.collect();
    if changes.len() < PARALLEL {
        for (number, before, group) in slots {
            page.slots[number] = change_slot(before, depth + 1, group, changed);
        }
    } else {
        let one = |(number, before, group)| {
            let mut changed = Vec::new();
            (number, change_slot(before, depth + 1, group, &mut changed), changed)
        };
        let done: Vec<(usize, Slot, Vec<PageChange>)> = slots.into_par_iter().map(one).collect();
        for (number, slot, below) in done {
            page.slots[number] = slot;
            changed.extend(below);
        }
    }
    page
}

/// What a slot has before the change.
enum Before {
    /// No row or one.
    Rows(Option<Leaf>),
    /// More.
    Page(Touched),
}

/// What becomes of a slot that `depth` nibbles lead to.
fn change_slot(
    before: Before,
    depth: usize,
    changes: &[LeafChange],
    changed: &mut Vec<PageChange>,
) -> Slot {
    let touched = match before {
        Before::Page(touched) => touched,
        Before::Rows(before) => {
            let kept = before.filter(|leaf| changes.iter().all(|change| change.path != leaf.path));
            let added = changes
                .iter()
                .filter_map(|&LeafChange { path, value }| Some(Leaf { path, value: value? }));
            let mut rows = kept.into_iter().chain(added);
            match (rows.next(), rows.next()) {
                (None, _) => return Slot::Empty,
                (Some(leaf), None) => return Slot::Leaf(leaf),
                (Some(_), Some(_)) => {
                    Touched { page: Box::new(page_of(kept, depth)), below: Vec::new() }
                }
            }
        }
    };
    let own = note(prefix(changes, depth), changed);
    let page = change(touched, depth, changes, changed);
    keep(own, &page, depth, changed)
}

/// Takes note that a page changes, before those below it do. Until said otherwise it goes.
fn note(prefix: Vec<u8>, changed: &mut Vec<PageChange>) -> usize {
    changed.push(PageChange { prefix, after: None });
    changed.len() - 1
}

/// Writes a page of two rows or more, and says what becomes of its slot.
fn keep(own: usize, page: &Page, depth: usize, changed: &mut [PageChange]) -> Slot {
    let mut filled = page.filled();
    match (filled.next(), filled.next()) {
        (None, _) => Slot::Empty,
        (Some(Slot::Leaf(leaf)), None) => Slot::Leaf(*leaf),
        _ => {
            changed[own].after = Some(page.encode());
            Slot::Subtree(page.hash(depth).expect("there are rows below it"))
        }
    }
}

/// A page that `depth` nibbles lead to, with at most one row.
fn page_of(row: Option<Leaf>, depth: usize) -> Page {
    let mut page = Page::default();
    if let Some(leaf) = row {
        page.slots[usize::from(nibble(&leaf.path, depth))] = Slot::Leaf(leaf);
    }
    page
}
