// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a question about names and attributes costs, on stores of several sizes.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, missing_docs)]

use std::path::Path;
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion};
use rofs_benches::guest::Slot;
use rofs_benches::measure::{Work, cycle, group, measure, median};
use rofs_benches::peers::{self, Make};
use rofs_benches::report::{Report, Row, is_full, is_test};
use rofs_benches::subject::{Client, entries};
use rofs_benches::tree::{FORGETTABLE, Tree, is_shared, kept};
use rofs_benches::{alloc, ours, syscalls};
use rofs_tests::fuse::opcode;
use rustix::process::{Resource, getrlimit};

/// Different questions of each kind, spread over the whole store.
const SAMPLE: usize = 512;
/// Directories listed.
const DIRECTORIES: usize = 32;
/// Store paths walked to see what the first question costs, and how often.
const COLD_PATHS: usize = 8;
const COLD_ROUNDS: usize = 5;

/// Descriptors that are left over when servers have one open for each name that they know.
const SPARE: u64 = 2000;
/// Servers that do so.
const GREEDY: u64 = 2;

/// Questions with answers that the server knows.
struct Questions {
    warm: Vec<Slot>,
    hard_linked: Vec<Slot>,
    negative: Vec<Slot>,
    getattr: Vec<Slot>,
    readlink: Vec<Slot>,
}

/// Has the server told everything that there is, but for what FORGET is measured with. Returns how
/// many store paths it knows then: a server that holds a descriptor for each name has to stop
/// while it still can open something.
fn populate(client: &mut Client, tree: &Tree) -> usize {
    let open = || std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count) as u64;
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let limit = open() + limit.saturating_sub(SPARE) / GREEDY;
    for (number, path) in tree.paths.iter().enumerate() {
        if open() > limit {
            return number;
        }
        let top = client.resolve(path);
        for directory in Tree::directories() {
            let dir = client.lookup(top, &directory).unwrap().unwrap();
            for name in Tree::files().chain(["link".to_owned()]) {
                client.lookup(dir, &name).unwrap().unwrap();
            }
        }
    }
    tree.paths.len()
}

fn questions(client: &mut Client, tree: &Tree, reachable: usize) -> Questions {
    let mut all = Questions {
        warm: Vec::new(),
        hard_linked: Vec::new(),
        negative: Vec::new(),
        getattr: Vec::new(),
        readlink: Vec::new(),
    };
    let directories: Vec<String> = Tree::directories().collect();
    let files: Vec<(usize, String)> = Tree::files().enumerate().collect();
    let (shared, single): (Vec<_>, Vec<_>) = files
        .into_iter()
        .partition(|(number, _)| is_shared(*number));
    for number in 0..SAMPLE {
        // Far apart, so that neighbours do not share what the processor has cached.
        let path = &tree.paths[number * 7919 % reachable];
        let directory = &directories[number % directories.len()];
        let dir = client.resolve(&format!("{path}/{directory}"));
        let (_, name) = &single[number % single.len()];
        all.warm.push(client.prepare_lookup(dir, name));
        let node = client.lookup(dir, name).unwrap().unwrap();
        let getattr = client.prepare(opcode::GETATTR, node, &[0; 16], Some(104));
        all.getattr.push(getattr);
        let (_, name) = &shared[number % shared.len()];
        all.hard_linked.push(client.prepare_lookup(dir, name));
        client.lookup(dir, name).unwrap();
        let missing = format!("missing-{number}");
        all.negative.push(client.prepare_lookup(dir, &missing));
        let node = client.lookup(dir, "link").unwrap().unwrap();
        let readlink = client.prepare(opcode::READLINK, node, &[], Some(4096));
        all.readlink.push(readlink);
    }
    all
}

/// READDIR or READDIRPLUS of whole small directories, or of the first page of a listing.
fn listings(
    client: &mut Client,
    tree: &Tree,
    reachable: usize,
    op: u32,
    room: u32,
) -> (Vec<Slot>, f64) {
    let mut slots = Vec::new();
    let mut listed = 0;
    for number in 0..DIRECTORIES {
        let path = &tree.paths[number * 7919 % reachable];
        let dir = client.resolve(&format!("{path}/dir-{}", number % 9));
        let handle = client.open(dir, true);
        let slot = client.prepare_read(op, dir, handle, 0, room);
        let used = client.call(slot);
        listed += entries(&client.guest().reply(slot, used), op == opcode::READDIRPLUS);
        slots.push(slot);
    }
    let each = listed as f64 / slots.len() as f64;
    assert!(each > 10.0, "{}: {each} entries", client.name());
    (slots, each)
}

