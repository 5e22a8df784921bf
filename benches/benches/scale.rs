// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a server holds when stores and the number of machines grow: memory, descriptors; and how
//! soon it answers.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, missing_docs)]

use std::path::Path;
use std::time::{Duration, Instant};

use rofs_benches::guest::Slot;
use rofs_benches::measure::median;
use rofs_benches::report::{Report, Row, is_full, is_test};
use rofs_benches::socket::cpu::{held, spent, switches};
use rofs_benches::socket::ring::Session;
use rofs_benches::socket::server::{Kind, Server};
use rofs_benches::socket::walk::walk;
use rofs_benches::tree::{Tree, kept};
use rofs_tests::fuse::{opcode, read_in};

/// In stores up to this size every machine walks through everything.
const ALL_WALK: usize = 10_000;
/// Files that each machine reads, each other ones.
const FILES: usize = 40;
const ROUNDS: usize = 5;
/// Threads that wait for disks end within this time after the last request.
const SETTLES: Duration = Duration::from_secs(6);
/// How long a server is watched that has nothing to do.
const WATCHED: Duration = Duration::from_secs(4);
const MIB: f64 = 1_048_576.0;

/// What one server, or one for each machine, came to hold.
#[derive(Clone, Copy, Default)]
struct Holding {
    ready: Duration,
    first: Duration,
    /// Before anything was asked.
    idle: u64,
    bytes: u64,
    descriptors: usize,
    entries: u64,
    names: u64,
}

/// The first questions of a machine: a file by its path, and what is in it.
fn first_answer(session: &mut Session, tree: &Tree) {
    let slot = session.lookup_slot();
    let top = session.lookup(slot, 1, tree.paths[0].as_bytes());
    let dir = session.lookup(slot, top, b"dir-0");
    let node = session.lookup(slot, dir, b"file-1");
    let slots = read_slots(session);
    read(session, slots, node);
}

/// Opens a file, if it has to be, and reads its first page. It stays open.
fn read(session: &mut Session, slots: [Slot; 2], node: u64) {
    let [open, read] = slots;
    let (node, handle) = session.open(open, node);
    let guest = &session.rings[0].guest;
    guest.set_node(read, node);
    guest.set_body(read, 0, &handle.to_le_bytes());
    session.call(read);
    assert_eq!(session.rings[0].guest.error(read), 0, "READ");
}

fn read_slots(session: &mut Session) -> [Slot; 2] {
    let read = session.prepare(0, opcode::READ, 1, &read_in(0, 4096), Some(4096));
    [session.open_slot(), read]
}

/// Reads files that no other machine reads.
fn read_files(session: &mut Session, tree: &Tree, machine: usize) {
    let slot = session.lookup_slot();
    let path = &tree.paths[machine * 7919 % tree.paths.len()];
    let top = session.lookup(slot, 1, path.as_bytes());
    let dir = format!("dir-{}", machine % 9);
    let dir = session.lookup(slot, top, dir.as_bytes());
    let slots = read_slots(session);
    for file in 0..FILES {
        let node = session.lookup(slot, dir, format!("file-{file}").as_bytes());
        read(session, slots, node);
    }
}

fn measure(
    servers: &[Server],
    sockets: &[&Path],
    pids: &[u32],
    tree: &Tree,
    start: Instant,
    walkers: usize,
) -> Holding {
    let total = || {
        servers.iter().fold((0, 0), |sum, server| {
            let (bytes, descriptors) = held(server.pid());
            (sum.0 + bytes, sum.1 + descriptors)
        })
    };
    let mut holding = Holding {
        ready: servers[0].ready,
        ..Holding::default()
    };
    let mut sessions = Vec::new();
    for (number, (socket, pid)) in sockets.iter().zip(pids).enumerate() {
        let mut session = Session::connect(socket, *pid, 1);
        if number == 0 {
            first_answer(&mut session, tree);
            holding.first = start.elapsed();
        }
        sessions.push(session);
    }
    holding.idle = total().0;
    let machines = sessions.len();
    for (number, session) in sessions.iter_mut().enumerate() {
        // The first and the last of them, at least.
        if number == 0 || number + walkers > machines {
            let walked = walk(session);
            (holding.entries, holding.names) = (walked.entries, walked.names);
        }
        read_files(session, tree, number);
    }
    let (bytes, descriptors) = total();
    holding.bytes = bytes;
    holding.descriptors = descriptors;
    holding
}

/// One process for all machines.
fn ours(tree: &Tree, machines: usize, walkers: usize) -> Holding {
    let start = Instant::now();
    let server = Server::for_machines(&tree.root, machines, 1);
    let sockets: Vec<_> = server.sockets().to_vec();
    let sockets: Vec<&Path> = sockets.iter().map(AsRef::as_ref).collect();
    let pids = vec![server.pid(); machines];
    measure(&[server], &sockets, &pids, tree, start, walkers)
}

