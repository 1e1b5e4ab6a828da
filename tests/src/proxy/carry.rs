//! The threads of a proxy: one accepts, and two carry each direction of each connection.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::{Link, Shared, Way};
use crate::node::now;

/// Read at once.
const CHUNK_BYTES: usize = 16 * 1024;

/// Chunks on their way: with this many a sender is held back, as on a real line.
const MAX_ON_THE_WAY: usize = 64;

/// A chunk waits so long for one that overtakes it.
const OVERTAKE: Duration = Duration::from_millis(200);

/// A chunk and when it is to be written.
struct Chunk {
    bytes: Vec<u8>,
    due: Instant,
}

/// One direction of one connection.
#[derive(Clone, Copy)]
struct Lane {
    link: u64,
    way: Way,
    seed: u64,
}

/// Starts a thread.
pub(super) fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    let thread = std::thread::Builder::new().name(name.to_string());
    thread.spawn(run).expect("a test may have a few threads")
}

/// Joins whoever connects to the node at `to`.
pub(super) fn accept(listener: &TcpListener, to: SocketAddr, seed: u64, shared: &Arc<Shared>) {
    for number in 0.. {
        let Ok((near, _)) = listener.accept() else { return };
        let faults = {
            let state = shared.lock();
            if state.is_over {
                return;
            }
            state.faults.clone()
        };
        let far = if faults.refuse { None } else { TcpStream::connect(to).ok() };
        match far {
            Some(far) => join(number, [near, far], seed ^ (number << 8), shared),
            None => shared.lock().counts.refused += 1,
        }
    }
}

fn join(number: u64, ends: [TcpStream; 2], seed: u64, shared: &Arc<Shared>) {
    let copies = || -> std::io::Result<Vec<TcpStream>> {
        ends.iter().for_each(|end| end.set_nodelay(true).unwrap_or_default());
        [&ends[0], &ends[1], &ends[1], &ends[0]].map(TcpStream::try_clone).into_iter().collect()
    };
    let Ok(copies) = copies() else { return };
    let mut copies = copies.into_iter();
    let link = Link { ends, swallows: [false; 2], bytes: 0, is_cut: false, open_ways: 2 };
    {
        let mut state = shared.lock();
        state.counts.joined += 1;
        state.links.insert(number, link);
    }
    for way in Way::BOTH {
        let (from, to) = (copies.next().expect("four"), copies.next().expect("four"));
        let lane = Lane { link: number, way, seed: seed ^ way as u64 };
        let (sender, receiver) = sync_channel(MAX_ON_THE_WAY);
        let own = Arc::clone(shared);
        spawn("proxy-read", move || read(lane, from, &sender, &own));
        let own = Arc::clone(shared);
        spawn("proxy-write", move || write(lane, to, &receiver, &own));
    }
}

/// Reads until the end, and says when each chunk is to be written.
fn read(lane: Lane, mut from: TcpStream, chunks: &SyncSender<Chunk>, shared: &Shared) {
    let mut rng = StdRng::seed_from_u64(lane.seed);
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut free_at = now();
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let Some(faults) = take_note(lane, count, shared) else { continue };
        let mut rest = &buffer[..count];
        while !rest.is_empty() {
            let most = faults.piece_bytes.map_or(rest.len(), |most| rng.random_range(1..=most));
            let (piece, others) = rest.split_at(most.min(rest.len()));
            rest = others;
            let delay = Duration::from_millis(rng.random_range(faults.delay_ms.clone()));
            let start = free_at.max(now() + delay);
            let takes = faults.bytes_a_second.map_or(0.0, |rate| piece.len() as f64 / rate as f64);
            free_at = start + Duration::from_secs_f64(takes);
            if chunks.send(Chunk { bytes: piece.to_vec(), due: free_at }).is_err() {
                return;
            }
        }
    }
}

/// Counts what was read; `None` if it is swallowed.
fn take_note(lane: Lane, count: usize, shared: &Shared) -> Option<super::Faults> {
    let mut state = shared.lock();
    let faults = state.faults.clone();
    let link = state.links.get(&lane.link)?;
    let is_swallowed = link.swallows[lane.way as usize];
    if is_swallowed {
        state.counts.swallowed += count as u64;
    }
    (!is_swallowed).then_some(faults)
}