/// FORGET of the only reference. The LOOKUPs that it takes to have one are not timed.
fn forget(
    client: &mut Client,
    tree: &Tree,
) -> impl FnMut(&mut Client, u64) -> Duration + Send + use<> {
    let dir = client.resolve(&format!("{}/forget", tree.paths[0]));
    let lookups: Vec<Slot> = (0..FORGETTABLE)
        .map(|number| client.prepare_lookup(dir, &format!("file-{number}")))
        .collect();
    let one = 1u64.to_le_bytes();
    let forgets: Vec<Slot> = (0..FORGETTABLE)
        .map(|_| client.prepare(opcode::FORGET, 0, &one, None))
        .collect();
    move |client, count| {
        let mut took = Duration::ZERO;
        let mut left = count as usize;
        while left > 0 {
            let now = left.min(FORGETTABLE);
            for (lookup, forget) in lookups.iter().zip(&forgets).take(now) {
                client.call(*lookup);
                let node = client.guest().reply_u64(*lookup, 0);
                client.guest().set_node(*forget, node);
            }
            let start = Work::start();
            for slot in &forgets[..now] {
                client.call(*slot);
            }
            took += start.elapsed();
            left -= now;
        }
        took
    }
}

/// What FORGET itself calls: with its LOOKUP, less the LOOKUP.
fn forget_counts(client: &mut Client, tree: &Tree) -> (f64, f64) {
    let dir = client.resolve(&format!("{}/forget", tree.paths[0]));
    let lookup = client.prepare_lookup(dir, "file-0");
    let slot = client.prepare(opcode::FORGET, 0, &1u64.to_le_bytes(), None);
    syscalls::counted(|counter| {
        let mut spent = (0, 0);
        for _ in 0..10 {
            client.call(lookup);
            let node = client.guest().reply_u64(lookup, 0);
            client.guest().set_node(slot, node);
            let before = (counter.total(), alloc::count());
            client.call(slot);
            let after = (counter.total(), alloc::count());
            spent.0 += after.0 - before.0;
            spent.1 += after.1 - before.1;
        }
        (spent.0 as f64 / 10.0, spent.1 as f64 / 10.0)
    })
}

/// Every name of some store paths, asked for the first time since the server started. The host's
/// kernel has the directories cached, as it has for the peers.
fn cold(make: &dyn Fn() -> Client, tree: &Tree, what: &str, report: &mut Report) {
    let rounds = if is_test() { 1 } else { COLD_ROUNDS };
    let mut samples = Vec::new();
    let mut name = String::new();
    for _ in 0..rounds {
        let mut client = make();
        name = client.name();
        let root = client.resolve(&tree.paths[0]); // whatever is set up once for all
        assert_ne!(root, 0);
        let mut paths = Vec::new();
        for path in tree.paths.iter().skip(1).take(COLD_PATHS) {
            let top = client.prepare_lookup(1, path);
            let mut below = Vec::new();
            for directory in Tree::directories() {
                let dir = client.prepare_lookup(0, &directory);
                let names: Vec<Slot> = Tree::files()
                    .map(|name| client.prepare_lookup(0, &name))
                    .collect();
                below.push((dir, names));
            }
            paths.push((top, below));
        }
        let mut asked = 0;
        let start = Instant::now();
        for (top, below) in &paths {
            client.call(*top);
            let node = client.guest().reply_u64(*top, 0);
            for (dir, names) in below {
                client.guest().set_node(*dir, node);
                client.call(*dir);
                let node = client.guest().reply_u64(*dir, 0);
                for name in names {
                    client.guest().set_node(*name, node);
                    client.call(*name);
                }
                asked += 1 + names.len();
            }
            asked += 1;
        }
        samples.push(start.elapsed().as_nanos() as f64 / asked as f64);
    }
    report.add(Row::new(what, &name, "ns", median(&samples)));
}

/// A server that knows the tree, and everything that it will be asked.
struct Subject {
    client: Client,
    questions: Questions,
    /// Of each kind in `LISTINGS`: the requests, and how many entries each answer has.
    listings: Vec<(Vec<Slot>, f64)>,
}

