//! The scan of one nonce in each lane of a vector, over any set of vector instructions.
//!
//! What it leaves out of two whole compressions, in the names of FIPS 180-4:
//!
//! - Block A is the header's last 16 bytes and padding. W0..W2 are the same for all nonces, so a
//!   version starts from its state after round 2, and round 3, which adds the nonce to two words,
//!   is two additions. The schedule depends on no version: it is expanded once for all of them,
//!   into a table of `K[t] + W[t]`.
//! - Block B is the inner digest and padding: its round 0 too is two additions to constants.
//! - Terms of both schedules that are constants are summed up beforehand.
//! - The digest's last word, which decides, is `e` after round 60 plus a constant. So B ends
//!   there, and its last four rounds do without `a`, which nobody reads any more.
//!
//! A step only says whether some lane may hold a hit. The reference then scans the same nonces:
//! hits are rare, and what is reported does not depend on anything done here.

use super::scalar::{self, INITIAL_HASH, K};
use super::schedule::{DIGEST, HEADER_VARIES, Schedule, header_schedule, header_start};
use super::{Hit, Scan, steps, unroll};

/// Words in the lanes of a vector, and the functions of section 4.1.2 on all of them at once.
pub(super) trait Vector: Copy {
    /// Number of lanes.
    const LANES: u32;
    /// Whether block B's schedule too is expanded into a table before the rounds, or word by word
    /// between them. The rounds then need half the registers, but each word goes through memory:
    /// faster with 16 registers, slower with 32.
    const EXPANDS_AHEAD: bool;

    /// Puts a word in every lane.
    ///
    /// # Safety
    /// The CPU must have this vector's instructions. All other functions are safe: they take
    /// vectors, and without the instructions there are none.
    unsafe fn splat(word: u32) -> Self;

    /// Puts 0, 1, 2 and so on in the lanes.
    ///
    /// # Safety
    /// As [`Self::splat`].
    unsafe fn count_up() -> Self;

    fn plus(self, other: Self) -> Self;
    fn ch(self, y: Self, z: Self) -> Self;
    fn maj(self, y: Self, z: Self) -> Self;
    fn big_sigma_0(self) -> Self;
    fn big_sigma_1(self) -> Self;
    fn small_sigma_0(self) -> Self;
    fn small_sigma_1(self) -> Self;

    /// Reverses the bytes of every word.
    fn reverse_bytes(self) -> Self;
    /// Takes the smaller word in every lane.
    fn min(self, other: Self) -> Self;
    /// Tells whether any lane's word is at most the limit.
    fn any_at_most(self, limit: u32) -> bool;
}

/// What a scan's steps share.
struct Plan {
    versions: Vec<Start>,
    header: Schedule,
    top_word: u32,
}

/// Where a version starts in block A.
struct Start {
    midstate: [u32; 8],
    /// From [`header_start`].
    working: [u32; 8],
}

impl Plan {
    fn new(scan: &Scan) -> Self {
        let versions = scan.versions.iter().map(|version| Start {
            midstate: version.midstate,
            working: header_start(version.midstate, scan.tail),
        });
        let header = header_schedule(scan.tail);
        Self { versions: versions.collect(), header, top_word: scan.top_word() }
    }
}

/// Of both blocks and each vector of nonces, `K[t] + W[t]`.
struct Tables<V, const STREAMS: usize> {
    header: [[V; 64]; STREAMS],
    digest: [[V; 64]; STREAMS],
}

/// The working variables of block B before round 1, the first word not yet added to `a` and `e`.
const DIGEST_START: [u32; 8] = scalar::round(INITIAL_HASH, K[0], 0);

