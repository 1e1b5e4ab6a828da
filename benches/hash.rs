//! Headers per second of one thread: every kernel that this CPU can run, without the search
//! around it, and the plain double hash for comparison.
//!
//! The unit is the hash: one header, hashed twice. The input is one header with a target that
//! nothing meets. Run with `cargo bench -p benches --bench hash`.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use miner::{KERNELS, Scan, Target};

const HEADER: [u8; 80] = [0x5a; 80];
/// Nonces in one measured step, each tried with as many versions as a search takes at once:
/// about a millisecond for the fastest kernel.
const NONCES: u32 = 1 << 12;

fn kernels(criterion: &mut Criterion) {
    let nothing_meets = Target::from_uint(Default::default());
    let versions: Vec<u32> = (0..16).map(|number| number << 13).collect();
    let scan = Scan::new(&HEADER, &versions, nothing_meets);
    let headers = u64::from(NONCES) * versions.len() as u64;
    let mut group = criterion.benchmark_group("hash");
    group.throughput(Throughput::Elements(headers));
    for kernel in KERNELS {
        if (kernel.available)() {
            group.bench_function(kernel.name, |bencher| {
                bencher.iter(|| (kernel.scan)(black_box(&scan), 0, NONCES));
            });
        } else {
            println!("{}: skipped, this CPU cannot run it", kernel.name);
        }
    }
    group.finish();
}

fn whole_header(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hash");
    group.throughput(Throughput::Elements(1));
    group.bench_function("sha256d of 80 bytes", |bencher| {
        bencher.iter(|| miner::sha256d(black_box(&HEADER)));
    });
    group.finish();
}

#[allow(missing_docs, reason = "the macro writes a public function")]
mod groups {
    use super::{criterion_group, kernels, whole_header};

    criterion_group!(hash, kernels, whole_header);
}

criterion_main!(groups::hash);
