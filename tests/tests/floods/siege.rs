//! All attacks at the same time.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use tests::node::{now, wait_until};

use super::attackers::{Siege, old_headers};
use super::line::{Line, cpu, memory, percentile};

/// What the product promises.
const MAX_DELAY: Duration = Duration::from_secs(1);
const MAX_MEMORY: u64 = 256 * 1024 * 1024;

/// Writes measured, and as many blocks.
const SAMPLES: usize = 110;
/// Blocks that are there before, each with a value of this many bytes.
const OLD_BLOCKS: usize = 60;
const VALUE_BYTES: usize = 30_000;

/// Ends the attack whatever happens, or a test that fails would wait for ever.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn honest_nodes_are_in_touch_while_all_attack_the_one_between_them() {
    cli::descriptors::allow_many();
    let temp = tempfile::tempdir().unwrap();
    let line = Line::start(temp.path());
    let mut writer = line.c.client();
    for number in 0..OLD_BLOCKS {
        let value = "v".repeat(VALUE_BYTES);
        writer.ask(&format!("PUT old/{number} {value} WAIT 1")).expect("C mines its writes");
    }
    wait_until("A having the old blocks", || line.a.status()["tip"] == line.c.status()["tip"]);
    let calm = line.measure("calm", 20);
    println!("calm:  {calm}; {} MiB", memory(&line.b).0 >> 20);
    let headers = old_headers(line.b.peers, 40);
    let siege = Siege::new(line.b.peers, line.b.admin, &headers);
    let (started, before) = (now(), [line.a.process_id(), line.b.process_id()].map(cpu));
    let own = cpu(std::process::id());
    let delays = thread::scope(|scope| {
        let _ending = Ending(&siege.over);
        scope.spawn(|| siege.half_open());
        scope.spawn(|| siege.garbage());
        scope.spawn(|| siege.questions());
        scope.spawn(|| siege.transactions());
        scope.spawn(|| siege.slow_readers());
        scope.spawn(|| siege.clients());
        wait_until("the attack", || {
            let reached = |counter: &AtomicUsize, least| counter.load(Ordering::Relaxed) >= least;
            reached(&siege.half_open, 2000)
                && reached(&siege.slow, 80)
                && reached(&siege.clients, 100)
        });
        let delays = line.measure("siege", SAMPLES);
        println!("siege: {delays}");
        let since = now();
        let newcomer = line.newcomer(temp.path());
        wait_until("a newcomer having the chain", || {
            newcomer.status()["tip"] == line.b.status()["tip"]
        });
        println!("a newcomer has the chain after {:?}", since.elapsed());
        delays
    });
    let (now_bytes, most_bytes) = memory(&line.b);
    println!("memory of the node: {} MiB, at most {} MiB", now_bytes >> 20, most_bytes >> 20);
    let after = [line.a.process_id(), line.b.process_id()].map(cpu);
    println!(
        "in {:?} CPU seconds/100: attackers {}, the node {}, A {}",
        started.elapsed(),
        cpu(std::process::id()) - own,
        after[1] - before[1],
        after[0] - before[0],
    );
    let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
    println!(
        "half-open {}, garbage {} MB, messages {}, refused {}, {} by one, slow {}, clients {}",
        count(&siege.half_open),
        count(&siege.garbage) / 1_000_000,
        count(&siege.flooded),
        count(&siege.delivered),
        count(&siege.delivered_by_one),
        count(&siege.slow),
        count(&siege.clients),
    );
    for list in [&delays.writes, &delays.blocks] {
        assert!(list.len() >= 100 && percentile(list, 99) < MAX_DELAY, "too slow: {delays}");
    }
    assert!(most_bytes < MAX_MEMORY, "{most_bytes} bytes of memory");
    assert!(count(&siege.garbage) > 1_000_000 && count(&siege.flooded) > 1000, "no attack");
    // Who is evicted for somebody else comes again, with nothing refused yet.
    let by_one = count(&siege.delivered_by_one);
    assert!(count(&siege.delivered) >= 200 && by_one < 2000, "the refused are asked for slowly");
}
