use std::time::Duration;

use crossbeam::channel::{self, Receiver};
use ruint::aliases::U256;

use super::*;
use crate::bench::unreachable_job;
use crate::kernel;
use crate::pow::{Target, sha256d};

/// Far above what any step below takes, even on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A job that one header in `2^zero_bits` solves.
fn easy_job(id: u64, zero_bits: usize) -> Arc<Job> {
    let target = Target::from_uint(U256::MAX >> zero_bits);
    Arc::new(Job { id, target, ..unreachable_job() })
}

fn start(threads: usize) -> (Search, Receiver<Solution>) {
    let (sender, receiver) = channel::bounded(1024);
    let kernel = kernel::choose(None).unwrap();
    let search = Search::start(SearchOptions::new(threads, kernel), move |solution| {
        sender.send(solution).expect("the test keeps the other end");
    });
    (search.unwrap(), receiver)
}

/// Waits for a condition that the workers bring about.
fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let started = now();
    while !condition() {
        assert!(now().duration_since(started) < PATIENCE, "gave up waiting until {what}");
        thread::yield_now();
    }
}

#[test]
fn solution_meets_the_target_of_its_job() {
    let (search, solutions) = start(2);
    let job = easy_job(3, 12);
    search.set_job(Some(Arc::clone(&job)));
    let solution = solutions.recv_timeout(PATIENCE).unwrap();
    assert_eq!(solution.job_id, 3);
    assert!(job.target.is_met_by(&sha256d(&job.header(&solution))), "{solution:?}");
    assert!(search.hashes().iter().sum::<u64>() > 0);
}

#[test]
fn every_job_is_reported_exactly_once() {
    let (search, solutions) = start(4);
    for id in 0..200 {
        search.set_job(Some(easy_job(id, 2)));
        assert_eq!(solutions.recv_timeout(PATIENCE).unwrap().job_id, id);
    }
    search.stop();
    assert_eq!(solutions.try_iter().count(), 0, "a job was reported again");
}

#[test]
fn only_the_first_claim_of_the_newest_generation_counts() {
    let shared = Shared::new(2);
    shared.set_order(Order::Mine(easy_job(1, 0)));
    let (old, _) = shared.wait_for_job(0).unwrap();
    assert!(shared.claim(old));
    assert!(!shared.claim(old), "another worker found one too");

    shared.set_order(Order::Mine(easy_job(2, 0)));
    assert!(!shared.claim(old), "a late solution of a job that was replaced");
    let is_kept = matches!(&*shared.slot.lock(), Order::Mine(job) if job.id == 2);
    assert!(is_kept, "a late claim does not take the new job away");
    assert!(shared.claim(shared.generation()));
}

#[test]
fn solution_found_after_rolling_meets_the_target() {
    /// Tries the first nonce alone and so comes to the other fields quickly.
    fn hasty(scan: &Scan, first: u32, _: u32) -> Option<Hit> {
        if first == 0 { (kernel::choose(Some("scalar")).unwrap().scan)(scan, 0, 1) } else { None }
    }
    static HASTY: Kernel = Kernel { name: "hasty", lanes: 1, available: || true, scan: hasty };

    let (sender, solutions) = channel::bounded(1);
    let search = Search::start(SearchOptions::new(2, &HASTY), move |solution| {
        sender.send(solution).unwrap();
    });
    let search = search.unwrap();
    let job = Job { version_mask: 0x6000, ..(*easy_job(4, 8)).clone() };
    search.set_job(Some(Arc::new(job.clone())));
    let solution = solutions.recv_timeout(PATIENCE).unwrap();
    assert!(solution.extranonce > 1, "the job was chosen so that it takes some rolling");
    assert!(job.target.is_met_by(&sha256d(&job.header(&solution))), "{solution:?}");
}

