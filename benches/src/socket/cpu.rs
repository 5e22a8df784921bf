// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Processor time and memory of a process and its descendants.

use std::fs;
use std::time::Duration;

/// The process and all below it.
fn family(pid: u32) -> Vec<u32> {
    let mut all = vec![pid];
    let mut next = 0;
    while let Some(pid) = all.get(next).copied() {
        next += 1;
        let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
            continue;
        };
        for task in tasks.flatten() {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            all.extend(
                children
                    .split_whitespace()
                    .filter_map(|pid| pid.parse::<u32>().ok()),
            );
        }
    }
    all
}

/// Time that all threads have spent on a processor, to the nanosecond: what `getrusage` says is
/// counted in ticks on many kernels. Threads that have ended are not in it.
pub fn spent(pid: u32) -> Duration {
    let mut nanos = 0;
    for pid in family(pid) {
        let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
            continue;
        };
        for task in tasks.flatten() {
            let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            let first = text.split_whitespace().next();
            nanos += first.and_then(|nanos| nanos.parse().ok()).unwrap_or(0);
        }
    }
    Duration::from_nanos(nanos)
}

/// How often threads have gone to sleep, or were made to wait, so far.
pub fn switches(pid: u32) -> u64 {
    let mut sum = 0;
    for pid in family(pid) {
        let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
            continue;
        };
        for task in tasks.flatten() {
            let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
            let lines = status.lines().filter(|line| line.contains("ctxt_switches"));
            sum += lines
                .filter_map(|line| line.split_whitespace().last()?.parse::<u64>().ok())
                .sum::<u64>();
        }
    }
    sum
}

/// Resident memory in bytes, of all of them; and open descriptors, of the one that has most: the
/// limits on these are those of a process.
pub fn held(pid: u32) -> (u64, usize) {
    let (mut bytes, mut descriptors) = (0, 0);
    let open = |pid| fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
    for pid in family(pid) {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        // Not the guest's memory, which is shared with the server.
        for line in status.lines().filter(|line| line.starts_with("RssAnon:")) {
            let kib = line.split_whitespace().nth(1);
            bytes += 1024 * kib.and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0);
        }
        descriptors = open(pid).max(descriptors);
    }
    (bytes, descriptors)
}
