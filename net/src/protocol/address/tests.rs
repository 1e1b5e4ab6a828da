use rand::SeedableRng;

use super::*;
use crate::protocol::group::Group;

const NOW: Millis = Millis(1_800_000_000_000);
const DAY_MS: u64 = 24 * 3600 * 1000;

/// Addresses in many groups.
fn address(number: u16) -> SocketAddr {
    let [a, b] = number.to_be_bytes();
    SocketAddr::from(([11 + a, b, 0, 1], 7400))
}

/// Addresses of one group.
fn neighbour(number: u16) -> SocketAddr {
    let [c, d] = number.to_be_bytes();
    SocketAddr::from(([203, 0, c, d], 7400))
}

fn rng() -> StdRng {
    StdRng::seed_from_u64(1)
}

fn book() -> AddressBook {
    AddressBook::new([7; 32])
}

/// Hears of an address from itself, now.
fn hear(book: &mut AddressBook, address: SocketAddr) -> bool {
    book.heard(address, address.ip(), NOW.0 / 1000, NOW)
}

fn pick(book: &AddressBook, now: Millis) -> Option<SocketAddr> {
    book.pick(now, &mut rng(), |_| true)
}

/// Buckets and entries must say the same.
fn assert_sound(book: &AddressBook) {
    let mut count = 0;
    for (table, is_tried) in [(&book.new, false), (&book.tried, true)] {
        for bucket in table.buckets() {
            let members: Vec<_> = table.members(bucket).collect();
            assert!((1..=BUCKET_SIZE).contains(&members.len()));
            for address in members {
                let entry = &book.entries[address];
                assert!(entry.tried == is_tried && entry.buckets.contains(&bucket));
                count += 1;
            }
        }
    }
    let copies = book.entries.values().map(|entry| entry.buckets.len());
    assert!(copies.clone().all(|copies| (1..=MAX_COPIES).contains(&copies)));
    assert_eq!(copies.sum::<usize>(), count);
    assert!(book.tests.len() <= MAX_TESTS);
    assert!(book.tests.keys().all(|address| book.entries[address].tried));
}

#[test]
fn a_book_survives_saving() {
    let mut book = book();
    for number in 0..100 {
        assert!(hear(&mut book, address(number)));
    }
    book.succeeded(address(5), NOW);
    book.failed(&address(6), NOW, |_| 1000);
    hear(&mut book, "[2001:db8::1]:7400".parse().unwrap());
    book.set_anchors(&[address(5), address(7), address(8)]);
    let again = AddressBook::decode(&book.encode()).unwrap();
    assert_sound(&again);
    assert_eq!(again.anchors(), [address(5), address(7)]);
    // What was reached in this run is not saved.
    book.reached_ms = 0;
    assert_eq!(again, book);
}

#[test]
fn damaged_books_are_refused_and_never_panic() {
    let mut book = book();
    (0..20).for_each(|number| {
        hear(&mut book, address(number));
    });
    book.succeeded(address(3), NOW);
    let bytes = book.encode();
    for length in 0..bytes.len() {
        assert_eq!(AddressBook::decode(&bytes[..length]), Err(BookError::Damaged));
    }
    let longer = [&bytes[..], &[0]].concat();
    assert_eq!(AddressBook::decode(&longer), Err(BookError::Damaged));
    assert_eq!(AddressBook::decode(&[1, 0]), Err(BookError::Version(1)));
    // A count of 2^32 - 1.
    let huge = [&bytes[..33], &[0, 0xff, 0xff, 0xff, 0xff, 0x0f]].concat();
    assert_eq!(AddressBook::decode(&huge), Err(BookError::Damaged));
    for at in 1..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 0x41;
        if let Ok(book) = AddressBook::decode(&changed) {
            assert_sound(&book);
        }
    }
}

