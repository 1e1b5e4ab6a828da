//! The threads that mine: they take the newest job, try batches of nonces, report a solution.
//!
//! A job sits in a slot that [`Search::set_job`] overwrites; each change bumps a generation that
//! workers look at between batches of a few milliseconds. What ends a generation is [`Until`]: its
//! first solution, which empties the slot so that each job is reported at most once, or the next
//! job alone. A worker without work blocks. These are the only threads of the crate, and this is
//! its only place that reads the clock.

mod pace;
mod pin;
mod roll;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam::channel;
use crossbeam::utils::CachePadded;
use parking_lot::{Condvar, Mutex};

use crate::job::{Job, Solution};
use crate::kernel::{Hit, Kernel, Scan};
use pace::Pace;
pub use pin::Pin;
use roll::{Batch, Part, Roll};

/// How a search runs.
#[derive(Clone, Copy, Debug)]
pub struct SearchOptions {
    /// Number of worker threads; none of them shares work with another. With 0 nothing is found.
    pub threads: usize,
    /// The way to try nonces, from [`crate::kernel::choose`].
    pub kernel: &'static Kernel,
    /// How long a batch should take. A new job is taken, and a stop obeyed, one batch later.
    pub batch: Duration,
    /// When the threads leave a job.
    pub until: Until,
    /// Which cores the threads run on.
    pub pin: Pin,
}

/// When the workers leave a job that has headers left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Until {
    /// At its first solution, the only one that is reported: for whoever wants a block.
    #[default]
    Solved,
    /// When another takes its place: for whoever wants shares. Every solution is reported, and
    /// the worker goes on at the next nonce. Other versions that meet the target with the same
    /// nonce in the same scan are skipped; there are at most [`crate::kernel::MAX_VERSIONS`].
    Replaced,
}

impl SearchOptions {
    /// Long enough to hide the look at the slot, short enough that a new tip is mined on at once.
    pub const DEFAULT_BATCH: Duration = Duration::from_millis(3);

    /// Takes this many threads and this kernel, with batches of [`Self::DEFAULT_BATCH`], to solve
    /// each job once on any core.
    #[must_use]
    pub const fn new(threads: usize, kernel: &'static Kernel) -> Self {
        let (until, pin) = (Until::Solved, Pin::AnyCore);
        Self { threads, kernel, batch: Self::DEFAULT_BATCH, until, pin }
    }
}

/// Worker threads that search for a solution of the newest job. Dropping it stops them.
#[derive(Debug)]
pub struct Search {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    unpinned: Option<io::Error>,
}

impl Search {
    /// Starts the threads `miner-0`, `miner-1` and so on, idle until [`Search::set_job`].
    ///
    /// `on_solution` runs on the worker that found the solution; with [`Until::Solved`] at most
    /// once for each call of `set_job`. It may call `set_job`; it must not own the search, whose
    /// end would then have to wait for itself. A solution may arrive just after its job was
    /// replaced.
    ///
    /// # Errors
    /// When the operating system refuses a thread; those already started are stopped.
    pub fn start(
        options: SearchOptions,
        on_solution: impl Fn(Solution) + Send + Sync + Clone + 'static,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared::new(options.threads));
        let workers = Vec::with_capacity(options.threads);
        let mut search = Self { shared, workers, unpinned: None };
        let cores = match options.pin {
            Pin::AnyCore => Vec::new(),
            Pin::OneCoreEach => pin::cores().unwrap_or_else(|error| {
                search.unpinned = Some(error);
                Vec::new()
            }),
        };
        let (pinned, results) = channel::bounded(options.threads);
        for index in 0..options.threads {
            let worker = Worker {
                part: Part { index, count: options.threads },
                kernel: options.kernel,
                pace: Pace::new(options.batch, options.kernel.lanes),
                until: options.until,
                shared: Arc::clone(&search.shared),
                on_solution: on_solution.clone(),
            };
            let core = cores.get(index % cores.len().max(1)).copied();
            let pinned = pinned.clone();
            let thread = thread::Builder::new().name(format!("miner-{index}"));
            search.workers.push(thread.spawn(move || {
                let result = core.map_or(Ok(()), pin::keep_on);
                drop(pinned.send(result)); // whoever starts us may have failed and left
                worker.run();
            })?);
        }
        // Each worker says once, first of all, how pinning went.
        let failed = results.iter().take(options.threads).find_map(Result::err);
        search.unpinned = search.unpinned.take().or(failed);
        Ok(search)
    }

    /// Why the threads, or some of them, are not pinned although [`Pin::OneCoreEach`] asked for
    /// it: another system than Linux, or a sandbox that forbids it. They mine all the same.
    #[must_use]
    pub const fn unpinned(&self) -> Option<&io::Error> {
        self.unpinned.as_ref()
    }

    /// Replaces the job; `None` lets the threads rest. Never waits for a batch.
    pub fn set_job(&self, job: Option<Arc<Job>>) {
        self.shared.set_order(job.map_or(Order::Rest, Order::Mine));
    }

