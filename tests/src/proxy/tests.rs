use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use super::{Faults, Proxy, Way};
use crate::node::{PATIENCE, now, wait_until};

/// Both ends of a connection through a proxy.
struct Ends {
    proxy: Proxy,
    near: TcpStream,
    far: TcpStream,
}

fn connect(faults: Faults) -> Ends {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = Proxy::start(listener.local_addr().unwrap(), 7);
    proxy.set(faults);
    let near = TcpStream::connect(proxy.address()).unwrap();
    let far = listener.accept().unwrap().0;
    wait_until("the line", || proxy.links() == 1);
    for end in [&near, &far] {
        end.set_read_timeout(Some(PATIENCE)).unwrap();
    }
    Ends { proxy, near, far }
}

/// More than one chunk.
fn message() -> Vec<u8> {
    (0..100_000_u32).map(|number| number.to_le_bytes()[0]).collect()
}

impl Ends {
    /// Sends a message there and says how it arrived.
    fn there(&mut self) -> Vec<u8> {
        let mut near = self.near.try_clone().unwrap();
        let writer = std::thread::Builder::new().spawn(move || near.write_all(&message()).unwrap());
        let mut arrived = vec![0; message().len()];
        self.far.read_exact(&mut arrived).unwrap();
        writer.unwrap().join().unwrap();
        arrived
    }

    fn back(&mut self) -> Vec<u8> {
        self.far.write_all(&message()[..100]).unwrap();
        let mut arrived = vec![0; 100];
        self.near.read_exact(&mut arrived).unwrap();
        arrived
    }
}

#[test]
fn a_line_in_whatever_pieces_carries_what_was_sent() {
    let good = Faults::none();
    for faults in [
        good.clone(),
        Faults { delay_ms: 0..=3, ..good.clone() },
        Faults { piece_bytes: Some(500), ..good.clone() },
        Faults { piece_bytes: Some(900), gather_ms: 20, ..good.clone() },
    ] {
        let mut ends = connect(faults.clone());
        assert!(ends.there() == message(), "{faults:?}");
        assert_eq!(ends.back(), message()[..100], "{faults:?}");
        assert_eq!(ends.proxy.counts().bytes, 100_100);
    }
}

#[test]
fn a_slow_line_takes_its_time() {
    let started = now();
    connect(Faults { delay_ms: 300..=300, ..Faults::none() }).there();
    assert!(started.elapsed() >= Duration::from_millis(300));
    let started = now();
    connect(Faults { bytes_a_second: Some(200_000), ..Faults::none() }).there();
    assert!(started.elapsed() >= Duration::from_millis(500));
}

#[test]
fn each_way_of_spoiling_chunks_spoils_that_way_alone() {
    let good = Faults { piece_bytes: Some(1000), ..Faults::none() };
    let way = Some((Way::There, 1));
    for faults in [
        Faults { garble: way, ..good.clone() },
        Faults { repeat: way, ..good.clone() },
        Faults { reorder: way, ..good.clone() },
    ] {
        let mut ends = connect(faults.clone());
        assert!(ends.there() != message(), "{faults:?}");
        assert_eq!(ends.back(), message()[..100], "{faults:?}");
        assert!(ends.proxy.counts().spoilt > 0);
    }
}

#[test]
fn what_is_stalled_waits_and_what_is_swallowed_never_comes() {
    let mut ends = connect(Faults { stall: true, ..Faults::none() });
    ends.near.write_all(b"early").unwrap();
    ends.far.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let mut word = [0; 5];
    ends.far.read_exact(&mut word).unwrap_err();
    ends.proxy.set(Faults::none());
    ends.far.set_read_timeout(Some(PATIENCE)).unwrap();
    ends.far.read_exact(&mut word).unwrap();
    assert_eq!(&word, b"early");
    ends.proxy.swallow(Way::There);
    ends.near.write_all(b"never").unwrap();
    wait_until("the word being swallowed", || ends.proxy.counts().swallowed == 5);
    assert_eq!(ends.back(), message()[..100]);
    assert_eq!(ends.proxy.counts().bytes, 5 + 100);
}

#[test]
fn connections_end_at_both_ends_or_at_one() {
    let mut byte = [0];
    let mut ends = connect(Faults::none());
    ends.proxy.cut();
    assert!(matches!(ends.near.read(&mut byte), Ok(0) | Err(_)));
    assert!(matches!(ends.far.read(&mut byte), Ok(0) | Err(_)));
    wait_until("the line being forgotten", || ends.proxy.links() == 0);

    let mut ends = connect(Faults::none());
    ends.proxy.cut_at_dialler();
    assert!(matches!(ends.near.read(&mut byte), Ok(0) | Err(_)));
    ends.far.write_all(b"lost").unwrap();
    wait_until("the word being swallowed", || ends.proxy.counts().swallowed == 4);
    ends.far.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let error = ends.far.read(&mut byte).unwrap_err();
    assert!(matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut));

    let mut ends = connect(Faults { cut_after_bytes: Some(50_000), ..Faults::none() });
    ends.near.write_all(&message()).ok();
    let mut arrived = Vec::new();
    ends.far.read_to_end(&mut arrived).ok();
    assert_eq!((arrived.len(), ends.proxy.counts().cut), (50_000, 1));
    ends.proxy.set(Faults { refuse: true, ..Faults::none() });
    let mut refused = TcpStream::connect(ends.proxy.address()).unwrap();
    assert!(matches!(refused.read(&mut byte), Ok(0) | Err(_)));
    assert_eq!(ends.proxy.counts().refused, 1);
}
