//! Bitcoin's merkle tree over transaction ids: an odd level doubles its last hash.

use miner::{Hash, sha256d_pair};
use rayon::prelude::*;

use super::RuleError;

/// Levels at least this wide are hashed in parallel.
const PARALLEL_WIDTH: usize = 512;

/// The root over `leaves`.
///
/// # Consensus
/// A tree with two equal neighbours at any level is refused: doubling would give the same root
/// for a block with repeated transactions (CVE-2012-2459).
///
/// # Errors
/// [`RuleError::MerkleMutated`].
///
/// # Panics
/// Without leaves: every block has a coinbase.
pub fn root(leaves: &[Hash]) -> Result<Hash, RuleError> {
    assert!(!leaves.is_empty(), "every block has a coinbase");
    let mut level = leaves.to_vec();
    while level.len() > 1 {
        if level.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(RuleError::MerkleMutated);
        }
        level = parents(&level);
    }
    Ok(level[0])
}

/// The hashes that lead from leaf 0 to the root, as miners need them: fold with the running
/// hash as left operand. `others` are the leaves after leaf 0.
pub fn coinbase_branch(others: &[Hash]) -> Vec<Hash> {
    let mut level = others.to_vec(); // the level without its first hash
    let mut branch = Vec::new();
    while let Some(&neighbour) = level.first() {
        branch.push(neighbour);
        level = parents(&level[1..]);
    }
    branch
}

fn parents(level: &[Hash]) -> Vec<Hash> {
    let parent = |pair: &[Hash]| sha256d_pair(&pair[0], pair.last().expect("chunks hold one"));
    if level.len() < PARALLEL_WIDTH {
        level.chunks(2).map(parent).collect()
    } else {
        level.par_chunks(2).map(parent).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn leaves(count: usize) -> Vec<Hash> {
        (0..count).map(|at| miner::sha256d(&at.to_le_bytes())).collect()
    }

    proptest! {
        #[test]
        fn the_branch_leads_from_the_coinbase_to_the_root(count in 1usize..1500) {
            let leaves = leaves(count);
            let folded = coinbase_branch(&leaves[1..])
                .iter()
                .fold(leaves[0], |running, hash| sha256d_pair(&running, hash));
            prop_assert_eq!(folded, root(&leaves).unwrap());
        }
    }

    #[test]
    fn bitcoin_block_100000_has_its_known_root() {
        let txids = [
            "8c14f0db3df150123e6f3dbbf30f8b955a8249b62ac1d1ff16284aefa3d06d87",
            "fff2525b8931402dd09222c50775608f75787bd2b87e56995a7bdd30f79702c4",
            "6359f0868171b1d194cbee1af2f16ea598ae8fad666d9b012c8ed2b79a236ec4",
            "e9a66845e05d5abc0ad04ec80f774a7e585c6e8db975962d069a522137b80c1d",
        ]
        .map(|text| text.parse().unwrap());
        assert_eq!(
            root(&txids).unwrap().to_string(),
            "f3e94742aca4b5ef85488dc37c06c3282295ffec960994b2c0d5ac2a25a95766"
        );
    }

    #[test]
    fn a_doubled_tail_is_refused_at_every_level() {
        let six = leaves(6);
        let doubled: Vec<Hash> = [&six[..], &six[4..]].concat();
        // Same root by doubling, were it not refused.
        assert_eq!(root(&doubled), Err(RuleError::MerkleMutated));
        let three = leaves(3);
        assert_eq!(root(&[&three[..], &three[2..]].concat()), Err(RuleError::MerkleMutated));
        assert!(root(&six).is_ok() && root(&three).is_ok());
    }
}
