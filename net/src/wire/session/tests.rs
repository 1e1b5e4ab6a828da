use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn session(role: Role, seed: u8, network: u8) -> Session {
    Session::new(role, &Identity::from_secret([seed; 32]), &Hash([network; 32]))
}

/// Moves all bytes from one side to the other and reads them there.
fn pass(from: &mut Session, to: &mut Session) -> Result<Vec<SessionEvent>, WireError> {
    to.receive(from.output());
    from.sent(from.output().len());
    let mut events = Vec::new();
    while let Some(event) = to.next_event()? {
        events.push(event);
    }
    Ok(events)
}

fn established() -> [Session; 2] {
    let mut a = session(Role::Initiator, 1, 0);
    let mut b = session(Role::Responder, 2, 0);
    assert_eq!(pass(&mut a, &mut b), Ok(vec![]));
    assert!(matches!(pass(&mut b, &mut a).unwrap()[..], [SessionEvent::Established(_)]));
    assert!(matches!(pass(&mut a, &mut b).unwrap()[..], [SessionEvent::Established(_)]));
    [a, b]
}

#[test]
fn messages_pass_both_ways() {
    let [mut a, mut b] = established();
    let large = Message::Block(vec![5; 300_000]);
    a.send(&Message::Ping(1));
    a.send(&large);
    b.send(&Message::GetAddresses);
    let events = pass(&mut a, &mut b).unwrap();
    assert_eq!(events[0], SessionEvent::Message(Message::Ping(1)));
    assert_eq!(events[1], SessionEvent::Message(large));
    let events = pass(&mut b, &mut a).unwrap();
    assert_eq!(events, [SessionEvent::Message(Message::GetAddresses)]);
}

#[test]
fn nothing_can_be_sent_before_the_handshake() {
    let mut a = session(Role::Initiator, 1, 0);
    let before = a.output().len();
    a.send(&Message::Ping(1));
    assert_eq!(a.output().len(), before);
}

#[test]
fn another_network_fails_the_handshake() {
    let mut a = session(Role::Initiator, 1, 0);
    let mut b = session(Role::Responder, 2, 9);
    pass(&mut a, &mut b).unwrap();
    let fault = pass(&mut b, &mut a).unwrap_err();
    assert_eq!(fault, WireError::Handshake(HandshakeError::Decrypt));
    assert!(fault.to_string().contains("another network"));
    assert_eq!(a.next_event(), Ok(None), "nothing more is read after a fault");
}

#[test]
fn foreign_protocols_are_noticed_after_two_bytes() {
    for garbage in [&b"GET / HTTP/1.1"[..], b"\x00\x00", b"SSH-2.0", b"\xff\xff"] {
        let mut b = session(Role::Responder, 2, 0);
        b.receive(&garbage[..2]);
        let fault = b.next_event().unwrap_err();
        assert!(matches!(fault, WireError::Handshake(HandshakeError::Length { .. })));
        assert!(fault.to_string().contains("not a Graven handshake"));
    }
}

#[test]
fn empty_packets_are_refused() {
    let [mut a, _] = established();
    a.receive(&[16, 0]);
    assert_eq!(a.next_event(), Err(WireError::Packet(PacketError)));
}

#[test]
fn a_bad_frame_inside_a_good_packet_is_refused() {
    let [mut a, mut b] = established();
    a.send_raw(&[1, 0, 0, 0, 200, 0]);
    let fault = pass(&mut a, &mut b).unwrap_err();
    assert_eq!(fault, WireError::Frame(FrameError::UnknownTag(200)));
}

/// The rest of the packet was read on, from wherever the error had left off.
#[test]
fn nothing_is_read_after_an_error() {
    let [mut a, mut b] = established();
    let ping = codec::encode(&Message::Ping(1));
    a.send_raw(&[&ping[..], &[1, 0, 0, 0, 4, 0xff], &ping].concat());
    b.receive(a.output());
    assert_eq!(b.next_event(), Ok(Some(SessionEvent::Message(Message::Ping(1)))));
    let fault = b.next_event().unwrap_err();
    assert_eq!(fault, WireError::Frame(FrameError::Malformed("get-headers")));
    assert_eq!((b.next_event(), b.next_event()), (Ok(None), Ok(None)));
}

proptest! {
    #[test]
    fn messages_survive_any_cut_of_the_stream(
        sizes in vec(1..40_000_usize, 1..20),
        lengths in vec(0..100_000_usize, 1..5),
    ) {
        let [mut a, mut b] = established();
        let messages: Vec<Message> =
            lengths.iter().map(|length| Message::Block(vec![3; *length])).collect();
        messages.iter().for_each(|message| a.send(message));
        let mut received = Vec::new();
        for size in sizes.iter().cycle() {
            let size = (*size).min(a.output().len());
            if size == 0 {
                break;
            }
            b.receive(&a.output()[..size]);
            a.sent(size);
            while let Some(event) = b.next_event().unwrap() {
                received.push(event);
            }
        }
        let sent: Vec<SessionEvent> = messages.into_iter().map(SessionEvent::Message).collect();
        prop_assert_eq!(received, sent);
    }

    #[test]
    fn garbage_never_panics(bytes in vec(any::<u8>(), 0..400), after_handshake: bool) {
        let mut b = if after_handshake {
            established().into_iter().next().unwrap()
        } else {
            session(Role::Responder, 2, 0)
        };
        b.receive(&bytes);
        while let Ok(Some(_)) = b.next_event() {}
    }
}
