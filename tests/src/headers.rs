//! Header chains without bodies, many and cheap.

use chain::Hash;
use chain::header::{Header, VERSION_FIXED};
use chain::params::Network;
use chain::rules::difficulty::required_bits;
use chain::rules::isolation::{CheckedHeader, check_headers};
use chain::sha256d;

use crate::chains::Place;

/// A valid header chain that grows.
#[derive(Clone, Debug)]
pub struct HeaderChain {
    network: Network,
    place: Place,
    seed: u64,
    /// Seconds from genesis to each header at the least, times its height.
    pace_s: u32,
}

impl HeaderChain {
    /// What comes after `place`, each header as early as it may be; another seed gives others.
    pub fn new(network: &Network, place: Place, seed: u64) -> HeaderChain {
        HeaderChain { network: network.clone(), place, seed, pace_s: 0 }
    }

    /// Likewise, but no header comes before its time.
    pub fn on_schedule(network: &Network, place: Place, seed: u64) -> HeaderChain {
        let pace_s = network.target_interval_s;
        HeaderChain { pace_s, ..HeaderChain::new(network, place, seed) }
    }

    /// The next headers, with their work done.
    ///
    /// # Panics
    /// When the network's bits do not decode.
    pub fn grow(&mut self, count: usize) -> Vec<Header> {
        (0..count).map(|_| self.next()).collect()
    }

    /// The next headers, checked as the verify stage does.
    ///
    /// # Panics
    /// Never: they are valid.
    pub fn checked(&mut self, count: usize) -> Vec<CheckedHeader> {
        let headers = self.grow(count);
        check_headers(&self.network, &headers).expect("they have their work")
    }

    /// The last header.
    pub fn end(&self) -> Hash {
        self.place.hash
    }

    fn next(&mut self) -> Header {
        let facts = &self.place.facts;
        let number = u64::from(facts.height) | self.seed << 32;
        let due = self.network.genesis_time + self.pace_s * (facts.height + 1);
        let mut header = Header {
            version: VERSION_FIXED,
            prev: self.place.hash,
            merkle_root: sha256d(&number.to_le_bytes()),
            time: due.max(facts.median_time() + 1),
            bits: required_bits(&self.network, facts.height, facts.time),
            nonce: 0,
        };
        let target = header.bits.decode().expect("canonical bits");
        while !target.is_met_by(&header.hash()) {
            header.nonce += 1;
        }
        self.place = self.place.after(&header);
        header
    }
}
