//! How the reactor's two tenants, the protocol and the admin port, are joined to the stages.

use std::path::PathBuf;
use std::sync::Arc;

use chain::ledger;
use chain::template::Template;
use crossbeam::channel::{Receiver, Sender, TrySendError};
use net::{PeerInfo, Pipeline, ReactorWaker, Work};
use parking_lot::Mutex;

use super::crew::StopHandle;
use super::stage::ReadTask;
use super::verify::VerifyTask;
use crate::admin::{Event, Joints, PeerList, ReadJob};
use crate::bans::BanList;
use crate::folder::{self, Folder};
use crate::reply::{Code, Failure};
use crate::stratum::Workers;

/// The way out to the reactor. Sending may wait; the reactor always drains.
#[derive(Clone)]
pub(super) struct Outward {
    pub(super) to_protocol: Sender<net::Input>,
    pub(super) to_admin: Sender<Event>,
    /// To the admin port as well: what readers have found.
    pub(super) answers: Sender<Event>,
    /// There when the node has a Stratum port.
    pub(super) to_stratum: Option<Sender<Option<Arc<Template>>>>,
    pub(super) waker: ReactorWaker,
}

impl Outward {
    /// Tells the protocol. A reactor that has ended needs to know nothing.
    pub(super) fn protocol(&self, input: net::Input) {
        self.put(&self.to_protocol, input);
        self.waker.wake();
    }

    /// Tells the admin port.
    pub(super) fn admin(&self, event: Event) {
        self.put(&self.to_admin, event);
        self.waker.wake();
    }

    /// Tells the admin port what it has asked a reader for.
    pub(super) fn answer(&self, event: Event) {
        self.put(&self.answers, event);
        self.waker.wake();
    }

    /// Sends without waking the reactor, unless the queue is full: it may not know yet.
    fn put<T>(&self, queue: &Sender<T>, item: T) {
        if let Err(TrySendError::Full(item)) = queue.try_send(item) {
            self.waker.wake();
            queue.send(item).ok();
        }
    }

    /// Wakes the reactor after [`Outward::ledger_said`].
    pub(super) fn wake(&self) {
        self.waker.wake();
    }

    /// Gives the Stratum port something to mine, or nothing.
    pub(super) fn stratum(&self, template: Option<Arc<Template>>) {
        if let Some(to_stratum) = &self.to_stratum {
            to_stratum.send(template).ok();
            self.waker.wake();
        }
    }

    /// Tells whom it concerns what the ledger said; one [`Outward::wake`] is enough for many.
    pub(super) fn ledger_said(&self, output: ledger::Output) {
        match output {
            ledger::Output::Answer { .. } | ledger::Output::PoolSize { .. } => {
                self.put(&self.to_admin, Event::Ledger(output));
            }
            ledger::Output::TipChanged(_)
            | ledger::Output::Pooled { .. }
            | ledger::Output::Storage(_)
            | ledger::Output::Dropped { .. } => {
                self.put(&self.to_admin, Event::Ledger(output.clone()));
                self.put(&self.to_protocol, net::Input::Ledger(output));
            }
            _ => self.put(&self.to_protocol, net::Input::Ledger(output)),
        }
    }
}

/// The senders that both tenants share.
pub(super) struct Links {
    pub(super) work: Sender<VerifyTask>,
    pub(super) inputs: Sender<ledger::Input>,
    pub(super) reads: Sender<ReadTask>,
    pub(super) peer_reads: Sender<ReadTask>,
    pub(super) outward: Outward,
    pub(super) stop: StopHandle,
    pub(super) search: Option<Arc<miner::Search>>,
    pub(super) workers: Option<Arc<Mutex<Workers>>>,
}

/// The protocol's side.
pub(super) struct NodePipeline {
    work: Sender<VerifyTask>,
    reads: Sender<ReadTask>,
    from_stages: Receiver<net::Input>,
    peers: PeerList,
    folder: PathBuf,
    stop: StopHandle,
}