/// Writes each chunk when its time comes, until there are no more.
fn write(lane: Lane, mut to: TcpStream, chunks: &Receiver<Chunk>, shared: &Shared) {
    let mut rng = StdRng::seed_from_u64(lane.seed ^ 0x77);
    while let Ok(mut chunk) = chunks.recv() {
        if !wait_for_turn(lane, chunk.due, shared) {
            continue;
        }
        let faults = shared.lock().faults.clone();
        let mut hit = |fault: Option<(Way, u32)>| {
            fault.is_some_and(|(way, one_in)| way == lane.way && rng.random_range(0..one_in) == 0)
        };
        let (garble, repeat, reorder) =
            (hit(faults.garble), hit(faults.repeat), hit(faults.reorder));
        let mut spoilt = u64::from(garble) + u64::from(repeat);
        gather(&mut chunk, chunks, Duration::from_millis(faults.gather_ms));
        if garble {
            let at = rng.random_range(0..chunk.bytes.len());
            chunk.bytes[at] ^= 1 << rng.random_range(0..8);
        }
        if repeat {
            chunk.bytes.extend_from_within(..);
        }
        if reorder && let Ok(next) = chunks.recv_timeout(OVERTAKE) {
            chunk.bytes.splice(0..0, next.bytes);
            spoilt += 1;
        }
        shared.lock().counts.spoilt += spoilt;
        let is_last = cut_short(lane, &mut chunk.bytes, faults.cut_after_bytes, shared);
        to.write_all(&chunk.bytes).ok(); // if it fails the reader sees an end too
        if is_last {
            cut(lane, shared);
        }
    }
    end(lane, &to, shared);
}

/// Leaves of a chunk what the connection may still carry, counts it, and says whether it was more.
fn cut_short(lane: Lane, bytes: &mut Vec<u8>, most: Option<u64>, shared: &Shared) -> bool {
    let mut state = shared.lock();
    let Some(link) = state.links.get_mut(&lane.link) else { return false };
    let left = most.map_or(u64::MAX, |most| most.saturating_sub(link.bytes));
    let left = usize::try_from(left).unwrap_or(usize::MAX);
    let is_last = bytes.len() > left;
    bytes.truncate(left);
    link.bytes += bytes.len() as u64;
    state.counts.bytes += bytes.len() as u64;
    is_last
}

/// Ends a connection, once.
fn cut(lane: Lane, shared: &Shared) {
    let mut state = shared.lock();
    let Some(link) = state.links.get_mut(&lane.link) else { return };
    link.cut();
    if !std::mem::replace(&mut link.is_cut, true) {
        state.counts.cut += 1;
    }
}

/// Adds to a chunk what follows it within a time.
fn gather(chunk: &mut Chunk, chunks: &Receiver<Chunk>, time: Duration) {
    let until = now() + time;
    let left = || until.saturating_duration_since(now());
    while !left().is_zero() {
        let Ok(next) = chunks.recv_timeout(left()) else { return };
        chunk.bytes.extend(next.bytes);
    }
}

/// Waits until a chunk is due and nothing stalls; whether it is to be written at all.
fn wait_for_turn(lane: Lane, due: Instant, shared: &Shared) -> bool {
    let mut state = shared.lock();
    loop {
        let Some(link) = state.links.get(&lane.link) else { return false };
        if state.is_over || link.swallows[lane.way as usize] {
            return false;
        }
        if !state.faults.stall && due <= now() {
            return true;
        }
        let until = (!state.faults.stall).then_some(due);
        state = shared.wait(state, until);
    }
}

/// Hands an end on, unless the connection is to be half open, and forgets one that is all over.
fn end(lane: Lane, to: &TcpStream, shared: &Shared) {
    let mut state = shared.lock();
    let Some(link) = state.links.get_mut(&lane.link) else { return };
    if !link.swallows[lane.way as usize] {
        to.shutdown(Shutdown::Write).ok(); // it may have ended by itself
    }
    link.open_ways -= 1;
    if link.open_ways == 0 {
        link.cut();
        state.links.remove(&lane.link);
    }
}
