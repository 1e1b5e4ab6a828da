//! Hosts on a network of their own: namespaces of Linux, joined by a bridge.
//!
//! A test that calls [`inside`] is run again as a process in its own user and network namespace,
//! where it may do with the network what it likes: no rights are needed, and nothing remains. Each
//! host is one more network namespace, with a cable (veth) to the bridge. Lines are cut by routes
//! into nowhere, narrowed by a token bucket (`tc tbf`), and made to carry small packets only.

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::{Child, Command, Output, Stdio};

/// Set where a test is inside already.
const INSIDE: &str = "GRAVEN_TEST_IS_INSIDE";

/// With this set to 1 it is a failure if there can be no namespaces.
const REQUIRE: &str = "GRAVEN_REQUIRE_NETNS";

/// Everything a test needs must work before it is run.
const PROBE: &str = "ip link add br0 type bridge && ip link set br0 up && \
    ip link add veth0 type veth peer name eth0 && \
    ip route add blackhole 203.0.113.1/32 && \
    ip addr add 2001:db8::1/64 dev veth0 nodad && \
    tc qdisc add dev veth0 root tbf rate 400kbit burst 8kb latency 400ms && \
    command -v nsenter && command -v ss";

/// Addresses of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// Runs the body of the test of this name in namespaces of its own. Where there can be none, says
/// why on standard error, past the test harness, and returns.
///
/// # Panics
/// When the body does, or when there can be no namespaces and `GRAVEN_REQUIRE_NETNS` is 1.
pub fn inside(test: &str, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        return body();
    }
    if let Err(reason) = probe() {
        writeln!(std::io::stderr(), "SKIPPED {test}: no network namespaces: {reason}").ok();
        let is_required = std::env::var_os(REQUIRE).is_some_and(|value| value == "1");
        assert!(!is_required, "{REQUIRE}=1, and there are no network namespaces: {reason}");
        return;
    }
    let program = std::env::current_exe().expect("a running program has a path");
    let mut command = Command::new("unshare");
    command.arg("-Urn").arg(program).args(["--exact", test, "--nocapture", "--test-threads=1"]);
    let output = command.env(INSIDE, "1").output().expect("probed before");
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "inside its namespaces {test} failed:\n{out}\n{err}");
    assert!(out.contains("1 passed"), "no test is called {test}:\n{out}");
}

fn probe() -> Result<(), String> {
    let output = Command::new("unshare").args(["-Urn", "sh", "-c", PROBE]).output();
    let output = output.map_err(|error| format!("unshare: {error}"))?;
    output.status.success().then_some(()).ok_or_else(|| text(&output.stderr))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_string()
}

/// A bridge and the hosts on it. The test itself is on the bridge too, and reaches every host.
#[derive(Debug)]
pub struct Net {
    family: Family,
    /// A process for each host, which keeps its namespace alive until its input ends.
    holders: Vec<Child>,
}

impl Net {
    /// Joins so many hosts, each of another network group. To be called [`inside`].
    ///
    /// # Panics
    /// When the system refuses.
    pub fn new(family: Family, hosts: u8) -> Net {
        run("ip", "link add br0 type bridge");
        let mut net = Net { family, holders: Vec::new() };
        net.add_address("ip", 200, "br0");
        run("ip", "link set br0 up");
        run("ip", "link set lo up");
        for host in 0..hosts {
            let mut holder = Command::new("unshare")
                .args(["-n", "sh", "-c", "echo ready; exec cat"])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .expect("probed before");
            let mut line = String::new();
            let stdout = holder.stdout.as_mut().expect("it is piped");
            BufReader::new(stdout).read_line(&mut line).expect("a pipe can be read");
            assert_eq!(line, "ready\n", "no namespace for host {host}");
            let pid = holder.id();
            net.holders.push(holder);
            run("ip", &format!("link add veth{host} type veth peer name eth0 netns {pid}"));
            run("ip", &format!("link set veth{host} master br0 up"));
            let ip = net.on(host, "ip");
            net.add_address(&ip, host, "eth0");
            run(&ip, "link set eth0 up");
            run(&ip, "link set lo up");
        }
        net
    }

