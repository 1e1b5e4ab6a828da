//! A non-blocking socket and its readiness, for peers and clients alike.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr};

use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};

use crate::protocol::Millis;

/// After a failed accept (out of file descriptors, say) the listener rests for so long.
const ACCEPT_RETRY_MS: u64 = 100;

/// What reading gave.
#[derive(Debug)]
pub(crate) enum ReadResult {
    Bytes(usize),
    WouldBlock,
    Ended,
    Failed(io::Error),
}

/// Whether a read that does not fill its buffer has emptied the socket: with epoll and kqueue
/// whatever comes later is a new event, so that the read that would only say `WouldBlock` can be
/// left out. Elsewhere only a `WouldBlock` makes the system look again.
const SHORT_READ_IS_LAST: bool = cfg!(any(
    target_os = "linux",
    target_os = "android",
    target_os = "macos",
    target_os = "ios",
    target_os = "freebsd",
    target_os = "netbsd",
    target_os = "openbsd",
    target_os = "dragonfly"
));

/// A TCP connection, registered edge-triggered for both directions once and for all: readiness
/// is remembered here until the socket says `WouldBlock`, or is read empty.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: TcpStream,
    readable: bool,
    /// Whether the end of its input was announced, or an error: no event tells of it again, so
    /// it is read until it is met.
    read_closed: bool,
    writable: bool,
    gone: bool,
    /// Since when the other side has taken nothing of what waits for it.
    stalled_since: Option<Millis>,
}

impl Socket {
    pub(crate) fn note(&mut self, event: &Event) {
        self.read_closed |= event.is_read_closed() || event.is_error();
        self.readable |= event.is_readable() || self.read_closed;
        self.gone |= event.is_write_closed() || event.is_error();
        self.writable |= event.is_writable() || event.is_write_closed() || event.is_error();
    }

    /// Whether a connection being opened is open; `None` while it is under way.
    pub(crate) fn opened(&self) -> Option<io::Result<()>> {
        if !self.writable {
            return None;
        }
        match self.stream.take_error() {
            Ok(Some(error)) | Err(error) => return Some(Err(error)),
            Ok(None) => {}
        }
        match self.stream.peer_addr() {
            Ok(_) => Some(Ok(())),
            Err(error) if error.kind() == ErrorKind::NotConnected => None,
            Err(error) => Some(Err(error)),
        }
    }

    /// Whether the connection is dead in both directions.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone
    }

    /// Whether there may be something to read.
    pub(crate) fn is_readable(&self) -> bool {
        self.readable
    }

    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> ReadResult {
        while self.readable {
            match self.stream.read(buffer) {
                Ok(0) => return ReadResult::Ended,
                Ok(count) => {
                    let is_last = SHORT_READ_IS_LAST && count < buffer.len() && !self.read_closed;
                    self.readable = !is_last;
                    return ReadResult::Bytes(count);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.readable = false,
                Err(error) => return ReadResult::Failed(error),
            }
        }
        ReadResult::WouldBlock
    }

    /// Writes what the socket takes of `bytes`; returns how many it took.
    pub(crate) fn write(&mut self, bytes: &[u8], now: Millis) -> io::Result<usize> {
        let mut sent = 0;
        while self.writable && sent < bytes.len() {
            match self.stream.write(&bytes[sent..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => sent += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.writable = false,
                Err(error) => return Err(error),
            }
        }
        if sent == bytes.len() {
            self.stalled_since = None;
        } else if sent > 0 || self.stalled_since.is_none() {
            self.stalled_since = Some(now);
        }
        Ok(sent)
    }

    /// Since when output has waited without progress.
    pub(crate) fn stalled_since(&self) -> Option<Millis> {
        self.stalled_since
    }

    /// Tells the other side that nothing more will be sent.
    pub(crate) fn end_output(&self) {
        // The other side may be gone already, which is as good.
        let _ = self.stream.shutdown(Shutdown::Write);
    }
}

/// Adds sockets to the poll, each under a token of its own that is never used again.
#[derive(Debug)]
pub(crate) struct Door<'a> {
    pub(crate) registry: &'a Registry,
    pub(crate) next_token: &'a mut usize,
}

impl Door<'_> {
    pub(crate) fn token(&mut self) -> Token {
        let token = Token(*self.next_token);
        *self.next_token += 1;
        token
    }

    pub(crate) fn stream(&mut self, mut stream: TcpStream) -> io::Result<(Token, Socket)> {
        let token = self.token();
        // Small messages must not wait for others; not fatal if the system cannot.
        let _ = stream.set_nodelay(true);
        let both = Interest::READABLE | Interest::WRITABLE;
        self.registry.register(&mut stream, token, both)?;
        let socket = Socket {
            stream,
            readable: false,
            read_closed: false,
            writable: false,
            gone: false,
            stalled_since: None,
        };
        Ok((token, socket))
    }

    pub(crate) fn listener(&mut self, address: SocketAddr) -> io::Result<(Token, Listener)> {
        let token = self.token();
        let mut socket = TcpListener::bind(address)?;
        self.registry.register(&mut socket, token, Interest::READABLE)?;
        Ok((token, Listener { socket, retry_at: None }))
    }
}

/// A listening socket.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: TcpListener,
    retry_at: Option<Millis>,
}

impl Listener {
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Marks the listener as having somebody at the door.
    pub(crate) fn note(&mut self, now: Millis) {
        self.retry_at = Some(now);
    }

    /// When to call [`Listener::accept`].
    pub(crate) fn wake_at(&self) -> Option<Millis> {
        self.retry_at
    }

    /// Lets the next one in; `None` when nobody waits (or nobody can be let in now).
    pub(crate) fn accept(&mut self, now: Millis) -> Option<(TcpStream, SocketAddr)> {
        if self.retry_at.is_none_or(|at| now < at) {
            return None;
        }
        loop {
            match self.socket.accept() {
                Ok((stream, address)) => {
                    let address = SocketAddr::new(address.ip().to_canonical(), address.port());
                    return Some((stream, address));
                }
                Err(error) => match error.kind() {
                    // The one who knocked has gone: look for the next.
                    ErrorKind::Interrupted | ErrorKind::ConnectionAborted => {}
                    ErrorKind::WouldBlock => {
                        self.retry_at = None;
                        return None;
                    }
                    _ => {
                        tracing::warn!(target: "net", %error, "cannot accept connections");
                        self.retry_at = Some(now + ACCEPT_RETRY_MS);
                        return None;
                    }
                },
            }
        }
    }
}
