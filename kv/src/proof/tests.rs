mod properties;
mod published;

use chain::commitment::{bit_of, path, root_of};
use chain::header::VERSION_FIXED;
use chain::rules::merkle;
use chain::{CompactTarget, sha256d};
use sha2::{Digest, Sha256};

use super::*;

/// Rows of a state: path, SHA-256 of the value; ascending.
type Rows = Vec<([u8; 32], [u8; 32])>;

const OWNER: PublicKey = PublicKey([5; 32]);

/// A block, and the state after it.
struct World {
    rows: Rows,
    coinbase: CoinbaseParts,
    branch: Vec<Hash>,
    header: Header,
}

fn row(key: &[u8], value: &[u8]) -> ([u8; 32], [u8; 32]) {
    (path(key), Sha256::digest(value).into())
}

impl World {
    /// A block with so many transactions that leads to this state.
    fn new(mut rows: Rows, transactions: u32, tag: &[u8]) -> World {
        rows.sort_unstable();
        let (height, payee) = (70_000, PublicKey([6; 32]));
        let (extranonce, value, tag) = (u64::MAX / 3, 5_000_000_123, tag.to_vec());
        let coinbase = CoinbaseParts { height, extranonce, tag: tag.clone(), value, payee };
        let state_root = root_of(&rows);
        let leaf = Coinbase { height, extranonce, tag, value, payee, state_root }.txid();
        let others: Vec<Hash> = (0..transactions).map(|n| sha256d(&n.to_be_bytes())).collect();
        let branch = merkle::coinbase_branch(&others);
        let merkle_root = merkle::root(&[&[leaf][..], &others].concat()).unwrap();
        let header = Header {
            version: VERSION_FIXED,
            prev: Hash([7; 32]),
            merkle_root,
            time: 1_800_000_000,
            bits: CompactTarget(0x1d00_ffff),
            nonce: 8,
        };
        World { rows, coinbase, branch, header }
    }

    /// By the letter: at each node, the half that is not taken.
    fn witness(&self, wanted: &[u8; 32]) -> Witness {
        let mut witness = Witness::default();
        let mut rows = &self.rows[..];
        while let [(first, _), .., (last, _)] = rows {
            let parts = |bit: &u8| bit_of(first, *bit) != bit_of(last, *bit);
            let bit = (0..=255).find(parts).expect("paths are distinct");
            let (left, right) = rows.split_at(rows.partition_point(|(path, _)| !bit_of(path, bit)));
            let (taken, other) = if bit_of(wanted, bit) { (right, left) } else { (left, right) };
            witness.steps.push(Step { bit, sibling: root_of(other) });
            rows = taken;
        }
        witness.other = rows.first().copied().filter(|(path, _)| path != wanted);
        witness
    }

    fn proof(&self, key: &[u8], claim: Claim) -> Proof {
        let Witness { steps, other } = self.witness(&path(&head_row(key)));
        Proof {
            key: key.to_vec(),
            block: self.header.hash(),
            coinbase: self.coinbase.clone(),
            branch: self.branch.clone(),
            steps,
            other,
            claim,
        }
    }
}

/// A key's versions of these values; `None` = a tombstone.
fn versions(values: &[Option<&[u8]>]) -> Vec<Written> {
    let version = |(number, value): (u8, &Option<&[u8]>)| Written {
        height: 100 * u32::from(number),
        txid: Hash([number; 32]),
        writer: OWNER,
        kind: if value.is_some() { VersionKind::Put } else { VersionKind::Delete },
        value: value.unwrap_or_default().to_vec(),
    };
    (1..).zip(values).map(version).collect()
}

fn history_of(first: u64, before: [u8; 32], versions: &[Written]) -> [u8; 32] {
    (first..).zip(versions).fold(before, |history, (version, written)| {
        let Written { height, txid, writer, kind, .. } = *written;
        let value_hash = Sha256::digest(&written.value).into();
        let record = Record { version, height, txid, writer, kind, value_hash };
        history::link(&history, &record)
    })
}

fn head_of(versions: &[Written]) -> Head {
    Head {
        owner: OWNER,
        policy: KeyPolicy::Owned,
        version: versions.len() as u64,
        deleted: versions.last().unwrap().kind == VersionKind::Delete,
        history: history_of(1, [0; 32], versions),
    }
}

/// A claim of the versions from this one on.
fn claim_from(first: usize, versions: &[Written]) -> Claim {
    let (hidden, shown) = versions.split_at(first - 1);
    let before = (first > 1)
        .then(|| Before { count: first as u64 - 1, history: history_of(1, [0; 32], hidden) });
    Claim::Written { owner: OWNER, policy: KeyPolicy::Owned, before, versions: shown.to_vec() }
}

fn color() -> Vec<Written> {
    versions(&[
        Some(b"red"),
        Some(b"green"),
        None,
        Some(b"blue"),
        Some(b"a value of 28 bytes, or so.."),
    ])
}

fn gone() -> Vec<Written> {
    versions(&[Some(b"here"), None])
}

