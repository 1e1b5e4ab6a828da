//! A connection's bytes: garbage in every state of the handshake and after it, as it is and
//! correctly encrypted.

use net::Identity;
use net::wire::noise::{Handshake, Transport};
use net::wire::{Role, Session, SessionEvent, WireError, codec};

use super::draw::Draw;
use super::frames;
use super::target::{Memory, Target};
use super::world::WORLD;

/// Handshake states, one packet's plaintext, and a message.
pub(super) const TARGET: Target =
    Target { name: "sessions", samples, run, memory: Memory { per_byte: 64, fixed: 128 * 1024 } };

/// Bytes that a handshake sends at most: two of its packets.
const MAX_HANDSHAKE_OUTPUT: usize = 2 * (2 + 96);

fn samples() -> Vec<Vec<u8>> {
    let mut samples = Vec::new();
    for role in [0, 1] {
        for (at, message) in WORLD.messages.iter().enumerate() {
            let frame = codec::encode(message);
            let plain = &frame[..frame.len().min(250)];
            let length = u8::try_from(plain.len()).expect("cut above");
            // A handshake, a message, the same by hand, then garbage.
            let at = u8::try_from(at).expect("few messages");
            let script = [&[role, 3, 2, at, 1, length], plain, &[0, 3, 1, 0, 9]].concat();
            samples.push(script);
        }
        for steps in 0..3 {
            samples.push(vec![role, steps, 0, 34, 32, 0, 7, 7]);
        }
    }
    samples
}

/// The session under test, and what it has said.
struct Line {
    session: Session,
    established: bool,
    messages: usize,
    error: Option<WireError>,
}

impl Line {
    fn receive(&mut self, bytes: &[u8]) {
        self.session.receive(bytes);
        loop {
            match self.session.next_event() {
                Ok(Some(SessionEvent::Established(_))) => {
                    assert!(!self.established && self.error.is_none());
                    self.established = true;
                }
                Ok(Some(SessionEvent::Message(_))) => {
                    assert!(self.established && self.error.is_none());
                    self.messages += 1;
                }
                Ok(None) => break,
                Err(error) => {
                    assert!(self.error.is_none(), "a broken session speaks again");
                    self.error = Some(error);
                }
            }
        }
        assert!(self.session.output().len() <= MAX_HANDSHAKE_OUTPUT);
    }
}

fn run(input: &[u8]) -> String {
    let mut draw = Draw::new(input);
    let genesis = WORLD.network.genesis_hash();
    let (role, other_role) = match draw.byte() % 2 {
        0 => (Role::Initiator, Role::Responder),
        _ => (Role::Responder, Role::Initiator),
    };
    let session = Session::new(role, &Identity::from_secret([1; 32]), &genesis);
    let mut line = Line { session, established: false, messages: 0, error: None };
    let handshake = Handshake::new(other_role, &Identity::from_secret([2; 32]), &genesis);
    let mut transport = shake(&mut line, handshake, draw.byte() % 4);
    while !draw.is_empty() {
        speak(&mut line, transport.as_mut(), &mut draw);
    }
    let established = if line.established { "established" } else { "shaking" };
    match &line.error {
        None => format!("{established} {} messages", line.messages.min(3)),
        Some(WireError::Handshake(error)) => {
            let error = error.to_string();
            format!("{established} handshake {}", error.split(':').next().unwrap_or_default())
        }
        Some(WireError::Packet(_)) => format!("{established} packet"),
        Some(WireError::Frame(error)) => format!("{established} frame {}", frames::end(error)),
    }
}

/// So many steps of an honest handshake, and the other end if that is the whole.
fn shake(line: &mut Line, mut handshake: Handshake, steps: u8) -> Option<Transport> {
    for _ in 0..steps {
        let mut bytes = Vec::new();
        handshake.write(&mut bytes);
        line.receive(&bytes);
        let output = line.session.output().to_vec();
        line.session.sent(output.len());
        if let Some(packet) = output.get(2..).filter(|packet| !packet.is_empty()) {
            handshake.read(packet).expect("both are honest");
        }
    }
    handshake.is_finished().then(|| handshake.into_transport().expect("it is finished").0)
}

fn speak(line: &mut Line, transport: Option<&mut Transport>, draw: &mut Draw<'_>) {
    let kind = draw.byte() % 4;
    let mut bytes = Vec::new();
    match (kind, transport) {
        (1, Some(transport)) => transport.seal(draw.bytes(), &mut bytes),
        (2, Some(transport)) => {
            let message = draw.pick(&WORLD.messages);
            transport.seal(&codec::encode(message), &mut bytes);
        }
        (3, Some(transport)) => {
            transport.seal(draw.bytes(), &mut bytes);
            let at = draw.below(bytes.len().max(1));
            bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1);
        }
        _ => bytes.extend(draw.bytes()),
    }
    let (first, second) = bytes.split_at(draw.below(bytes.len() + 1));
    line.receive(first);
    line.receive(second);
}
