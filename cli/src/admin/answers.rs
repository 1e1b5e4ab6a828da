//! What other threads say: answers to questions of clients, and news of the chain.

use chain::ledger::{self, Answer, PoolStatus, RequestId};
use chain::mempool::Refusal;
use chain::store::ChainPoint;
use net::ServiceOutput;
use serde_json::{Value, json};

use super::client::Client;
use super::{Admin, Asked, Event};
use crate::command;
use crate::reads::Answer as Answered;
use crate::reply::{self, Code, Failure};
use crate::request::Read;

impl Admin {
    pub(super) fn event(&mut self, event: Event) {
        match event {
            Event::Ledger(output) => self.ledger_said(output),
            Event::Refused { request, failure } => self.answered(request, &Err(failure)),
            Event::Read { request, tip, answer } => self.read_answered(request, tip, answer),
        }
    }

    fn read_answered(
        &mut self,
        request: RequestId,
        tip: Option<ChainPoint>,
        answer: Result<Answered, Failure>,
    ) {
        // Whoever hears of this answer must be shown nothing older.
        if let Some(tip) = tip {
            self.redis_read_at(tip);
        }
        match self.asked.get(&request).copied() {
            None => {} // who asked is gone
            Some(Asked::Redis(client)) => {
                self.redis_read(client, request, tip, answer.map(Answered::into_raw));
            }
            Some(_) => self.answered(request, &answer.map(Answered::into_json)),
        }
    }

    fn ledger_said(&mut self, output: ledger::Output) {
        match output {
            ledger::Output::Answer { request, answer } => self.ledger_answered(request, answer),
            ledger::Output::TipChanged(change) => {
                self.status.tip_changed(self.now, &change);
                self.redis_tip_changed(&change);
                for height in self.lives.tip_changed(&change) {
                    self.want_height(height).ok(); // a busy ledger makes blocks anyway
                }
                self.tell_watchers(|client| client.tip_events(&change));
                self.settle();
            }
            ledger::Output::Pooled { transaction, reverted: false, .. } => {
                self.tell_watchers(|client| client.pooled_events(&transaction));
                self.redis_pooled(&transaction);
            }
            ledger::Output::PoolSize { count, bytes } => self.status.pool_size(count, bytes),
            ledger::Output::Storage(storage) => self.status.stored(storage),
            ledger::Output::Dropped { txid, reason } => {
                self.lives.dropped(&txid, reason);
                self.tell_watchers(|client| client.dropped_events(&txid, reason));
                self.redis_dropped(&txid, reason);
                self.settle();
            }
            _ => {}
        }
    }

    fn ledger_answered(&mut self, request: RequestId, answer: Answer) {
        let Some(asked) = self.asked.get(&request).copied() else { return };
        let answer = match (asked, answer) {
            (Asked::Redis(client), answer) => return self.redis_wrote(client, request, answer),
            (Asked::Write(client, Some(wait)), Answer::Accepted { txid }) => {
                self.asked.remove(&request);
                self.lives.wait(txid, self.waiter(client, wait));
                self.lives.is_pending(&txid);
                return;
            }
            (Asked::Write(client, wait), Answer::Submitted { txids, refusal }) => {
                match (wait, txids.last()) {
                    (Some(wait), Some(last)) if refusal.is_none() => {
                        self.asked.remove(&request);
                        self.lives.wait(*last, self.waiter(client, wait));
                        self.lives.is_pending(last);
                        return;
                    }
                    _ => submitted(&txids, refusal),
                }
            }
            (_, Answer::Submitted { .. }) => unreachable!("only writes are submitted"),
            (_, Answer::Accepted { txid }) => {
                Ok(json!({ "txid": txid.to_string(), "status": "pending" }))
            }
            (Asked::Wait(_, txid), Answer::Status(PoolStatus::Pending)) => {
                self.asked.remove(&request);
                self.lives.is_pending(&txid);
                return;
            }
            (Asked::Wait(_, txid), Answer::Status(PoolStatus::Dropped(reason))) => {
                self.asked.remove(&request);
                self.lives.dropped(&txid, reason);
                return self.settle();
            }
            (Asked::Wait(client, txid), Answer::Status(PoolStatus::Unknown)) => {
                self.asked.remove(&request);
                let again = self.read(Asked::WaitAgain(client, txid), Read::Inclusion(txid));
                return again.unwrap_or_else(|failure| {
                    self.lives.forget(client);
                    self.finish(client, &Err(failure));
                });
            }
            (Asked::Transaction(client, txid), Answer::Status(PoolStatus::Unknown)) => {
                self.asked.remove(&request);
                let again = self.read(Asked::TransactionAgain(client, txid), Read::Inclusion(txid));
                return again.unwrap_or_else(|failure| self.finish(client, &Err(failure)));
            }
            (Asked::Transaction(_, txid), Answer::Status(status)) => show_status(&txid, &status),
            (_, Answer::Status(_)) => unreachable!("only TX and WAIT look transactions up"),
            (_, Answer::Refused(refusal)) => Err(refused(&refusal)),
            (_, Answer::Invalid(error)) => Err(Failure::new(Code::Refused, error)),
            (_, Answer::NoKey) => Err(locked()),
            (_, Answer::Account { key, balance, next_sequence, pooled }) => Ok(json!({
                "address": key.to_string(),
                "balance": balance,
                "coins": command::show_coins(balance),
                "next_sequence": next_sequence,
                "pending": pooled,
            })),
        };
        self.answered(request, &answer);
    }

