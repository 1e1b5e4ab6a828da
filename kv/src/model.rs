//! A second reading of the rules, as plainly as possible: whole maps, copied to be undone.

use std::collections::BTreeMap;

use chain::Hash;
use chain::execute::{Account, TransactionFault};
use chain::params::{KeyPolicy, Network};
use chain::tx::{CheckedTransaction, PublicKey};
use sha2::{Digest, Sha256};

use crate::{Effect, Entry, Expect, Head, Operation, Outcome, Reason, VersionKind};

#[derive(Clone, Debug)]
struct ModelVersion {
    height: u32,
    txid: Hash,
    writer: PublicKey,
    /// `None` = a tombstone.
    value: Option<Vec<u8>>,
}

#[derive(Clone, Debug)]
struct ModelKey {
    owner: PublicKey,
    policy: KeyPolicy,
    versions: Vec<ModelVersion>,
}

impl ModelKey {
    fn lives(&self) -> bool {
        self.versions.last().is_some_and(|version| version.value.is_some())
    }
}

/// The state after the blocks so far, and the block in the making.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    network: Network,
    /// Of the block in the making.
    pub(crate) height: u32,
    fees: u64,
    accounts: BTreeMap<PublicKey, Account>,
    keys: BTreeMap<Vec<u8>, ModelKey>,
    rewards: BTreeMap<u32, (PublicKey, u64)>,
    /// What the last block paid out: it is in an account, but has a row of its own for one block.
    due: Option<(PublicKey, u64)>,
}

impl Model {
    pub(crate) fn new(network: Network) -> Model {
        Model {
            network,
            height: 1,
            fees: 0,
            accounts: BTreeMap::new(),
            keys: BTreeMap::new(),
            rewards: BTreeMap::new(),
            due: None,
        }
    }

    pub(crate) fn account(&self, key: &PublicKey) -> Account {
        self.accounts.get(key).copied().unwrap_or_default()
    }

    /// Takes a transaction into the block in the making.
    pub(crate) fn include(&mut self, tx: &CheckedTransaction) -> Result<Outcome, TransactionFault> {
        let Account { balance, sequence } = self.account(&tx.signer);
        if tx.sequence != sequence {
            return Err(TransactionFault::WrongSequence { got: tx.sequence, expected: sequence });
        }
        if tx.expires_at > 0 && self.height > tx.expires_at {
            let (expires_at, height) = (tx.expires_at, self.height);
            return Err(TransactionFault::Expired { expires_at, height });
        }
        if balance < tx.fee {
            return Err(TransactionFault::CannotPayFee { fee: tx.fee, balance });
        }
        let paid = Account { balance: balance - tx.fee, sequence: sequence + 1 };
        self.accounts.insert(tx.signer, paid);
        self.fees += tx.fee;
        let before = self.clone();
        let mut effects = Vec::new();
        for (position, bytes) in tx.operations.iter().enumerate() {
            let effect = match Operation::decode(bytes).unwrap() {
                Operation::Put { key, value, expect, policy } => {
                    self.put(tx, key, value, expect, policy)
                }
                Operation::Delete { key, expect } => self.delete(tx, key, expect),
                Operation::HandOver { key, to } => self.hand_over(tx, key, to),
                Operation::Pay { to, amount } => self.pay(tx, to, amount),
            };
            match effect {
                Ok(effect) => effects.push(effect),
                Err(reason) => {
                    *self = before;
                    let operation = u32::try_from(position).unwrap();
                    return Ok(Outcome::Failed { operation, reason });
                }
            }
        }
        Ok(Outcome::Applied(effects))
    }

    /// Ends the block in the making.
    pub(crate) fn end_block(&mut self, payee: PublicKey) {
        let amount = self.network.subsidy.at(self.height) + self.fees;
        self.rewards.insert(self.height, (payee, amount));
        let due = self.height.checked_sub(self.network.subsidy.maturity_blocks);
        self.due = due.and_then(|height| self.rewards.remove(&height));
        if let Some((payee, amount)) = self.due {
            self.accounts.entry(payee).or_default().balance += amount;
        }
        self.height += 1;
        self.fees = 0;
    }

    fn put(
        &mut self,
        tx: &CheckedTransaction,
        key: &[u8],
        value: &[u8],
        expect: Expect,
        policy: Option<KeyPolicy>,
    ) -> Result<Effect, Reason> {
        if let Some(known) = self.keys.get(key) {
            if known.policy == KeyPolicy::Owned && known.owner != tx.signer {
                return Err(Reason::NotOwner { owner: known.owner });
            }
            if policy.is_some() && policy != Some(known.policy) {
                return Err(Reason::PolicyDiffers { policy: known.policy });
            }
        }
        self.expect(key, expect)?;
        let known = self.keys.entry(key.to_vec()).or_insert(ModelKey {
            owner: tx.signer,
            policy: policy.unwrap_or(self.network.default_policy),
            versions: Vec::new(),
        });
        let (height, txid, writer) = (self.height, tx.txid(), tx.signer);
        known.versions.push(ModelVersion { height, txid, writer, value: Some(value.to_vec()) });
        Ok(Effect::Version(known.versions.len() as u64))
    }

