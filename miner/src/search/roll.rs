//! The order in which one thread walks through a job's headers.
//!
//! Innermost a group of versions, all tried with each nonce; then the nonce, the next group of
//! versions, the extranonce, the time. A group holds as many values of the version's free bits as
//! a scan should, or all of them. Threads share a job by extranonce: thread `i` of `n` takes every
//! `n`-th from the `i`-th on, so no two ever try the same header and none needs to ask another.

use crate::job::{Job, Solution};
use crate::kernel::MAX_VERSIONS;

/// One past the last nonce.
const NONCES: u64 = 1 << 32;

/// Which share of a job a thread takes: the `index`-th of `count`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub(super) index: usize,
    pub(super) count: usize,
}

/// Nonces to try with one group of versions; never crosses the last nonce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Batch {
    /// The header to try; its nonce is the first of the batch, its version of the group.
    pub(super) start: Solution,
    /// How many nonces to try, at least 1.
    pub(super) count: u32,
}

/// A thread's place in its part of a job.
#[derive(Debug)]
pub(super) struct Roll {
    job_id: u64,
    version: u32,
    version_mask: u32,
    /// Of the group's first version.
    version_bits: u32,
    /// The first extranonce of this part, `None` when it has none.
    first_extranonce: Option<u64>,
    extranonce: u64,
    extranonce_step: u64,
    extranonce_max: u64,
    /// `None` when every header was tried.
    time: Option<u32>,
    time_max: u32,
    /// 0..=2^32.
    nonce: u64,
}

impl Roll {
    pub(super) fn new(job: &Job, part: Part) -> Self {
        debug_assert!(part.index < part.count, "part {} of {}", part.index, part.count);
        debug_assert_eq!(job.version & job.version_mask, 0, "the job sets bits that are rolled");
        let extranonce_max = job.extranonce_max();
        let first_extranonce = job
            .extranonce_start
            .checked_add(part.index as u64)
            .filter(|first| *first <= extranonce_max);
        let has_headers = first_extranonce.is_some() && job.time <= job.time_max;
        Self {
            job_id: job.id,
            version: job.version & !job.version_mask,
            version_mask: job.version_mask,
            version_bits: 0,
            first_extranonce,
            extranonce: first_extranonce.unwrap_or(u64::MAX),
            extranonce_step: part.count as u64,
            extranonce_max,
            time: has_headers.then_some(job.time),
            time_max: job.time_max,
            nonce: 0,
        }
    }

    /// Returns the versions that the last batch is to be tried with; never none.
    pub(super) fn versions(&self) -> Vec<u32> {
        self.group().map(|bits| self.version | bits).collect()
    }

    /// Returns the next batch of at most `count` nonces (at least 1 is taken), or `None` when
    /// every header of this part was tried.
    pub(super) fn next(&mut self, count: u32) -> Option<Batch> {
        if self.nonce == NONCES {
            self.nonce = 0;
            self.roll_version();
        }
        let time = self.time?;
        let nonce = u32::try_from(self.nonce).expect("rolled over at 2^32");
        // u32::MAX is enough: only a batch of the whole range would be one longer.
        let left = u32::try_from(NONCES - self.nonce).unwrap_or(u32::MAX);
        let count = count.clamp(1, left);
        self.nonce += u64::from(count);
        let start = Solution {
            job_id: self.job_id,
            version: self.version | self.version_bits,
            extranonce: self.extranonce,
            time,
            nonce,
        };
        Some(Batch { start, count })
    }

    /// The free bits of the versions in this group.
    fn group(&self) -> impl Iterator<Item = u32> {
        let next = |&bits: &u32| Some(self.next_bits(bits)).filter(|&next| next != 0);
        std::iter::successors(Some(self.version_bits), next).take(MAX_VERSIONS)
    }

    /// Subtracting the mask counts up within its bits and comes back to zero after the last.
    const fn next_bits(&self, bits: u32) -> u32 {
        bits.wrapping_sub(self.version_mask) & self.version_mask
    }

    fn roll_version(&mut self) {
        let last = self.group().last().expect("a group has its first version");
        self.version_bits = self.next_bits(last);
        if self.version_bits == 0 {
            self.roll_extranonce();
        }
    }

    fn roll_extranonce(&mut self) {
        match self.extranonce.checked_add(self.extranonce_step) {
            Some(next) if next <= self.extranonce_max => self.extranonce = next,
            _ => self.roll_time(),
        }
    }

