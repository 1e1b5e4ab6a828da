//! Five hosts on a network of their own, cut into halves, with a narrow cable and small packets.

use std::time::Duration;

use chain::params::Network;
use tempfile::TempDir;
use tests::netns::{Family, Net, inside};
use tests::node::{Node, Setup, now, wait_until};

use super::support::{Written, setup};

const HOSTS: u8 = 5;

/// They mine; one in each half.
const MINERS: [u8; 2] = [0, 2];

/// The hosts on one side of the cut, and those on the other.
const HALVES: [&[u8]; 2] = [&[0, 1], &[2, 3, 4]];

/// Its cable carries small packets only.
const SMALL: u8 = 3;

/// What the narrow cable carries, in bytes a second.
const NARROW: u32 = 50_000;

#[test]
fn halves_of_an_ipv4_network_meet_again() {
    inside("faults::namespaces::halves_of_an_ipv4_network_meet_again", || {
        assert_halves_meet_again(Family::V4, 576);
    });
}

#[test]
fn halves_of_an_ipv6_network_meet_again() {
    inside("faults::namespaces::halves_of_an_ipv6_network_meet_again", || {
        assert_halves_meet_again(Family::V6, 1280);
    });
}

/// A node on each host. Each knows two others at the start.
fn start(temp: &TempDir, net: &Net) -> Vec<Node> {
    let network = Network { name: "hosts".to_string(), ..Network::dev() };
    let file = temp.path().join("hosts.toml");
    std::fs::write(&file, network.to_toml()).expect("the test's folder can be written");
    let start = |host: u8| {
        let seeds = temp.path().join(format!("seeds{host}"));
        let known = [1, 2].map(|step| (host + step) % HOSTS);
        let lines = known.map(|other| format!("{}\n", peer_address(net, other)));
        std::fs::write(&seeds, lines.concat()).expect("the test's folder can be written");
        let mut setup = Setup {
            network: file.display().to_string(),
            threads: usize::from(MINERS.contains(&host)),
            listen: peer_address(net, host),
            admin: (net.address(host), 7401).into(),
            wrapper: net.wrapper(host),
            ..setup(temp, &format!("host{host}"))
        };
        setup.more.extend(["--seeds".to_string(), seeds.display().to_string()]);
        setup.start()
    };
    (0..HOSTS).map(start).collect()
}

fn peer_address(net: &Net, host: u8) -> std::net::SocketAddr {
    (net.address(host), 7400).into()
}

fn assert_halves_meet_again(family: Family, mtu: u32) {
    let temp = tempfile::tempdir().unwrap();
    let net = Net::new(family, HOSTS);
    net.set_mtu(SMALL, mtu);
    let nodes = start(&temp, &net);
    let all: Vec<&Node> = nodes.iter().collect();
    wait_until("all finding each other", || {
        all.iter().all(|node| node.status()["peers"] == HOSTS - 1)
    });
    let mut written = Written::default();
    all.iter().for_each(|node| written.put(node, 100));
    written.wait_for_agreement(&all);
    cut_and_heal(&net, &all, &mut written);

    net.narrow(4, NARROW);
    let (started, value_bytes, values) = (now(), 60_000, 2);
    for _ in 0..values {
        written.put(&nodes[2], value_bytes);
    }
    written.wait_for_agreement(&all);
    let least = Duration::from_secs_f64(0.9 * (value_bytes * values) as f64 / f64::from(NARROW));
    assert!(started.elapsed() > least, "the line was not narrow: {:?}", started.elapsed());
    assert!(net.held_back(4) > 0);
    let segment = net.largest_segment(SMALL);
    assert!((1..mtu).contains(&segment), "segments of {segment} bytes");
}

/// The nodes of some hosts.
fn hosts<'a>(all: &[&'a Node], hosts: &[u8]) -> Vec<&'a Node> {
    hosts.iter().map(|host| all[usize::from(*host)]).collect()
}

/// Cuts the network into halves that both write, and heals it.
fn cut_and_heal(net: &Net, all: &[&Node], written: &mut Written) {
    let pairs =
        || HALVES[0].iter().flat_map(|one| HALVES[1].iter().map(move |other| (*one, *other)));
    pairs().for_each(|(one, other)| net.cut(one, other));
    let half = |half: usize| hosts(all, HALVES[half]).into_iter();
    let mut lost = Written::default();
    for _ in 0..2 {
        half(0).for_each(|node| lost.put_as(node, "left", 100));
        half(1).for_each(|node| written.put(node, 100));
    }
    all[usize::from(MINERS[1])].ask("MINE 20").unwrap();
    let tip = |node: &Node| node.status()["tip"].as_str().unwrap().to_string();
    wait_until("each half having a tip", || {
        (0..2).all(|number| half(number).all(|node| tip(node) == tip(half(number).next().unwrap())))
    });
    let tips = [0, 1].map(|number| tip(half(number).next().unwrap()));
    assert_ne!(tips[0], tips[1], "the cut was none");
    pairs().for_each(|(one, other)| net.heal(one, other));
    let healed = now();
    // What was confirmed in the lighter half is undone, and comes back by itself.
    written.add(lost);
    written.wait_for_agreement(all);
    eprintln!("{:?} until all agreed", healed.elapsed());
    let stands =
        |node: &Node, tip: &str| node.ask(&format!("BLOCK {tip}")).unwrap()["main_chain"] == true;
    assert!(half(0).all(|node| !stands(node, &tips[0])), "there was no reorganisation");
    assert!(all.iter().all(|node| stands(node, &tips[1])), "the heavier branch lost");
}
