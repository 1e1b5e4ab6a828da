//! The services' side of the reactor: clients and their buffers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::SocketAddr;

use mio::Token;
use mio::event::Event;

use super::connection::{Door, Listener, ReadResult, Socket};
use super::service::{ClientId, Service, ServiceLimits, ServiceOutput};
use crate::protocol::Millis;

/// Bytes read at a time; other clients have their turn in between.
const READ_BYTES: usize = 16 * 1024;
/// Clients with more to read than that which are read on in one turn: what fits into one read does
/// not wait for long lines of others.
const LONG_READS_A_TURN: usize = 1;
/// Connections let in in one round; the others wait at the door.
const ACCEPTS_A_ROUND: usize = 64;
/// A client that was sent all it gets has so long to read it and hang up.
const LINGER_MS: u64 = 2000;
/// Refused clients that may linger at a time; those beyond are cut off.
const MAX_REFUSED: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The service speaks with it.
    Open,
    /// As before, but it will send no more.
    Ended,
    /// Output is written, input thrown away. Closing at once would make some systems throw away
    /// output that the client has not read yet.
    /// `hang_up_by` is set when all output is written.
    Closing { hang_up_by: Option<Millis> },
}

struct Client {
    socket: Socket,
    stage: Stage,
    output: Vec<u8>,
    sent: usize,
    paused: bool,
    /// It has filled the buffer, and waits to be read on in `long`.
    reads_on: bool,
    /// The service never heard of it: all places were taken.
    refused: bool,
}

impl Client {
    fn waiting(&self) -> usize {
        self.output.len() - self.sent
    }
}

/// One service with its listener and clients.
pub(crate) struct ServicePort {
    listener: Listener,
    limits: ServiceLimits,
    service: Box<dyn Service>,
    clients: BTreeMap<Token, Client>,
    /// Clients that may have something to read.
    ready: BTreeSet<Token>,
    /// Clients that have filled the buffer, in the order in which they are read on.
    long: VecDeque<Token>,
    /// Clients that may have something to take, or are to be closed.
    unsent: BTreeSet<Token>,
    /// Clients that a time is set: to take what waits for them, or to hang up.
    timed: BTreeSet<Token>,
    buffer: Vec<u8>,
}

impl ServicePort {
    pub(crate) fn new(
        listener: Listener,
        limits: ServiceLimits,
        service: Box<dyn Service>,
    ) -> ServicePort {
        ServicePort {
            listener,
            limits,
            service,
            clients: BTreeMap::new(),
            ready: BTreeSet::new(),
            long: VecDeque::new(),
            unsent: BTreeSet::new(),
            timed: BTreeSet::new(),
            buffer: vec![0; READ_BYTES],
        }
    }

    pub(crate) fn listener(&mut self) -> &mut Listener {
        &mut self.listener
    }

    /// Takes an event, if it is for one of ours.
    pub(crate) fn note(&mut self, event: &Event) {
        if let Some(client) = self.clients.get_mut(&event.token()) {
            client.socket.note(event);
            if client.waiting() > 0 {
                self.unsent.insert(event.token());
            }
            self.may_read(event.token());
        }
    }

    /// Gives a client a turn, unless it waits for one.
    fn may_read(&mut self, token: Token) {
        if self.clients.get(&token).is_some_and(|client| !client.reads_on) {
            self.ready.insert(token);
        }
    }

    pub(crate) fn accept(&mut self, door: &mut Door<'_>, now: Millis) {
        for _ in 0..ACCEPTS_A_ROUND {
            let Some((stream, address)) = self.listener.accept(now) else { return };
            match door.stream(stream) {
                Ok((token, socket)) => self.admit(token, socket, address, now),
                Err(error) => {
                    tracing::warn!(target: "net", %address, %error, "cannot take a client");
                }
            }
        }
    }

