// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Time by criterion, and exact counts of system calls and allocations beside it.
#![allow(unsafe_code)] // clock_gettime(2)

use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion};

use crate::alloc;
use crate::guest::Slot;
use crate::report::{Report, Row, is_test};
use crate::subject::Client;
use crate::syscalls::counted;

/// Samples of each figure.
const SAMPLES: usize = 20;

/// A group with settings that keep a whole run within minutes.
pub fn group<'c>(criterion: &'c mut Criterion, name: &str) -> BenchmarkGroup<'c, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group
        .sample_size(SAMPLES)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(400));
    group
}

/// Measures what the calling thread works, the kernel's part included. Whatever else the machine
/// does meanwhile is not in it; nor is waiting.
#[derive(Debug)]
pub struct Work(Duration);

impl Work {
    /// Begins.
    pub fn start() -> Work {
        Work(Work::so_far())
    }

    /// How long the thread has worked since.
    pub fn elapsed(&self) -> Duration {
        Work::so_far().saturating_sub(self.0)
    }

    fn so_far() -> Duration {
        let mut time = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: the kernel writes the structure that the call is for.
        unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    }
}

/// Puts the prepared requests one after another, as often as wanted; returns how long it took.
pub fn cycle(slots: &[Slot]) -> impl FnMut(&mut Client, u64) -> Duration + Send + '_ {
    let mut requests = slots.iter().cycle();
    move |client, count| {
        let start = Work::start();
        for _ in 0..count {
            if let Some(slot) = requests.next() {
                client.call(*slot);
            }
        }
        start.elapsed()
    }
}

/// Measures one thing about one subject. `run` does it so many times and says how long it took;
/// each time counts as `parts`, which are what the figure is about.
pub fn measure(
    group: &mut BenchmarkGroup<'_, WallTime>,
    report: &mut Report,
    what: &str,
    client: &mut Client,
    parts: f64,
    mut run: impl FnMut(&mut Client, u64) -> Duration + Send,
) {
    let name = client.name();
    let mut samples: Vec<f64> = Vec::new();
    group.bench_function(BenchmarkId::new(what, &name), |bencher| {
        bencher.iter_custom(|count| {
            let took = run(client, count);
            samples.push(took.as_nanos() as f64 / count as f64 / parts);
            took
        });
    });
    if samples.is_empty() {
        return; // filtered out on the command line
    }
    // The first ones were for warming up.
    let from = samples.len().saturating_sub(SAMPLES);
    let (calls, allocations) = counts(client, run);
    report.add(
        Row::new(what, &name, "ns", median(&samples[from..]))
            .with("calls", calls / parts)
            .with("allocs", allocations / parts),
    );
}

/// System calls and allocations of doing something once more. Counted over many times, less what
/// the first half took, so that nothing of the counting itself is in it.
pub fn counts(
    client: &mut Client,
    mut run: impl FnMut(&mut Client, u64) -> Duration + Send,
) -> (f64, f64) {
    let many = if is_test() { 4 } else { 64 };
    counted(|counter| {
        let mut spent = |count| {
            let before = (counter.total(), alloc::count());
            run(client, count);
            let after = (counter.total(), alloc::count());
            ((after.0 - before.0) as f64, (after.1 - before.1) as f64)
        };
        let once = spent(many);
        let thrice = spent(3 * many);
        let each = |few: f64, more: f64| (more - few) / (2 * many) as f64;
        (each(once.0, thrice.0), each(once.1, thrice.1))
    })
}

/// The middle one.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
}
