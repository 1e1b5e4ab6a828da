//! Settings with which a node cannot start: it ends at once, and says which one and why.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use chain::params::Network;
use tests::node::{Setup, graven};

use super::support::{PROGRAM, assert_fails, assert_well, free_network, start};

/// The exit codes of wrong usage and of everything else.
const USAGE: i32 = 2;
const FAILED: i32 = 1;

/// `graven node` with a configuration file that says this.
fn with_file(folder: &Path, text: &[u8]) -> Command {
    let path = folder.join("graven.toml");
    std::fs::write(&path, text).expect("the test's folder can be written");
    with_config(folder, &path)
}

fn with_config(folder: &Path, config: &Path) -> Command {
    let mut command = graven(Path::new(PROGRAM));
    command.arg("node").arg("--data").arg(folder.join("node")).arg("--config").arg(config);
    command
}

#[test]
fn a_configuration_file_that_makes_no_sense_is_named_with_its_key() {
    let temp = tempfile::tempdir().unwrap();
    let cases: [(&str, &str); 7] = [
        ("lisen = '127.0.0.1:0'", "lisen"),
        ("listen = 'here'", "listen"),
        ("admin = 7401", "admin"),
        ("mine = 'many'", "mine"),
        ("peers = 'one:1'", "peers"),
        ("network = 'dev'\nnetwork = 'main'", "network"),
        ("network = ", "graven.toml"),
    ];
    for (text, key) in cases {
        let mut command = with_file(temp.path(), text.as_bytes());
        assert_fails(&mut command, USAGE, &["graven.toml", key]);
    }
    let values: [(&str, &str, &str); 5] = [
        ("kernel = 'abacus'", "kernel", "abacus"),
        ("payee = 'me'", "payee", "me"),
        ("mine = 5000", "mine", "5000"),
        ("network = 'moon'", "network", "moon"),
        ("peers = ['nowhere']", "peer", "nowhere"),
    ];
    for (text, key, value) in values {
        let mut command = with_file(temp.path(), text.as_bytes());
        assert_fails(&mut command, USAGE, &[key, value]);
    }
    assert!(!temp.path().join("node").exists(), "nothing is made before the settings are right");
}

#[test]
fn a_configuration_file_that_cannot_be_read_is_named() {
    let temp = tempfile::tempdir().unwrap();
    let gone = temp.path().join("gone.toml");
    let mut command = with_config(temp.path(), &gone);
    assert_fails(&mut command, USAGE, &["gone.toml", "No such file"]);
    let mut command = with_config(temp.path(), temp.path());
    assert_fails(&mut command, USAGE, &[&temp.path().display().to_string()]);
    let mut command = with_file(temp.path(), b"mine = 1 # \xff\xfe");
    assert_fails(&mut command, USAGE, &["graven.toml", "UTF-8"]);
}

#[test]
fn flags_that_make_no_sense_are_named_with_what_would() {
    let temp = tempfile::tempdir().unwrap();
    let cases: [(&[&str], &[&str]); 7] = [
        (&["--network", "moon"], &["unknown network", "moon", "main, test, dev"]),
        (&["--network", "moon.toml"], &["moon.toml", "No such file"]),
        (&["--kernel", "abacus"], &["--kernel", "abacus", "sha2"]),
        (&["--mine=many"], &["--mine", "many", "0 to 1024"]),
        (&["--mine=-1"], &["--mine", "-1", "0 to 1024"]),
        (&["--peer", "nowhere"], &["--peer", "nowhere"]),
        (&["--payee", "me"], &["--payee", "me", "grvn1"]),
    ];
    for (flags, what) in cases {
        let mut command = graven(Path::new(PROGRAM));
        command.arg("node").arg("--data").arg(temp.path().join("node")).args(flags);
        assert_fails(&mut command, USAGE, what);
    }
    assert!(!temp.path().join("node").exists(), "nothing is made before the settings are right");
}

#[test]
fn a_network_file_that_makes_no_sense_is_named_with_its_key() {
    let temp = tempfile::tempdir().unwrap();
    let (network, path) = free_network(temp.path());
    let cases = [
        (network.to_toml().replace("start_bits", "begin_bits"), "begin_bits"),
        (Network { target_interval_s: 0, ..network.clone() }.to_toml(), "target_interval_s"),
        (Network { name: "main".to_string(), ..network }.to_toml(), "name"),
    ];
    for (text, key) in cases {
        std::fs::write(&path, text).unwrap();
        let mut setup = Setup::new(PROGRAM, temp.path().join("node"));
        setup.network = path.display().to_string();
        assert_fails(&mut setup.command(), USAGE, &["free.toml", key]);
    }
}

#[test]
fn an_address_that_is_taken_is_named() {
    let temp = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let setup = Setup::new(PROGRAM, temp.path().join("node"));
    let what = [&address.to_string()[..], "in use"];
    assert_fails(&mut Setup { listen: address, ..setup.clone() }.command(), FAILED, &what);
    assert_fails(&mut Setup { admin: address, ..setup.clone() }.command(), FAILED, &what);
    drop(taken);
    assert_well(&mut Setup { admin: address, ..setup }.start());
}

#[test]
fn a_data_folder_has_one_node() {
    let temp = tempfile::tempdir().unwrap();
    let mut node = start(temp.path());
    let folder = node.setup.data.display().to_string();
    assert_fails(&mut node.setup.command(), FAILED, &[&folder, "in use by another graven"]);
    for upkeep in ["verify-chain", "reindex", "dump-index"] {
        let mut command = graven(Path::new(PROGRAM));
        command.args([upkeep, "--data", &folder]);
        assert_fails(&mut command, FAILED, &[&folder, "in use by another graven"]);
    }
    assert_well(&mut node);
}

#[test]
fn a_data_folder_has_one_network() {
    let temp = tempfile::tempdir().unwrap();
    let mut node = start(temp.path());
    assert_well(&mut node);
    let (setup, ..) = node.terminate();
    let mut other = setup.clone();
    other.network = free_network(temp.path()).1.display().to_string();
    let folder = setup.data.display().to_string();
    assert_fails(&mut other.command(), FAILED, &[&folder, "belongs to another network"]);
    assert_well(&mut setup.start());
}

#[test]
fn a_data_folder_that_cannot_be_made_is_named() {
    let temp = tempfile::tempdir().unwrap();
    let file = temp.path().join("file");
    std::fs::write(&file, "in the way").unwrap();
    for data in [file.clone(), file.join("node")] {
        let setup = Setup::new(PROGRAM, &data);
        assert_fails(&mut setup.command(), FAILED, &[&data.display().to_string()]);
    }
    assert_eq!(std::fs::read_to_string(file).unwrap(), "in the way");
}