    fn admit(&mut self, token: Token, socket: Socket, address: SocketAddr, now: Millis) {
        let refused_count = self.clients.values().filter(|client| client.refused).count();
        let refused = self.clients.len() - refused_count >= self.limits.max_clients;
        if refused && refused_count >= MAX_REFUSED {
            return;
        }
        let mut client = Client {
            socket,
            stage: Stage::Open,
            output: Vec::new(),
            sent: 0,
            paused: false,
            reads_on: false,
            refused,
        };
        if refused {
            client.output = self.limits.refusal.clone();
            client.stage = Stage::Closing { hang_up_by: None };
        }
        self.clients.insert(token, client);
        if refused {
            self.ready.insert(token);
            self.unsent.insert(token);
        } else {
            self.service.opened(now, id(token), address);
        }
    }

    /// Gives every ready client a turn, and then the service everything it should know, which may
    /// take longer.
    pub(crate) fn turn(&mut self, now: Millis) {
        let mut turns: Vec<Token> = std::mem::take(&mut self.ready).into_iter().collect();
        turns.extend(self.long.drain(..self.long.len().min(LONG_READS_A_TURN)));
        for token in turns {
            if let Err(error) = self.serve(token, now) {
                tracing::debug!(target: "net", client = token.0, %error, "client gone");
                self.remove(token, now);
            }
            self.obey(now);
        }
        self.flush_all(now);
        self.service.woken(now);
        self.obey(now);
        self.flush_all(now);
        self.expire(now);
    }

    /// Reads once from a client, if it may be read.
    fn serve(&mut self, token: Token, now: Millis) -> io::Result<()> {
        let pause_bytes = self.limits.pause_output_bytes;
        let Some(client) = self.clients.get_mut(&token) else { return Ok(()) };
        client.reads_on = false;
        let held = client.paused || client.waiting() > pause_bytes;
        match client.stage {
            Stage::Ended if client.socket.is_gone() => {
                self.remove(token, now);
                return Ok(());
            }
            Stage::Ended => return Ok(()),
            Stage::Open if held => return Ok(()),
            Stage::Open | Stage::Closing { .. } => {}
        }
        match client.socket.read(&mut self.buffer) {
            ReadResult::Bytes(count) => {
                if client.socket.is_readable() {
                    client.reads_on = true;
                    self.long.push_back(token);
                }
                if client.stage == Stage::Open {
                    self.service.received(now, id(token), &self.buffer[..count]);
                }
            }
            ReadResult::WouldBlock => {}
            ReadResult::Ended if client.stage == Stage::Open => {
                client.stage = Stage::Ended;
                self.service.ended(now, id(token));
            }
            // It sends no more and may still read; if it does not, writing fails or stalls.
            ReadResult::Ended if client.waiting() > 0 => {}
            ReadResult::Ended => self.remove(token, now),
            ReadResult::Failed(error) => return Err(error),
        }
        Ok(())
    }

    /// Does what the service wants.
    fn obey(&mut self, now: Millis) {
        while let Some(output) = self.service.poll() {
            match output {
                ServiceOutput::Send { client, bytes } => self.send(client, bytes, now),
                ServiceOutput::Close { client } => {
                    let token = token(client);
                    if let Some(client) = self.open_client(client) {
                        client.stage = Stage::Closing { hang_up_by: None };
                        self.unsent.extend(token);
                    }
                }
                ServiceOutput::Pause { client } => {
                    if let Some(client) = self.open_client(client) {
                        client.paused = true;
                    }
                }
                ServiceOutput::Resume { client } => {
                    let token = token(client);
                    if let Some(client) = self.open_client(client) {
                        client.paused = false;
                        token.into_iter().for_each(|token| self.may_read(token));
                    }
                }
            }
        }
    }

    fn open_client(&mut self, client: ClientId) -> Option<&mut Client> {
        let client = self.clients.get_mut(&token(client)?)?;
        (!matches!(client.stage, Stage::Closing { .. })).then_some(client)
    }

