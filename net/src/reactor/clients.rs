//! The services' side of the reactor: clients and their buffers.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;

use mio::Token;
use mio::event::Event;

use super::connection::{Door, Listener, ReadResult, Socket};
use super::service::{ClientId, Service, ServiceLimits, ServiceOutput};
use crate::protocol::Millis;

/// Bytes read at a time; other clients have their turn in between.
const READ_BYTES: usize = 16 * 1024;
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
    /// Clients that may have something to read or take.
    ready: BTreeSet<Token>,
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
            self.ready.insert(event.token());
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
            refused,
        };
        if refused {
            client.output = self.limits.refusal.clone();
            client.stage = Stage::Closing { hang_up_by: None };
        }
        self.clients.insert(token, client);
        if refused {
            self.ready.insert(token);
        } else {
            self.service.opened(now, id(token), address);
        }
    }

    /// Gives every ready client a turn, and the service everything it should know.
    pub(crate) fn turn(&mut self, now: Millis) {
        self.service.woken(now);
        self.obey(now);
        for token in std::mem::take(&mut self.ready) {
            if let Err(error) = self.serve(token, now) {
                tracing::debug!(target: "net", client = token.0, %error, "client gone");
                self.remove(token, now);
            }
            self.obey(now);
        }
        self.flush_all(now);
        self.expire(now);
    }

    /// Reads once from a client, if it may be read.
    fn serve(&mut self, token: Token, now: Millis) -> io::Result<()> {
        let pause_bytes = self.limits.pause_output_bytes;
        let Some(client) = self.clients.get_mut(&token) else { return Ok(()) };
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
                self.ready.insert(token);
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
                ServiceOutput::Send { client, bytes } => self.send(client, &bytes, now),
                ServiceOutput::Close { client } => {
                    if let Some(client) = self.open_client(client) {
                        client.stage = Stage::Closing { hang_up_by: None };
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
                        self.ready.extend(token);
                    }
                }
            }
        }
    }

    fn open_client(&mut self, client: ClientId) -> Option<&mut Client> {
        let client = self.clients.get_mut(&token(client)?)?;
        (!matches!(client.stage, Stage::Closing { .. })).then_some(client)
    }

    fn send(&mut self, client: ClientId, bytes: &[u8], now: Millis) {
        let max_bytes = self.limits.max_output_bytes;
        let Some(open) = self.open_client(client) else { return };
        open.output.extend(bytes);
        if open.waiting() > max_bytes {
            tracing::info!(target: "net", client = client.0, "client reads too slowly: dropped");
            if let Some(token) = token(client) {
                self.remove(token, now);
            }
        }
    }

    fn flush_all(&mut self, now: Millis) {
        let (mut gone, mut drained) = (Vec::new(), Vec::new());
        for (token, client) in &mut self.clients {
            let was_full = client.waiting() > self.limits.pause_output_bytes;
            let had_output = client.waiting() > 0;
            match client.socket.write(&client.output[client.sent..], now) {
                Ok(sent) => client.sent += sent,
                Err(_) => {
                    gone.push(*token);
                    continue;
                }
            }
            if client.waiting() == 0 {
                client.output = Vec::new();
                client.sent = 0;
                drained.extend((had_output && !client.refused).then_some(*token));
            } else if client.sent >= client.output.len() / 2 {
                client.output.drain(..client.sent);
                client.sent = 0;
            }
            if was_full && client.waiting() <= self.limits.pause_output_bytes {
                self.ready.insert(*token);
            }
            if client.stage == (Stage::Closing { hang_up_by: None }) && client.waiting() == 0 {
                client.socket.end_output();
                client.stage = Stage::Closing { hang_up_by: Some(now + LINGER_MS) };
                self.ready.insert(*token);
            }
        }
        gone.into_iter().for_each(|token| self.remove(token, now));
        for token in drained {
            self.service.drained(now, id(token));
            self.obey(now);
            self.ready.insert(token); // what it said is written in the next turn
        }
    }

    fn deadline(&self, client: &Client) -> Option<Millis> {
        match client.stage {
            Stage::Closing { hang_up_by: Some(by) } => Some(by),
            _ => client.socket.stalled_since().map(|since| since + self.limits.stall_ms),
        }
    }

    fn expire(&mut self, now: Millis) {
        let late = self
            .clients
            .iter()
            .filter(|(_, client)| self.deadline(client).is_some_and(|deadline| now >= deadline));
        let late: Vec<Token> = late.map(|(token, _)| *token).collect();
        late.into_iter().for_each(|token| self.remove(token, now));
    }

    fn remove(&mut self, token: Token, now: Millis) {
        self.ready.remove(&token);
        if let Some(client) = self.clients.remove(&token)
            && !client.refused
        {
            self.service.closed(now, id(token));
        }
    }

    /// Whether some client can have another turn at once.
    pub(crate) fn has_work(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Whether everything is written that can be.
    pub(crate) fn is_flushed(&self) -> bool {
        self.clients.values().all(|client| client.waiting() == 0)
    }

    pub(crate) fn wake_at(&self) -> Option<Millis> {
        let deadlines = self.clients.values().filter_map(|client| self.deadline(client));
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
