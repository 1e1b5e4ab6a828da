use super::*;

fn identity(seed: u8) -> Identity {
    Identity::from_secret([seed; 32])
}

/// Hands packets over, without their lengths.
fn pass(from: &mut Handshake, to: &mut Handshake) -> Result<(), HandshakeError> {
    let mut out = Vec::new();
    from.write(&mut out);
    to.read(&out[PACKET_HEAD_BYTES..])
}

fn pair(network_a: Hash, network_b: Hash) -> Result<[Transport; 2], HandshakeError> {
    let mut a = Handshake::new(Role::Initiator, &identity(1), &network_a);
    let mut b = Handshake::new(Role::Responder, &identity(2), &network_b);
    pass(&mut a, &mut b)?;
    pass(&mut b, &mut a)?;
    pass(&mut a, &mut b)?;
    assert!(a.is_finished() && b.is_finished());
    let ((a, seen_by_a), (b, seen_by_b)) = (a.into_transport()?, b.into_transport()?);
    assert_eq!((seen_by_a, seen_by_b), (identity(2).node_id(), identity(1).node_id()));
    Ok([a, b])
}

#[test]
fn the_node_id_is_the_public_key_of_rfc_7748() {
    // Section 6.1, Alice.
    let secret = b"77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a";
    let secret = data_encoding::HEXLOWER.decode(secret).unwrap();
    let identity = Identity::from_secret(secret.try_into().unwrap());
    let public = "8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a";
    assert_eq!(identity.node_id().to_string(), public);
}

#[test]
fn both_sides_learn_who_the_other_is_and_can_talk() {
    let [mut a, mut b] = pair(Hash([1; 32]), Hash([1; 32])).unwrap();
    let text: Vec<u8> = (0..200_000_u32).map(|number| number.to_le_bytes()[0]).collect();
    let (mut wire, mut plain, mut received) = (Vec::new(), Vec::new(), Vec::<u8>::new());
    a.seal(&text, &mut wire);
    let mut rest = &wire[..];
    while let Some((head, after)) = rest.split_first_chunk::<PACKET_HEAD_BYTES>() {
        let (packet, after) = after.split_at(usize::from(u16::from_le_bytes(*head)));
        b.open(packet, &mut plain).unwrap();
        received.extend(&plain);
        rest = after;
    }
    assert_eq!(received, text);
}

#[test]
fn nodes_of_two_networks_do_not_agree() {
    let fault = pair(Hash([1; 32]), Hash([2; 32])).err();
    assert_eq!(fault, Some(HandshakeError::Decrypt));
}

#[test]
fn a_changed_packet_is_noticed() {
    let [mut a, mut b] = pair(Hash::ZERO, Hash::ZERO).unwrap();
    let mut wire = Vec::new();
    a.seal(b"message", &mut wire);
    let last = wire.len() - 1;
    wire[last] ^= 1;
    assert_eq!(b.open(&wire[PACKET_HEAD_BYTES..], &mut Vec::new()), Err(PacketError));
    assert_eq!(b.open(&[], &mut Vec::new()), Err(PacketError));
}

#[test]
fn both_sides_change_keys_at_the_same_packet() {
    let [mut a, mut b] = pair(Hash::ZERO, Hash::ZERO).unwrap();
    let (mut wire, mut plain) = (Vec::new(), Vec::new());
    for _ in 0..=REKEY_PACKETS {
        wire.clear();
        a.seal(b"x", &mut wire);
        b.open(&wire[PACKET_HEAD_BYTES..], &mut plain).unwrap();
    }
    assert_eq!(plain, b"x");
    wire.clear();
    b.seal(b"y", &mut wire);
    a.open(&wire[PACKET_HEAD_BYTES..], &mut plain).unwrap();
    assert_eq!(plain, b"y");
}

#[test]
fn an_identity_does_not_show_its_secret() {
    let shown = format!("{:?}", identity(0xab));
    assert!(shown.contains(&identity(0xab).node_id().to_string()) && !shown.contains("abab"));
}
