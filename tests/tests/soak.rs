//! The short form of `cargo run --release -p tests --bin soak -- --nodes 51 --minutes 10`.

use std::time::Duration;

use tests::soak::{Options, run};

#[test]
fn nine_nodes_are_written_to_and_killed_and_agree() {
    let temp = tempfile::tempdir().unwrap();
    let options = Options {
        program: env!("CARGO_BIN_EXE_graven-under-test").into(),
        nodes: 9,
        duration: Duration::from_secs(10),
        kill_every: Duration::from_millis(500),
        writers: 6,
        block_bits: 22,
        seed: 1,
    };
    let summary = run(&options, temp.path(), &mut |line| println!("{line}"));
    let summary = summary.unwrap_or_else(|what| panic!("{what}"));
    println!("{summary}");
    assert_eq!(summary.late, 1);
    assert!(summary.kills >= 5, "{summary}");
    assert!(summary.confirmed >= 30, "{summary}");
}