    fn send(&mut self, client: ClientId, bytes: Vec<u8>, now: Millis) {
        let max_bytes = self.limits.max_output_bytes;
        let Some(open) = self.open_client(client) else { return };
        if open.output.is_empty() {
            open.output = bytes;
        } else {
            open.output.extend(bytes);
        }
        let waiting = open.waiting();
        let Some(token) = token(client) else { return };
        self.unsent.insert(token);
        if waiting > max_bytes {
            tracing::info!(target: "net", client = client.0, "client reads too slowly: dropped");
            self.remove(token, now);
        }
    }

    /// Writes what the sockets take. What the service says to that is written the next time.
    fn flush_all(&mut self, now: Millis) {
        for token in std::mem::take(&mut self.unsent) {
            match self.flush(token, now) {
                Ok(false) => {}
                Ok(true) => {
                    self.service.drained(now, id(token));
                    self.obey(now);
                }
                Err(_) => self.remove(token, now),
            }
        }
    }

    /// Writes what a client's socket takes; returns whether the service is to know that it is all.
    fn flush(&mut self, token: Token, now: Millis) -> io::Result<bool> {
        let Some(client) = self.clients.get_mut(&token) else { return Ok(false) };
        let had = client.waiting();
        client.sent += client.socket.write(&client.output[client.sent..], now)?;
        let waiting = client.waiting();
        if waiting == 0 {
            client.output = Vec::new();
            client.sent = 0;
        } else if client.sent >= client.output.len() / 2 {
            client.output.drain(..client.sent);
            client.sent = 0;
        }
        let pause_bytes = self.limits.pause_output_bytes;
        let mut may_read = had > pause_bytes && waiting <= pause_bytes;
        if client.stage == (Stage::Closing { hang_up_by: None }) && waiting == 0 {
            client.socket.end_output();
            client.stage = Stage::Closing { hang_up_by: Some(now + LINGER_MS) };
            may_read = true;
        }
        let drained = had > 0 && waiting == 0 && !client.refused;
        if may_read {
            self.may_read(token);
        }
        match self.deadline(&self.clients[&token]) {
            Some(_) => self.timed.insert(token),
            None => self.timed.remove(&token),
        };
        Ok(drained)
    }

    fn deadline(&self, client: &Client) -> Option<Millis> {
        match client.stage {
            Stage::Closing { hang_up_by: Some(by) } => Some(by),
            _ => client.socket.stalled_since().map(|since| since + self.limits.stall_ms),
        }
    }

    /// The clients that a time is set, with that time.
    fn deadlines(&self) -> impl Iterator<Item = (Token, Millis)> {
        self.timed.iter().filter_map(move |token| {
            let client = self.clients.get(token)?;
            Some((*token, self.deadline(client)?))
        })
    }

    fn expire(&mut self, now: Millis) {
        let late = self.deadlines().filter(|(_, deadline)| now >= *deadline);
        let late: Vec<Token> = late.map(|(token, _)| token).collect();
        late.into_iter().for_each(|token| self.remove(token, now));
    }

    fn remove(&mut self, token: Token, now: Millis) {
        for list in [&mut self.ready, &mut self.unsent, &mut self.timed] {
            list.remove(&token);
        }
        if let Some(client) = self.clients.remove(&token)
            && !client.refused
        {
            self.service.closed(now, id(token));
        }
    }

    /// Whether some client can have another turn at once.
    pub(crate) fn has_work(&self) -> bool {
        !(self.ready.is_empty() && self.long.is_empty() && self.unsent.is_empty())
    }

    /// Whether everything is written that can be.
    pub(crate) fn is_flushed(&self) -> bool {
        self.clients.values().all(|client| client.waiting() == 0)
    }

    pub(crate) fn wake_at(&self) -> Option<Millis> {
        let deadlines = self.deadlines().map(|(_, deadline)| deadline);
        let others = [self.service.wake_at(), self.listener.wake_at()];
        deadlines.chain(others.into_iter().flatten()).min()
    }
}

fn id(token: Token) -> ClientId {
    ClientId(token.0 as u64)
}

fn token(client: ClientId) -> Option<Token> {
    usize::try_from(client.0).ok().map(Token)
}