/// Returns the first hit of the range, as [`super::Kernel::scan`]; a step tries `STREAMS`
/// vectors of nonces, independent of each other so that the CPU always has something to do.
///
/// Is inlined with all it calls into a function that enables the vector's instructions; otherwise
/// each of them would be a call.
///
/// # Safety
/// The CPU must have this vector's instructions.
#[inline(always)]
pub(super) unsafe fn scan<V: Vector, const STREAMS: usize>(
    scan: &Scan,
    first: u32,
    count: u32,
) -> Option<Hit> {
    let plan = Plan::new(scan);
    // SAFETY: the caller's CPU has the instructions.
    let mut tables = unsafe {
        let (header, digest) = (constant_table(&plan.header), constant_table(&DIGEST));
        Tables::<V, STREAMS> { header: [header; STREAMS], digest: [digest; STREAMS] }
    };
    for (at, count) in steps(first, count, V::LANES as usize * STREAMS) {
        // SAFETY: as above.
        let may_hit = unsafe { step::<V, STREAMS>(&plan, &mut tables, at) };
        if may_hit && let Some(hit) = scalar::scan(scan, at, count) {
            return Some(hit);
        }
    }
    None
}

/// Returns `K[t] + W[t]` of a schedule where it does not vary, and zero where it does.
///
/// # Safety
/// The CPU must have this vector's instructions.
#[inline(always)]
unsafe fn constant_table<V: Vector>(schedule: &Schedule) -> [V; 64] {
    // SAFETY: the caller's CPU has the instructions.
    unsafe {
        let mut table = [V::splat(0); 64];
        for t in 0..64 {
            if !schedule.varies[t] {
                table[t] = V::splat(K[t].wrapping_add(schedule.constants[t]));
            }
        }
        table
    }
}

/// Tells whether one of the nonces from `first` on may be a hit with one of the versions.
///
/// # Safety
/// The CPU must have this vector's instructions.
#[inline(always)]
unsafe fn step<V: Vector, const STREAMS: usize>(
    plan: &Plan,
    tables: &mut Tables<V, STREAMS>,
    first: u32,
) -> bool {
    // SAFETY: the caller's CPU has the instructions; so for every call in this function.
    unsafe {
        let mut nonces = [V::splat(0); STREAMS];
        let mut next = V::splat(first).plus(V::count_up());
        for (s, table) in tables.header.iter_mut().enumerate() {
            // The nonce is little-endian, words are big-endian.
            nonces[s] = next.reverse_bytes();
            next = next.plus(V::splat(V::LANES));
            fill_table(table, nonces[s], &plan.header);
        }
        let mut smallest = V::splat(u32::MAX);
        for version in &plan.versions {
            let mut words = [[V::splat(0); 16]; STREAMS];
            compress_header(version, &tables.header, &nonces, &mut words);
            for last in compress_digest(&mut words, &mut tables.digest) {
                smallest = smallest.min(last.reverse_bytes());
            }
        }
        smallest.any_at_most(plan.top_word)
    }
}

/// Returns the place of working variable `i` (0 is `a`) before round `t`: instead of moving all
/// by one place each round, the places change their names.
const fn place(i: usize, t: usize) -> usize {
    (i + 64 - t) % 8
}

/// Does steps 2 and 3 of section 6.2.2 for round `t`, given `K[t] + W[t]`.
#[inline(always)]
fn round<V: Vector>(working: &mut [V; 8], t: usize, k_plus_w: V) {
    let [a, b, c] = [working[place(0, t)], working[place(1, t)], working[place(2, t)]];
    let [e, f, g] = [working[place(4, t)], working[place(5, t)], working[place(6, t)]];
    let t1 = working[place(7, t)].plus(k_plus_w).plus(e.ch(f, g)).plus(e.big_sigma_1());
    working[place(3, t)] = working[place(3, t)].plus(t1);
    working[place(7, t)] = t1.plus(a.maj(b, c)).plus(a.big_sigma_0());
}