    /// A host's address. Each is in a network group of its own, and none is private.
    pub fn address(&self, host: u8) -> IpAddr {
        match self.family {
            Family::V4 => Ipv4Addr::new(11, host + 1, 0, 1).into(),
            Family::V6 => Ipv6Addr::new(0x2a01, u16::from(host) + 1, 0, 0, 0, 0, 0, 1).into(),
        }
    }

    /// Words that let a program run on a host.
    pub fn wrapper(&self, host: u8) -> Vec<String> {
        self.on(host, "").split_whitespace().map(str::to_string).collect()
    }

    /// Lets two hosts send nothing to each other any more.
    pub fn cut(&self, one: u8, other: u8) {
        self.route("add", one, other);
    }

    /// Undoes [`Net::cut`].
    pub fn heal(&self, one: u8, other: u8) {
        self.route("del", one, other);
    }

    /// Narrows a host's cable, both ways, to so many bytes a second.
    pub fn narrow(&self, host: u8, bytes_a_second: u32) {
        let bucket =
            format!("tbf rate {}bit burst 8kb latency 400ms", u64::from(bytes_a_second) * 8);
        run("tc", &format!("qdisc add dev veth{host} root {bucket}"));
        run(&self.on(host, "tc"), &format!("qdisc add dev eth0 root {bucket}"));
    }

    /// Packets to a host that had to wait because its cable is narrow.
    pub fn held_back(&self, host: u8) -> u64 {
        let shown = run("tc", &format!("-s qdisc show dev veth{host}"));
        let number = shown.split("overlimits ").nth(1).and_then(|rest| rest.split(' ').next());
        number.and_then(|number| number.parse().ok()).expect("tc counts")
    }

    /// Lets a host's cable carry packets of at most so many bytes.
    pub fn set_mtu(&self, host: u8, bytes: u32) {
        run("ip", &format!("link set veth{host} mtu {bytes}"));
        run(&self.on(host, "ip"), &format!("link set eth0 mtu {bytes}"));
    }

    /// The most bytes of a connection that a host puts into one packet.
    pub fn largest_segment(&self, host: u8) -> u32 {
        let shown = run(&self.on(host, "ss"), "-tinH");
        let numbers = shown.split_whitespace().filter_map(|word| word.strip_prefix("mss:"));
        numbers.filter_map(|number| number.parse().ok()).max().unwrap_or(0)
    }

    /// A command line on a host.
    fn on(&self, host: u8, program: &str) -> String {
        format!("nsenter -t {} -n {program}", self.holders[usize::from(host)].id())
    }

    fn route(&self, change: &str, one: u8, other: u8) {
        for (from, to) in [(one, other), (other, one)] {
            let (to, bits) = match self.address(to) {
                IpAddr::V4(ip) => (IpAddr::from(ip), 32),
                IpAddr::V6(ip) => (IpAddr::from(ip), 128),
            };
            run(&self.on(from, "ip"), &format!("route {change} blackhole {to}/{bits}"));
        }
    }

    fn add_address(&self, ip: &str, host: u8, device: &str) {
        let address = self.address(host);
        let how = if self.family == Family::V4 { "/8 dev" } else { "/16 nodad dev" };
        run(ip, &format!("addr add {address}{how} {device}"));
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        for holder in &mut self.holders {
            holder.kill().ok();
            holder.wait().ok();
        }
    }
}

/// Runs a program with words, and returns what it says.
fn run(program: &str, words: &str) -> String {
    let mut line = program.split_whitespace().chain(words.split_whitespace());
    let mut command = Command::new(line.next().expect("a program"));
    let Output { status, stdout, stderr } = command.args(line).output().expect("probed before");
    assert!(status.success(), "{program} {words}: {}", text(&stderr));
    text(&stdout)
}
