//! A miner's connection: its unread bytes and its share of the node's time.

use std::net::IpAddr;

use chain::tx::PublicKey;
use miner::stratum::server::Session;
use net::{ClientId, Millis, ServiceOutput};

/// Longest line. Those of real miners have a few hundred bytes.
const MAX_LINE_BYTES: usize = 16 * 1024;

/// Unread bytes at which reading stops.
const READ_AHEAD_BYTES: usize = 64 * 1024;

/// Lines a second that a miner may send for long; difficulty keeps shares far below that.
const LINES_PER_S: u64 = 200;

/// Lines it may send at once after a pause.
const MAX_BURST: u64 = 400;

/// Lines without sense, in all, after which a client is something else than a miner.
const MAX_NONSENSE: u32 = 10;

/// A miner logs in within so long.
const LOGIN_MS: u64 = 30_000;

/// What is next on a connection.
pub(super) enum Next {
    /// A line, without its end.
    Line(Vec<u8>),
    /// More must be read, or time must pass.
    Nothing,
    /// It is to be closed, and told this.
    Close(Option<&'static str>),
}

/// A connection.
pub(super) struct Connection {
    pub(super) session: Session,
    /// Who is paid, once somebody has logged in.
    pub(super) payee: Option<PublicKey>,
    /// Where it comes from.
    pub(super) host: IpAddr,
    opened_at: Millis,
    /// Bytes that came; those before `served` are of lines that were served.
    unread: Vec<u8>,
    served: usize,
    /// Where the search for the next line's end goes on.
    searched: usize,
    is_closing: bool,
    nonsense: u32,
    /// Lines it may send now, in thousandths, and when they were counted.
    credit: (u64, Millis),
    paused: bool,
}

impl Connection {
    pub(super) fn new(now: Millis, host: IpAddr, session: Session) -> Connection {
        Connection {
            session,
            payee: None,
            host,
            opened_at: now,
            unread: Vec::new(),
            served: 0,
            searched: 0,
            is_closing: false,
            nonsense: 0,
            credit: (MAX_BURST * 1000, now),
            paused: false,
        }
    }

    pub(super) fn received(&mut self, bytes: &[u8]) {
        if !self.is_closing {
            self.unread.drain(..self.served);
            self.searched -= self.served;
            self.served = 0;
            self.unread.extend(bytes);
        }
    }

    /// Serves nothing more: it is being closed.
    pub(super) fn close(&mut self) {
        self.is_closing = true;
        self.unread.clear();
        (self.served, self.searched) = (0, 0);
    }

    /// Counts a line without sense.
    pub(super) fn nonsense(&mut self) {
        self.nonsense += 1;
    }

    /// Whether it should have logged in by now.
    pub(super) fn is_overdue(&self, now: Millis) -> bool {
        !self.is_closing && !self.session.is_ready() && now >= self.opened_at + LOGIN_MS
    }

    /// The next line to serve.
    pub(super) fn next_line(&mut self, now: Millis) -> Next {
        if self.is_closing {
            return Next::Nothing;
        }
        if self.nonsense >= MAX_NONSENSE {
            return Next::Close(Some("this is not Stratum"));
        }
        let found = self.unread[self.searched..].iter().position(|&byte| byte == b'\n');
        let end = found.map_or(self.unread.len(), |found| self.searched + found);
        if end - self.served > MAX_LINE_BYTES {
            return Next::Close(Some("a line has at most 16 KiB"));
        }
        if found.is_none() {
            self.searched = end;
            return Next::Nothing;
        }
        if !self.spend(now) {
            return Next::Nothing;
        }
        let line = self.unread[self.served..end].to_vec();
        (self.served, self.searched) = (end + 1, end + 1);
        if line.ends_with(b" HTTP/1.1") || line.ends_with(b" HTTP/1.1\r") {
            // A web page must not mine through the browser of who runs a node.
            return Next::Close(None);
        }
        Next::Line(line)
    }

