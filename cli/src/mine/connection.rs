//! A connection to a server: a thread that connects and reads lines, and the way to write.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::thread;
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, bounded};
use miner::stratum::client::MAX_LINE;

/// How long connecting to one address may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// How long a line may take to go out.
const WRITE_LIMIT: Duration = Duration::from_secs(3);
/// Lines that wait to be handled. When full, the server is not read.
const LINE_QUEUE: usize = 64;

/// The side of a connection that is written to.
pub(super) type Stream = TcpStream;

/// What a connection's thread says.
pub(super) enum Arrival {
    /// The connection is open.
    Open(Stream),
    /// A line, without its end; or the beginning of one that is too long.
    Line(Vec<u8>),
    /// There will be no more.
    Closed(String),
}

/// A connection that is being made or there. Ends when dropped.
pub(super) struct Connection {
    arrivals: Receiver<Arrival>,
    stream: Option<Stream>,
}

impl Connection {
    /// Looks the host up and connects, on a thread of its own.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub(super) fn open(host: String, port: u16) -> io::Result<Connection> {
        let (out, arrivals) = bounded(LINE_QUEUE);
        // Not joined: a look-up cannot be interrupted. It ends when nobody listens.
        thread::Builder::new().name("stratum".to_string()).spawn(move || {
            let Err(error) = read(&host, port, &out) else { return };
            let why = match error.kind() {
                io::ErrorKind::UnexpectedEof => "the server closed the connection".to_string(),
                _ => error.to_string(),
            };
            out.send(Arrival::Closed(why)).ok(); // or nobody listens
        })?;
        Ok(Connection { arrivals, stream: None })
    }

    pub(super) fn arrivals(&self) -> &Receiver<Arrival> {
        &self.arrivals
    }

    pub(super) fn write_to(&mut self, stream: Stream) {
        self.stream = Some(stream);
    }

    /// Sends a line.
    ///
    /// # Errors
    /// When the connection is broken, or the server does not read for too long.
    pub(super) fn send(&mut self, line: &str) -> io::Result<()> {
        match &mut self.stream {
            Some(stream) => stream.write_all(format!("{line}\n").as_bytes()),
            None => Ok(()),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(stream) = &self.stream {
            stream.shutdown(Shutdown::Both).ok(); // it may be closed already
        }
    }
}

/// Reads until the connection ends, or nobody listens.
fn read(host: &str, port: u16, out: &Sender<Arrival>) -> io::Result<()> {
    let stream = connect(host, port)?;
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(WRITE_LIMIT))?;
    if out.send(Arrival::Open(stream.try_clone()?)).is_err() {
        return Ok(());
    }
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = Vec::new();
        // Two bytes more than a line may have: its end, and one that says it is too long.
        let read = reader.by_ref().take(MAX_LINE as u64 + 2).read_until(b'\n', &mut line)?;
        if line.last() == Some(&b'\n') {
            line.pop();
        } else if read <= MAX_LINE {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if out.send(Arrival::Line(line)).is_err() {
            return Ok(());
        }
    }
}

/// Connects to the first of the host's addresses that answers.
fn connect(host: &str, port: u16) -> io::Result<Stream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_LIMIT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}
