use chain::header::VERSION_FIXED;
use chain::light::Source;
use chain::rules::difficulty::required_bits;
use chain::{CompactTarget, sha256d};

use super::*;

/// Two hashes make a header.
fn network() -> Network {
    let name = "easy".to_string();
    Network { name, start_bits: CompactTarget(0x207f_ffff), ..Network::dev() }
}

/// So many headers after `chain`; another seed gives others.
fn grow(network: &Network, chain: &[Header], seed: u8, count: u32) -> Vec<Header> {
    let mut all = chain.to_vec();
    for number in 0..count {
        let parent = *all.last().unwrap_or(&network.genesis().header);
        let mut header = Header {
            version: VERSION_FIXED,
            prev: parent.hash(),
            merkle_root: sha256d(&[&[seed][..], &number.to_le_bytes()].concat()),
            time: parent.time + 1,
            bits: required_bits(network, 0, parent.time),
            nonce: 0,
        };
        while !header.bits.decode().unwrap().is_met_by(&header.hash()) {
            header.nonce += 1;
        }
        all.push(header);
    }
    all
}

fn take(chain: &mut LightChain, headers: &[Header]) {
    let now_s = now_s(chain.network());
    chain.take(&mut Source::new([1; 32]), now_s, headers, false).unwrap();
}

fn now_s(network: &Network) -> u64 {
    network.genesis_time.into()
}

#[test]
fn a_file_follows_the_best_chain_and_can_be_read_again() {
    let (temp, network) = (tempfile::tempdir().unwrap(), network());
    let path = temp.path().join("headers");
    let (mut file, Contents { mut chain, left_out }) = HeaderFile::open(&path, &network).unwrap();
    assert!(left_out.is_none() && chain.tip().height == 0);
    let first = grow(&network, &[], 1, 20);
    take(&mut chain, &first);
    file.save(&chain).unwrap();
    let second = grow(&network, &first[..5], 2, 30);
    take(&mut chain, &second);
    file.save(&chain).unwrap();
    assert!(matches!(HeaderFile::open(&path, &network), Err(HeaderFileError::InUse(_))));
    drop(file);
    let contents = read(&path, &network, now_s(&network)).unwrap();
    assert!(contents.left_out.is_none());
    assert_eq!(contents.chain.tip(), chain.tip());
    assert_eq!(contents.chain.tip().hash, second[34].hash());
    let copy = temp.path().join("copy");
    write_new(&copy, &chain).unwrap();
    assert_eq!(std::fs::read(copy).unwrap(), std::fs::read(path).unwrap());
}

#[test]
fn whatever_a_crash_leaves_is_repaired() {
    let (temp, network) = (tempfile::tempdir().unwrap(), network());
    let path = temp.path().join("headers");
    let mut chain = LightChain::new(network.clone());
    take(&mut chain, &grow(&network, &[], 1, 6));
    write_new(&path, &chain).unwrap();
    let whole = std::fs::read(&path).unwrap();
    for length in 0..whole.len() {
        std::fs::write(&path, &whole[..length]).unwrap();
        let (mut file, contents) = HeaderFile::open(&path, &network).unwrap();
        let kept = length.saturating_sub(HEAD_BYTES) / HEADER_BYTES;
        assert_eq!(contents.chain.tip().height as usize, kept, "{length}");
        file.save(&chain).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), whole, "{length}");
    }
    // Bytes that were allotted and never written.
    std::fs::write(&path, [&whole[..], &[0; 200]].concat()).unwrap();
    let contents = read(&path, &network, now_s(&network)).unwrap();
    assert!(contents.left_out.is_some() && contents.chain.tip() == chain.tip());
    drop(HeaderFile::open(&path, &network).unwrap());
    assert_eq!(std::fs::read(&path).unwrap(), whole);
}

#[test]
fn a_header_that_was_changed_is_not_believed() {
    let (temp, network) = (tempfile::tempdir().unwrap(), network());
    let path = temp.path().join("headers");
    let mut chain = LightChain::new(network.clone());
    take(&mut chain, &grow(&network, &[], 1, 6));
    write_new(&path, &chain).unwrap();
    let whole = std::fs::read(&path).unwrap();
    for at in HEAD_BYTES..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 0x10;
        std::fs::write(&path, &changed).unwrap();
        let contents = read(&path, &network, now_s(&network)).unwrap();
        // The last one can be another valid header: it takes two attempts.
        let before = (at - HEAD_BYTES) / HEADER_BYTES;
        let height = contents.chain.tip().height as usize;
        assert!(height == before || height == before + 1, "{at}: {height}");
        assert_ne!(contents.chain.tip(), chain.tip(), "{at}");
    }
}

#[test]
fn other_files_are_left_alone() {
    let (temp, network) = (tempfile::tempdir().unwrap(), network());
    let path = temp.path().join("notes");
    for text in ["short", &"long ".repeat(100)] {
        std::fs::write(&path, text).unwrap();
        let opened = HeaderFile::open(&path, &network);
        assert!(matches!(opened, Err(HeaderFileError::NotHeaders(_))));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }
    write_new(&path, &LightChain::new(Network::main())).unwrap();
    let opened = HeaderFile::open(&path, &network);
    assert!(matches!(opened, Err(HeaderFileError::OtherNetwork { .. })));
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[8] = 2;
    std::fs::write(&path, &bytes).unwrap();
    let opened = read(&path, &network, now_s(&network));
    assert!(matches!(opened, Err(HeaderFileError::TooNew { found: 2, .. })));
}