/// Makes both sides.
pub(super) fn join(
    links: Links,
    from_stages: Receiver<net::Input>,
    [answers, events]: [Receiver<Event>; 2],
    folder: &Folder,
) -> (NodePipeline, Joints) {
    let Links { work, inputs, reads, peer_reads, outward, stop, search, workers } = links;
    let folder_path = folder.path().to_path_buf();
    let peers: PeerList = Arc::new(Mutex::new(Arc::from([])));
    let pipeline = NodePipeline {
        work: work.clone(),
        reads: peer_reads,
        from_stages,
        peers: Arc::clone(&peers),
        folder: folder_path.clone(),
        stop: stop.clone(),
    };
    let joints = Joints {
        answers,
        events,
        ledger: inputs,
        submit: Box::new(move |request, transactions| {
            work.try_send(VerifyTask::Client { request, transactions }).map_err(|_| Failure::busy())
        }),
        reads: Box::new(move |job: ReadJob| {
            reads.try_send(ReadTask::Client(job)).map_err(|_| Failure::busy())
        }),
        tell_protocol: Box::new(move |input: net::Input| {
            // The reactor's own thread sends this, so it must not wait for itself.
            let sent = outward.to_protocol.try_send(input);
            outward.waker.wake();
            sent.map_err(|_| Failure::busy())
        }),
        save_bans: Box::new(move |bans: BanList| {
            folder::write_bans(&folder_path, &bans.to_text()).map_err(|error| {
                let what = format!("the bans hold until the node stops, but: {error}");
                Failure::new(Code::Internal, what)
            })
        }),
        peers,
        search,
        workers,
        stop: Box::new(move || stop.stop()),
    };
    (pipeline, joints)
}

impl Pipeline for NodePipeline {
    fn send(&mut self, work: Work) -> Result<(), Work> {
        let full = match work {
            Work::ServeHeaders { to, locator } => self
                .reads
                .try_send(ReadTask::Headers { to, locator })
                .map_err(TrySendError::into_inner)
                .map_err(ReadTask::into_work),
            Work::ServeBlock { to, hash } => self
                .reads
                .try_send(ReadTask::Block { to, hash })
                .map_err(TrySendError::into_inner)
                .map_err(ReadTask::into_work),
            work => self
                .work
                .try_send(VerifyTask::Peer(work))
                .map_err(TrySendError::into_inner)
                .map_err(VerifyTask::into_work),
        };
        full.map_err(|work| work.expect("a peer's work comes back as it went"))
    }

    fn receive(&mut self) -> Option<net::Input> {
        self.from_stages.try_recv().ok()
    }

    fn peers_changed(&mut self, peers: Arc<[PeerInfo]>) {
        *self.peers.lock() = peers;
    }

    fn save_book(&mut self, bytes: Vec<u8>) {
        if let Err(error) = folder::write_book(&self.folder, &bytes) {
            tracing::warn!(target: "node", %error, "the address book cannot be saved");
        }
    }

    fn stopping(&self) -> bool {
        self.stop.is_stopping()
    }
}

#[cfg(test)]
mod tests {
    use chain::Hash;
    use chain::ledger::{PeerId, RequestId};
    use chain::params::Network;
    use crossbeam::channel::bounded;
    use net::{Identity, Reactor, ReactorConfig};

    use super::super::crew::Crew;
    use super::*;
    use crate::request::{BlockName, Read};

    #[test]
    fn peers_are_served_although_clients_ask_for_more_than_readers_can_answer() {
        let temp = tempfile::tempdir().unwrap();
        let folder = Folder::open(temp.path()).unwrap();
        let (any, identity) = (([127, 0, 0, 1], 0).into(), Identity::from_secret([1; 32]));
        let config = ReactorConfig::new(any, Network::dev().genesis_hash(), identity);
        let waker = Reactor::bind(config).unwrap().waker();
        let (to_protocol, from_stages) = bounded(1);
        let (to_admin, events) = bounded(1);
        let (answers, answered) = bounded(1);
        let (work, _work_out) = bounded(1);
        let (reads, _reads_out) = bounded(1);
        let (peer_reads, peer_reads_out) = bounded(1);
        let links = Links {
            work,
            inputs: bounded(1).0,
            reads,
            peer_reads,
            outward: Outward {
                to_protocol,
                to_admin,
                answers,
                to_stratum: None,
                waker: waker.clone(),
            },
            stop: Crew::new(waker).stop_handle(),
            search: None,
            workers: None,
        };
        let (mut pipeline, joints) = join(links, from_stages, [answered, events], &folder);
        let ask = || {
            let read = Read::Block(BlockName::Height(0));
            (joints.reads)(ReadJob { request: RequestId(1), read })
        };
        ask().unwrap();
        assert_eq!(ask().unwrap_err().code, Code::Busy);
        let headers = Work::ServeHeaders { to: PeerId(1), locator: vec![Hash::ZERO] };
        assert!(pipeline.send(headers).is_ok());
        assert_eq!(peer_reads_out.len(), 1);
    }
}
