//! What all tests of bad input need: nodes, whether they are well, and programs that must fail.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use chain::CompactTarget;
use chain::params::Network;
use tests::node::{Client, Node, Setup, wait_until};

/// The binary under test.
pub(super) const PROGRAM: &str = env!("CARGO_BIN_EXE_graven-under-test");

/// Half of all hashes meet it.
const FREE_BITS: CompactTarget = CompactTarget(0x207f_ffff);

/// A node on `dev`, called `node` in the folder.
pub(super) fn start(folder: &Path) -> Node {
    Setup::new(PROGRAM, folder.join("node")).start()
}

/// A node that logs everything about its connections.
pub(super) fn start_talkative(folder: &Path, network: &str) -> Node {
    let mut setup = Setup::new(PROGRAM, folder.join("node"));
    setup.network = network.to_string();
    setup.log = "info,net=debug".to_string();
    setup.start()
}

/// A network like `dev` whose blocks take two hashes, and its file.
pub(super) fn free_network(folder: &Path) -> (Network, PathBuf) {
    let name = "free".to_string();
    let network = Network { name, start_bits: FREE_BITS, ..Network::dev() };
    let path = folder.join("free.toml");
    std::fs::write(&path, network.to_toml()).expect("the test's folder can be written");
    (network, path)
}

/// Asserts that a node still runs, writes and reads.
pub(super) fn assert_well(node: &mut Node) {
    assert!(node.is_running(), "the node has ended");
    let mut client = node.client();
    client.ask("STATUS").expect("a node that is well has a status");
    client.ask("PUT well yes WAIT 1").expect("a node that is well writes");
    let read = client.ask("RETRIEVE well").expect("what was written can be read");
    assert_eq!(read["value"], "yes");
}

/// Asserts that a node is well, and that an honest peer of it gets its chain.
pub(super) fn assert_well_among_peers(node: &mut Node) {
    assert_well(node);
    let mut setup = node.setup.clone();
    setup.data = node.setup.data.with_file_name("honest");
    (setup.threads, setup.peers) = (0, vec![node.peers]);
    let honest = setup.start();
    wait_until("an honest peer having the chain", || {
        honest.status()["tip"] == node.status()["tip"] && honest.ask("RETRIEVE well").is_ok()
    });
}

/// Waits until a node has logged something.
pub(super) fn wait_for_log(node: &Node, what: &str) {
    wait_until(&format!("{what:?} being logged"), || node.log().contains(what));
}

/// A new connection to the admin port, without `AUTH`.
pub(super) fn stranger(node: &Node) -> Client {
    Client::connect(node.admin)
}

/// Asserts that an answer is an error with this code that says all of `what`.
pub(super) fn assert_refused<T: std::fmt::Debug>(
    answer: Result<T, String>,
    code: &str,
    what: &[&str],
) {
    let line = answer.expect_err("bad input is refused");
    assert_eq!(line.split(' ').next(), Some(code), "{line}");
    for part in what {
        assert!(line.contains(part), "{line:?} does not say {part:?}");
    }
}

/// A process that does not outlive its test.
struct Guarded(Child);

impl Drop for Guarded {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Runs a command that is expected to end by itself.
pub(super) fn run_to_end(command: &mut Command) -> Output {
    let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = Guarded(command.spawn().expect("the binary under test starts"));
    let mut status = None;
    wait_until(&format!("{command:?} ending by itself"), || {
        status = process.0.try_wait().expect("it is our child");
        status.is_some()
    });
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    if let (Some(out), Some(err)) = (&mut process.0.stdout, &mut process.0.stderr) {
        out.read_to_end(&mut stdout).expect("a pipe can be read");
        err.read_to_end(&mut stderr).expect("a pipe can be read");
    }
    Output { status: status.expect("waited for"), stdout, stderr }
}

/// Asserts that a command ends with this exit code and a last line that says all of `what`.
pub(super) fn assert_fails(command: &mut Command, code: i32, what: &[&str]) {
    let output = run_to_end(command);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{command:?}: {stderr}");
    let message = stderr.rfind("graven: ").map(|at| &stderr[at..]);
    let message = message.unwrap_or_else(|| panic!("no message of {command:?}: {stderr}"));
    for part in what {
        assert!(message.contains(part), "{message:?} does not say {part:?}");
    }
}
