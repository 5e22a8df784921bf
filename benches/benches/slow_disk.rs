// SPDX-License-Identifier: Apache-2.0 OR MIT
//! How long names and attributes that the server knows take, while the same queue has reads in
//! flight that wait for a slow disk; and while others read as much of the same disk, which takes
//! the same processors and is none of the server's doing.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, missing_docs)]

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rofs_benches::guest::Slot;
use rofs_benches::measure::median;
use rofs_benches::report::{Report, Row, is_test};
use rofs_benches::socket::pace::{File, Reads, pace, part};
use rofs_benches::socket::ring::Session;
use rofs_benches::socket::server::Kind;
use rofs_benches::tree::{SMALL, Tree, kept};
use rofs_tests::fuse::{opcode, read_in};
use rofs_tests::slow::SlowDisk;

const ROUNDS: usize = 5;
/// What each read from the disk takes.
const DELAY: Duration = Duration::from_millis(20);
/// Reads in flight.
const DEPTH: usize = 8;
const PAUSE: Duration = Duration::from_micros(500);

/// Questions whose answers the server knows, and all files.
fn prepare(session: &mut Session, tree: &Tree) -> (Vec<Slot>, Vec<File>) {
    let (lookup, open) = (session.lookup_slot(), session.open_slot());
    let top = session.lookup(lookup, 1, tree.paths[0].as_bytes());
    let mut files = Vec::new();
    for number in 0..SMALL {
        let node = session.lookup(lookup, top, format!("small-{number}").as_bytes());
        files.push(session.open(open, node));
    }
    let mut slots = Vec::new();
    for number in 0..32 {
        let name = format!("small-{}\0", number * 61 % SMALL);
        slots.push(session.prepare(0, opcode::LOOKUP, top, name.as_bytes(), Some(128)));
        let node = files[number * 67 % SMALL].0;
        slots.push(session.prepare(0, opcode::GETATTR, node, &[0; 16], Some(104)));
    }
    (slots, files)
}

/// Reads these files, so many at a time, in another process; returns its threads. (It is this
/// one: what matters is that it is not the server's.)
fn read_elsewhere(files: Vec<PathBuf>, long: Duration) -> Vec<thread::JoinHandle<usize>> {
    let (files, next) = (Arc::new(files), Arc::new(AtomicUsize::new(0)));
    let until = Instant::now() + long;
    let reader = || {
        let (files, next) = (Arc::clone(&files), Arc::clone(&next));
        move || {
            let mut read = 0;
            while Instant::now() < until {
                let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) else {
                    break;
                };
                let file = fs::File::open(file).unwrap();
                file.read_at(&mut [0; 4096], 0).unwrap();
                read += 1;
            }
            read
        }
    };
    (0..DEPTH).map(|_| thread::spawn(reader())).collect()
}

/// The file that `prepare` finds by this number.
fn path(root: &Path, tree: &Tree, number: usize) -> PathBuf {
    root.join(&tree.paths[0]).join(format!("small-{number}"))
}

/// Median and the one that 1 in 100 is slower than, in microseconds, without the reads, with them
/// elsewhere, and with them here; and how many of those there were in a second.
fn round(kind: Kind, tree: &Tree, long: Duration) -> [[f64; 3]; 3] {
    let disk = SlowDisk::mount(&tree.root);
    let mut session = Session::start(kind, &disk.path(), 1);
    let (slots, files) = prepare(&mut session, tree);
    pace(&mut session, &slots, PAUSE, None, long / 10);
    let mut idle = pace(&mut session, &slots, PAUSE, None, long);
    disk.gate().delay(DELAY);
    // Each file is read once: afterwards it is in the page cache. These are the last, below the first.
    let others = (0..SMALL)
        .rev()
        .map(|number| path(&disk.path(), tree, number));
    let readers = read_elsewhere(others.collect(), long);
    let mut beside = pace(&mut session, &slots, PAUSE, None, long);
    let read: usize = readers
        .into_iter()
        .map(|reader| reader.join().unwrap())
        .sum();
    let reads = (0..DEPTH)
        .map(|_| session.prepare(0, opcode::READ, 1, &read_in(0, 4096), Some(4096)))
        .collect();
    let mut reads = Reads::new(reads, files, false);
    let mut busy = pace(&mut session, &slots, PAUSE, Some(&mut reads), long);
    let seconds = long.as_secs_f64();
    let rate = reads.answered as f64 / seconds;
    [
        [part(&mut idle, 0.5), part(&mut idle, 0.99), 0.0],
        [
            part(&mut beside, 0.5),
            part(&mut beside, 0.99),
            read as f64 / seconds,
        ],
        [part(&mut busy, 0.5), part(&mut busy, 0.99), rate],
    ]
}

fn main() {
    let mut report = Report::new("slow_disk");
    let tree = Tree::contents(&kept()).unwrap();
    let (rounds, long) = if is_test() {
        (1, Duration::from_millis(100))
    } else {
        // All reads of both kinds are fewer than the files.
        (ROUNDS, Duration::from_millis(2400))
    };
    let kinds: Vec<Kind> = Kind::available()
        .into_iter()
        .filter(|kind| matches!(kind, Kind::Ours | Kind::Virtiofsd))
        .collect();
    let mut found = vec![Vec::new(); kinds.len()];
    for _ in 0..rounds {
        for (kind, found) in kinds.iter().zip(&mut found) {
            found.push(round(*kind, &tree, long));
        }
    }
    let titles = [
        "metadata, disk at rest".to_owned(),
        format!(
            "metadata, {DEPTH} reads of {} ms by another",
            DELAY.as_millis()
        ),
        format!(
            "metadata, {DEPTH} reads of {} ms in flight",
            DELAY.as_millis()
        ),
    ];
    for (which, what) in titles.iter().enumerate() {
        for (kind, found) in kinds.iter().zip(&found) {
            let middle = |of: usize| {
                median(
                    &found
                        .iter()
                        .map(|round| round[which][of])
                        .collect::<Vec<_>>(),
                )
            };
            let row = Row::new(what, kind.name(), "us", middle(1))
                .with("p50 us", middle(0))
                .with("reads/s", middle(2));
            println!("{what}: {row:?}");
            report.add(row);
        }
    }
    report.finish();
}
