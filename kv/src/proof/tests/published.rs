//! What is said elsewhere of proofs: their sizes, and vectors.

use std::fmt::Write as _;

use super::*;

/// Steps on the way to each row.
fn depths(rows: &[[u8; 32]], above: usize, depths: &mut Vec<usize>) {
    let [first, .., last] = rows else {
        depths.extend(rows.iter().map(|_| above));
        return;
    };
    let bit = (0..=255).find(|bit| bit_of(first, *bit) != bit_of(last, *bit)).expect("distinct");
    let (left, right) = rows.split_at(rows.partition_point(|path| !bit_of(path, bit)));
    self::depths(left, above + 1, depths);
    self::depths(right, above + 1, depths);
}

/// The figures of docs/format.md.
#[test]
fn a_proof_at_a_million_keys_is_small() {
    let mut rows: Vec<[u8; 32]> =
        (0..1_000_000_u32).map(|n| path(&head_row(&n.to_be_bytes()))).collect();
    rows.sort_unstable();
    let mut depths_of_rows = Vec::with_capacity(rows.len());
    depths(&rows, 0, &mut depths_of_rows);
    depths_of_rows.sort_unstable();
    let value = [b'v'; 64];
    let size = |steps: usize, transactions: u32| {
        let state = World::new(Vec::new(), transactions, b"graven");
        let mut proof =
            state.proof(b"a key of twenty char", claim_from(2, &versions(&[None, Some(&value)])));
        proof.steps = vec![Step { bit: 0, sibling: [1; 32] }; steps];
        proof.encode().len()
    };
    let (median, most) = (depths_of_rows[500_000], depths_of_rows[999_999]);
    let sizes = [size(median, 0), size(median, 15), size(median, 8_191), size(most, 15)];
    assert_eq!((median, most), (20, 25), "steps");
    assert_eq!(sizes, [974, 1_102, 1_390, 1_267], "bytes");
}

/// Vectors for other programs: see the head of the file.
#[test]
fn vectors_are_as_published() {
    let hex = |bytes: &[u8]| {
        bytes.iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").expect("strings take everything");
            text
        })
    };
    let mut lines = String::new();
    for (name, header, proof) in samples() {
        let key = proof.key.clone();
        let proven = proof.verify(&key, &header).unwrap();
        let finding = match proven.finding {
            Finding::Absent => "absent".to_string(),
            Finding::Written { is_complete, versions, .. } => {
                let all = if is_complete { "all" } else { "latest" };
                let shown: Vec<String> = versions
                    .iter()
                    .map(|entry| match entry.kind {
                        VersionKind::Put => format!("{}={}", entry.version, hex(&entry.value)),
                        VersionKind::Delete => format!("{}-", entry.version),
                    })
                    .collect();
                format!("{all}:{}", shown.join(","))
            }
        };
        let (header, key, bytes) = (hex(&header.encode()), hex(&key), hex(&proof.encode()));
        writeln!(lines, "{name} {header} {key} {bytes} {finding}").unwrap();
        // The same with the lowest bit of the last byte changed.
        let mut changed = proof.encode();
        *changed.last_mut().unwrap() ^= 1;
        writeln!(lines, "{name}-changed {header} {key} {} refused", hex(&changed)).unwrap();
    }
    let published = include_str!("../../../../tests/vectors/proofs.txt");
    let published: Vec<&str> = published.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(lines.lines().collect::<Vec<&str>>(), published, "should be:\n{lines}");
}
