use super::*;
use crate::params::Network;
use proptest::prelude::*;

fn coinbase(tag: Vec<u8>, height: u32, extranonce: u64) -> Coinbase {
    let payee = PublicKey([3; 32]);
    Coinbase { height, extranonce, tag, value: 77, payee, state_root: [0; 32] }
}

proptest! {
    #[test]
    fn a_coinbase_survives_its_bytes(
        tag in prop::collection::vec(any::<u8>(), 0..=MAX_TAG_BYTES),
        height in any::<u32>(),
        extranonce in any::<u64>(),
    ) {
        let coinbase = coinbase(tag, height, extranonce);
        let bytes = coinbase.encode();
        prop_assert!((60..=1024).contains(&bytes.len()));
        let mut input = &bytes[..];
        prop_assert_eq!(Coinbase::take(&mut input).unwrap(), coinbase);
        prop_assert!(input.is_empty());
    }

    #[test]
    fn no_bytes_panic_the_decoder(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(block) = Block::decode(&bytes) {
            prop_assert_eq!(block.encode(), bytes);
        }
    }

    #[test]
    fn compact_sizes_are_canonical(count in 0usize..70_000) {
        let mut bytes = Vec::new();
        put_compact_size(&mut bytes, count);
        let mut input = &bytes[..];
        prop_assert_eq!(take_compact_size(&mut input), Some(count));
        prop_assert!(input.is_empty());
    }
}

#[test]
fn a_changed_fixed_byte_of_the_coinbase_is_refused() {
    let bytes = coinbase(b"tag".to_vec(), 5, 6).encode();
    let free = |at: usize| {
        // height, extranonce and tag; value; payee and state root
        (43..47).contains(&at)
            || (48..59).contains(&at)
            || (64..72).contains(&at)
            || (80..144).contains(&at)
    };
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        let taken = Coinbase::take(&mut &changed[..]);
        assert_eq!(taken.is_ok(), free(at), "byte {at}");
    }
}

#[test]
fn a_block_survives_its_bytes_and_no_cut_does() {
    let block = Network::dev().genesis();
    let bytes = block.encode();
    assert_eq!(Block::decode(&bytes).unwrap(), block);
    for end in 0..bytes.len() {
        assert!(Block::decode(&bytes[..end]).is_err(), "cut at {end}");
    }
    let longer = [&bytes[..], &[0]].concat();
    assert_eq!(Block::decode(&longer).unwrap_err(), BlockDecodeError::Trailing(1));
}

#[test]
fn a_count_the_bytes_cannot_hold_is_refused_before_allocating() {
    let mut bytes = Network::dev().genesis().encode();
    bytes.splice(80..81, [0xfe, 0xff, 0xff, 0xff, 0xff]);
    assert_eq!(Block::decode(&bytes).unwrap_err(), BlockDecodeError::Count);
    let mut none = Network::dev().genesis().encode();
    none[80] = 0;
    assert_eq!(Block::decode(&none).unwrap_err(), BlockDecodeError::Count);
    let mut overlong = Network::dev().genesis().encode();
    overlong.splice(80..81, [0xfd, 1, 0]);
    assert_eq!(Block::decode(&overlong).unwrap_err(), BlockDecodeError::Count);
}