/// A state with a few keys and accounts.
fn world() -> World {
    let mut rows: Rows = (0..40_u8).map(|n| row(&[b'a', n], &[n])).collect();
    for (key, versions) in [(&b"color"[..], color()), (b"gone", gone())] {
        rows.push(row(&head_row(key), &head_of(&versions).encode()));
    }
    World::new(rows, 11, b"a tag")
}

/// Proofs of every kind, with their headers.
fn samples() -> Vec<(&'static str, Header, Proof)> {
    let world = world();
    let small = World::new(vec![row(b"a", b"b")], 0, b"");
    let empty = World::new(Vec::new(), 1, &[9; chain::block::MAX_TAG_BYTES]);
    let sample =
        |name, world: &World, key: &[u8], claim| (name, world.header, world.proof(key, claim));
    vec![
        sample("latest", &world, b"color", claim_from(5, &color())),
        sample("last-two", &world, b"color", claim_from(4, &color())),
        sample("history", &world, b"color", claim_from(1, &color())),
        sample("deleted", &world, b"gone", claim_from(2, &gone())),
        sample("absent", &world, b"nothing", Claim::Absent),
        sample("absent-beside-one-row", &small, b"nothing", Claim::Absent),
        sample("absent-from-an-empty-state", &empty, b"nothing", Claim::Absent),
    ]
}

#[test]
fn what_is_true_is_proven() {
    for (name, header, proof) in samples() {
        let key = proof.key.clone();
        let decoded = Proof::decode(&proof.encode()).unwrap();
        assert_eq!(decoded, proof);
        let proven = decoded.verify(&key, &header).unwrap();
        assert_eq!((proven.block.height, proven.block.hash), (70_000, header.hash()), "{name}");
        assert_eq!((proven.key, proven.time), (key, header.time));
        match (name, proven.finding) {
            ("latest", Finding::Written { is_complete, versions, owner, policy }) => {
                assert!(!is_complete && owner == OWNER && policy == KeyPolicy::Owned);
                assert_eq!((versions.len(), versions[0].version), (1, 5));
                assert_eq!(versions[0].value, color()[4].value);
            }
            ("last-two", Finding::Written { is_complete, versions, .. }) => {
                assert_eq!(versions.iter().map(|entry| entry.version).collect::<Vec<_>>(), [4, 5]);
                assert!(!is_complete);
            }
            ("history", Finding::Written { is_complete, versions, .. }) => {
                assert!(is_complete);
                let numbers: Vec<u64> = versions.iter().map(|entry| entry.version).collect();
                assert_eq!(numbers, [1, 2, 3, 4, 5]);
                assert_eq!(versions[2].kind, VersionKind::Delete);
            }
            ("deleted", Finding::Written { versions, .. }) => {
                assert_eq!((versions[0].version, versions[0].kind), (2, VersionKind::Delete));
            }
            (name, Finding::Absent) => assert!(name.starts_with("absent")),
            (name, finding) => panic!("{name}: {finding:?}"),
        }
    }
}

#[test]
fn no_bit_of_a_proof_can_be_another_one() {
    for (name, header, proof) in samples() {
        let bytes = proof.encode();
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let shown =
                Proof::decode(&changed).ok().and_then(|p| p.verify(&proof.key, &header).ok());
            assert_eq!(shown, None, "{name}: bit {bit}");
        }
        for length in 0..bytes.len() {
            assert!(Proof::decode(&bytes[..length]).is_err(), "{name}: {length} bytes");
        }
        assert!(Proof::decode(&[&bytes[..], &[0]].concat()).is_err(), "{name}");
    }
}

#[test]
fn a_proof_is_for_its_own_key_and_block() {
    for (name, header, mut proof) in samples() {
        let key = proof.key.clone();
        for other in [&b"colo"[..], b"colors", b"gone", b"color", b"nothing", b"x"] {
            if other != key {
                assert_eq!(proof.verify(other, &header), Err(Refuted::OtherKey), "{name}");
            }
        }
        let later = Header { nonce: 9, ..header };
        let error = proof.verify(&key, &later).unwrap_err();
        assert!(matches!(error, Refuted::OtherBlock { .. }), "{name}");
        proof.block = later.hash();
        assert!(proof.verify(&key, &later).is_ok(), "the nonce says nothing of the state");
        let other = Header { merkle_root: Hash([3; 32]), ..header };
        proof.block = other.hash();
        assert_eq!(proof.verify(&key, &other), Err(Refuted::NotCommitted), "{name}");
    }
    // Nor when the key's name is changed with it: the row is another one.
    let (_, header, mut proof) = samples().swap_remove(0);
    proof.key = b"gone".to_vec();
    assert_eq!(proof.verify(b"gone", &header), Err(Refuted::NotCommitted));
}

fn with(proof: &Proof, change: impl FnOnce(&mut Option<Before>, &mut Vec<Written>)) -> Proof {
    let mut proof = proof.clone();
    let Claim::Written { before, versions, .. } = &mut proof.claim else { panic!("it is there") };
    change(before, versions);
    proof
}

