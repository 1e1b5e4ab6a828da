//! What a proof shows, to whom trusts some headers and nothing else. No node, no clock.

use chain::header::Header;
use chain::light::LightChain;
use chain::params::Network;
use chain::rules::context::time_is_not_too_new;
use chain::rules::difficulty::required_bits;
use chain::rules::isolation::check_headers;
use chain::store::ChainPoint;
use chain::{Hash, Work};
use kv::proof::Proven;

use super::proof::{MalformedFile, ProofFile};

/// With fewer confirmations a block may leave the chain as reorganisations go.
const SETTLED: u32 = 6;

/// What the verifier trusts.
#[derive(Clone, Copy, Debug)]
pub enum Trust<'a> {
    /// His own chain of headers.
    Headers(&'a LightChain),
    /// A block that he knows to be on the chain.
    Checkpoint {
        /// Its hash.
        hash: Hash,
        /// Its height, if he knows that as well.
        height: Option<u32>,
    },
    /// Nothing.
    Nothing,
}

/// What the verifier asks for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// At least so many blocks, the proof's own counted.
    pub min_confirmations: u32,
    /// At most so many: what is further down may have changed since.
    pub max_confirmations: Option<u32>,
    /// The block is at most so old, in seconds.
    pub max_age_s: Option<u64>,
    /// Seconds since the Unix epoch.
    pub now_s: u64,
}

/// What was proven, and what that rests on.
#[derive(Clone, Debug)]
pub struct Verified {
    /// What is true after the block.
    pub proven: Proven,
    /// Blocks on the chain from the proof's on.
    pub confirmations: u32,
    /// The end of the headers that it rests on.
    pub tip: ChainPoint,
    /// That header's time.
    pub tip_time: u32,
    /// What it rests on, in a sentence.
    pub trust: String,
}

/// Why nothing is proven.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Doubt {
    /// What is claimed is not true, or not of this chain.
    #[error("refuted: {0}")]
    Refuted(String),
    /// This is no proof.
    #[error("malformed: {0}")]
    Malformed(#[from] MalformedFile),
    /// It may be true; what is trusted does not reach so far.
    #[error("not enough: {0}")]
    NotEnough(String),
    /// It was true, too long ago.
    #[error("stale: {0}")]
    Stale(String),
}

impl Doubt {
    /// The exit code of `graven verify`.
    pub fn exit(&self) -> u8 {
        match self {
            Doubt::Refuted(_) => 1,
            Doubt::Malformed(_) => 2,
            Doubt::NotEnough(_) => 3,
            Doubt::Stale(_) => 4,
        }
    }
}

/// Where the proof's block stands among the headers that are trusted.
struct Place {
    header: Header,
    height: u32,
    confirmations: u32,
    tip: ChainPoint,
    tip_time: u32,
    trust: String,
}

/// Checks a proof.
///
/// # Errors
/// Why it proves nothing to this verifier.
pub fn verify(
    file: &ProofFile,
    network: &Network,
    trust: Trust<'_>,
    wanted: Wanted,
) -> Result<Verified, Doubt> {
    if file.genesis != network.genesis_hash() || file.network != network.name {
        let (name, genesis) = (&network.name, network.genesis_hash());
        let what = format!("the proof is for another network than {name}, genesis {genesis}");
        return Err(Doubt::Refuted(what));
    }
    let place = match trust {
        Trust::Headers(chain) => on_headers(file, chain)?,
        Trust::Checkpoint { hash, height } => {
            on_checkpoint(file, network, (hash, height), wanted.now_s)?
        }
        Trust::Nothing => {
            let what = "whoever made the proof may have made its block as well: name headers of \
                        your own with --headers, or a block you know with --checkpoint";
            return Err(Doubt::NotEnough(what.to_string()));
        }
    };
    let proven = file.proof.verify(&file.key, &place.header);
    let proven = proven.map_err(|error| Doubt::Refuted(error.to_string()))?;
    if proven.block.height != place.height {
        let (got, expected) = (proven.block.height, place.height);
        let what = format!("the proof's block names height {got}, it is at height {expected}");
        return Err(Doubt::Refuted(what));
    }
    let Place { confirmations, tip, tip_time, trust, .. } = place;
    let verified = Verified { proven, confirmations, tip, tip_time, trust };
    is_wanted(&verified, wanted).map(|()| verified)
}