    /// Returns how many headers each thread has tried since the start. Grows batch by batch.
    #[must_use]
    pub fn hashes(&self) -> Vec<u64> {
        self.shared.hashes.iter().map(|count| count.load(Ordering::Relaxed)).collect()
    }

    /// Tells whether every worker still runs. A worker ends early only by a panic, its own or of
    /// `on_solution`; the search should then be stopped and the fault reported.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.workers.iter().all(|worker| !worker.is_finished())
    }

    /// Stops the threads and waits for them: as long as a batch takes, and as `on_solution` does.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Search {
    fn drop(&mut self) {
        self.shared.set_order(Order::Stop);
        for worker in self.workers.drain(..) {
            // A worker that panicked has said so on stderr and in `is_alive`.
            let _ = worker.join();
        }
    }
}

/// What the workers are to do.
#[derive(Debug)]
enum Order {
    Rest,
    Mine(Arc<Job>),
    Stop,
}

#[derive(Debug)]
struct Shared {
    slot: Mutex<Order>,
    changed: Condvar,
    /// Counts the changes of `slot`; written under its lock. Read without it between batches,
    /// where an old value only costs one more batch.
    generation: CachePadded<AtomicU64>,
    /// Headers tried by each worker, each on its own cache line.
    hashes: Vec<CachePadded<AtomicU64>>,
}

impl Shared {
    fn new(threads: usize) -> Self {
        Self {
            slot: Mutex::new(Order::Rest),
            changed: Condvar::new(),
            generation: CachePadded::new(AtomicU64::new(0)),
            hashes: (0..threads).map(|_| CachePadded::default()).collect(),
        }
    }

    fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }

    fn set_order(&self, order: Order) {
        let mut slot = self.slot.lock();
        *slot = order;
        self.generation.fetch_add(1, Ordering::Relaxed);
        self.changed.notify_all();
    }

    /// Blocks until there is a job of another generation than `seen`, and returns it with its
    /// own; `None` when the worker is to stop.
    fn wait_for_job(&self, seen: u64) -> Option<(u64, Arc<Job>)> {
        let mut slot = self.slot.lock();
        loop {
            match &*slot {
                Order::Stop => return None,
                Order::Mine(job) if self.generation() != seen => {
                    return Some((self.generation(), Arc::clone(job)));
                }
                Order::Mine(_) | Order::Rest => self.changed.wait(&mut slot),
            }
        }
    }

    /// Ends a generation because it is solved, and tells whether the caller was the first to.
    fn claim(&self, generation: u64) -> bool {
        let mut slot = self.slot.lock();
        let is_first = self.generation() == generation;
        if is_first {
            *slot = Order::Rest;
            self.generation.fetch_add(1, Ordering::Relaxed);
        }
        is_first
    }
}

struct Worker<F> {
    part: Part,
    kernel: &'static Kernel,
    pace: Pace,
    until: Until,
    shared: Arc<Shared>,
    on_solution: F,
}

impl<F: Fn(Solution)> Worker<F> {
    fn run(mut self) {
        let mut seen = 0;
        while let Some((generation, job)) = self.shared.wait_for_job(seen) {
            seen = generation;
            self.mine(&job, generation);
        }
    }

    /// Mines until the end of the generation or of this part of the job.
    fn mine(&mut self, job: &Job, generation: u64) {
        let mut roll = Roll::new(job, self.part);
        let mut scan = None;
        while self.shared.generation() == generation {
            let Some(Batch { start, count }) = roll.next(self.pace.count()) else { return };
            if start.nonce == 0 {
                scan = None;
            }
            let scan = scan.get_or_insert_with(|| {
                Scan::new(&job.header(&start), &roll.versions(), job.target)
            });
            self.batch(scan, start, count, generation);
        }
    }

    /// Tries a batch, and after a solution what is left of it if the generation goes on.
    fn batch(&mut self, scan: &Scan, start: Solution, count: u32, generation: u64) {
        let (mut first, mut left) = (start.nonce, count);
        while let Some(Hit { version, nonce }) = self.scan(scan, first, left) {
            let is_wanted = match self.until {
                Until::Solved => self.shared.claim(generation),
                Until::Replaced => true,
            };
            if is_wanted {
                (self.on_solution)(Solution { version, nonce, ..start });
            }
            left -= nonce - first + 1;
            if left == 0 || self.shared.generation() != generation {
                return;
            }
            first = nonce + 1;
        }
    }

    fn scan(&mut self, scan: &Scan, first: u32, count: u32) -> Option<Hit> {
        let started = now();
        let found = (self.kernel.scan)(scan, first, count);
        let nonces = found.map_or(count, |hit| hit.nonce - first + 1);
        self.pace.record(nonces, now().duration_since(started));
        let headers = u64::from(nonces) * scan.versions.len() as u64;
        self.shared.hashes[self.part.index].fetch_add(headers, Ordering::Relaxed);
        found
    }
}

/// Reads the clock, to size batches and to measure.
#[expect(clippy::disallowed_methods, reason = "speed can only be measured against the clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
