//! Settings and networks as files: what loads saves to the same, and a network that is accepted can
//! be lived with, whatever its numbers are.

use chain::block::Coinbase;
use chain::params::Network;
use chain::rules::difficulty::required_bits;
use chain::tx::PublicKey;
use cli::config::File;

use super::draw::Draw;
use super::target::{Memory, Target};

/// A parsed document has many small parts, and an error quotes the whole of it.
pub(super) const TARGET: Target =
    Target { name: "config", samples, run, memory: Memory { per_byte: 128, fixed: 64 * 1024 } };

const SETTINGS: &str = "network = 'dev'\ndata = '/nowhere'\nlisten = '127.0.0.1:1'\n\
    admin = '[::1]:2'\npeers = ['127.0.0.1:2', 'a:3']\nconnect = []\nseeds = 'seeds.txt'\n\
    mine = 3\nkernel = 'scalar'\npin = true\npayee = 'grvn1qq'\nstratum = '0.0.0.0:7402'\n\
    passphrase_file = \"x\\u0041\"\n";

fn samples() -> Vec<Vec<u8>> {
    let mut samples = vec![[&[0][..], SETTINGS.as_bytes()].concat()];
    for network in [Network::main(), Network::dev(), tests::chains::paid_network()] {
        let network = Network { name: "mine".to_string(), ..network };
        let text = network.to_toml();
        samples.push([&[1][..], text.as_bytes()].concat());
        for (from, to) in [
            ("genesis_time = 1", "genesis_time = 4294967295 #"),
            ("target_interval_s = ", "target_interval_s = 4294967295 #"),
            ("half_life_s = ", "half_life_s = 1 #"),
            ("initial = ", "initial = 9223372036854775807 #"),
            ("maturity_blocks = ", "maturity_blocks = 4294967295 #"),
            ("min_fee_per_byte = ", "min_fee_per_byte = 9223372036854775807 #"),
            ("start_bits = ", "start_bits = 0x207fffff #"),
            ("start_bits = ", "start_bits = 0 #"),
            ("future_limit_s = ", "future_limit_s = 4294967295 #"),
        ] {
            samples.push([&[1][..], text.replacen(from, to, 1).as_bytes()].concat());
        }
    }
    samples
}

fn run(input: &[u8]) -> String {
    let mut draw = Draw::new(input);
    let kind = draw.byte() % 2;
    let text = String::from_utf8_lossy(draw.rest());
    if kind == 0 {
        return match toml::from_str::<File>(&text) {
            Ok(_) => "settings".to_string(),
            Err(error) => format!("settings {}", first_words(error.message())),
        };
    }
    match Network::from_toml(&text) {
        Ok(network) => {
            let again = Network::from_toml(&network.to_toml()).expect("what was read is written");
            assert_eq!(again, network);
            live(&network);
            format!("network {:?}", network.retarget).split('{').next().unwrap().to_string()
        }
        Err(error) => format!("network {}", first_words(&error.to_string())),
    }
}

fn first_words(text: &str) -> String {
    let words = text.split(|c: char| !c.is_ascii_alphabetic()).filter(|word| !word.is_empty());
    words.take(4).collect::<Vec<_>>().join(" ")
}

/// What a node does with the numbers.
fn live(network: &Network) {
    let genesis = network.genesis();
    assert_eq!(Coinbase::decode(&genesis.coinbase.encode()).as_ref(), Ok(&genesis.coinbase));
    let start = network.start_bits.decode().expect("it was checked");
    for height in [0, 1, 1_000_000, u32::MAX - 1] {
        for time in [0, network.genesis_time, u32::MAX] {
            let bits = required_bits(network, height, time);
            assert!(bits.decode().is_ok_and(|target| target <= start), "{bits:?}");
        }
        assert!(network.subsidy.at(height) <= network.subsidy.initial);
    }
    assert!(network.min_fee(100) <= network.min_fee(usize::MAX));
    assert_ne!(network.genesis_hash(), chain::Hash::ZERO);
    // A ledger opens on it, and gives miners a first job if there is a payee.
    let mut options = tests::chains::options(network);
    options.payee = Some(PublicKey([1; 32]));
    let mut ledger = tests::chains::memory_ledger(options);
    for output in std::iter::from_fn(|| ledger.poll()) {
        drop(output);
    }
}