#[test]
fn a_book_with_another_secret_is_no_book() {
    let mut book = book();
    (0..20).for_each(|number| book.succeeded(address(number), NOW));
    let mut bytes = book.encode();
    bytes[1] ^= 1;
    assert_eq!(AddressBook::decode(&bytes), Err(BookError::Damaged), "the buckets are others");
}

#[test]
fn one_group_gets_a_bucket_of_each_source_and_no_more() {
    let mut book = book();
    let mut told = |source: SocketAddr| {
        let all = 0..2000;
        all.filter(|at| book.heard(neighbour(*at), source.ip(), NOW.0 / 1000, NOW)).count()
    };
    assert_eq!(told(address(1)), BUCKET_SIZE);
    assert_eq!(told(address(1)), 0, "nor when it says so again");
    // Another source of the same group is the same source.
    let SocketAddr::V4(same) = address(1) else { panic!("it is one") };
    let [a, b, ..] = same.ip().octets();
    assert_eq!(told(SocketAddr::from(([a, b, 9, 9], 1))), 0);
    let all: usize = (2..500).map(|number| told(address(number))).sum();
    assert!(all < 500 * BUCKET_SIZE && all > 8 * BUCKET_SIZE, "{all}");
    assert_sound(&book);
    assert!(book.len() <= usize::from(NEW_BUCKETS) * BUCKET_SIZE);
}

#[test]
fn one_source_gets_a_sixteenth_of_the_new_table() {
    let mut book = book();
    let source = neighbour(1).ip();
    let told = (0..60_000).filter(|at| book.heard(address(*at), source, NOW.0 / 1000, NOW));
    // Two of its eight shares may have the same bucket.
    assert!((5 * BUCKET_SIZE..=8 * BUCKET_SIZE).contains(&told.count()));
    assert_sound(&book);
}

#[test]
fn one_group_gets_two_tried_buckets() {
    let mut book = book();
    for number in 0..2000 {
        book.succeeded(neighbour(number), NOW);
    }
    let tried = (0..2000).filter(|number| book.is_tried(&neighbour(*number))).count();
    assert_eq!(tried, 2 * BUCKET_SIZE);
    assert_sound(&book);
}

#[test]
fn the_book_is_bounded_and_what_worked_stays() {
    let mut book = book();
    book.succeeded(address(0), NOW);
    for number in 1..60_000 {
        hear(&mut book, address(number));
    }
    assert_sound(&book);
    assert!(book.len() <= MAX_BOOK && book.len() > usize::from(NEW_BUCKETS) * BUCKET_SIZE / 2);
    assert!(book.is_tried(&address(0)));
    assert!(book.encode().len() < 250_000, "{} bytes", book.encode().len());
}

#[test]
fn a_local_network_is_known_whole() {
    let mut book = book();
    let source: IpAddr = [127, 0, 0, 1].into();
    for port in 1..=60 {
        assert!(book.heard((source, port).into(), source, NOW.0 / 1000, NOW), "{port}");
        book.succeeded((source, port).into(), NOW);
    }
    assert!((1..=60).all(|port| book.is_tried(&(source, port).into())));
    assert_eq!(Group::of(source), Group::Local);
}

#[test]
fn copies_are_few_and_need_luck() {
    let mut book = book();
    let rumour = neighbour(1);
    for _ in 0..3 {
        for number in 0..40 {
            book.heard(rumour, address(number).ip(), NOW.0 / 1000, NOW);
        }
    }
    let after_40 = book.entries[&rumour].buckets.len();
    assert!((2..=MAX_COPIES).contains(&after_40), "{after_40}");
    for number in 40..2000 {
        book.heard(rumour, address(number).ip(), NOW.0 / 1000, NOW);
    }
    assert_eq!(book.entries[&rumour].buckets.len(), MAX_COPIES);
    assert_sound(&book);
    // Copies make room for who has none.
    let bucket = book.entries[&rumour].buckets[0];
    for number in 0..60_000 {
        hear(&mut book, address(number));
    }
    assert!(book.new.is_full(bucket) && !book.entries[&rumour].buckets.contains(&bucket));
    assert!(book.contains(&rumour), "the last copy stays");
    assert_sound(&book);
}