    /// Takes a line's worth of credit, if there is some.
    fn spend(&mut self, now: Millis) -> bool {
        let (credit, since) = self.credit;
        let credit = credit.saturating_add((now - since).saturating_mul(LINES_PER_S));
        let credit = credit.min(MAX_BURST * 1000);
        let has_some = credit >= 1000;
        self.credit = (if has_some { credit - 1000 } else { credit }, now);
        has_some
    }

    /// When a line that waits for credit can be served.
    pub(super) fn rests_until(&self) -> Option<Millis> {
        let (credit, since) = self.credit;
        let waits = credit < 1000 && self.unread[self.searched..].contains(&b'\n');
        waits.then(|| since + (1000 - credit).div_ceil(LINES_PER_S))
    }

    /// Whether that time has come.
    pub(super) fn has_rested(&self, now: Millis) -> bool {
        self.rests_until().is_some_and(|until| until <= now)
    }

    /// Whether reading must stop or may go on, if that has changed.
    pub(super) fn flow(&mut self, client: ClientId) -> Option<ServiceOutput> {
        let full = self.unread.len() - self.served > READ_AHEAD_BYTES;
        if full == self.paused {
            return None;
        }
        self.paused = full;
        Some(if full { ServiceOutput::Pause { client } } else { ServiceOutput::Resume { client } })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection() -> Connection {
        Connection::new(Millis(0), IpAddr::from([127, 0, 0, 1]), Session::new(0, 0, 0))
    }

    fn lines(connection: &mut Connection, now: Millis) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| match connection.next_line(now) {
            Next::Line(line) => Some(line),
            _ => None,
        })
        .collect()
    }

    #[test]
    fn lines_come_whole_however_they_are_cut() {
        let mut connection = connection();
        let mut got = Vec::new();
        for byte in b"{\"a\":1}\r\n\nlast" {
            connection.received(&[*byte]);
            got.extend(lines(&mut connection, Millis(0)));
        }
        assert_eq!(got, [&b"{\"a\":1}\r"[..], b""]);
        connection.received(&[b'x'; MAX_LINE_BYTES]);
        assert!(matches!(connection.next_line(Millis(0)), Next::Close(Some(_))));
    }

    #[test]
    fn a_flood_is_served_at_its_rate() {
        let mut connection = connection();
        connection.received(&b"x\n".repeat(1000));
        assert_eq!(lines(&mut connection, Millis(0)).len() as u64, MAX_BURST);
        let until = connection.rests_until().expect("lines are left");
        assert!(!connection.has_rested(Millis(until.0 - 1)) && connection.has_rested(until));
        assert_eq!(lines(&mut connection, Millis(1000)).len() as u64, LINES_PER_S);
        lines(&mut connection, Millis(100_000));
        assert_eq!(connection.rests_until(), None, "nothing is left");
    }

    #[test]
    fn other_protocols_are_sent_away() {
        let mut browser = connection();
        browser.received(b"POST / HTTP/1.1\r\n");
        assert!(matches!(browser.next_line(Millis(0)), Next::Close(None)));
        let mut other = connection();
        other.received(b"x\n");
        (0..MAX_NONSENSE).for_each(|_| other.nonsense());
        assert!(matches!(other.next_line(Millis(0)), Next::Close(Some(_))));
        // What it sends until it is gone is nobody's business, and nothing waits for its turn.
        other.close();
        other.received(&b"x\n".repeat(1000));
        assert!(matches!(other.next_line(Millis(0)), Next::Nothing));
        assert_eq!(other.rests_until(), None);
    }

    #[test]
    fn reading_stops_at_the_bound() {
        let mut connection = connection();
        connection.received(&b"\n".repeat(READ_AHEAD_BYTES + 1));
        assert!(matches!(connection.flow(ClientId(1)), Some(ServiceOutput::Pause { .. })));
        assert!(connection.flow(ClientId(1)).is_none());
        lines(&mut connection, Millis(1_000));
        assert!(matches!(connection.flow(ClientId(1)), Some(ServiceOutput::Resume { .. })));
    }
}