/// Does the half of [`round`] that makes the next `e`.
#[inline(always)]
fn round_without_a<V: Vector>(working: &mut [V; 8], t: usize, k_plus_w: V) {
    let [e, f, g] = [working[place(4, t)], working[place(5, t)], working[place(6, t)]];
    let t1 = working[place(7, t)].plus(k_plus_w).plus(e.ch(f, g)).plus(e.big_sigma_1());
    working[place(3, t)] = working[place(3, t)].plus(t1);
}

/// Returns word `t` of a schedule whose last 16 words are `words`, its constant terms in one sum.
///
/// # Safety
/// The CPU must have this vector's instructions.
#[inline(always)]
unsafe fn next_word<V: Vector>(
    words: &[V; 16],
    t: usize,
    varies: &[bool; 64],
    constants: &[u32; 64],
) -> V {
    // SAFETY: the caller's CPU has the instructions.
    let mut sum = unsafe { V::splat(constants[t]) };
    if varies[t - 16] {
        sum = sum.plus(words[t % 16]);
    }
    if varies[t - 15] {
        sum = sum.plus(words[(t - 15) % 16].small_sigma_0());
    }
    if varies[t - 7] {
        sum = sum.plus(words[(t - 7) % 16]);
    }
    if varies[t - 2] {
        sum = sum.plus(words[(t - 2) % 16].small_sigma_1());
    }
    sum
}

/// Fills in what depends on the nonce of a table of block A's `K[t] + W[t]`.
///
/// # Safety
/// The CPU must have this vector's instructions.
#[inline(always)]
unsafe fn fill_table<V: Vector>(table: &mut [V; 64], nonce: V, header: &Schedule) {
    // SAFETY: the caller's CPU has the instructions; so for every call in this function.
    unsafe {
        let mut words = [V::splat(0); 16];
        words[3] = nonce;
        unroll!(T in 18 19 20 21 22 23 24 25 26 27 28 29 30 31 {
            words[T % 16] = next_word(&words, T, &HEADER_VARIES, &header.constants);
            table[T] = words[T % 16].plus(V::splat(K[T]));
        });
        for sixteen in [32, 48] {
            unroll!(T in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 {
                let constant = V::splat(header.constants[(sixteen + T) % 64]);
                let old = constant.plus(words[T]).plus(words[(T + 1) % 16].small_sigma_0());
                let new = words[(T + 9) % 16].plus(words[(T + 14) % 16].small_sigma_1());
                words[T] = old.plus(new);
                table[(sixteen + T) % 64] = words[T].plus(V::splat(K[(sixteen + T) % 64]));
            });
        }
    }
}

/// Compresses block A from round 4 on and leaves the inner digests in the first eight words.
///
/// # Safety
/// The CPU must have this vector's instructions.
#[inline(always)]
unsafe fn compress_header<V: Vector, const STREAMS: usize>(
    version: &Start,
    tables: &[[V; 64]; STREAMS],
    nonces: &[V; STREAMS],
    digests: &mut [[V; 16]; STREAMS],
) {
    // SAFETY: the caller's CPU has the instructions; so for every call in this function.
    unsafe {
        let mut working = [[V::splat(0); 8]; STREAMS];
        for s in 0..STREAMS {
            for i in 0..8 {
                working[s][place(i, 4)] = V::splat(version.working[i]);
            }
            working[s][place(0, 4)] = working[s][place(0, 4)].plus(nonces[s]);
            working[s][place(4, 4)] = working[s][place(4, 4)].plus(nonces[s]);
        }
        for eight in 0..7 {
            unroll!(T in 4 5 6 7 8 9 10 11 {
                for s in 0..STREAMS {
                    round(&mut working[s], T, tables[s][8 * eight + T]);
                }
            });
        }
        unroll!(T in 60 61 62 63 {
            for s in 0..STREAMS {
                round(&mut working[s], T, tables[s][T]);
            }
        });
        for s in 0..STREAMS {
            for i in 0..8 {
                digests[s][i] = working[s][i].plus(V::splat(version.midstate[i]));
            }
        }
    }
}

