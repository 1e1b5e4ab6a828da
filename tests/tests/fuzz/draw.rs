//! Decisions made of an input's bytes, and samples spoilt by them.

/// Bytes at which lengths, counts and signs change.
const EDGES: [u8; 10] = [0, 1, 0x0f, 0x7f, 0x80, 0xfc, 0xfd, 0xfe, 0xff, b'\n'];
/// The same for numbers of more bytes.
const WIDE_EDGES: [u64; 8] =
    [0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 1 << 63, u64::MAX - 1, u64::MAX];
/// Most changes of a sample.
const MAX_CHANGES: usize = 12;

/// An input, taken from the front. When it is used up everything is 0.
pub(super) struct Draw<'a>(&'a [u8]);

impl<'a> Draw<'a> {
    pub(super) fn new(input: &'a [u8]) -> Draw<'a> {
        Draw(input)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// At most so many bytes.
    pub(super) fn take(&mut self, most: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(most.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// Bytes after a length of their own, of one byte.
    pub(super) fn bytes(&mut self) -> &'a [u8] {
        let length = usize::from(self.byte());
        self.take(length)
    }

    pub(super) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    pub(super) fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or(0)
    }

    pub(super) fn number(&mut self, bytes: usize) -> u64 {
        self.take(bytes).iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
    }

    /// A number below `end`, which is at least 1.
    pub(super) fn below(&mut self, end: usize) -> usize {
        let bytes = if end <= 256 { 1 } else { 3 };
        usize::try_from(self.number(bytes)).expect("24 bits") % end
    }

    pub(super) fn one_in(&mut self, chances: u8) -> bool {
        self.byte() % chances == chances - 1
    }

    pub(super) fn pick<'b, T>(&mut self, list: &'b [T]) -> &'b T {
        &list[self.below(list.len())]
    }
}

/// Spoils a sample by what is left of the input.
pub(super) fn spoil(sample: &mut Vec<u8>, others: &[Vec<u8>], draw: &mut Draw<'_>) {
    for _ in 0..MAX_CHANGES {
        if draw.is_empty() {
            return;
        }
        change(sample, others, draw);
    }
}

fn change(sample: &mut Vec<u8>, others: &[Vec<u8>], draw: &mut Draw<'_>) {
    let kind = draw.byte() % 11;
    let at = draw.below(sample.len() + 1);
    let end = at + draw.below(64).min(sample.len() - at);
    match kind {
        0 | 1 if at < sample.len() => sample[at] ^= 1 << (draw.byte() % 8),
        2 if at < sample.len() => sample[at] = *draw.pick(&EDGES),
        3 if at < sample.len() => sample[at] = sample[at].wrapping_add(draw.byte()),
        4 => {
            let wide = draw.pick(&WIDE_EDGES).to_le_bytes();
            let width = *draw.pick(&[2, 4, 8]);
            sample[at..].iter_mut().zip(&wide[..width]).for_each(|(byte, edge)| *byte = *edge);
        }
        5 => drop(sample.drain(at..end)),
        6 => {
            let copy = sample[at..end].to_vec();
            let to = draw.below(sample.len() + 1);
            sample.splice(to..to, copy);
        }
        7 => {
            let new = draw.take(8).to_vec();
            sample.splice(at..at, new);
        }
        8 => sample.truncate(at),
        9 => {
            let edge = varint(*draw.pick(&WIDE_EDGES));
            sample.splice(at..end.min(at + edge.len()), edge);
        }
        _ => {
            let other = draw.pick(others);
            let from = draw.below(other.len() + 1);
            sample.truncate(at);
            sample.extend(&other[from..]);
        }
    }
}

/// A number as postcard writes it.
fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number > 0x7f {
        bytes.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    bytes.push(number.to_le_bytes()[0]);
    bytes
}

/// Many bytes of few, half of them small: scripts of decisions want small numbers.
pub(super) fn stretched(seed: &[u8]) -> Vec<u8> {
    let mut state = seed.iter().fold(0x9e37_79b9_7f4a_7c15, |state: u64, byte| {
        (state ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ mixed >> 27).to_be_bytes()
    };
    let length = usize::from(u16::from_be_bytes([next()[0] % 4, next()[1]]));
    let byte = |_| {
        let [choice, byte, ..] = next();
        if choice < 128 { byte % 16 } else { byte }
    };
    (0..length).map(byte).collect()
}