    fn roll_time(&mut self) {
        self.time = self.time.filter(|&time| time < self.time_max).map(|time| time + 1);
        if let Some(first) = self.first_extranonce {
            self.extranonce = first;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::bench::unreachable_job;
    use crate::job::VERSION_MASK;

    /// Everything of a header but the nonce, in rolling order from the outside in.
    type Prefix = (u32, u64, u32);

    /// Walks a part to its end and returns how many nonces of each prefix it tried. Panics when
    /// a prefix comes twice or a batch does not continue the one before.
    fn walk(job: &Job, part: Part, count: u32) -> BTreeMap<Prefix, u64> {
        let mut roll = Roll::new(job, part);
        let mut tried: BTreeMap<Prefix, u64> = BTreeMap::new();
        while let Some(Batch { start, count }) = roll.next(count) {
            assert_eq!(start.job_id, job.id);
            let versions = roll.versions();
            assert_eq!(versions[0], start.version);
            assert!(versions.len() <= MAX_VERSIONS);
            for version in versions {
                let nonces = tried.entry((start.time, start.extranonce, version)).or_default();
                assert_eq!(u64::from(start.nonce), *nonces, "nonces are tried once, in order");
                *nonces += u64::from(count);
                assert!(*nonces <= NONCES);
            }
        }
        assert_eq!(roll.next(count), None, "an end stays an end");
        tried
    }

    fn small_job(extranonces: u64, times: u32, version_mask: u32) -> Job {
        Job {
            extranonce_start: u64::MAX - (extranonces - 1),
            time_max: unreachable_job().time + (times - 1),
            version_mask,
            ..unreachable_job()
        }
    }

    fn with_extranonce_bytes(job: Job, extranonce_bytes: usize) -> Job {
        let shortened = Job { extranonce_bytes, ..job };
        let extranonce_start = shortened.extranonce_start & shortened.extranonce_max();
        Job { extranonce_start, ..shortened }
    }

    proptest! {
        #[test]
        fn threads_cover_every_header_once(
            threads in 1_usize..6,
            extranonces in 1_u64..8,
            extranonce_bytes in 1_usize..=8,
            times in 1_u32..4,
            mask in prop::sample::select(vec![0, 1 << 13, 0x6000, 0x1000_2000, 0x0007_e000]),
            count in prop::sample::select(vec![1 << 30, 0x3fff_ffff, 0xffff_fffe, u32::MAX]),
        ) {
            let job = with_extranonce_bytes(small_job(extranonces, times, mask), extranonce_bytes);
            let mut all = BTreeMap::new();
            for index in 0..threads {
                for (prefix, nonces) in walk(&job, Part { index, count: threads }, count) {
                    prop_assert_eq!(nonces, NONCES, "the whole nonce range is tried");
                    prop_assert_eq!(all.insert(prefix, index), None, "tried by two threads");
                }
            }
            let prefixes = (u64::from(times) * extranonces) << mask.count_ones();
            prop_assert_eq!(all.len() as u64, prefixes);
            for (time, extranonce, version) in all.into_keys() {
                prop_assert!((job.extranonce_start..=job.extranonce_max()).contains(&extranonce));
                prop_assert_eq!(version & !mask, job.version);
                prop_assert!((job.time..=job.time_max).contains(&time));
            }
        }
    }

    #[test]
    fn nonce_rolls_first_then_versions_then_extranonce_then_time() {
        // Two groups of versions.
        let job = small_job(2, 2, 0x0003_e000);
        let mut roll = Roll::new(&job, Part { index: 0, count: 1 });
        let mut order = Vec::new();
        while let Some(Batch { start, .. }) = roll.next(1 << 31) {
            let field = |value: u64, first: u64| value != first;
            order.push((
                field(start.time.into(), job.time.into()),
                field(start.extranonce, job.extranonce_start),
                field(start.version.into(), job.version.into()),
                field(start.nonce.into(), 0),
            ));
        }
        let counted_up: Vec<_> =
            (0..16_u8).map(|n| (n & 8 != 0, n & 4 != 0, n & 2 != 0, n & 1 != 0)).collect();
        assert_eq!(order, counted_up);
    }

    #[test]
    fn versions_come_in_groups_of_a_full_scan() {
        let job = small_job(1, 1, VERSION_MASK);
        let mut roll = Roll::new(&job, Part { index: 0, count: 1 });
        let mut first_two = || roll.next(u32::MAX).map(|_| roll.versions());
        let groups = [first_two(), first_two(), first_two()].map(Option::unwrap);
        let numbers = |from: u32| (from..from + 16).map(|n| job.version | n << 13).collect();
        let expected: [Vec<u32>; 2] = [numbers(0), numbers(16)];
        // The first two batches leave one nonce of the first group over.
        assert_eq!([&groups[0], &groups[2]], [&expected[0], &expected[1]]);
        assert_eq!(groups[0], groups[1]);
    }

    #[test]
    fn part_beyond_the_last_extranonce_is_empty() {
        let job = small_job(1, 3, 0);
        assert_eq!(Roll::new(&job, Part { index: 1, count: 2 }).next(1), None);
    }

    #[test]
    fn job_whose_time_is_over_is_empty() {
        let job = Job { time_max: unreachable_job().time - 1, ..unreachable_job() };
        assert_eq!(Roll::new(&job, Part { index: 0, count: 1 }).next(1), None);
    }

    #[test]
    fn time_ends_at_the_last_second() {
        let job = Job { time: u32::MAX, time_max: u32::MAX, ..small_job(1, 1, 0) };
        assert_eq!(walk(&job, Part { index: 0, count: 1 }, 1 << 31).len(), 1);
    }

    #[test]
    fn batch_of_no_nonces_still_goes_forward() {
        let mut roll = Roll::new(&unreachable_job(), Part { index: 0, count: 1 });
        assert_eq!(roll.next(0).map(|batch| (batch.start.nonce, batch.count)), Some((0, 1)));
        assert_eq!(roll.next(0).map(|batch| (batch.start.nonce, batch.count)), Some((1, 1)));
    }
}
