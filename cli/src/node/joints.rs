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
    events: Receiver<Event>,
    folder: &Folder,
) -> (NodePipeline, Joints) {
    let Links { work, inputs, reads, outward, stop, search, workers } = links;
    let folder_path = folder.path().to_path_buf();
    let peers: PeerList = Arc::new(Mutex::new(Arc::from([])));
    let pipeline = NodePipeline {
        work: work.clone(),
        reads: reads.clone(),
        from_stages,
        peers: Arc::clone(&peers),
        folder: folder_path.clone(),
        stop: stop.clone(),
    };
    let busy = || Failure::new(Code::Busy, "the node has more to do than it can take; try again");
    let joints = Joints {
        events,
        ledger: inputs,
        submit: Box::new(move |request, transactions| {
            work.try_send(VerifyTask::Client { request, transactions }).map_err(|_| busy())
        }),
        reads: Box::new(move |job: ReadJob| {
            reads.try_send(ReadTask::Client(job)).map_err(|_| busy())
        }),
        tell_protocol: Box::new(move |input: net::Input| {
            // The reactor's own thread sends this, so it must not wait for itself.
            let sent = outward.to_protocol.try_send(input);
            outward.waker.wake();
            sent.map_err(|_| busy())
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