#[test]
fn addresses_not_seen_for_a_month_make_room() {
    let mut book = book();
    let source = address(1).ip();
    let old = NOW.0 / 1000 - HORIZON_S;
    assert!(!book.heard(neighbour(0), source, old - 1, NOW), "it is too old already");
    for number in 0..50 {
        book.heard(neighbour(number), source, old, NOW);
    }
    assert_eq!(book.len(), BUCKET_SIZE);
    let later = NOW + DAY_MS;
    assert_eq!(book.sample(100, later, &mut rng()), [], "nobody else is told of them");
    assert!(pick(&book, later).is_some(), "but we try them while there is nothing better");
    assert!((50..100).all(|at| {
        let fresh = book.heard(neighbour(at), source, later.0 / 1000, later);
        fresh == (at < 50 + u16::try_from(BUCKET_SIZE).unwrap())
    }));
    assert!(!book.contains(&neighbour(1)));
    assert_sound(&book);
}

#[test]
fn failing_addresses_rest_and_are_forgotten() {
    let mut book = book();
    hear(&mut book, address(1));
    assert_eq!(pick(&book, NOW), Some(address(1)));
    book.failed(&address(1), NOW, |failures| 1000 * u64::from(failures));
    assert_eq!((pick(&book, NOW + 999), pick(&book, NOW + 1000)), (None, Some(address(1))));
    for at in 1..100 {
        book.failed(&address(1), NOW + at, |_| 0);
    }
    assert!(book.contains(&address(1)), "while nobody answers it may be our own line");
    for at in [100, 200] {
        book.succeeded(address(2), NOW + at);
        book.failed(&address(1), NOW + at + 1, |_| 0);
    }
    assert!(!book.contains(&address(1)) && book.contains(&address(2)));
    assert_sound(&book);
}

#[test]
fn an_address_that_worked_is_forgotten_after_a_week_only() {
    let mut book = book();
    book.succeeded(address(1), NOW);
    let fail = |book: &mut AddressBook, at| {
        book.succeeded(address(2), at);
        book.failed(&address(1), at + 1, |_| 0);
    };
    (1..50).for_each(|at| fail(&mut book, NOW + at * 1000));
    assert!(book.contains(&address(1)));
    fail(&mut book, NOW + 7 * DAY_MS + 1000);
    assert!(!book.contains(&address(1)));
}

#[test]
fn pauses_grow_until_a_connection_is_of_use() {
    let mut book = book();
    book.succeeded(address(1), NOW);
    let mut failures = Vec::new();
    let mut fail = |book: &mut AddressBook| {
        book.failed(&address(1), NOW, |count| {
            failures.push(count);
            0
        });
    };
    (0..3).for_each(|_| fail(&mut book));
    // It lets us in and sends us away again: all of its slots are taken.
    book.succeeded(address(1), NOW);
    fail(&mut book);
    book.rested(&address(1), NOW, 0);
    fail(&mut book);
    assert_eq!(failures, [1, 2, 3, 4, 2]);
}

/// A tried bucket that is full, its members, and one more that worked.
fn full_bucket(book: &mut AddressBook) -> (Vec<SocketAddr>, SocketAddr) {
    let bucket = table::tried_bucket(&book.secret, &neighbour(0));
    let secret = book.secret;
    let same = |at: &u16| table::tried_bucket(&secret, &neighbour(*at)) == bucket;
    let mut list: Vec<SocketAddr> =
        (0..1000).filter(same).take(BUCKET_SIZE + 1).map(neighbour).collect();
    let more = list.pop().unwrap();
    for (at, member) in (0..).zip(&list) {
        book.succeeded(*member, NOW + 1000 * at);
    }
    hear(book, more);
    book.succeeded(more, NOW + DAY_MS);
    (list, more)
}

