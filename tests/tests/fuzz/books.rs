//! The files of the address book and of the bans: what loads means the same when it is saved, and
//! a node can live with it.

use std::net::SocketAddr;

use chain::ledger::PeerId;
use cli::bans::BanList;
use net::{
    AddressBook, Ban, BookError, Config, Direction, Input, Message, Millis, NodeId, Protocol,
};

use super::draw::Draw;
use super::protocol::start;
use super::target::{Memory, Target};
use super::world::WORLD;

/// Two books, the peers' protocol and its list of bans.
pub(super) const TARGET: Target =
    Target { name: "books", samples, run, memory: Memory { per_byte: 256, fixed: 192 * 1024 } };

/// Time that a node lives with a book: a month, after which addresses are old.
const LIFE_MS: [u64; 4] = [1_000, 180_000, 3_600_000, 31 * 24 * 3_600_000];

fn samples() -> Vec<Vec<u8>> {
    let mut samples: Vec<Vec<u8>> = [0, 1, 7, 40].map(saved).to_vec();
    for bans in [
        "",
        "203.0.113.0/24 1795132800\n2001:db8::/32 1895132800\n",
        "1.2.3.4 18446744073709551615\nnonsense\n\n::/0 0\n1.2.3.4 7\n",
        "::ffff:1.2.3.4/96 12\n10.0.0.0/33 5\n",
    ] {
        samples.push([&[1][..], bans.as_bytes()].concat());
    }
    samples
}

fn saved(size: u8) -> Vec<u8> {
    let (mut book, now) = (AddressBook::new([size; 32]), start());
    for number in 0..size {
        let ip = [11 + number, 1, number, 9];
        let address = SocketAddr::from((ip, 7400));
        let source = [20 + number % 3, 1, 1, 1].into();
        book.heard(address, source, now.0 / 1000 - u64::from(number), now);
        if number % 3 == 0 {
            book.succeeded(address, now);
        }
    }
    let v6 = SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 7400));
    book.heard(v6, v6.ip(), now.0 / 1000, now);
    [&[0][..], &book.encode()].concat()
}

fn run(input: &[u8]) -> String {
    let mut draw = Draw::new(input);
    if draw.byte() % 2 == 1 {
        return bans(&String::from_utf8_lossy(draw.rest()));
    }
    match AddressBook::decode(draw.rest()) {
        Err(BookError::Version(_)) => "another version".to_string(),
        Err(BookError::Damaged) => "damaged".to_string(),
        Ok(book) => {
            let again = AddressBook::decode(&book.encode()).expect("a book saves what it loads");
            assert_eq!(again, book);
            let end = live(book);
            format!("book {end}")
        }
    }
}

/// A node starts with the book, tells a peer of it, dials, fails, hears of others, and saves.
fn live(book: AddressBook) -> &'static str {
    let was_empty = book.is_empty();
    let config = Config::new(NodeId([99; 32]));
    let mut protocol = Protocol::new(config, book, 1);
    let mut now = start();
    let peer = PeerId(1);
    protocol.handle(
        now,
        Input::Connected {
            peer,
            address: ([203, 0, 113, 1], 50_000).into(),
            direction: Direction::Inbound,
            node_id: NodeId([1; 32]),
        },
    );
    for message in [WORLD.messages[0].clone(), Message::GetAddresses] {
        protocol.handle(now, Input::Message { peer, message });
    }
    for ms in LIFE_MS {
        let mut wakes = 0;
        let end = now + ms;
        while let Some(at) = protocol.wake_at().filter(|at| *at <= end && wakes < 200) {
            now = now.max(at);
            protocol.handle(now, Input::Tick);
            wakes += 1;
            while let Some(output) = protocol.poll() {
                if let net::Output::Connect(address) = output {
                    let reason = net::Reason::HandshakeTimeout;
                    protocol.handle(now, Input::ConnectFailed { address, reason });
                }
            }
        }
        now = end;
        protocol.handle(now, Input::Tick);
    }
    let saved = AddressBook::decode(&protocol.save_book());
    match (was_empty, saved.expect("a book saves itself").is_empty()) {
        (true, _) => "empty",
        (false, true) => "forgotten",
        (false, false) => "kept",
    }
}

fn bans(text: &str) -> String {
    let (list, wrong) = BanList::from_text(text);
    assert_eq!(BanList::from_text(&list.to_text()).1, Vec::<usize>::new());
    let again = BanList::from_text(&list.to_text()).0;
    assert_eq!(again.to_text(), list.to_text(), "saved bans mean something else");
    let now = Millis(1_795_132_800_000);
    for Ban { subnet, until } in list.list(now) {
        assert!(until > now && again.without(&subnet, now).is_ok());
    }
    let ends = list.list(now).len();
    format!("bans {} wrong {}", ends.min(3), wrong.len().min(3))
}