    /// Passes an answer on, or asks the next question.
    fn answered(&mut self, request: RequestId, answer: &Result<Value, Failure>) {
        let Some(asked) = self.asked.remove(&request) else { return };
        match (asked, answer) {
            (Asked::Transaction(_, txid) | Asked::Wait(_, txid), Err(failure))
                if failure.code == Code::NotFound && failure.message != unknown(&txid).message =>
            {
                self.asked.insert(request, asked);
                let input = ledger::Input::Lookup { request, txid };
                if let Err(failure) = self.tell_ledger(request, input) {
                    self.lives.forget(asked.client());
                    self.finish(asked.client(), &Err(failure));
                }
            }
            (
                Asked::TransactionAgain(client, txid) | Asked::WaitAgain(client, txid),
                Err(failure),
            ) if failure.code == Code::NotFound => {
                self.lives.forget(client);
                self.finish(client, &Err(unknown(&txid)));
            }
            (Asked::Wait(_, txid) | Asked::WaitAgain(_, txid), Ok(included)) => {
                let wanted = self.lives.found(&txid, included, self.status.height());
                wanted.map(|height| self.want_height(height).ok());
                self.settle();
            }
            _ => self.finish(asked.client(), answer),
        }
    }

    /// Takes note of the waits that have come to an end. They are answered a few a turn, and by
    /// nothing else.
    fn settle(&mut self) {
        for (id, answer) in self.lives.settled() {
            let question = self.clients.get_mut(&id).and_then(|client| client.question.take());
            question.map(|question| self.asked.remove(&question));
            self.settled.push_back((id, answer));
        }
    }

    fn tell_watchers(&mut self, mut events: impl FnMut(&mut Client) -> Vec<Value>) {
        for id in &self.listening {
            let Some(client) = self.clients.get_mut(id).filter(|client| client.watches()) else {
                continue;
            };
            for event in events(client) {
                let bytes = reply::event(&event);
                self.outbox.push_back(ServiceOutput::Send { client: *id, bytes });
            }
        }
    }
}

pub(super) fn locked() -> Failure {
    Failure::new(Code::Locked, "the node's wallet is locked; start it with --passphrase-file")
}

/// What to say of a transaction that the pool does not take.
pub(super) fn refused(refusal: &Refusal) -> Failure {
    let code = match refusal {
        // Blocks make room.
        Refusal::AccountFull { .. } | Refusal::Full => Code::Busy,
        _ => Code::Refused,
    };
    Failure::new(code, refusal)
}

/// What to say of a submission.
fn submitted(txids: &[chain::Hash], refusal: Option<Refusal>) -> Result<Value, Failure> {
    match (txids, refusal) {
        ([], Some(refusal)) => Err(refused(&refusal)),
        (taken, Some(refusal)) => {
            let code = refused(&refusal).code;
            let taken = taken.len();
            let what = format!(
                "{refusal} (transaction {} of the line; the {taken} before it are pending)",
                taken + 1
            );
            Err(Failure::new(code, what))
        }
        ([txid], None) => Ok(json!({ "txid": txid.to_string(), "status": "pending" })),
        (txids, None) => {
            let txids: Vec<String> = txids.iter().map(chain::Hash::to_string).collect();
            Ok(json!({ "txids": txids, "status": "pending" }))
        }
    }
}

fn unknown(txid: &chain::Hash) -> Failure {
    let what = format!("transaction {txid} is neither in the chain nor in this node's pool");
    Failure::new(Code::NotFound, what)
}

fn show_status(txid: &chain::Hash, status: &PoolStatus) -> Result<Value, Failure> {
    match status {
        PoolStatus::Pending => Ok(json!({ "txid": txid.to_string(), "status": "pending" })),
        PoolStatus::Dropped(reason) => Ok(json!({
            "txid": txid.to_string(),
            "status": reason.code(),
            "message": reason.to_string(),
        })),
        PoolStatus::Unknown => Err(unknown(txid)),
    }
}
