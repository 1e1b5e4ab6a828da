//! Threads that live and die together.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use crossbeam::channel::{Receiver, Sender, bounded, select};
use net::ReactorWaker;
use rayon::{ThreadPool, ThreadPoolBuildError, ThreadPoolBuilder};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::NodeError;

/// The threads of a node. When one ends, all are stopped.
pub(super) struct Crew {
    threads: Vec<(String, JoinHandle<Result<(), NodeError>>)>,
    ended: Sender<()>,
    ends: Receiver<()>,
    stop: StopHandle,
}

/// Asks the node to stop, and tells whether somebody has.
#[derive(Clone)]
pub(super) struct StopHandle {
    stopping: Arc<AtomicBool>,
    waker: ReactorWaker,
}

impl StopHandle {
    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// What is set when the node stops.
    pub(super) fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.stopping)
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }
}

/// How much of a core a thread gets while others want it too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Share {
    /// What the process was given: somebody waits for its answer.
    Full,
    /// Less. What it works on may come a little later, and must not keep answers waiting.
    Less,
    /// Even less. What it is late with makes its next piece of work larger, not more.
    Little,
    /// What the others leave: miners would take all there is.
    Rest,
}

impl Share {
    /// How much nicer than the process. Of two threads that want the same core, one that is nicer
    /// by 5 gets a quarter.
    fn nicer_by(self) -> i32 {
        match self {
            Share::Full => 0,
            Share::Less => 5,
            Share::Little => 10,
            Share::Rest => 15,
        }
    }

    /// Does something on a thread that has this share. The threads that it starts have it too.
    pub(super) fn of<T: Send>(self, start: impl FnOnce() -> T + Send) -> T {
        let starting = || {
            self.take();
            start()
        };
        let joined = thread::scope(|scope| scope.spawn(starting).join());
        joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// Takes it for this thread and those that it starts.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn take(self) {
        use rustix::process::{getpriority_process, setpriority_process};

        // Linux keeps this for each thread, and `None` is the one that asks.
        let nicer = |nice: i32| setpriority_process(None, (nice + self.nicer_by()).min(19));
        if self != Share::Full
            && let Err(error) = getpriority_process(None).and_then(nicer)
        {
            tracing::warn!(target: "node", %error, "the thread's priority stays as it is");
        }
    }

    /// Other systems have one priority for all threads of a process.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    fn take(self) {}
}

/// Starts threads that rayon spreads over what the calling thread does, for as long as what is
/// returned lives. Else it would wait behind all that is to be verified.
///
/// # Errors
/// When the system has none.
pub(super) fn helpers() -> Result<ThreadPool, NodeError> {
    pool("ledger").use_current_thread().build().map_err(|error| no_threads(&error))
}

/// Starts the threads that rayon spreads verification over.
///
/// # Errors
/// When the system has none.
pub(super) fn verifiers() -> Result<(), NodeError> {
    pool("verify").build_global().map_err(|error| no_threads(&error))
}

fn pool(name: &'static str) -> ThreadPoolBuilder {
    let named = ThreadPoolBuilder::new().thread_name(move |number| format!("{name}-{number}"));
    named.start_handler(|_| Share::Less.take())
}

fn no_threads(error: &ThreadPoolBuildError) -> NodeError {
    let source = std::io::Error::other(error.to_string());
    NodeError::System { what: "threads to verify and hash with cannot be started", source }
}

/// Says that a thread has ended, also when it panics.
struct EndNotice(Sender<()>);

impl Drop for EndNotice {
    fn drop(&mut self) {
        self.0.try_send(()).ok(); // one notice is enough
    }
}

impl Crew {
    pub(super) fn new(waker: ReactorWaker) -> Crew {
        let (ended, ends) = bounded(1);
        let stop = StopHandle { stopping: Arc::new(AtomicBool::new(false)), waker };
        Crew { threads: Vec::new(), ended, ends, stop }
    }

    pub(super) fn stop_handle(&self) -> StopHandle {
        self.stop.clone()
    }

    /// Starts a thread.
    ///
    /// # Errors
    /// When the system has none.
    pub(super) fn spawn(
        &mut self,
        name: &str,
        share: Share,
        body: impl FnOnce() -> Result<(), NodeError> + Send + 'static,
    ) -> Result<(), NodeError> {
        let notice = EndNotice(self.ended.clone());
        let thread = thread::Builder::new()
            .name(name.to_string())
            .spawn(move || {
                let _notice = notice;
                share.take();
                body()
            })
            .map_err(|source| NodeError::System { what: "a thread cannot be started", source })?;
        self.threads.push((name.to_string(), thread));
        Ok(())
    }

    /// Waits for a signal or the end of a thread, then stops all and joins them in the order in
    /// which they were spawned, which is downstream.
    ///
    /// # Errors
    /// What the first failed thread failed of.
    pub(super) fn run_until_stopped(self, signals: &Receiver<i32>) -> Result<(), NodeError> {
        select! {
            recv(signals) -> signal => {
                tracing::info!(target: "node", signal = signal.unwrap_or_default(), "stopping");
            }
            recv(self.ends) -> _ => {}
        }
        self.stop.stop();
        let mut result = Ok(());
        for (name, thread) in self.threads {
            let ended = thread.join().unwrap_or_else(|_| Err(NodeError::Died(name.clone())));
            if let Err(error) = &ended {
                tracing::error!(target: "node", thread = name, %error, "a thread failed");
            }
            result = result.and(ended);
        }
        result
    }
}

/// SIGINT and SIGTERM, as they come. A second one ends the process at once.
///
/// # Errors
/// When handlers cannot be set.
pub(crate) fn signals() -> Result<Receiver<i32>, NodeError> {
    let fail = |source| NodeError::System { what: "signal handlers cannot be set", source };
    let impatient = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        let again = Arc::clone(&impatient);
        signal_hook::flag::register_conditional_shutdown(signal, 1, again).map_err(fail)?;
        signal_hook::flag::register(signal, Arc::clone(&impatient)).map_err(fail)?;
    }
    let mut list = Signals::new([SIGINT, SIGTERM]).map_err(fail)?;
    let (sender, receiver) = bounded(1);
    thread::Builder::new()
        .name("signals".to_string())
        .spawn(move || {
            for signal in list.forever() {
                if sender.send(signal).is_err() {
                    break;
                }
            }
        })
        .map_err(fail)?;
    Ok(receiver)
}
