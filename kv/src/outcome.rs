//! Outcomes: what an included transaction's operations did, or why they did nothing.
//!
//! Outcomes are stored beside the chain and follow from it; no hash commits to them.

use chain::params::KeyPolicy;
use chain::tx::PublicKey;
use serde::{Deserialize, Serialize};

/// What the operations of an included transaction did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// All were applied; one effect each, in order.
    Applied(Vec<Effect>),
    /// None was applied, because the condition of one failed. The fee was paid.
    Failed {
        /// Position of the failed operation in the transaction.
        operation: u32,
        /// Why it failed.
        reason: Reason,
    },
}

/// What an applied operation made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// A version of its key with this number: puts and deletions.
    Version(u64),
    /// No version: hand-overs and payments.
    None,
}

/// Why an operation could not be applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Reason {
    /// The latest version is not the one expected.
    #[error(
        "the key is at version {latest}, expected was {expected}: \
         read it again and write on top of version {latest}"
    )]
    VersionMismatch {
        /// In the operation.
        expected: u64,
        /// Of the key; 0 = never written.
        latest: u64,
    },
    /// The key has a live value.
    #[error(
        "the key already has a value, version {latest}: \
         choose another key or write on top of that version"
    )]
    NotAbsent {
        /// Number of the live version.
        latest: u64,
    },
    /// Only the owner may do this.
    #[error("the key belongs to {owner}: ask its owner to write it or to hand it over")]
    NotOwner {
        /// Who may.
        owner: PublicKey,
    },
    /// The key was never written or, for deletions, is deleted already.
    #[error("the key does not exist: check its spelling, or put a value first")]
    NotFound,
    /// The policy of a key is set by its first put for good.
    #[error(
        "the key is {} since its first put: leave the policy out or name that one",
        policy_name(*.policy)
    )]
    PolicyDiffers {
        /// The key's policy.
        policy: KeyPolicy,
    },
    /// The signer has fewer coins.
    #[error(
        "the balance is {balance} units after the fee, too few to pay {amount}: \
         pay less or wait for coins"
    )]
    InsufficientFunds {
        /// Spendable, after the fee, in the smallest unit.
        balance: u64,
        /// In the operation, in the smallest unit.
        amount: u64,
    },
    /// The receiver cannot hold so much. Needs a network that creates more than 2^64 units.
    #[error("the receiver's balance {balance} cannot grow by {amount}: pay less")]
    BalanceOverflow {
        /// Of the receiver, in the smallest unit.
        balance: u64,
        /// In the operation, in the smallest unit.
        amount: u64,
    },
}

impl Reason {
    /// A short word for programs; it never changes.
    pub fn code(&self) -> &'static str {
        match self {
            Reason::VersionMismatch { .. } => "version-mismatch",
            Reason::NotAbsent { .. } => "not-absent",
            Reason::NotOwner { .. } => "not-owner",
            Reason::NotFound => "not-found",
            Reason::PolicyDiffers { .. } => "policy-differs",
            Reason::InsufficientFunds { .. } => "insufficient-funds",
            Reason::BalanceOverflow { .. } => "balance-overflow",
        }
    }
}

/// Bytes that are not an outcome: the store is damaged or was written by another program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("outcome bytes are malformed")]
pub struct OutcomeError;

impl Outcome {
    /// The bytes kept with the transaction.
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_stdvec(self).expect("encoding to memory cannot fail")
    }

    /// Reads exactly one outcome.
    ///
    /// # Errors
    /// When the bytes are none.
    pub fn decode(bytes: &[u8]) -> Result<Outcome, OutcomeError> {
        match postcard::take_from_bytes(bytes) {
            Ok((outcome, [])) => Ok(outcome),
            _ => Err(OutcomeError),
        }
    }
}

fn policy_name(policy: KeyPolicy) -> &'static str {
    match policy {
        KeyPolicy::Owned => "owned",
        KeyPolicy::Open => "open",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_survive_their_bytes_and_nothing_may_follow() {
        let owner = PublicKey([3; 32]);
        let reasons = [
            Reason::VersionMismatch { expected: 1, latest: u64::MAX },
            Reason::NotAbsent { latest: 300 },
            Reason::NotOwner { owner },
            Reason::NotFound,
            Reason::PolicyDiffers { policy: KeyPolicy::Open },
            Reason::InsufficientFunds { balance: 1, amount: 2 },
            Reason::BalanceOverflow { balance: u64::MAX, amount: 1 },
        ];
        let mut codes: Vec<&str> = reasons.iter().map(Reason::code).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), reasons.len(), "every reason has its own code");
        let failed = reasons.map(|reason| Outcome::Failed { operation: 7, reason });
        let applied = Outcome::Applied(vec![Effect::Version(300), Effect::None]);
        for outcome in failed.into_iter().chain([applied]) {
            let mut bytes = outcome.encode();
            assert_eq!(Outcome::decode(&bytes), Ok(outcome));
            bytes.push(0);
            assert_eq!(Outcome::decode(&bytes), Err(OutcomeError));
        }
        assert_eq!(Outcome::decode(&[]), Err(OutcomeError));
    }

    #[test]
    fn a_reason_names_what_a_person_needs() {
        let text = Reason::PolicyDiffers { policy: KeyPolicy::Owned }.to_string();
        assert!(text.contains("the key is owned"), "{text}");
        let text = Reason::VersionMismatch { expected: 3, latest: 4 }.to_string();
        assert!(text.contains("at version 4, expected was 3"), "{text}");
    }
}