const LISTINGS: [(&str, u32, u32); 3] = [
    ("READDIR per entry", opcode::READDIR, 32768),
    ("READDIRPLUS per entry", opcode::READDIRPLUS, 32768),
    (
        "READDIRPLUS per entry, page of 4 KiB",
        opcode::READDIRPLUS,
        4096,
    ),
];

impl Subject {
    fn new(mut client: Client, tree: &Tree) -> Subject {
        let start = Instant::now();
        let reachable = populate(&mut client, tree);
        println!(
            "{} knows {reachable} of {} store paths after {:.1?}",
            client.name(),
            tree.paths.len(),
            start.elapsed()
        );
        let questions = questions(&mut client, tree, reachable);
        let listings = LISTINGS
            .iter()
            .map(|(_, op, room)| listings(&mut client, tree, reachable, *op, *room))
            .collect();
        Subject {
            client,
            questions,
            listings,
        }
    }
}

/// Asks each question of every server in turn, so that what else the machine does meanwhile hits
/// all of them alike.
fn compare(
    group: &mut BenchmarkGroup<'_, WallTime>,
    report: &mut Report,
    subjects: &mut [Subject],
    tree: &Tree,
    size: usize,
) {
    type Of = fn(&Questions) -> &Vec<Slot>;
    let kinds: [(&str, Of); 5] = [
        ("LOOKUP warm", |all| &all.warm),
        ("LOOKUP hard-linked", |all| &all.hard_linked),
        ("LOOKUP negative", |all| &all.negative),
        ("GETATTR", |all| &all.getattr),
        ("READLINK", |all| &all.readlink),
    ];
    let title = |what: &str| format!("{what}, {size} entries");
    // The ring alone, with as many requests of the same shape.
    let mut floor = ours::floor();
    for (what, of) in kinds {
        let prepare = |_| match what {
            "GETATTR" => floor.prepare(opcode::GETATTR, 1, &[0; 16], Some(104)),
            "READLINK" => floor.prepare(opcode::READLINK, 1, &[], Some(4096)),
            _ => floor.prepare_lookup(1, "file-1"),
        };
        let slots: Vec<Slot> = (0..SAMPLE).map(prepare).collect();
        measure(group, report, &title(what), &mut floor, 1.0, cycle(&slots));
        for subject in subjects.iter_mut() {
            let run = cycle(of(&subject.questions));
            measure(group, report, &title(what), &mut subject.client, 1.0, run);
        }
    }
    for (index, (what, ..)) in LISTINGS.iter().enumerate() {
        for subject in subjects.iter_mut() {
            let (slots, each) = &subject.listings[index];
            let client = &mut subject.client;
            measure(group, report, &title(what), client, *each, cycle(slots));
        }
    }
    let what = title("FORGET, the last");
    let slot = floor.prepare(opcode::FORGET, 1, &[0; 8], None);
    measure(group, report, &what, &mut floor, 1.0, cycle(&[slot]));
    for subject in subjects.iter_mut() {
        let client = &mut subject.client;
        let run = forget(client, tree);
        let (calls, allocations) = forget_counts(client, tree);
        measure(group, report, &what, client, 1.0, run);
        report.correct(&what, &client.name(), calls, allocations);
    }
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut report = Report::new("store_lookup");
    let sizes: &[usize] = match (is_test(), is_full()) {
        (true, _) => &[1000],
        (false, false) => &[1000, 100_000],
        (false, true) => &[1000, 100_000, 1_000_000],
    };
    let makes: Vec<Make> = [ours::store as Make]
        .into_iter()
        .chain(peers::all())
        .collect();
    for size in sizes {
        let tree = Tree::store(&kept(), *size).unwrap();
        let root: &Path = &tree.root;
        let mut group = group(&mut criterion, &format!("store_lookup/{size}"));
        for make in &makes {
            let what = format!("LOOKUP cold, {size} entries");
            cold(&|| make(root), &tree, &what, &mut report);
        }
        let mut subjects: Vec<Subject> = makes
            .iter()
            .map(|make| Subject::new(make(root), &tree))
            .collect();
        compare(&mut group, &mut report, &mut subjects, &tree, *size);
        group.finish();
    }
    report.finish();
}