#[test]
fn a_history_is_complete_and_in_order_or_refused() {
    let world = world();
    let (latest, all) = (claim_from(5, &color()), claim_from(1, &color()));
    let (latest, all) = (world.proof(b"color", latest), world.proof(b"color", all));
    let refused = |proof: Proof| {
        assert!(proof.verify(b"color", &world.header).is_err(), "{proof:?}");
        proof.verify(b"color", &world.header).unwrap_err()
    };
    for left_out in 0..5 {
        refused(with(&all, |_, versions| drop(versions.remove(left_out))));
        refused(with(&all, |_, versions| versions.insert(left_out, color()[left_out].clone())));
    }
    for at in 0..4 {
        refused(with(&all, |_, versions| versions.swap(at, at + 1)));
    }
    refused(with(&all, |_, versions| versions.truncate(4))); // an older state
    let error = refused(with(&all, |_, versions| versions.clear()));
    assert_eq!(error, Refuted::NoVersions);
    // Another number for the same version.
    for count in [1, 3, 5, 6] {
        refused(with(&latest, |before, _| before.as_mut().unwrap().count = count));
    }
    let error = refused(with(&latest, |before, _| before.as_mut().unwrap().count = u64::MAX));
    assert_eq!(error, Refuted::Numbers);
    let mut upwards = latest.clone();
    upwards.steps.swap(0, 1);
    assert_eq!(refused(upwards), Refuted::Witness(WitnessError::Order));
    refused(with(&latest, |before, _| *before = None));
    let none = Some(Before { count: 0, history: [0; 32] });
    assert_eq!(refused(with(&all, |before, _| *before = none)), Refuted::Numbers);
    let error = refused(with(&all, |_, versions| versions[2].value = b"x".to_vec()));
    assert_eq!(error, Refuted::Tombstone);
}

#[test]
fn absence_is_shown_by_the_neighbour_and_nothing_else() {
    let world = world();
    let honest = world.proof(b"nothing", Claim::Absent);
    let refused = |change: &dyn Fn(&mut Proof)| {
        let mut proof = honest.clone();
        change(&mut proof);
        proof.verify(b"nothing", &world.header).unwrap_err()
    };
    for (path, value) in world.rows.iter().filter(|row| Some(**row) != honest.other) {
        // With the way to that row, it is not on the way to the key; with the key's, not there.
        let way = world.witness(path).steps;
        refused(&|proof| proof.other = Some((*path, *value)));
        refused(&|proof| (proof.steps, proof.other) = (way.clone(), Some((*path, *value))));
    }
    let error = refused(&|proof| proof.other = None);
    assert_eq!(error, Refuted::Witness(WitnessError::NoOtherRow));
    let own = path(&head_row(b"nothing"));
    let error = refused(&|proof| proof.other = Some((own, [0; 32])));
    assert_eq!(error, Refuted::Witness(WitnessError::NoOtherRow));
    // A key that is there is never absent, whatever its way.
    let mut proof = world.proof(b"color", Claim::Absent);
    assert!(proof.verify(b"color", &world.header).is_err());
    for (path, value) in &world.rows {
        (proof.steps, proof.other) = (world.witness(path).steps, Some((*path, *value)));
        assert!(proof.verify(b"color", &world.header).is_err());
    }
    // And one that is not there is not written.
    let proof = world.proof(b"nothing", claim_from(1, &color()));
    assert_eq!(
        proof.verify(b"nothing", &world.header),
        Err(Refuted::Witness(WitnessError::OtherRow))
    );
}

#[test]
fn lists_longer_than_they_may_be_are_no_proof() {
    let (_, header, honest) = samples().swap_remove(0);
    let refused = |change: &dyn Fn(&mut Proof)| {
        let mut proof = honest.clone();
        change(&mut proof);
        assert_eq!(Proof::decode(&proof.encode()), Err(MalformedProof::Malformed));
    };
    refused(&|proof| proof.key = vec![b'k'; 256]);
    refused(&|proof| proof.coinbase.tag = vec![0; 81]);
    refused(&|proof| proof.branch = vec![Hash::ZERO; 33]);
    refused(&|proof| proof.steps = vec![Step { bit: 0, sibling: [0; 32] }; 257]);
    refused(&|proof| {
        proof.claim = claim_from(1, &vec![color()[0].clone(); MAX_PROVEN_VERSIONS + 1]);
    });
    let long = vec![0; MAX_PROOF_BYTES + 1];
    assert_eq!(Proof::decode(&long), Err(MalformedProof::TooLong(long.len())));
    let bytes = honest.encode();
    assert_eq!(Proof::decode(&[&[2], &bytes[1..]].concat()), Err(MalformedProof::Version));
    // The key's length in two bytes instead of one.
    let wide = [&bytes[..1], &[bytes[1] | 0x80, 0], &bytes[2..]].concat();
    assert_eq!(Proof::decode(&wide), Err(MalformedProof::NotCanonical));
    // A length that lies, in front of nothing.
    let mut proof = honest.encode();
    proof.truncate(1);
    proof.extend([0xff, 0xff, 0xff, 0xff, 0x0f]);
    assert_eq!(Proof::decode(&proof), Err(MalformedProof::Malformed));
    assert!(honest.verify(b"color", &header).is_ok());
}
