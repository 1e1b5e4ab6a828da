//! Random states: what a proof shows, changed or not, is true of the key that it is checked for.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

type Histories = BTreeMap<Vec<u8>, Vec<Written>>;

fn key() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(0..4_u8, 1..3)
}

fn histories() -> impl Strategy<Value = Histories> {
    let value = prop::option::of(prop::collection::vec(any::<u8>(), 0..5));
    let history = prop::collection::vec(value, 1..5).prop_map(|values: Vec<Option<Vec<u8>>>| {
        versions(&values.iter().map(Option::as_deref).collect::<Vec<_>>())
    });
    prop::collection::btree_map(key(), history, 0..12)
}

fn world_of(histories: &Histories) -> World {
    let row = |(key, versions): (&Vec<u8>, &Vec<Written>)| {
        row(&head_row(key), &head_of(versions).encode())
    };
    World::new(histories.iter().map(row).collect(), 3, b"")
}

/// A proof that a node would give: of some of the latest versions, or that there is none.
fn honest(world: &World, histories: &Histories, key: &[u8], pick: prop::sample::Index) -> Proof {
    let claim = match histories.get(key) {
        None => Claim::Absent,
        Some(versions) => claim_from(1 + pick.index(versions.len()), versions),
    };
    world.proof(key, claim)
}

fn is_true(histories: &Histories, key: &[u8], finding: &Finding) -> bool {
    match (histories.get(key), finding) {
        (None, Finding::Absent) => true,
        (Some(all), Finding::Written { owner, policy, is_complete, versions }) => {
            let entry = |(version, written): (u64, &Written)| {
                let Written { height, txid, writer, kind, value } = written.clone();
                Entry { key: key.to_vec(), version, height, txid, writer, kind, value }
            };
            let entries: Vec<Entry> = (1..).zip(all).map(entry).collect();
            (*owner, *policy) == (OWNER, KeyPolicy::Owned)
                && !versions.is_empty()
                && entries.ends_with(versions)
                && *is_complete == (versions.len() == all.len())
        }
        _ => false,
    }
}

proptest! {
    #[test]
    fn what_is_shown_is_true_of_that_key_and_of_no_other(
        histories in histories(),
        keys in [key(), key()],
        picks: [prop::sample::Index; 2],
        bit: prop::sample::Index,
    ) {
        let world = world_of(&histories);
        let header = &world.header;
        let [one, other] = [0, 1].map(|n| honest(&world, &histories, &keys[n], picks[n]));
        let [key, other_key] = &keys;
        let shown = one.verify(key, header).unwrap();
        prop_assert!(is_true(&histories, key, &shown.finding));
        if key != other_key {
            prop_assert_eq!(one.verify(other_key, header), Err(Refuted::OtherKey));
        }
        // Under the other key's name, with every choice of the other proof's parts.
        for parts in 0..8 {
            let mut mixed = Proof { key: other_key.clone(), ..one.clone() };
            if parts & 1 != 0 {
                mixed.steps.clone_from(&other.steps);
            }
            if parts & 2 != 0 {
                mixed.other = other.other;
            }
            if parts & 4 != 0 {
                mixed.claim = other.claim.clone();
            }
            if let Ok(shown) = mixed.verify(other_key, header) {
                prop_assert!(is_true(&histories, other_key, &shown.finding), "parts {}", parts);
            }
        }
        // With a bit changed it shows nothing of its key, nor what is not true of any.
        let mut bytes = one.encode();
        let bit = bit.index(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        if let Ok(changed) = Proof::decode(&bytes) {
            prop_assert!(changed.verify(key, header).is_err(), "bit {}", bit);
            if let Ok(shown) = changed.verify(&changed.key, header) {
                prop_assert!(is_true(&histories, &changed.key, &shown.finding), "bit {}", bit);
            }
        }
    }
}
