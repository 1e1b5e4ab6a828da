//! The state handed over in rows: which of them must be carried, and what can be there.
//!
//! The state root covers accounts and heads. The versions of a key must be all that its head
//! counts, with the history that it names, so no bit of them can be another one. Rewards are not
//! carried: they follow from coinbases.

use std::ops::RangeInclusive;

use chain::block::Coinbase;
use chain::execute::{Row, View};
use chain::params::Network;
use chain::snapshot::{RowCheck, RowFault, Transferable};

use crate::execute::KeyValue;
use crate::history::{self, Record};
use crate::state::{
    DUE_ROW, Head, Reward, Version, VersionKind, encode, head_row, hex, is_committed, reward_row,
};

/// Most bytes of a key.
const MAX_KEY_BYTES: usize = 255;

impl Transferable for KeyValue {
    fn is_carried(&self, row_key: &[u8]) -> bool {
        is_committed(row_key) || row_key.first() == Some(&b'v')
    }

    fn coinbases(&self, network: &Network, height: u32) -> RangeInclusive<u32> {
        height.saturating_sub(network.subsidy.maturity_blocks).max(1)..=height
    }

    fn row_of(&self, network: &Network, height: u32, coinbase: &Coinbase) -> Option<Row> {
        let Coinbase { height: earned_at, payee, value: amount, .. } = *coinbase;
        let age = height.checked_sub(earned_at).filter(|_| amount > 0)?;
        let reward = encode(&Reward { payee, amount });
        match age.cmp(&network.subsidy.maturity_blocks) {
            std::cmp::Ordering::Less => Some((reward_row(earned_at), reward)),
            std::cmp::Ordering::Equal => Some((DUE_ROW.to_vec(), reward)),
            std::cmp::Ordering::Greater => None,
        }
    }

    fn row_check(&self) -> Box<dyn RowCheck> {
        Box::<Rows>::default()
    }
}

/// What the rows so far have said.
#[derive(Default)]
struct Rows {
    heads: u64,
    /// Keys all of whose versions have been there.
    complete: u64,
    /// The key whose versions are coming.
    open: Option<Open>,
}

struct Open {
    key: Vec<u8>,
    head: Head,
    /// Number of the last version.
    version: u64,
    /// The history up to it.
    history: [u8; 32],
}

impl RowCheck for Rows {
    fn row(&mut self, view: &dyn View, key: &[u8], value: &[u8]) -> Result<(), RowFault> {
        match key.split_first() {
            // The root covers key and value.
            Some((b'a', account)) if account.len() == 32 => Ok(()),
            Some((b'k', name)) if (1..=MAX_KEY_BYTES).contains(&name.len()) => {
                self.heads += 1;
                Head::decode(value).map(|_| ()).map_err(|error| lie(key, &error.to_string()))
            }
            Some((b'v', rest)) => self.version(view, key, rest, value),
            _ => Err(lie(key, "is of no kind that is carried")),
        }
    }

    fn end(&mut self) -> Result<(), RowFault> {
        if self.open.is_some() || self.heads != self.complete {
            return Err(RowFault::Lie("versions of a key are missing".to_string()));
        }
        Ok(())
    }
}

impl Rows {
    fn version(
        &mut self,
        view: &dyn View,
        row: &[u8],
        rest: &[u8],
        value: &[u8],
    ) -> Result<(), RowFault> {
        let named = rest.split_first().and_then(|(len, rest)| {
            let (key, number) = rest.split_at_checked(usize::from(*len))?;
            Some((key, u64::from_be_bytes(number.try_into().ok()?)))
        });
        let (key, number) = named.ok_or_else(|| lie(row, "is malformed"))?;
        let mut open = match self.open.take() {
            Some(open) if open.key == key => open,
            Some(_) => return Err(lie(row, "comes before the last version of another key")),
            None => {
                let head = view.get(&head_row(key))?;
                let head = head.and_then(|head| Head::decode(&head).ok());
                let head = head.ok_or_else(|| lie(row, "is of a key that has no head"))?;
                Open { key: key.to_vec(), head, version: 0, history: history::START }
            }
        };
        if open.version.checked_add(1) != Some(number) {
            return Err(lie(row, "does not follow the version before"));
        }
        let kind = open.link(number, value).ok_or_else(|| lie(row, "is malformed"))?;
        if number < open.head.version {
            self.open = Some(open);
            return Ok(());
        }
        let deleted = kind == VersionKind::Delete;
        if open.history != open.head.history || deleted != open.head.deleted {
            return Err(lie(row, "or one before it is another one than the key's head says"));
        }
        self.complete += 1;
        Ok(())
    }
}

impl Open {
    /// Takes the next version into the history; `None` when it has not the form of one that comes
    /// after this history.
    fn link(&mut self, number: u64, bytes: &[u8]) -> Option<VersionKind> {
        let (row, rest) = postcard::take_from_bytes::<Version<'_>>(bytes).ok()?;
        let Version { height, txid, writer, kind, before, value } = row;
        let is_canonical = rest.is_empty() && encode(&row) == bytes;
        let is_empty = kind == VersionKind::Put || value.is_empty();
        if !is_canonical || !is_empty || before != self.history {
            return None;
        }
        let value_hash = history::value_hash(value);
        let record = Record { version: number, height, txid, writer, kind, value_hash };
        self.history = history::link(&self.history, &record);
        self.version = number;
        Some(kind)
    }
}

fn lie(row: &[u8], what: &str) -> RowFault {
    RowFault::Lie(format!("row {} {what}", hex(row)))
}