#[test]
fn until_replaced_every_find_is_reported_once() {
    /// Hits at every third nonce.
    fn thirds(scan: &Scan, first: u32, count: u32) -> Option<Hit> {
        let nonce = first.next_multiple_of(3);
        (nonce - first < count).then_some(Hit { version: scan.versions[0].number, nonce })
    }
    static THIRDS: Kernel = Kernel { name: "thirds", lanes: 1, available: || true, scan: thirds };

    let (sender, solutions) = channel::bounded(1024);
    let options = SearchOptions { until: Until::Replaced, ..SearchOptions::new(2, &THIRDS) };
    let search = Search::start(options, move |solution: Solution| {
        sender.send((solution.extranonce, solution.nonce)).ok(); // the test has seen enough
    });
    let search = search.unwrap();
    search.set_job(Some(Arc::new(unreachable_job())));
    let mut next = [0, 0];
    while next.iter().any(|&nonce| nonce < 3000) {
        let (extranonce, nonce) = solutions.recv_timeout(PATIENCE).unwrap();
        let next = &mut next[usize::try_from(extranonce).unwrap()];
        assert_eq!(nonce, *next, "thread {extranonce}");
        *next += 3;
    }
    search.set_job(None);
    drop(solutions);
}

#[test]
fn until_replaced_solutions_meet_the_target_and_the_next_job_is_taken() {
    let (sender, solutions) = channel::bounded(1024);
    let kernel = kernel::choose(None).unwrap();
    let options = SearchOptions { until: Until::Replaced, ..SearchOptions::new(2, kernel) };
    let search = Search::start(options, move |solution| {
        sender.try_send(solution).ok(); // more come than are looked at
    })
    .unwrap();
    let mut seen = std::collections::HashSet::new();
    for job in [easy_job(1, 10), easy_job(2, 10)] {
        search.set_job(Some(Arc::clone(&job)));
        for _ in 0..20 {
            let of_job = |solution: &Solution| solution.job_id == job.id;
            let solution = solutions.iter().find(of_job).unwrap();
            assert!(job.target.is_met_by(&sha256d(&job.header(&solution))), "{solution:?}");
            assert!(seen.insert(solution), "{solution:?} was reported twice");
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn pinned_workers_run_on_one_core_each() {
    use rustix::thread::sched_getaffinity;

    let (sender, cores) = channel::bounded(1);
    let kernel = kernel::choose(None).unwrap();
    let options = SearchOptions { pin: Pin::OneCoreEach, ..SearchOptions::new(1, kernel) };
    let search = Search::start(options, move |_| {
        sender.send(sched_getaffinity(None).unwrap().count()).unwrap();
    });
    let search = search.unwrap();
    assert!(search.unpinned().is_none(), "{:?}", search.unpinned());
    search.set_job(Some(easy_job(1, 1)));
    assert_eq!(cores.recv_timeout(PATIENCE), Ok(1));
}

#[test]
fn the_same_job_set_again_is_searched_again() {
    let (search, solutions) = start(1);
    let job = easy_job(5, 4);
    search.set_job(Some(Arc::clone(&job)));
    let first = solutions.recv_timeout(PATIENCE).unwrap();
    search.set_job(Some(job));
    assert_eq!(solutions.recv_timeout(PATIENCE).unwrap(), first);
}

#[test]
fn a_new_job_replaces_one_that_is_being_mined() {
    let (search, solutions) = start(2);
    search.set_job(Some(Arc::new(unreachable_job())));
    wait_until("both threads mine", || search.hashes().iter().all(|&count| count > 0));
    search.set_job(Some(easy_job(8, 6)));
    assert_eq!(solutions.recv_timeout(PATIENCE).unwrap().job_id, 8);
}

#[test]
fn callback_may_set_the_next_job() {
    let (sender, solutions) = channel::bounded(8);
    let search: Arc<Mutex<Option<Search>>> = Arc::default();
    let own = Arc::downgrade(&search);
    let options = SearchOptions::new(2, kernel::choose(None).unwrap());
    let started = Search::start(options, move |solution: Solution| {
        let owner = own.upgrade().expect("the test keeps the search");
        let next = solution.job_id + 1;
        if next < 5 {
            owner.lock().as_ref().unwrap().set_job(Some(easy_job(next, 3)));
        }
        drop(owner);
        sender.send(solution.job_id).unwrap();
    });
    let mut slot = search.lock();
    *slot = Some(started.unwrap());
    slot.as_ref().unwrap().set_job(Some(easy_job(0, 3)));
    drop(slot);
    let ids: Vec<_> = (0..5).map(|_| solutions.recv_timeout(PATIENCE).unwrap()).collect();
    assert_eq!(ids, [0, 1, 2, 3, 4]);
    let search = search.lock().take();
    drop(search);
}

#[test]
fn an_exhausted_job_is_left_without_a_report_and_the_next_is_taken() {
    /// Tries nothing, at once: finds the first nonce of the easiest target and no other.
    fn instant(scan: &Scan, first: u32, _: u32) -> Option<Hit> {
        let hit = Hit { version: scan.versions[0].number, nonce: first };
        (scan.top_word() == u32::MAX).then_some(hit)
    }
    static INSTANT: Kernel =
        Kernel { name: "instant", lanes: 1, available: || true, scan: instant };

    let (sender, solutions) = channel::bounded(8);
    let search = Search::start(SearchOptions::new(2, &INSTANT), move |solution| {
        sender.send(solution.job_id).unwrap();
    });
    let search = search.unwrap();
    let short = Job {
        extranonce_start: u64::MAX - 1,
        time_max: unreachable_job().time,
        version_mask: 1 << 13,
        ..unreachable_job()
    };
    search.set_job(Some(Arc::new(short)));
    let all = 2 << 32;
    wait_until("all is tried", || search.hashes().iter().all(|&count| count == all));
    assert!(search.is_alive());
    search.set_job(Some(easy_job(9, 0)));
    assert_eq!(solutions.recv_timeout(PATIENCE), Ok(9));
}

#[test]
fn without_a_job_every_thread_blocks() {
    let (search, _solutions) = start(2);
    // Wakes nobody for long: a worker that finds nothing to do goes back to waiting.
    let all_block = || search.shared.changed.notify_all() == 2;
    wait_until("both threads wait for the first job", all_block);
    assert_eq!(search.hashes(), [0, 0]);

    search.set_job(Some(Arc::new(unreachable_job())));
    wait_until("both threads mine", || search.hashes().iter().all(|&count| count > 0));
    search.set_job(None);
    wait_until("both threads rest", all_block);
}

#[test]
fn stop_takes_less_than_100_ms() {
    // The quickest of several: a machine that is busy with other things may stop us once.
    let quickest = (0..5).map(|_| {
        let (search, _solutions) = start(2);
        search.set_job(Some(Arc::new(unreachable_job())));
        wait_until("both threads mine", || search.hashes().iter().all(|&count| count > 0));
        let started = now();
        search.stop();
        now().duration_since(started)
    });
    let quickest = quickest.min().unwrap();
    assert!(quickest < Duration::from_millis(100), "{quickest:?}");
}

#[test]
fn a_worker_that_panics_is_noticed() {
    fn broken(_: &Scan, _: u32, _: u32) -> Option<Hit> {
        panic!("this kernel is broken on purpose")
    }
    static BROKEN: Kernel = Kernel { name: "broken", lanes: 1, available: || true, scan: broken };

    let search = Search::start(SearchOptions::new(2, &BROKEN), |_| ()).unwrap();
    assert!(search.is_alive());
    search.set_job(Some(Arc::new(unreachable_job())));
    wait_until("the panic is seen", || !search.is_alive());
    search.stop();
}

#[test]
fn threads_are_named() {
    let (sender, names) = channel::bounded(1);
    let options = SearchOptions::new(1, kernel::choose(None).unwrap());
    let search = Search::start(options, move |_| {
        sender.send(thread::current().name().map(str::to_owned)).unwrap();
    });
    let search = search.unwrap();
    search.set_job(Some(easy_job(1, 1)));
    assert_eq!(names.recv_timeout(PATIENCE).unwrap().as_deref(), Some("miner-0"));
}