fn is_wanted(verified: &Verified, wanted: Wanted) -> Result<(), Doubt> {
    let Wanted { min_confirmations, max_confirmations, max_age_s, now_s } = wanted;
    let (got, height) = (verified.confirmations, verified.proven.block.height);
    if got < min_confirmations {
        let what = format!("{got} confirmations, {min_confirmations} are asked for");
        return Err(Doubt::NotEnough(what));
    }
    if let Some(most) = max_confirmations.filter(|most| got > *most) {
        let what = format!(
            "it says what was true at height {height}, {got} blocks deep; at most {most} are \
             asked for"
        );
        return Err(Doubt::Stale(what));
    }
    let age_s = now_s.saturating_sub(u64::from(verified.proven.time));
    if let Some(most_s) = max_age_s.filter(|most_s| age_s > *most_s) {
        let what = format!(
            "it says what was true at height {height}, {age_s} s ago; at most {most_s} s are \
             asked for"
        );
        return Err(Doubt::Stale(what));
    }
    Ok(())
}

fn on_headers(file: &ProofFile, chain: &LightChain) -> Result<Place, Doubt> {
    let tip = chain.tip();
    if !chain.has_enough_work() {
        let (work, least) = (chain.work(), chain.network().landmarks.minimum_work);
        let what = format!(
            "the headers end at height {} with work {work}, the network's chain is known to have \
             {least}: follow more nodes",
            tip.height
        );
        return Err(Doubt::NotEnough(what));
    }
    let height = chain.common_height(&file.proof.block);
    let is_there = chain.hash(height) == Some(file.proof.block);
    let header = chain.header(height).filter(|_| is_there);
    let Some(header) = header else { return Err(not_there(file, chain)) };
    let confirmations = tip.height - height + 1;
    let tip_time = chain.header(tip.height).map_or(0, |header| header.time);
    let trust = format!(
        "the block is on the heaviest chain of the headers, which end at height {}; every header \
         was checked from genesis on",
        tip.height
    );
    Ok(Place { header: *header, height, confirmations, tip, tip_time, trust })
}

/// What it means that the proof's block is not on the chain.
fn not_there(file: &ProofFile, chain: &LightChain) -> Doubt {
    let (block, height, tip) = (file.proof.block, file.proof.coinbase.height, chain.tip());
    let Some(hash) = chain.hash(height) else {
        return Doubt::NotEnough(format!(
            "the proof's block is at height {height}, the headers end at {}: follow a node first",
            tip.height
        ));
    };
    let what = format!("block {block} is not on the chain, at height {height} there is {hash}");
    if tip.height - height + 1 >= SETTLED {
        return Doubt::Refuted(what);
    }
    Doubt::NotEnough(format!(
        "{what}, near the headers' end: follow nodes again, the chain may have changed"
    ))
}