    fn delete(
        &mut self,
        tx: &CheckedTransaction,
        key: &[u8],
        expect: Expect,
    ) -> Result<Effect, Reason> {
        let known = self.keys.get(key).filter(|key| key.lives()).ok_or(Reason::NotFound)?;
        if known.policy == KeyPolicy::Owned && known.owner != tx.signer {
            return Err(Reason::NotOwner { owner: known.owner });
        }
        self.expect(key, expect)?;
        let (height, txid, writer) = (self.height, tx.txid(), tx.signer);
        let known = self.keys.get_mut(key).unwrap();
        known.versions.push(ModelVersion { height, txid, writer, value: None });
        Ok(Effect::Version(known.versions.len() as u64))
    }

    fn hand_over(
        &mut self,
        tx: &CheckedTransaction,
        key: &[u8],
        to: PublicKey,
    ) -> Result<Effect, Reason> {
        let known = self.keys.get_mut(key).ok_or(Reason::NotFound)?;
        if known.owner != tx.signer {
            return Err(Reason::NotOwner { owner: known.owner });
        }
        known.owner = to;
        Ok(Effect::None)
    }

    fn pay(
        &mut self,
        tx: &CheckedTransaction,
        to: PublicKey,
        amount: u64,
    ) -> Result<Effect, Reason> {
        let balance = self.account(&tx.signer).balance;
        if amount > balance {
            return Err(Reason::InsufficientFunds { balance, amount });
        }
        self.accounts.get_mut(&tx.signer).unwrap().balance -= amount;
        self.accounts.entry(to).or_default().balance += amount;
        Ok(Effect::None)
    }

    fn expect(&self, key: &[u8], expect: Expect) -> Result<(), Reason> {
        let known = self.keys.get(key);
        let latest = known.map_or(0, |key| key.versions.len() as u64);
        match expect {
            Expect::Any => Ok(()),
            Expect::Absent if known.is_some_and(ModelKey::lives) => {
                Err(Reason::NotAbsent { latest })
            }
            Expect::Absent => Ok(()),
            Expect::Version(expected) if expected == latest => Ok(()),
            Expect::Version(expected) => Err(Reason::VersionMismatch { expected, latest }),
        }
    }

    /// Rows that the state should have.
    pub(crate) fn row_count(&self) -> usize {
        let due = self.due.filter(|(_, amount)| *amount > 0);
        let accounts = self.accounts.iter().filter(|(key, account)| {
            let due = due.filter(|(payee, _)| payee == *key).map_or(0, |(_, amount)| amount);
            **account != Account { balance: due, sequence: 0 }
        });
        let versions: usize = self.keys.values().map(|key| key.versions.len()).sum();
        let rewards = self.rewards.values().filter(|(_, amount)| *amount > 0);
        accounts.count() + self.keys.len() + versions + rewards.count() + due.iter().count()
    }

    /// Coins in accounts and on their way there, in the smallest unit.
    pub(crate) fn coins(&self) -> u64 {
        let balances = self.accounts.values().map(|account| account.balance);
        balances.chain(self.rewards.values().map(|(_, amount)| *amount)).sum()
    }

    pub(crate) fn head(&self, key: &[u8]) -> Option<Head> {
        self.keys.get(key).map(|known| Head {
            owner: known.owner,
            policy: known.policy,
            version: known.versions.len() as u64,
            deleted: !known.lives(),
            history: history(&known.versions),
        })
    }

    /// Every version of a key.
    pub(crate) fn history(&self, key: &[u8]) -> Vec<Entry> {
        let versions = self.keys.get(key).map_or(&[][..], |known| &known.versions);
        let entry = |(number, version): (u64, &ModelVersion)| Entry {
            key: key.to_vec(),
            version: number,
            height: version.height,
            txid: version.txid,
            writer: version.writer,
            kind: if version.value.is_some() { VersionKind::Put } else { VersionKind::Delete },
            value: version.value.clone().unwrap_or_default(),
        };
        (1..).zip(versions).map(entry).collect()
    }

    /// Keys with a live value that start with `prefix`, ascending.
    pub(crate) fn live_keys(&self, prefix: &[u8]) -> Vec<Vec<u8>> {
        let keys = self.keys.iter().filter(|(key, known)| key.starts_with(prefix) && known.lives());
        keys.map(|(key, _)| key.clone()).collect()
    }
}

/// The history by the letter of docs/consensus.md.
fn history(versions: &[ModelVersion]) -> [u8; 32] {
    (1_u64..).zip(versions).fold([0; 32], |previous, (number, version)| {
        let ModelVersion { height, txid, writer, value } = version;
        let bytes = [
            b"graven version 1",
            &previous[..],
            &number.to_be_bytes(),
            &height.to_be_bytes(),
            &txid.0,
            &writer.0,
            &[u8::from(value.is_none())],
            &Sha256::digest(value.as_deref().unwrap_or_default()),
        ];
        Sha256::digest(bytes.concat()).into()
    })
}
