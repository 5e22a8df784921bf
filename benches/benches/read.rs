// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What reading costs: one file front to back or anywhere, in the host's page cache or not, and
//! many small files.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, missing_docs)]

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use criterion::Criterion;
use rofs_benches::guest::Slot;
use rofs_benches::mapped;
use rofs_benches::measure::{Work, group, measure, median};
use rofs_benches::ours;
use rofs_benches::peers::{self, Make};
use rofs_benches::report::{Report, Row, is_test};
use rofs_benches::subject::Client;
use rofs_benches::tree::{BIG, SMALL, Tree, kept};
use rofs_tests::fuse::opcode;
use rustix::fs::{Advice, fadvise};

/// Sizes of the requests. Linux sends no larger ones.
const SIZES: [(u32, &str); 3] = [
    (4 << 10, "4 KiB"),
    (128 << 10, "128 KiB"),
    (1 << 20, "1 MiB"),
];
/// Requests of a size: different places of the file.
const PLACES: u64 = 64;
/// What is read of a file that is not cached, and how often that is tried.
const COLD_BYTES: u64 = 16 << 20;
const COLD_REQUESTS: u64 = 256;
const COLD_ROUNDS: usize = 5;

fn offsets(size: u32, random: bool, count: u64) -> Vec<u64> {
    let blocks = BIG / u64::from(size);
    (0..count)
        // A prime, so that each block comes up once before any does again.
        .map(|number| if random { number * 7919 } else { number } % blocks)
        .map(|block| block * u64::from(size))
        .collect()
}

/// The requests are put into few slots over and over, because a guest has not much memory for
/// replies; their offsets are written anew each time.
struct Reader {
    slot: Slot,
    offsets: Vec<u64>,
    next: usize,
}

impl Reader {
    fn run(&mut self, client: &mut Client, count: u64) -> Duration {
        let start = Work::start();
        self.put(client, count);
        start.elapsed()
    }

    fn put(&mut self, client: &mut Client, count: u64) {
        for _ in 0..count {
            let at = self.offsets[self.next % self.offsets.len()];
            self.next += 1;
            client.guest().set_body(self.slot, 8, &at.to_le_bytes());
            client.call(self.slot);
        }
    }
}

fn drop_cache(file: &Path) {
    fadvise(File::open(file).unwrap(), 0, None, Advice::DontNeed).unwrap();
}

fn big(client: &mut Client, tree: &Tree) -> (u64, u64) {
    let node = client.resolve(&format!("{}/big", tree.paths[0]));
    (node, client.open(node, false))
}

/// Nanoseconds for each request on a file that no page of is cached.
fn cold(client: &mut Client, tree: &Tree, file: &Path, size: u32, random: bool) -> f64 {
    let (node, handle) = big(client, tree);
    let slot = client.prepare_read(opcode::READ, node, handle, 0, size);
    let count = (COLD_BYTES / u64::from(size)).min(COLD_REQUESTS);
    let rounds = if is_test() { 1 } else { COLD_ROUNDS };
    let samples: Vec<f64> = (0..rounds)
        .map(|_| {
            drop_cache(file);
            let offsets = offsets(size, random, count);
            let mut reader = Reader {
                slot,
                offsets,
                next: 0,
            };
            // Most of it is waiting.
            let start = Instant::now();
            reader.put(client, count);
            start.elapsed().as_nanos() as f64 / count as f64
        })
        .collect();
    median(&samples)
}

/// Each small file once, with all that a client needs for it beyond its node: OPEN and RELEASE if
/// the server wants them.
fn small(client: &mut Client, tree: &Tree) -> f64 {
    let files: Vec<u64> = (0..SMALL)
        .map(|number| client.resolve(&format!("{}/small-{number}", tree.paths[0])))
        .collect();
    let wants_open = client.wants_open(files[0]);
    let (open, release) = (client.prepare_open(1), client.prepare_release(1));
    let read = client.prepare_read(opcode::READ, 1, 0, 0, 4096);
    let rounds = if is_test() { 1 } else { COLD_ROUNDS };
    let samples: Vec<f64> = (0..rounds)
        .map(|_| {
            let start = Work::start();
            for node in &files {
                let mut handle = 0;
                if wants_open {
                    client.guest().set_node(open, *node);
                    client.call(open);
                    handle = client.guest().reply_u64(open, 0);
                }
                client.guest().set_node(read, *node);
                client.guest().set_body(read, 0, &handle.to_le_bytes());
                let used = client.call(read);
                assert_eq!(used, 16 + 4096, "{}", client.name());
                if wants_open {
                    client.guest().set_node(release, *node);
                    client.guest().set_body(release, 0, &handle.to_le_bytes());
                    client.call(release);
                }
            }
            start.elapsed().as_nanos() as f64 / SMALL as f64
        })
        .collect();
    median(&samples)
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut report = Report::new("read");
    let tree = Tree::contents(&kept()).unwrap();
    let file: PathBuf = tree.root.join(&tree.paths[0]).join("big");
    let makes: Vec<Make> = [ours::store as Make]
        .into_iter()
        .chain(peers::all())
        .collect();
    let mut clients: Vec<Client> = makes.iter().map(|make| make(&tree.root)).collect();
    let mut group = group(&mut criterion, "read");

    for (size, text) in SIZES {
        for (random, how) in [(false, "sequential"), (true, "random")] {
            // All of it is in the page cache now.
            std::fs::read(&file).unwrap();
            for client in &mut clients {
                let (node, handle) = big(client, &tree);
                let slot = client.prepare_read(opcode::READ, node, handle, 0, size);
                assert_eq!(client.call(slot), 16 + size, "{}", client.name());
                let offsets = offsets(size, random, PLACES);
                let mut reader = Reader {
                    slot,
                    offsets,
                    next: 0,
                };
                let what = format!("READ {text} {how}, hot");
                let run = move |client: &mut Client, count| reader.run(client, count);
                measure(&mut group, &mut report, &what, client, 1.0, run);
            }
        }
    }
    group.finish();

    for client in &mut clients {
        let value = small(client, &tree);
        let what = "one pass over 2,000 files of 4 KiB, per file, hot";
        report.add(Row::new(what, &client.name(), "ns", value));
    }
    for (what, nanos) in mapped::compare(&tree) {
        report.add(Row::new(what, "this host", "ns", nanos));
    }
    for (size, text) in SIZES {
        for (random, how) in [(false, "sequential"), (true, "random")] {
            let what = format!("READ {text} {how}, cold");
            for client in &mut clients {
                let value = cold(client, &tree, &file, size, random);
                report.add(Row::new(&what, &client.name(), "ns", value));
            }
        }
    }
    report.finish();
}
