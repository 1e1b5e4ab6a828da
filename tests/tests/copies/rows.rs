//! Rows of a snapshot that cannot be in the state.

use chain::execute::Row;
use tempfile::TempDir;

use super::lies::World;

/// What is changed in the rows, and what the refusal says.
type Lie = (fn(&mut Vec<Row>), &'static str);

fn at(rows: &[Row], key: &[u8]) -> usize {
    rows.iter().position(|(found, _)| found == key).expect("the row is there")
}

fn version(key: &[u8], number: u8) -> Vec<u8> {
    let len = u8::try_from(key.len()).unwrap();
    [b"v", &[len][..], key, &[0, 0, 0, 0, 0, 0, 0, number]].concat()
}

fn first_of(rows: &[Row], kind: u8) -> usize {
    rows.iter().position(|(key, _)| key[0] == kind).expect("there is such a row")
}

const ROOTS: &str = "different state roots";
const HISTORY: &str = "than the key's head says";

const LIES: &[Lie] = &[
    // Accounts and heads: the root covers them.
    (|rows| *rows[0].1.last_mut().unwrap() ^= 1, ROOTS),
    (|rows| _ = rows.remove(0), ROOTS),
    (|rows| rows[0].0[5] ^= 1, ROOTS),
    (|rows| rows.insert(0, ([&b"a"[..], &[0; 32]].concat(), vec![9, 0])), ROOTS),
    (|rows| rows.insert(0, (b"a".to_vec(), vec![9, 0])), "no kind that is carried"),
    (
        |rows| {
            let head = at(rows, b"ka");
            rows[head].1[3] ^= 1; // its owner
        },
        ROOTS,
    ),
    (
        |rows| {
            let head = at(rows, b"ka");
            rows[head].1.push(0);
        },
        "canonical form",
    ),
    // A key less, with all that belongs to it.
    (|rows| rows.retain(|(key, _)| *key != b"ka" && !key.starts_with(b"v\x01a")), ROOTS),
    // Versions: the head covers them.
    (
        |rows| {
            let row = at(rows, &version(b"a", 1));
            *rows[row].1.last_mut().unwrap() = b'9';
        },
        HISTORY_OR_FORM,
    ),
    (
        |rows| {
            let row = at(rows, &version(b"a", 3));
            *rows[row].1.last_mut().unwrap() = b'9';
        },
        HISTORY,
    ),
    (
        |rows| {
            let row = at(rows, &version(b"a", 3));
            rows[row].1[0] += 1; // its height
        },
        HISTORY,
    ),
    (
        |rows| {
            let row = at(rows, &version(b"a", 3));
            rows[row].1[1] ^= 1; // its transaction
        },
        HISTORY,
    ),
    (
        |rows| {
            let row = at(rows, &version(b"a", 3));
            rows[row].1[33] ^= 1; // its writer
        },
        HISTORY,
    ),
    (
        |rows| {
            let row = at(rows, &version(b"a", 3));
            rows[row].1[66] ^= 1; // the history before it
        },
        "malformed",
    ),
    (
        |rows| {
            let row = at(rows, &version(b"b", 2));
            rows[row].1.splice(98.., [1, b'x']); // a tombstone with a value
        },
        "malformed",
    ),
    (
        |rows| {
            let row = at(rows, &version(b"b", 2));
            rows[row].1[65] = 0; // a put of nothing instead of a tombstone
        },
        HISTORY,
    ),
    (
        |rows| {
            let row = at(rows, &version(b"a", 3));
            rows[row].1.splice(0..1, [0x89, 0]); // a height in more bytes than it needs
        },
        "malformed",
    ),
    (
        |rows| {
            let row = at(rows, &version(b"a", 3));
            rows.remove(row);
        },
        "before the last version of another key",
    ),
    (
        |rows| {
            let row = at(rows, &version(b"a", 1));
            rows.remove(row);
        },
        "does not follow",
    ),
    (
        |rows| {
            let row = at(rows, &version(b"a", 2));
            rows.remove(row);
        },
        "does not follow",
    ),
    (|rows| _ = rows.pop(), "versions of a key are missing"),
    (|rows| rows.retain(|(key, _)| key[0] != b'v'), "versions of a key are missing"),
    (
        |rows| {
            let row = at(rows, &version(b"a", 3));
            let more = (version(b"a", 4), rows[row].1.clone());
            rows.insert(row + 1, more);
        },
        "does not follow",
    ),
    (
        |rows| {
            let value = rows.last().unwrap().1.clone();
            rows.push((version(b"zzz", 1), value));
        },
        "has no head",
    ),
    (|rows| rows.last_mut().unwrap().0.truncate(7), "malformed"),
    // Rewards follow from coinbases, so they are not carried.
    (
        |rows| {
            let heads = first_of(rows, b'k');
            rows.insert(heads, (b"d".to_vec(), vec![0; 33]));
        },
        "of a kind that is not carried",
    ),
    (
        |rows| {
            let versions = first_of(rows, b'v');
            rows.insert(versions, (b"m\0\0\0\x0d".to_vec(), vec![0; 33]));
        },
        "of a kind that is not carried",
    ),
    (|rows| rows.push((b"x".to_vec(), vec![1])), "of a kind that is not carried"),
    (|rows| rows.insert(0, (Vec::new(), vec![1])), "not in order"),
    (|rows| rows.swap(0, 1), "not in order"),
    (
        |rows| {
            let first = rows[0].clone();
            rows.insert(0, first);
        },
        "not in order",
    ),
];

/// Version 2 carries the history up to version 1, so a lie about that shows there.
const HISTORY_OR_FORM: &str = "malformed";

#[test]
fn a_lying_row_of_each_kind_is_refused() {
    let world = World::new();
    let parts = world.parts();
    let honest = parts.rows();
    let folder = TempDir::new().unwrap();
    world.restore(&parts.with_rows(&honest).bytes(), folder.path()).unwrap();
    for (number, (lie, said)) in LIES.iter().enumerate() {
        let mut rows = honest.clone();
        lie(&mut rows);
        let refusal = world.refusal(&parts.with_rows(&rows));
        assert!(refusal.contains(said), "lie {number}: {refusal}, not {said}");
    }
}