#[test]
fn a_tried_address_is_tested_before_it_has_to_go() {
    let mut book = book();
    let (members, more) = full_bucket(&mut book);
    assert!(!book.is_tried(&more) && book.contains(&more));
    let test = |book: &mut AddressBook| book.pick_for_test(NOW, &mut rng(), |_| true);
    assert_eq!(test(&mut book), Some(members[0]), "the one that was of use longest ago");
    // It answers, and stays.
    book.succeeded(members[0], NOW + DAY_MS);
    assert!(book.tests.is_empty() && book.is_tried(&members[0]));
    assert_eq!(test(&mut book), Some(more), "the only one that is not tried");
    // The next one does not.
    book.succeeded(more, NOW + DAY_MS);
    assert_eq!(test(&mut book), Some(members[1]));
    book.failed(&members[1], NOW + DAY_MS + 1, |_| 0);
    assert!(book.is_tried(&more) && !book.is_tried(&members[1]));
    assert!(book.contains(&members[1]), "it is new again");
    assert_sound(&book);
}

#[test]
fn who_is_connected_or_has_just_left_passes_the_test() {
    let mut book = book();
    let (members, more) = full_bucket(&mut book);
    let picked = book.pick_for_test(NOW, &mut rng(), |address| *address != members[0]);
    assert_eq!(picked, Some(more));
    assert!(book.tests.is_empty());
    book.succeeded(more, NOW + DAY_MS);
    book.rested(&members[0], NOW + DAY_MS, 0);
    assert!(book.tests.is_empty());
    assert_sound(&book);
}

#[test]
fn only_allowed_addresses_are_picked() {
    let mut book = book();
    (0..10).for_each(|number| {
        hear(&mut book, address(number));
    });
    for seed in 0..50 {
        let mut rng = StdRng::seed_from_u64(seed);
        let picked = book.pick(NOW, &mut rng, |candidate| *candidate == address(3));
        assert_eq!(picked, Some(address(3)));
    }
    assert_eq!(book.pick(NOW, &mut rng(), |_| false), None);
    assert_eq!(book.sample(4, NOW, &mut rng()).len(), 4);
}

#[test]
fn times_of_the_future_are_not_believed() {
    let mut book = book();
    book.heard(address(1), address(1).ip(), u64::MAX, NOW);
    assert_eq!(book.sample(1, NOW, &mut rng())[0].last_seen_s, NOW.0 / 1000);
}

#[test]
fn an_address_has_one_form() {
    let mut book = book();
    let mapped: SocketAddr = "[::ffff:203.0.113.1]:7400".parse().unwrap();
    assert!(hear(&mut book, mapped));
    let plain = SocketAddr::from(([203, 0, 113, 1], 7400));
    assert!(!hear(&mut book, plain) && book.contains(&plain) && book.contains(&mapped));
    book.succeeded(mapped, NOW);
    assert!(book.is_tried(&plain));
    book.remove(&mapped);
    assert!(book.is_empty());
}

/// Whatever numbers stand in a file, a node can use it: the times and counts overflowed.
#[test]
fn a_saved_book_with_the_greatest_numbers_can_be_used() {
    let mut book = book();
    hear(&mut book, address(1));
    book.succeeded(address(1), NOW);
    let entry = book.entries.get_mut(&address(1)).unwrap();
    (entry.last_seen_s, entry.attempts, entry.failures) = (u64::MAX, u32::MAX, u32::MAX);
    let mut book = AddressBook::decode(&book.encode()).unwrap();
    assert_eq!(book.sample(10, NOW, &mut rng()).len(), 1);
    hear(&mut book, address(1));
    book.succeeded(address(2), NOW);
    let entry = book.entries.get_mut(&address(1)).unwrap();
    entry.last_success_s = NOW.0 / 1000;
    book.failed(&address(1), NOW, |_| 0);
    assert!(book.contains(&address(1)), "its last success is not long ago");
}
