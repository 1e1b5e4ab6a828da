//! A long chain over a line that never lasts.

use chain::CompactTarget;
use chain::params::Network;
use tests::node::wait_until;
use tests::proxy::{Faults, Proxy};

use super::support::{connect_only, setup};

/// Blocks of the chain.
const BLOCKS: u64 = 3000;

/// Each connection carries so many bytes.
const CUT_AFTER_BYTES: u64 = 200_000;

#[test]
fn a_chain_of_thousands_of_blocks_comes_over_connections_of_200_kb() {
    let temp = tempfile::tempdir().unwrap();
    // Two hashes make a block.
    let start_bits = CompactTarget(0x207f_ffff);
    let network = Network { name: "free".to_string(), start_bits, ..Network::dev() };
    let file = temp.path().join("free.toml");
    std::fs::write(&file, network.to_toml()).unwrap();
    let mut setup_far = setup(&temp, "far");
    setup_far.network = file.display().to_string();
    let far = setup_far.start();
    let mut client = far.client();
    // Blocks must be smaller than what a connection carries.
    for number in 0..40 {
        let value = "v".repeat(10_000);
        let wait = if number % 10 == 9 { "WAIT 1" } else { "" };
        client.ask(&format!("PUT key{number} {number}{value} {wait}")).unwrap();
    }
    client.ask(&format!("MINE {BLOCKS} TIMEOUT 60")).unwrap();
    let proxy = Proxy::start(far.peers, 41);
    proxy.set(Faults { cut_after_bytes: Some(CUT_AFTER_BYTES), ..Faults::none() });
    let mut near = setup(&temp, "near");
    near.network = file.display().to_string();
    near.threads = 0;
    connect_only(&mut near, &[proxy.address()]);
    let near = near.start();
    let (tip, mut best) = (far.status()["tip"].clone(), 0);
    wait_until("the whole chain", || {
        let status = near.status();
        let height = status["height"].as_u64().unwrap();
        assert!(height >= best, "the chain went from {best} back to {height}");
        best = height;
        status["tip"] == tip
    });
    assert!(best > BLOCKS);
    assert!(proxy.counts().cut >= 5, "{:?}", proxy.counts());
    assert_eq!(near.ask("RETRIEVE key39").unwrap()["value"], format!("39{}", "v".repeat(10_000)));
}