/// Compresses block B, its first eight words given, as far as its digest's last word needs, and
/// returns that.
///
/// # Safety
/// The CPU must have this vector's instructions.
#[inline(always)]
unsafe fn compress_digest<V: Vector, const STREAMS: usize>(
    words: &mut [[V; 16]; STREAMS],
    tables: &mut [[V; 64]; STREAMS],
) -> [V; STREAMS] {
    // SAFETY: the caller's CPU has the instructions; so for every call in this function.
    unsafe {
        let mut working = [[V::splat(0); 8]; STREAMS];
        for s in 0..STREAMS {
            for i in 0..8 {
                working[s][place(i, 1)] = V::splat(DIGEST_START[i]);
            }
            working[s][place(0, 1)] = working[s][place(0, 1)].plus(words[s][0]);
            working[s][place(4, 1)] = working[s][place(4, 1)].plus(words[s][0]);
        }
        if V::EXPANDS_AHEAD {
            rounds_after_expansion(&mut working, words, tables);
        } else {
            rounds_with_expansion(&mut working, words);
        }
        let mut last = [V::splat(0); STREAMS];
        for s in 0..STREAMS {
            last[s] = working[s][place(4, 61)].plus(V::splat(INITIAL_HASH[7]));
        }
        last
    }
}

/// Does rounds 1 to 60 of block B and expands its schedule between them.
///
/// # Safety
/// The CPU must have this vector's instructions.
#[inline(always)]
unsafe fn rounds_with_expansion<V: Vector, const STREAMS: usize>(
    working: &mut [[V; 8]; STREAMS],
    words: &mut [[V; 16]; STREAMS],
) {
    unroll!(T in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30
        31 32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 {
        for s in 0..STREAMS {
            // SAFETY: the caller's CPU has the instructions.
            let k_plus_w = unsafe { digest_term(&mut words[s], T) };
            round(&mut working[s], T, k_plus_w);
        }
    });
    unroll!(T in 57 58 59 60 {
        for s in 0..STREAMS {
            // SAFETY: the caller's CPU has the instructions.
            let k_plus_w = unsafe { digest_term(&mut words[s], T) };
            round_without_a(&mut working[s], T, k_plus_w);
        }
    });
}

/// Expands block B's schedule and then does rounds 1 to 60.
///
/// # Safety
/// The CPU must have this vector's instructions.
#[inline(always)]
unsafe fn rounds_after_expansion<V: Vector, const STREAMS: usize>(
    working: &mut [[V; 8]; STREAMS],
    words: &mut [[V; 16]; STREAMS],
    tables: &mut [[V; 64]; STREAMS],
) {
    for (table, words) in tables.iter_mut().zip(words) {
        // Words 8 to 15 are constants and stay in the table.
        unroll!(T in 1 2 3 4 5 6 7 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36
            37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 {
            // SAFETY: the caller's CPU has the instructions.
            table[T] = unsafe { digest_term(words, T) };
        });
    }
    for eight in 0..7 {
        unroll!(T in 1 2 3 4 5 6 7 8 {
            for s in 0..STREAMS {
                round(&mut working[s], T, tables[s][8 * eight + T]);
            }
        });
    }
    unroll!(T in 57 58 59 60 {
        for s in 0..STREAMS {
            round_without_a(&mut working[s], T, tables[s][T]);
        }
    });
}

/// Returns `K[t] + W[t]` of block B.
///
/// # Safety
/// The CPU must have this vector's instructions.
#[inline(always)]
unsafe fn digest_term<V: Vector>(words: &mut [V; 16], t: usize) -> V {
    // SAFETY: the caller's CPU has the instructions; so for every call in this function.
    unsafe {
        if !DIGEST.varies[t] {
            return V::splat(K[t].wrapping_add(DIGEST.constants[t]));
        }
        if t >= 16 {
            words[t % 16] = next_word(words, t, &DIGEST.varies, &DIGEST.constants);
        }
        words[t % 16].plus(V::splat(K[t]))
    }
}
