use rand::SeedableRng;

use super::*;

const NOW: Millis = Millis(1_800_000_000_000);

fn address(number: u32) -> SocketAddr {
    let [a, b, c, d] = (0x0b00_0000 + number).to_be_bytes();
    SocketAddr::from(([a, b, c, d], 7400))
}

fn rng() -> StdRng {
    StdRng::seed_from_u64(1)
}

#[test]
fn a_book_survives_saving() {
    let mut book = AddressBook::default();
    for number in 0..100 {
        assert!(book.heard(address(number), u64::from(number), NOW));
    }
    book.succeeded(address(5), NOW);
    book.failed(&address(6), NOW, |_| 1000);
    book.heard("[2001:db8::1]:7400".parse().unwrap(), 1, NOW);
    assert_eq!(AddressBook::decode(&book.encode()), Ok(book));
}

#[test]
fn damaged_books_are_refused_and_never_panic() {
    let mut book = AddressBook::default();
    (0..20).for_each(|number| {
        book.heard(address(number), 1, NOW);
    });
    let bytes = book.encode();
    for length in 0..bytes.len() {
        assert_eq!(AddressBook::decode(&bytes[..length]), Err(BookError::Damaged));
    }
    let longer = [&bytes[..], &[0]].concat();
    assert_eq!(AddressBook::decode(&longer), Err(BookError::Damaged));
    assert_eq!(AddressBook::decode(&[9, 0]), Err(BookError::Version(9)));
    // A count of 2^32 - 1.
    let huge = [1, 0xff, 0xff, 0xff, 0xff, 0x0f];
    assert_eq!(AddressBook::decode(&huge), Err(BookError::Damaged));
}

#[test]
fn the_book_is_bounded_and_what_worked_stays() {
    let mut book = AddressBook::default();
    book.succeeded(address(0), NOW);
    for number in 1..6000 {
        book.heard(address(number), u64::from(number), NOW);
    }
    assert_eq!(book.len(), MAX_BOOK);
    assert!(book.contains(&address(0)) && book.contains(&address(5999)));
    assert!(!book.contains(&address(1)), "the one seen longest ago went first");
}

#[test]
fn failing_addresses_rest_and_are_forgotten() {
    let mut book = AddressBook::default();
    book.heard(address(1), 1, NOW);
    let pick = |book: &AddressBook, now| book.pick(now, &mut rng(), |_| true);
    assert_eq!(pick(&book, NOW), Some(address(1)));
    book.failed(&address(1), NOW, |failures| 1000 * u64::from(failures));
    assert_eq!((pick(&book, NOW + 999), pick(&book, NOW + 1000)), (None, Some(address(1))));
    book.failed(&address(1), NOW, |_| 0);
    book.failed(&address(1), NOW, |_| 0);
    assert!(book.is_empty());
}

#[test]
fn a_partition_does_not_empty_the_book_of_what_worked() {
    let mut book = AddressBook::default();
    book.succeeded(address(1), NOW);
    let day_ms = 24 * 3600 * 1000;
    // The longest back-off is five minutes, so this is an hour.
    (0..12).for_each(|_| book.failed(&address(1), NOW, |_| 300_000));
    book.failed(&address(1), NOW + 6 * day_ms, |_| 0);
    assert!(book.contains(&address(1)), "nobody could find the other half again");
    book.failed(&address(1), NOW + 8 * day_ms, |_| 0);
    assert!(book.is_empty());
}

#[test]
fn only_allowed_addresses_are_picked() {
    let mut book = AddressBook::default();
    (0..10).for_each(|number| {
        book.heard(address(number), 1, NOW);
    });
    for seed in 0..50 {
        let mut rng = StdRng::seed_from_u64(seed);
        let picked = book.pick(NOW, &mut rng, |candidate| *candidate == address(3));
        assert_eq!(picked, Some(address(3)));
    }
    assert_eq!(book.pick(NOW, &mut rng(), |_| false), None);
    assert_eq!(book.sample(4, &mut rng()).len(), 4);
}

#[test]
fn times_of_the_future_are_not_believed() {
    let mut book = AddressBook::default();
    book.heard(address(1), u64::MAX, NOW);
    assert_eq!(book.sample(1, &mut rng())[0].last_seen_s, NOW.0 / 1000);
}

#[test]
fn implausible_addresses_are_named() {
    let far: IpAddr = [203, 0, 113, 1].into();
    let near: IpAddr = [127, 0, 0, 1].into();
    let plausible = |text: &str, from| is_plausible(&text.parse().unwrap(), from);
    assert!(plausible("11.0.0.1:7400", far) && plausible("[2001:db8::1]:1", far));
    assert!(plausible("127.0.0.1:7400", near) && !plausible("127.0.0.1:7400", far));
    for bad in ["11.0.0.1:0", "0.0.0.0:1", "224.0.0.1:1", "255.255.255.255:1", "[::]:1"] {
        assert!(!plausible(bad, near), "{bad}");
    }
    assert!(!plausible("[::ffff:127.0.0.1]:1", far));
}
