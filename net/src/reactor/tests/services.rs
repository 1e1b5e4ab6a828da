use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};

use super::*;

/// Says what happened to its clients.
#[derive(Debug, PartialEq, Eq)]
enum Report {
    Opened,
    Ended,
    Closed,
}

/// A line server for tests: `echo TEXT`, `big N` (N bytes), `quit`.
struct Lines {
    input: BTreeMap<ClientId, Vec<u8>>,
    outputs: VecDeque<ServiceOutput>,
    reports: Sender<Report>,
}

impl Lines {
    fn start(limits: ServiceLimits) -> (Node, Receiver<Report>) {
        let (reports, receiver) = bounded(1000);
        let service = Lines { input: BTreeMap::new(), outputs: VecDeque::new(), reports };
        let services: Vec<(ServiceLimits, Box<dyn Service>)> = vec![(limits, Box::new(service))];
        (Setup { services, ..Setup::new(1) }.start(), receiver)
    }

    /// A test that has seen enough no longer listens.
    fn report(&self, report: Report) {
        let _ = self.reports.try_send(report);
    }

    fn line(&mut self, client: ClientId, line: &str) {
        let bytes = match line.split_once(' ') {
            Some(("echo", text)) => format!("{text}\n").into_bytes(),
            Some(("big", count)) => vec![b'x'; count.parse().unwrap()],
            _ => return self.outputs.push_back(ServiceOutput::Close { client }),
        };
        self.outputs.push_back(ServiceOutput::Send { client, bytes });
    }
}

impl Service for Lines {
    fn opened(&mut self, _: Millis, client: ClientId, _: SocketAddr) {
        self.input.insert(client, Vec::new());
        self.report(Report::Opened);
    }

    fn received(&mut self, _: Millis, client: ClientId, bytes: &[u8]) {
        let buffer = self.input.get_mut(&client).unwrap();
        buffer.extend(bytes);
        let mut lines = Vec::new();
        while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
            lines.push(String::from_utf8(buffer.drain(..=end).collect()).unwrap());
        }
        lines.iter().for_each(|line| self.line(client, line.trim_end()));
    }

    fn ended(&mut self, _: Millis, client: ClientId) {
        self.report(Report::Ended);
        self.line(client, "echo bye");
        self.outputs.push_back(ServiceOutput::Close { client });
    }

    fn closed(&mut self, _: Millis, client: ClientId) {
        assert!(self.input.remove(&client).is_some(), "closed once");
        self.report(Report::Closed);
    }

    fn woken(&mut self, _: Millis) {}

    fn poll(&mut self) -> Option<ServiceOutput> {
        self.outputs.pop_front()
    }

    fn wake_at(&self) -> Option<Millis> {
        None
    }
}

fn client(node: &Node) -> TcpStream {
    let stream = TcpStream::connect(node.services[0]).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn expect(reports: &Receiver<Report>, wanted: &[Report]) {
    for report in wanted {
        assert_eq!(&reports.recv_timeout(PATIENCE).unwrap(), report);
    }
}

#[test]
fn lines_are_answered_in_order() {
    let (node, reports) = Lines::start(ServiceLimits::default());
    let stream = client(&node);
    (&stream).write_all(b"echo one\necho two\nqu").unwrap();
    let mut lines = BufReader::new(&stream).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "one");
    assert_eq!(lines.next().unwrap().unwrap(), "two");
    (&stream).write_all(b"it\n").unwrap();
    assert!(lines.next().is_none(), "closed");
    drop(stream);
    expect(&reports, &[Report::Opened, Report::Closed]);
}

#[test]
fn a_client_that_ends_its_input_gets_all_answers() {
    let (node, reports) = Lines::start(ServiceLimits::default());
    let mut stream = client(&node);
    stream.write_all(b"big 3000000\necho one\n").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert_eq!(answer.len(), 3_000_000 + 8);
    assert!(answer.ends_with(b"xone\nbye\n"));
    expect(&reports, &[Report::Opened, Report::Ended, Report::Closed]);
}

#[test]
fn one_client_too_many_is_told_so() {
    let limits = ServiceLimits {
        max_clients: 1,
        refusal: b"-BUSY\r\n".to_vec(),
        ..ServiceLimits::default()
    };
    let (node, reports) = Lines::start(limits);
    let mut first = client(&node);
    first.write_all(b"echo here\n").unwrap();
    let mut line = String::new();
    BufReader::new(&first).read_line(&mut line).unwrap();
    // It speaks at once; that must not cost it the refusal.
    let mut second = client(&node);
    second.write_all(b"echo there\n").unwrap();
    let mut answer = Vec::new();
    second.read_to_end(&mut answer).unwrap();
    assert_eq!(answer, b"-BUSY\r\n");
    drop(first);
    expect(&reports, &[Report::Opened, Report::Ended, Report::Closed]);
    drop(second);
    let mut third = client(&node);
    third.write_all(b"quit\n").unwrap();
    expect(&reports, &[Report::Opened]);
}

#[test]
fn a_client_that_does_not_read_is_dropped() {
    let limits = ServiceLimits { max_output_bytes: 10_000_000, ..ServiceLimits::default() };
    let (node, reports) = Lines::start(limits);
    let mut stream = client(&node);
    stream.write_all(b"big 40000000\n").unwrap();
    expect(&reports, &[Report::Opened, Report::Closed]);
}

#[test]
fn a_client_with_much_waiting_is_not_read_until_it_reads() {
    let limits = ServiceLimits { pause_output_bytes: 1000, ..ServiceLimits::default() };
    let (node, _reports) = Lines::start(limits);
    let mut stream = client(&node);
    let wanted = 20;
    for _ in 0..wanted {
        stream.write_all(b"big 1000000\n").unwrap();
    }
    stream.write_all(b"quit\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert_eq!(answer.len(), wanted * 1_000_000);
}

#[test]
fn services_and_peers_share_the_thread() {
    let (node, _reports) = Lines::start(ServiceLimits::default());
    let other = Setup { peers: vec![node.address], ..Setup::new(2) }.start();
    other.wait_ready(1);
    let stream = client(&node);
    (&stream).write_all(b"echo still here\n").unwrap();
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line).unwrap();
    assert_eq!(line, "still here\n");
}

#[test]
fn what_a_stopping_service_says_is_still_sent() {
    let (mut node, reports) = Lines::start(ServiceLimits::default());
    let mut stream = client(&node);
    stream.write_all(b"echo last\n").unwrap();
    expect(&reports, &[Report::Opened]);
    let mut byte = [0; 1];
    stream.read_exact(&mut byte).unwrap();
    node.stop();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"ast\n");
}
