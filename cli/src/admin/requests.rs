//! What a request sets going: an answer at once, or a question to another thread.

use chain::ledger::{self, RequestId};
use crossbeam::channel::TrySendError;
use net::ClientId;
use serde_json::{Value, json};

use super::lives::Waiter;
use super::{Admin, Asked, ReadJob, status};
use crate::command::{self, COMMANDS, Command};
use crate::reply::{Code, Failure};
use crate::request::{Read, Request, Wait};

impl Admin {
    /// Starts a request. Whoever answers later has `busy` set.
    pub(super) fn request(
        &mut self,
        id: ClientId,
        command: &Command,
        request: Request,
    ) -> Result<(), Failure> {
        if command.needs_auth && !self.clients[&id].authorised {
            let what = format!("{} needs AUTH with the node's admin.cookie", command.name);
            return Err(Failure::new(Code::NoAuth, what));
        }
        match request {
            Request::Read(read) => self.read(Asked::Read(id), read),
            Request::Transaction(txid) => {
                self.read(Asked::Transaction(id, txid), Read::Inclusion(txid))
            }
            Request::Write { draft, wait } => {
                let request = self.ask(Asked::Write(id, wait));
                self.tell_ledger(request, ledger::Input::Write { request, draft })
            }
            Request::Submit { transactions, wait } => {
                let request = self.ask(Asked::Write(id, wait));
                (self.joints.submit)(request, transactions).inspect_err(|_| self.forget(request))
            }
            Request::Balance(key) => {
                let request = self.ask(Asked::Balance(id));
                self.tell_ledger(request, ledger::Input::Account { request, key })
            }
            Request::Wait { txid, wait } => {
                // Registered before the index is asked, so that no block is missed in between.
                self.lives.wait(txid, self.waiter(id, wait));
                self.read(Asked::Wait(id, txid), Read::Inclusion(txid))
            }
            Request::Mine { blocks, timeout_s } => self.mine(id, blocks, timeout_s),
            Request::Ping => {
                self.send(id, b"+PONG\r\n".to_vec());
                Ok(())
            }
            other => {
                let answer = self.immediate(id, other)?;
                self.finish(id, &Ok(answer));
                Ok(())
            }
        }
    }

    /// Requests that are answered from what the port knows.
    fn immediate(&mut self, id: ClientId, request: Request) -> Result<Value, Failure> {
        let client = self.clients.get_mut(&id).expect("it sent the line");
        match request {
            Request::Watch { prefix, confirmations } => {
                let watches = client.watch(prefix, confirmations)?;
                self.listening.insert(id);
                Ok(json!({ "watching": watches }))
            }
            Request::Unwatch => {
                client.unwatch();
                Ok(json!({ "watching": 0 }))
            }
            Request::Status => {
                let joints = &self.joints;
                let mut status = self.status.show(
                    self.now,
                    &self.options.network,
                    &joints.peers.lock(),
                    joints.search.as_deref(),
                );
                if let Some(workers) = &joints.workers {
                    status["stratum"] = workers.lock().sum(self.now);
                }
                Ok(status)
            }
            Request::Peers => Ok(status::show_peers(self.now, &self.joints.peers.lock())),
            Request::Miners => match &self.joints.workers {
                Some(workers) => Ok(workers.lock().show(self.now)),
                None => Err(Failure::new(
                    Code::Refused,
                    "this node has no Stratum port: start it with --stratum",
                )),
            },
            Request::AddPeer(address) => {
                (self.joints.tell_protocol)(net::Input::AddPeer(address))?;
                Ok(json!({ "adding": address.to_string() }))
            }
            Request::Ban { subnet, seconds } => self.ban(subnet, seconds),
            Request::Unban(subnet) => self.unban(subnet),
            Request::Bans => Ok(self.show_bans()),
            Request::Auth(token) => {
                if !same(token.as_bytes(), self.options.cookie.as_bytes()) {
                    let what = "the token is not the one in admin.cookie";
                    return Err(Failure::new(Code::NoAuth, what));
                }
                client.authorised = true;
                Ok(json!({ "authorised": true }))
            }
            Request::Help(name) => help(name.as_deref()),
            Request::Quit => {
                client.ended = true;
                client.discard();
                client.unwatch();
                Ok(json!({ "bye": true }))
            }
            Request::Shutdown => {
                (self.joints.stop)();
                Ok(json!({ "stopping": true }))
            }
            _ => unreachable!("every other request is answered by another thread"),
        }
    }

    fn mine(&mut self, id: ClientId, blocks: u32, timeout_s: u64) -> Result<(), Failure> {
        if self.joints.search.is_none() && self.joints.workers.is_none() {
            return Err(Failure::new(
                Code::Refused,
                "this node does not mine; start it with --mine",
            ));
        }
        let target = self.status.height().saturating_add(blocks);
        self.lives.wait_for_height(target, self.waiter(id, Wait { confirmations: 1, timeout_s }));
        self.clients.get_mut(&id).expect("it sent the line").busy = true;
        self.want_height(target)
    }

    pub(super) fn want_height(&self, height: u32) -> Result<(), Failure> {
        self.joints.ledger.try_send(ledger::Input::MineTo { height }).map_err(|_| Failure::busy())
    }

    pub(super) fn waiter(&self, client: ClientId, wait: Wait) -> Waiter {
        let deadline = self.now + wait.timeout_s.saturating_mul(1000);
        let may_mine = self.clients[&client].authorised;
        Waiter { client, confirmations: wait.confirmations, deadline, may_mine }
    }

    fn ask(&mut self, asked: Asked) -> RequestId {
        let request = RequestId(self.next_request);
        self.next_request += 1;
        self.asked.insert(request, asked);
        let client = self.clients.get_mut(&asked.client()).expect("it sent the line");
        client.busy = true;
        client.question = Some(request);
        request
    }

    pub(super) fn forget(&mut self, request: RequestId) {
        self.asked.remove(&request);
    }

    pub(super) fn read(&mut self, asked: Asked, read: Read) -> Result<(), Failure> {
        let request = self.ask(asked);
        (self.joints.reads)(ReadJob { request, read }).inspect_err(|_| self.forget(request))
    }

    pub(super) fn tell_ledger(
        &mut self,
        request: RequestId,
        input: ledger::Input,
    ) -> Result<(), Failure> {
        self.joints.ledger.try_send(input).map_err(|error| {
            self.forget(request);
            match error {
                TrySendError::Full(_) => Failure::busy(),
                TrySendError::Disconnected(_) => Failure::new(Code::Busy, "the node is stopping"),
            }
        })
    }
}

fn help(name: Option<&str>) -> Result<Value, Failure> {
    let show = |command: &Command| {
        let usage = format!("{} {}", command.name, command.usage);
        json!({ "command": usage.trim_end(), "about": command.about, "auth": command.needs_auth })
    };
    match name {
        None => Ok(COMMANDS.iter().map(show).collect()),
        Some(name) => command::find(name)
            .map(show)
            .ok_or_else(|| Failure::new(Code::NotFound, format!("no command {name:?}"))),
    }
}

/// Compares without telling by its time where the first difference is.
pub(super) fn same(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len()
        && left.iter().zip(right).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}
