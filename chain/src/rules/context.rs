//! Rules that need a block's ancestors.

use crate::block::Coinbase;
use crate::execute::Delta;
use crate::header::Header;
use crate::params::{MEDIAN_TIME_SPAN, Network};
use crate::rules::RuleError;
use crate::rules::difficulty::required_bits;
use crate::tx::CheckedTransaction;

/// What header rules need to know of a header's parent.
#[derive(Clone, Debug)]
pub struct ParentFacts {
    /// Its height.
    pub height: u32,
    /// Its time.
    pub time: u32,
    /// Times of it and its ancestors, newest first, up to [`MEDIAN_TIME_SPAN`].
    pub times: Vec<u32>,
}

impl ParentFacts {
    /// Median of [`ParentFacts::times`]; of an even number the upper one, as in Bitcoin.
    pub fn median_time(&self) -> u32 {
        let mut times = self.times.clone();
        assert!((1..=MEDIAN_TIME_SPAN).contains(&times.len()));
        times.sort_unstable();
        times[times.len() / 2]
    }

    /// Moves on to a child.
    pub fn advance(&mut self, child: &Header) {
        self.height += 1;
        self.time = child.time;
        self.times.insert(0, child.time);
        self.times.truncate(MEDIAN_TIME_SPAN);
    }
}

/// Checks a header against its ancestors.
///
/// # Errors
/// The first broken rule.
pub fn check_header(
    network: &Network,
    header: &Header,
    parent: &ParentFacts,
) -> Result<(), RuleError> {
    bits_are_required(network, header, parent)?;
    time_is_after_median(header, parent)
}

/// # Consensus
/// `bits` is what the retarget rule gives for the parent's height and time.
fn bits_are_required(
    network: &Network,
    header: &Header,
    parent: &ParentFacts,
) -> Result<(), RuleError> {
    let expected = required_bits(network, parent.height, parent.time);
    if header.bits == expected {
        return Ok(());
    }
    Err(RuleError::WrongTarget { got: header.bits, expected })
}

/// # Consensus
/// The time is above the median of the last eleven headers.
fn time_is_after_median(header: &Header, parent: &ParentFacts) -> Result<(), RuleError> {
    let median = parent.median_time();
    if header.time > median {
        return Ok(());
    }
    Err(RuleError::TimeTooOld { got: header.time, median })
}

/// Whether a header may be accepted now. Not a rule about the block: later it may.
///
/// # Errors
/// [`RuleError::TimeTooNew`].
pub fn time_is_not_too_new(
    network: &Network,
    header: &Header,
    now_s: u64,
) -> Result<(), RuleError> {
    let limit_s = network.future_limit_s;
    if u64::from(header.time) <= now_s + u64::from(limit_s) {
        return Ok(());
    }
    Err(RuleError::TimeTooNew { got: header.time, now: now_s, limit_s })
}

/// # Consensus
/// The coinbase names the block's height, so no two coinbases of a chain are equal.
///
/// # Errors
/// [`RuleError::CoinbaseHeight`].
pub fn coinbase_height_matches(coinbase: &Coinbase, expected: u32) -> Result<(), RuleError> {
    if coinbase.height == expected {
        return Ok(());
    }
    Err(RuleError::CoinbaseHeight { got: coinbase.height, expected })
}

/// Subsidy and fees of a block.
///
/// # Consensus
/// The sum must fit 64 bits.
///
/// # Errors
/// [`RuleError::FeesOverflow`].
pub fn reward(
    network: &Network,
    height: u32,
    transactions: &[CheckedTransaction],
) -> Result<u64, RuleError> {
    transactions
        .iter()
        .try_fold(network.subsidy.at(height), |sum, transaction| sum.checked_add(transaction.fee))
        .ok_or(RuleError::FeesOverflow)
}

/// # Consensus
/// The coinbase pays exactly subsidy and fees.
///
/// # Errors
/// [`RuleError::CoinbaseValue`], [`RuleError::FeesOverflow`].
pub fn coinbase_value_matches(
    network: &Network,
    coinbase: &Coinbase,
    transactions: &[CheckedTransaction],
) -> Result<(), RuleError> {
    let expected = reward(network, coinbase.height, transactions)?;
    if coinbase.value == expected {
        return Ok(());
    }
    Err(RuleError::CoinbaseValue { got: coinbase.value, expected })
}

/// # Consensus
/// The coinbase commits to the state after the block.
///
/// # Errors
/// [`RuleError::StateRoot`].
pub fn state_root_matches(coinbase: &Coinbase, delta: &Delta) -> Result<(), RuleError> {
    if coinbase.state_root == delta.state_root { Ok(()) } else { Err(RuleError::StateRoot) }
}
