//! How a node makes a proof: of the state after its newest block, for that is the state it has.

use chain::Hash;
use chain::block::{Block, Coinbase};
use chain::commitment::Witness;
use chain::params::Network;
use chain::rules::merkle;
use chain::store::{Archive, Body, StoreError};

use super::{Before, Claim, CoinbaseParts, MAX_PROOF_BYTES, MAX_PROVEN_VERSIONS, Proof, Written};
use crate::query::{Entry, Query};
use crate::state::{Head, head_row};

/// Bytes of a version in a proof, besides its value: height, id, writer, kind, length.
const MOST_BYTES_OF_A_VERSION: usize = 5 + 32 + 32 + 1 + 5;

/// Bytes of a proof besides its versions: 256 steps, 32 hashes of a branch, and what is short.
const MOST_BYTES_BESIDE_VERSIONS: usize = 256 * 33 + 32 * 32 + 1024;

/// Which versions a proof shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// The latest one.
    Latest,
    /// All.
    All,
}

/// Why there is no proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoProof {
    /// The history does not fit.
    #[error(
        "a proof shows at most {MAX_PROVEN_VERSIONS} versions in {MAX_PROOF_BYTES} bytes, and the \
         key has {versions} versions: prove the latest alone"
    )]
    TooLong {
        /// Versions of the key.
        versions: u64,
    },
    /// The newest block's body is damaged, and the way to its state root leads through it.
    #[error(
        "the body of the newest block {block} is damaged here and is fetched from peers again: ask \
         later"
    )]
    NoBody {
        /// Which block.
        block: Hash,
    },
}

/// What a proof says of its block, the same for every key. Who makes many keeps it: to make it, the
/// whole block is read and hashed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anchor {
    block: Hash,
    coinbase: CoinbaseParts,
    branch: Vec<Hash>,
}

impl Anchor {
    /// Of this block, the newest; `None` when its body is damaged.
    fn new(
        archive: &dyn Archive,
        network: &Network,
        block: Hash,
    ) -> Result<Option<Anchor>, StoreError> {
        let content = match archive.body(&block)? {
            Body::Here(bytes) => {
                Block::decode(&bytes).expect("the log's checksums vouch for blocks")
            }
            Body::Unknown => network.genesis(),
            Body::Damaged(_) | Body::Missing | Body::Pruned => return Ok(None),
        };
        let branch = merkle::coinbase_branch(&content.txids()[1..]);
        let Coinbase { height, extranonce, tag, value, payee, state_root: _ } = content.coinbase;
        let coinbase = CoinbaseParts { height, extranonce, tag, value, payee };
        Ok(Some(Anchor { block, coinbase, branch }))
    }
}

/// Shows what the newest block's state says of a key. All reads must be of one moment. `anchor` is
/// for whoever makes many proofs to keep: it is used while it is of the newest block, else made.
///
/// # Errors
/// When the store fails or is damaged.
pub fn prove(
    archive: &dyn Archive,
    network: &Network,
    anchor: &mut Option<Anchor>,
    key: &[u8],
    extent: Extent,
) -> Result<Result<Proof, NoProof>, StoreError> {
    let row = head_row(key);
    let claim = match Query::new(archive).head(key)? {
        None => Claim::Absent,
        Some(head) => match claim(archive, key, &head, extent)? {
            Some(claim) => claim,
            None => return Ok(Err(NoProof::TooLong { versions: head.version })),
        },
    };
    let Witness { steps, other } = archive.witness(&row)?;
    let tip = archive.tip()?.hash;
    let anchor = match anchor.take().filter(|anchor| anchor.block == tip) {
        Some(of_tip) => anchor.insert(of_tip),
        None => match Anchor::new(archive, network, tip)? {
            Some(made) => anchor.insert(made),
            None => return Ok(Err(NoProof::NoBody { block: tip })),
        },
    };
    let Anchor { block, coinbase, branch } = anchor.clone();
    let proof = Proof { key: key.to_vec(), block, coinbase, branch, steps, other, claim };
    Ok(Ok(proof))
}

/// What to claim of a key that was written; `None` when it is too much.
fn claim(
    archive: &dyn Archive,
    key: &[u8],
    head: &Head,
    extent: Extent,
) -> Result<Option<Claim>, StoreError> {
    let query = Query::new(archive);
    let first = match extent {
        Extent::Latest => head.version,
        Extent::All => 1,
    };
    let count = head.version - first + 1;
    if count > MAX_PROVEN_VERSIONS as u64 {
        return Ok(None);
    }
    let (mut versions, mut bytes) = (Vec::new(), 0);
    for number in first..=head.version {
        let entry = query.entry(key, number)?;
        bytes += MOST_BYTES_OF_A_VERSION + entry.value.len();
        if bytes > MAX_PROOF_BYTES - MOST_BYTES_BESIDE_VERSIONS {
            return Ok(None);
        }
        let Entry { height, txid, writer, kind, value, .. } = entry;
        versions.push(Written { height, txid, writer, kind, value });
    }
    let before = match first {
        1 => None,
        _ => Some(Before { count: first - 1, history: query.history_before(key, first)? }),
    };
    let Head { owner, policy, .. } = *head;
    Ok(Some(Claim::Written { owner, policy, before, versions }))
}