/// A process for each.
fn virtiofsd(tree: &Tree, machines: usize, walkers: usize) -> Holding {
    let start = Instant::now();
    let servers: Vec<Server> = (0..machines)
        .map(|_| Server::start(Kind::Virtiofsd, &tree.root, 1))
        .collect();
    let sockets: Vec<_> = servers
        .iter()
        .map(|server| server.socket().to_owned())
        .collect();
    let sockets: Vec<&Path> = sockets.iter().map(AsRef::as_ref).collect();
    let pids: Vec<u32> = servers.iter().map(Server::pid).collect();
    measure(&servers, &sockets, &pids, tree, start, walkers)
}

/// What one server does for so many machines that have read something and ask nothing more.
fn idle(report: &mut Report, tree: &Tree, machines: usize) {
    let server = Server::for_machines(&tree.root, machines, 1);
    let mut sessions: Vec<Session> = server
        .sockets()
        .iter()
        .map(|socket| Session::connect(socket, server.pid(), 1))
        .collect();
    for (number, session) in sessions.iter_mut().enumerate() {
        read_files(session, tree, number);
    }
    let (settles, watched) = if is_test() {
        (Duration::from_millis(100), Duration::from_millis(100))
    } else {
        (SETTLES, WATCHED)
    };
    std::thread::sleep(settles);
    let before = (spent(server.pid()), switches(server.pid()));
    std::thread::sleep(watched);
    let after = (spent(server.pid()), switches(server.pid()));
    let seconds = watched.as_secs_f64();
    let micros = after.0.saturating_sub(before.0).as_secs_f64() * 1e6 / seconds;
    let what = format!("idle, machines: {machines}");
    let row = Row::new(&what, rofs_benches::ours::OURS, "us/s", micros)
        .with("wake-ups/s", (after.1 - before.1) as f64 / seconds);
    println!("{what}: {row:?}");
    report.add(row);
}

fn add(report: &mut Report, what: &str, subject: &str, holdings: &[Holding]) {
    let middle =
        |of: &dyn Fn(&Holding) -> f64| median(&holdings.iter().map(of).collect::<Vec<_>>());
    let per_entry = |h: &Holding| {
        let grown = h.bytes.saturating_sub(h.idle) as f64;
        (grown - h.names as f64) / h.entries as f64
    };
    let millis = |time: Duration| time.as_secs_f64() * 1e3;
    let row = Row::new(what, subject, "MiB", middle(&|h| h.bytes as f64 / MIB))
        .with("idle MiB", middle(&|h| h.idle as f64 / MIB))
        .with("bytes/entry", middle(&per_entry))
        .with("entries", middle(&|h| h.entries as f64))
        .with("descriptors", middle(&|h| h.descriptors as f64))
        .with("ready ms", middle(&|h| millis(h.ready)))
        .with("first answer ms", middle(&|h| millis(h.first)));
    println!("{what}: {row:?}");
    report.add(row);
}

fn main() {
    let mut report = Report::new("scale");
    let has_peer = Kind::available().contains(&Kind::Virtiofsd);
    let sizes: &[usize] = match (is_test(), is_full()) {
        (true, _) => &[1000],
        (false, false) => &[10_000, 100_000],
        (false, true) => &[10_000, 100_000, 1_000_000],
    };
    let machines: &[usize] = if is_test() { &[1, 4] } else { &[1, 16, 64] };
    for size in sizes {
        let tree = Tree::store(&kept(), *size).unwrap();
        for count in machines {
            let what = format!("{size} entries, machines: {count}");
            let small = *size <= ALL_WALK;
            let walkers = if small { *count } else { 2.min(*count) };
            let rounds = if is_test() || !small { 1 } else { ROUNDS };
            let (mut our, mut their) = (Vec::new(), Vec::new());
            for _ in 0..rounds {
                our.push(ours(&tree, *count, walkers));
                // Of large stores one process of it says enough: it grows with their number.
                if has_peer && (small || *count == 1) {
                    their.push(virtiofsd(&tree, *count, walkers));
                }
            }
            add(&mut report, &what, rofs_benches::ours::OURS, &our);
            if !their.is_empty() {
                add(&mut report, &what, Kind::Virtiofsd.name(), &their);
            }
        }
    }
    let tree = Tree::store(&kept(), sizes[0]).unwrap();
    for count in [machines[0], machines[machines.len() - 1]] {
        idle(&mut report, &tree, count);
    }
    report.finish();
}
