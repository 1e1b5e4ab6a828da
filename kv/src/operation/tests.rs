use super::*;
use chain::params::Network;
use proptest::prelude::*;

/// A small number, or any: varints have many lengths.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0..300_u64, any::<u64>()]
}

fn expect() -> impl Strategy<Value = Expect> {
    prop_oneof![Just(Expect::Any), Just(Expect::Absent), number().prop_map(Expect::Version)]
}

fn policy() -> impl Strategy<Value = Option<KeyPolicy>> {
    prop_oneof![Just(None), Just(Some(KeyPolicy::Owned)), Just(Some(KeyPolicy::Open))]
}

fn check(operation: &Operation<'_>) -> Result<(), OperationError> {
    operation.check(&Network::dev().limits)
}

proptest! {
    #[test]
    fn what_is_encoded_decodes_to_the_same_and_every_cut_is_refused(
        key in prop::collection::vec(any::<u8>(), 0..40),
        value in prop::collection::vec(any::<u8>(), 0..300),
        (expect, policy) in (expect(), policy()),
        (to, amount) in (any::<[u8; 32]>().prop_map(PublicKey), number()),
    ) {
        for operation in [
            Operation::Put { key: &key, value: &value, expect, policy },
            Operation::Delete { key: &key, expect },
            Operation::HandOver { key: &key, to },
            Operation::Pay { to, amount },
        ] {
            let bytes = operation.encode();
            prop_assert_eq!(Operation::decode(&bytes), Ok(operation));
            for end in 0..bytes.len() {
                prop_assert_eq!(
                    Operation::decode(&bytes[..end]),
                    Err(OperationError::Malformed)
                );
            }
            let longer = [&bytes[..], &[0]].concat();
            prop_assert_eq!(Operation::decode(&longer), Err(OperationError::NotCanonical));
        }
    }

    #[test]
    fn no_bytes_panic_the_decoder(
        kind in 0..5_u8,
        rest in prop::collection::vec(any::<u8>(), 0..80),
    ) {
        let bytes = [&[kind][..], &rest].concat();
        if let Ok(operation) = Operation::decode(&bytes) {
            prop_assert_eq!(&operation.encode()[..], &bytes[..]);
        }
    }
}

/// The bytes are consensus: a change here is a fork.
#[test]
fn the_bytes_are_these() {
    let to = PublicKey([9; 32]);
    let (key, value) = (&b"ab"[..], &b"xyz"[..]);
    let put = |expect, policy| Operation::Put { key, value, expect, policy }.encode().into_vec();
    assert_eq!(put(Expect::Any, None), b"\x00\x02ab\x03xyz\x00\x00");
    assert_eq!(put(Expect::Absent, Some(KeyPolicy::Owned)), b"\x00\x02ab\x03xyz\x01\x01\x00");
    assert_eq!(
        put(Expect::Version(300), Some(KeyPolicy::Open)),
        b"\x00\x02ab\x03xyz\x02\xac\x02\x01\x01"
    );
    let delete = Operation::Delete { key, expect: Expect::Version(1) };
    assert_eq!(delete.encode().into_vec(), b"\x01\x02ab\x02\x01");
    let hand_over = Operation::HandOver { key, to };
    assert_eq!(hand_over.encode().into_vec(), [&b"\x02\x02ab"[..], &to.0].concat());
    let pay = Operation::Pay { to, amount: 300 };
    assert_eq!(pay.encode().into_vec(), [&b"\x03"[..], &to.0, b"\xac\x02"].concat());
}

#[test]
fn an_overlong_length_is_not_canonical() {
    let bytes = Operation::Delete { key: b"ab", expect: Expect::Any }.encode();
    let longer = [&bytes[..1], &[0x82, 0x00], &bytes[2..]].concat();
    assert_eq!(Operation::decode(&longer), Err(OperationError::NotCanonical));
}

#[test]
fn a_key_has_1_to_255_bytes_in_every_operation() {
    let long = [7; MAX_KEY_BYTES + 1];
    let to = PublicKey([9; 32]);
    for (key, expected) in [
        (&long[..0], Err(OperationError::KeyEmpty)),
        (&long[..1], Ok(())),
        (&long[..MAX_KEY_BYTES], Ok(())),
        (&long[..], Err(OperationError::KeyTooLong { got: MAX_KEY_BYTES + 1 })),
    ] {
        let put = Operation::Put { key, value: b"", expect: Expect::Any, policy: None };
        assert_eq!(check(&put), expected);
        assert_eq!(check(&Operation::Delete { key, expect: Expect::Any }), expected);
        assert_eq!(check(&Operation::HandOver { key, to }), expected);
    }
}

#[test]
fn a_value_may_have_what_the_network_allows() {
    let limit = Network::dev().limits.value_bytes;
    let value = vec![1; limit as usize + 1];
    let put = |value| Operation::Put { key: b"k", value, expect: Expect::Any, policy: None };
    assert_eq!(check(&put(&value[1..])), Ok(()));
    assert_eq!(check(&put(&value)), Err(OperationError::ValueTooLong { got: value.len(), limit }));
}
