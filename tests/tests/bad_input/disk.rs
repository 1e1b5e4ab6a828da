//! A disk that gets full while a node writes.

use std::path::Path;
use std::process::Command;

use tests::node::{Setup, graven, wait_until};

use super::support::{PROGRAM, assert_well, run_to_end};

/// Room for an empty node and some hundred values.
const DISK_BYTES: usize = 16 * 1024 * 1024;

/// Of each value.
const VALUE_BYTES: usize = 60_000;

/// A small disk, gone when dropped.
struct Disk<'a>(&'a Path);

impl Disk<'_> {
    /// Mounts a disk in memory; says why if that is not possible.
    fn mount(path: &Path) -> Result<Disk<'_>, String> {
        let options = format!("size={DISK_BYTES}");
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &options, "graven-test"]).arg(path);
        let output = command.output().map_err(|error| format!("mount: {error}"))?;
        if output.status.success() {
            Ok(Disk(path))
        } else {
            Err(String::from_utf8_lossy(&output.stderr).trim().to_string())
        }
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        Command::new("umount").arg("--lazy").arg(self.0).status().ok();
    }
}

fn value(number: usize) -> String {
    format!("{number:010}").repeat(VALUE_BYTES / 10)
}

#[test]
fn a_full_disk_stops_the_node_and_loses_nothing_confirmed() {
    let temp = tempfile::tempdir().unwrap();
    let small = temp.path().join("small");
    std::fs::create_dir(&small).unwrap();
    let disk = match Disk::mount(&small) {
        Ok(disk) => disk,
        Err(why) => return eprintln!("skipped: a small disk cannot be mounted: {why}"),
    };
    let mut node = Setup::new(PROGRAM, &small).start();
    let mut client = node.client();
    let mut confirmed = 0;
    while let Some(answer) =
        client.try_ask(&format!("PUT key/{confirmed} {} WAIT 1", value(confirmed)))
    {
        answer.expect("a put is confirmed or the node ends");
        confirmed += 1;
        assert!(confirmed * VALUE_BYTES < DISK_BYTES, "the disk does not get full");
    }
    assert!(confirmed > 10, "the disk was full after {confirmed} values");
    assert_eq!(node.wait().code(), Some(1), "the node ends by itself");
    let log = node.log().to_lowercase();
    assert!(log.contains("no space left") || log.contains("is full"), "{log}");
    let large = temp.path().join("large");
    copy_folder(&small, &large);
    drop((node, disk));
    let mut node = Setup::new(PROGRAM, &large).start();
    let mut client = node.client();
    for number in 0..confirmed {
        let read = client.ask(&format!("RETRIEVE key/{number}")).expect("nothing is lost");
        assert_eq!(read["value"], value(number), "key/{number}");
    }
    assert_well(&mut node);
    wait_until("nothing waiting for a block", || node.status()["mempool"] == 0);
    node.terminate();
    let large = large.display().to_string();
    let audit = run_to_end(graven(Path::new(PROGRAM)).args(["verify-chain", "--data", &large]));
    assert!(audit.status.success(), "{}", String::from_utf8_lossy(&audit.stderr));
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir(to).expect("the test's folder can be written");
    for entry in std::fs::read_dir(from).expect("it was mounted") {
        let entry = entry.expect("it can be listed");
        std::fs::copy(entry.path(), to.join(entry.file_name())).expect("there is room");
    }
}
