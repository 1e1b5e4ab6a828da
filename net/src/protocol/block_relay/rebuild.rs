//! A block put together of its compact form and the transactions that are here.

use chain::block::{Assembly, Part};
use chain::header::Header;
use chain::tx::CheckedTransaction;
use chain::{Hash, sha256d};

use crate::wire::{CompactBlock, ShortId, ShortIds};

/// What stands at one place of the block.
#[derive(Clone, Debug)]
enum Slot {
    Missing,
    Known(CheckedTransaction),
    /// Two transactions here have its short id, so neither is taken.
    Clash,
}

/// Two transactions of one block have the same short id. Nobody is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Collision;

/// Transactions that are not those that were asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    Count,
    Transaction,
}

/// A block that lacks some of its transactions.
#[derive(Debug)]
pub(super) struct Partial {
    header: Header,
    coinbase: Vec<u8>,
    short: ShortIds,
    ids: Vec<ShortId>,
    slots: Vec<Slot>,
}

impl Partial {
    /// Fills what the transactions at hand can fill. They may come in any order, and more than
    /// once.
    pub(super) fn new<'a>(
        compact: CompactBlock,
        at_hand: impl Iterator<Item = &'a CheckedTransaction>,
    ) -> Result<Partial, Collision> {
        let short = ShortIds::new(&compact.header, compact.salt);
        Partial::with_ids(compact, at_hand, |txid| short.of(txid))
    }

    /// As [`Partial::new`], with short ids by `id`, so that a test can make them collide.
    fn with_ids<'a>(
        compact: CompactBlock,
        at_hand: impl Iterator<Item = &'a CheckedTransaction>,
        id: impl Fn(&Hash) -> ShortId,
    ) -> Result<Partial, Collision> {
        let CompactBlock { header, salt, coinbase, ids } = compact;
        let mut places: Vec<(ShortId, usize)> = ids.iter().copied().zip(0..).collect();
        places.sort_unstable();
        if places.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Err(Collision);
        }
        let mut slots = vec![Slot::Missing; ids.len()];
        for transaction in at_hand {
            let id = id(&transaction.txid());
            let Ok(found) = places.binary_search_by_key(&id, |(id, _)| *id) else { continue };
            let slot = &mut slots[places[found].1];
            match slot {
                Slot::Missing => *slot = Slot::Known(transaction.clone()),
                Slot::Known(other) if other.txid() != transaction.txid() => *slot = Slot::Clash,
                Slot::Known(_) | Slot::Clash => {}
            }
        }
        Ok(Partial { header, coinbase, short: ShortIds::new(&header, salt), ids, slots })
    }

    /// The places that nothing here fills, ascending.
    pub(super) fn missing(&self) -> Vec<u16> {
        let empty = self.slots.iter().zip(0..).filter(|(slot, _)| !matches!(slot, Slot::Known(_)));
        empty.map(|(_, place)| place).collect()
    }

    /// Completes the block with what was asked for: the transactions at [`Partial::missing`].
    ///
    /// # Errors
    /// When they are not those: then their sender contradicts its own compact form.
    pub(super) fn complete(self, fetched: Vec<Vec<u8>>) -> Result<Assembly, Wrong> {
        if fetched.len() != self.missing().len() {
            return Err(Wrong::Count);
        }
        let mut fetched = fetched.into_iter();
        let mut parts = Vec::with_capacity(self.slots.len());
        for (slot, id) in self.slots.into_iter().zip(&self.ids) {
            parts.push(match slot {
                Slot::Known(transaction) => Part::Known(transaction),
                Slot::Missing | Slot::Clash => {
                    let bytes = fetched.next().ok_or(Wrong::Count)?;
                    if self.short.of(&sha256d(&bytes)) != *id {
                        return Err(Wrong::Transaction);
                    }
                    Part::Fetched(bytes)
                }
            });
        }
        Ok(Assembly { header: self.header, coinbase: self.coinbase, parts })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::LazyLock;

    use proptest::collection::{btree_set, vec};
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::fixture::{blocks, transactions, verifier};

    const COUNT: usize = 40;
    static TRANSACTIONS: LazyLock<Vec<CheckedTransaction>> =
        LazyLock::new(|| transactions(COUNT as u64));

    fn compact(ids: Vec<ShortId>) -> CompactBlock {
        CompactBlock { header: Header::decode(&[0; 80]), salt: 1, coinbase: Vec::new(), ids }
    }

    proptest! {
        /// Against a model that looks at every pair, with ids so short that they collide.
        #[test]
        fn a_place_is_filled_if_one_transaction_at_hand_fits(
            in_block in vec(0..COUNT, 0..12),
            at_hand in vec(0..COUNT, 0..60),
            mask in prop_oneof![Just(0x07), Just(0x3f), Just(0xff)],
        ) {
            let id = |txid: &Hash| ShortId([txid.0[0] & mask, 0, 0, 0, 0, 0]);
            let id_of = |at: &usize| id(&TRANSACTIONS[*at].txid());
            let ids: Vec<ShortId> = in_block.iter().map(id_of).collect();
            let distinct = ids.iter().collect::<BTreeSet<_>>().len() == ids.len();
            let pool = at_hand.iter().map(|at| &TRANSACTIONS[*at]);
            let partial = Partial::with_ids(compact(ids.clone()), pool, id);
            prop_assert_eq!(partial.is_ok(), distinct);
            if let Ok(partial) = partial {
                let fitting = |wanted: &ShortId| {
                    let fit = at_hand.iter().filter(|at| id_of(at) == *wanted);
                    fit.collect::<BTreeSet<_>>().len()
                };
                let expected: Vec<u16> =
                    (0..).zip(&ids).filter(|(_, id)| fitting(id) != 1).map(|(n, _)| n).collect();
                prop_assert_eq!(partial.missing(), expected);
            }
        }

        /// Whatever is missing, the right answer gives the block and a wrong one does not.
        #[test]
        fn the_right_answer_alone_completes_the_block(
            at_hand in btree_set(0..COUNT, 0..COUNT),
            in_block in btree_set(0..COUNT, 1..COUNT),
            spoil in 0..5_u8,
        ) {
            let with: Vec<_> = in_block.iter().map(|at| TRANSACTIONS[*at].clone()).collect();
            let block = blocks(1, &with).remove(0);
            let pool = || at_hand.iter().map(|at| &TRANSACTIONS[*at]);
            let partial = || Partial::new(CompactBlock::of(&block, 7), pool()).unwrap();
            let missing = partial().missing();
            let lacks = |(_, at): &(u16, &usize)| !at_hand.contains(at);
            let lacking: Vec<u16> = (0..).zip(&in_block).filter(lacks).map(|(n, _)| n).collect();
            prop_assert_eq!(&missing, &lacking);
            let answer: Vec<Vec<u8>> =
                missing.iter().map(|at| with[usize::from(*at)].bytes().to_vec()).collect();
            let assembly = partial().complete(answer.clone()).unwrap();
            let rebuilt = verifier().judge_assembly(assembly).unwrap();
            prop_assert_eq!(rebuilt.bytes(), block.bytes());
            let mut wrong = answer.clone();
            let expected = match spoil {
                0 => { wrong.push(with[0].bytes().to_vec()); Wrong::Count }
                _ if answer.is_empty() => return Ok(()),
                1 => { wrong.pop(); Wrong::Count }
                2 => { wrong[0].push(0); Wrong::Transaction }
                3 => { wrong[0] = Vec::new(); Wrong::Transaction }
                _ if answer.len() < 2 => return Ok(()),
                _ => { wrong.reverse(); Wrong::Transaction }
            };
            prop_assert_eq!(partial().complete(wrong).unwrap_err(), expected);
        }
    }
}
