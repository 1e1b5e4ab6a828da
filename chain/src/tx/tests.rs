use super::*;
use proptest::prelude::*;

fn sample(operations: Vec<Vec<u8>>, sequence: u64) -> Transaction {
    let key = SigningKey::from([7; 32]);
    Unsigned {
        version: TRANSACTION_VERSION,
        signer: PublicKey::from(&key),
        sequence,
        expires_at: 0,
        fee: 3,
        operations: operations.into_iter().map(ByteBuf::from).collect(),
    }
    .sign(&key, &Hash::ZERO)
}

proptest! {
    #[test]
    fn what_is_encoded_decodes_to_the_same(
        operations in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..5),
        sequence in any::<u64>(),
        tail in prop::collection::vec(any::<u8>(), 0..10),
    ) {
        let transaction = sample(operations, sequence);
        let joined = [transaction.bytes(), &tail].concat();
        let (decoded, rest) = Transaction::take(&joined).unwrap();
        prop_assert_eq!(&decoded, &transaction);
        prop_assert_eq!(rest, &tail[..]);
        prop_assert_eq!(transaction.signed_len(), transaction.bytes().len());
    }

    #[test]
    fn no_bytes_panic_the_decoder(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(transaction) = Transaction::decode(&bytes) {
            prop_assert_eq!(transaction.bytes(), &bytes[..]);
        }
    }
}

#[test]
fn every_cut_is_malformed() {
    let bytes = sample(vec![vec![1, 2, 3]], 300).bytes().to_vec();
    for end in 0..bytes.len() {
        assert_eq!(Transaction::decode(&bytes[..end]).unwrap_err(), DecodeError::Malformed);
    }
}

#[test]
fn an_overlong_integer_is_not_canonical() {
    let bytes = sample(vec![], 5).bytes().to_vec();
    let at = 1 + 32; // the sequence, one byte
    assert_eq!(bytes[at], 5);
    let longer = [&bytes[..at], &[0x85, 0x00], &bytes[at + 1..]].concat();
    assert_eq!(Transaction::decode(&longer).unwrap_err(), DecodeError::NotCanonical);
}

#[test]
fn an_address_survives_its_text_and_a_typo_does_not() {
    let key = PublicKey([9; 32]);
    let text = key.to_string();
    assert!(text.starts_with("grvn1"), "{text}");
    assert_eq!(text.parse::<PublicKey>().unwrap(), key);
    let mut typo = text.into_bytes();
    let last = typo.len() - 1;
    typo[last] = if typo[last] == b'q' { b'p' } else { b'q' };
    assert!(String::from_utf8(typo).unwrap().parse::<PublicKey>().is_err());
}