/// The proof's own headers lead from the checkpoint to the block, or from the block to it.
fn on_checkpoint(
    file: &ProofFile,
    network: &Network,
    (hash, known_height): (Hash, Option<u32>),
    now_s: u64,
) -> Result<Place, Doubt> {
    let hashes: Vec<Hash> = file.headers.iter().map(Header::hash).collect();
    let find = |wanted: Hash| hashes.iter().position(|hash| *hash == wanted);
    let Some(block) = find(file.proof.block) else {
        let what = "the proof comes without its block's header: use --headers";
        return Err(Doubt::NotEnough(what.to_string()));
    };
    let Some(known) = find(hash) else {
        let what = format!("the proof's headers do not lead to block {hash}");
        return Err(Doubt::NotEnough(what));
    };
    let height_of = |at: usize| {
        let height = i64::from(file.proof.coinbase.height) + at as i64 - block as i64;
        u32::try_from(height).map_err(|_| Doubt::Refuted("a header is below genesis".to_string()))
    };
    match known_height {
        Some(height) if height != height_of(known)? => {
            let what = format!("the proof has block {hash} at height {}", height_of(known)?);
            return Err(Doubt::Refuted(what));
        }
        // Only who made the block says how high it is, and targets depend on that.
        None if known < block => {
            let what = "the block comes after the checkpoint: name that as HEIGHT:HASH";
            return Err(Doubt::NotEnough(what.to_string()));
        }
        Some(_) | None => {}
    }
    check(&file.headers, &hashes, network, &height_of)?;
    for header in &file.headers {
        // It may be this clock that is wrong.
        let checked = time_is_not_too_new(network, header, now_s);
        checked.map_err(|error| Doubt::NotEnough(error.to_string()))?;
    }
    // Blocks up to the checkpoint are its ancestors. Those after it count by their work alone, in
    // blocks as hard as the checkpoint's: easy ones cost nothing where nobody knows the time.
    let vouched = (known + 1).saturating_sub(block);
    let first = block.max(known + 1);
    let later = by_work(&file.headers[first..], &file.headers[known]);
    let confirmations = u32::try_from(vouched + later).unwrap_or(u32::MAX);
    let last = file.headers.len() - 1;
    let tip = ChainPoint { height: height_of(last)?, hash: hashes[last] };
    let trust = if known >= block {
        format!("the block is checkpoint {hash} or an ancestor of it")
    } else {
        format!(
            "the block descends from checkpoint {hash}; links, work, and targets between were \
             checked, and whether another chain has more work was not"
        )
    };
    let (header, height) = (file.headers[block], height_of(block)?);
    Ok(Place { header, height, confirmations, tip, tip_time: file.headers[last].time, trust })
}

/// Checks headers without their ancestors: form, work, links, checkpoints, and targets but the
/// first one's. Median times are not: eleven headers before would be needed.
fn check(
    headers: &[Header],
    hashes: &[Hash],
    network: &Network,
    height_of: &dyn Fn(usize) -> Result<u32, Doubt>,
) -> Result<(), Doubt> {
    let refuted = |error: String| Doubt::Refuted(format!("a header of the proof: {error}"));
    let has_genesis = hashes.first() == Some(&network.genesis_hash());
    check_headers(network, &headers[usize::from(has_genesis)..])
        .map_err(|error| refuted(error.to_string()))?;
    if has_genesis != (height_of(0)? == 0) {
        return Err(refuted("height 0 is that of genesis alone".to_string()));
    }
    for (at, (header, hash)) in headers.iter().zip(hashes).enumerate() {
        let height = height_of(at)?;
        network.landmarks.check(height, hash).map_err(|error| refuted(error.to_string()))?;
        let Some(parent) = at.checked_sub(1).map(|at| (&headers[at], hashes[at])) else { continue };
        if header.prev != parent.1 {
            return Err(refuted(format!("{hash} does not follow {}", parent.1)));
        }
        let expected = required_bits(network, height - 1, parent.0.time);
        if header.bits != expected {
            let got = header.bits;
            return Err(refuted(format!("bits {got}, the retarget rule asks for {expected}")));
        }
    }
    Ok(())
}

/// How many headers as hard as `measure` have the work of these, at most as many as there are.
fn by_work(headers: &[Header], measure: &Header) -> usize {
    let work = |header: &Header| header.bits.decode().map_or(Work::ZERO, |target| target.work());
    let all = headers.iter().fold(Work::ZERO, |sum, header| sum + work(header));
    let left = std::iter::successors(Some(all), |left| left.checked_sub(work(measure)));
    left.skip(1).take(headers.len()).count()
}

#[cfg(test)]
mod tests;
