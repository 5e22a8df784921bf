// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Sixteen machines, one of them hostile: what the others notice of it.
//!
//! Fifteen ask something now and then. Meanwhile the last one is still; or it keeps its queues full
//! of what is dear to answer, at a server process of its own: that is what it takes from anybody's
//! processors; or it does so at the process that serves the others.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, missing_docs)]

use std::path::PathBuf;
use std::time::Duration;

use rofs_benches::guest::Slot;
use rofs_benches::measure::median;
use rofs_benches::ours::OURS;
use rofs_benches::report::{Report, Row, is_test};
use rofs_benches::socket::pace::{File, Reads, flood, pace, part};
use rofs_benches::socket::ring::Session;
use rofs_benches::socket::server::{Kind, Server};
use rofs_benches::tree::{SMALL, Tree, kept};
use rofs_tests::fuse::{opcode, read_in};

const OTHERS: usize = 15;
const PAUSE: Duration = Duration::from_millis(4);
const ROUNDS: usize = 5;
/// Queues of the hostile machine, and requests that it keeps in each.
const QUEUES: usize = 2;
const DEPTH: usize = 120;

#[derive(Clone, Copy, PartialEq)]
enum Hostile {
    Still,
    Elsewhere,
    Here,
}

impl Hostile {
    fn what(self) -> &'static str {
        match self {
            Hostile::Still => "16 machines, none hostile",
            Hostile::Elsewhere => "16 machines, one hostile, at another process",
            Hostile::Here => "16 machines, one hostile",
        }
    }
}

/// What one of the others asks.
fn questions(session: &mut Session, tree: &Tree, machine: usize) -> Vec<Slot> {
    let (lookup, open) = (session.lookup_slot(), session.open_slot());
    let top = session.lookup(lookup, 1, tree.paths[0].as_bytes());
    let mut slots = Vec::new();
    for number in 0..4 {
        let name = format!("small-{}", (machine * 97 + number) % SMALL);
        let node = session.lookup(lookup, top, name.as_bytes());
        let name = [name.as_bytes(), b"\0"].concat();
        slots.push(session.prepare(0, opcode::LOOKUP, top, &name, Some(128)));
        slots.push(session.prepare(0, opcode::GETATTR, node, &[0; 16], Some(104)));
        let (node, handle) = session.open(open, node);
        let mut body = read_in(0, 4096);
        body[..8].copy_from_slice(&handle.to_le_bytes());
        slots.push(session.prepare(0, opcode::READ, node, &body, Some(4096)));
    }
    slots
}

/// What is dear: names that the root does not have, long listings, and one file after the other,
/// many more than are kept open. And names that are known, because there can be so many.
fn flooding(session: &mut Session, tree: &Tree, queues: usize) -> (Vec<Vec<Slot>>, Vec<Reads>) {
    let (lookup, open) = (session.lookup_slot(), session.open_slot());
    let top = session.lookup(lookup, 1, tree.paths[0].as_bytes());
    let files: Vec<File> = (0..SMALL)
        .map(|number| {
            let name = format!("small-{number}");
            let node = session.lookup(lookup, top, name.as_bytes());
            session.open(open, node)
        })
        .collect();
    let (mut all, mut reads) = (Vec::new(), Vec::new());
    for ring in 0..queues {
        let mut slots = Vec::new();
        for number in 0..DEPTH / 4 {
            let missing = tree.paths[0].replace("-package-0", &format!("-missing-{number}\0"));
            slots.push(session.prepare(ring, opcode::LOOKUP, 1, missing.as_bytes(), Some(128)));
            let known = format!("small-{number}\0");
            slots.push(session.prepare(ring, opcode::LOOKUP, top, known.as_bytes(), Some(128)));
            let body = read_in(0, 32 << 10);
            slots.push(session.prepare(ring, opcode::READDIRPLUS, top, &body, Some(32 << 10)));
        }
        let cold = (0..DEPTH / 4)
            .map(|_| session.prepare(ring, opcode::READ, 1, &read_in(0, 4096), Some(4096)))
            .collect();
        // Each queue has other files.
        let mut files = files.clone();
        files.rotate_left(ring * SMALL / queues);
        all.push(slots);
        reads.push(Reads::new(cold, files, true));
    }
    (all, reads)
}

/// The servers of one round.
struct Servers {
    _processes: Vec<Server>,
    /// Sockets and processes of the others.
    others: Vec<(PathBuf, u32)>,
    here: (PathBuf, u32),
    elsewhere: (PathBuf, u32),
    queues: usize,
}

fn ours(tree: &Tree) -> Servers {
    let shared = Server::for_machines(&tree.root, OTHERS + 1, QUEUES);
    let own = Server::for_machines(&tree.root, 1, QUEUES);
    let mut others: Vec<_> = shared
        .sockets()
        .iter()
        .map(|socket| (socket.clone(), shared.pid()))
        .collect();
    let here = others.pop().unwrap();
    let elsewhere = (own.socket().to_owned(), own.pid());
    Servers {
        _processes: vec![shared, own],
        others,
        here,
        elsewhere,
        queues: QUEUES,
    }
}

/// Each machine has a process of its own anyway.
fn virtiofsd(tree: &Tree) -> Servers {
    let processes: Vec<Server> = (0..OTHERS + 2)
        .map(|_| Server::start(Kind::Virtiofsd, &tree.root, 1))
        .collect();
    let mut others: Vec<_> = processes
        .iter()
        .map(|server| (server.socket().to_owned(), server.pid()))
        .collect();
    let (here, elsewhere) = (others.pop().unwrap(), others.pop().unwrap());
    Servers {
        _processes: processes,
        others,
        here,
        elsewhere,
        queues: 1,
    }
}

/// What the others saw, each request in microseconds; and the hostile one's rate.
fn round(
    servers: &Servers,
    tree: &Tree,
    hostiles: &[Hostile],
    long: Duration,
) -> Vec<(Vec<f64>, f64)> {
    let connect = |(socket, pid): &(PathBuf, u32)| Session::connect(socket, *pid, servers.queues);
    let mut others: Vec<(Session, Vec<Slot>)> = Vec::new();
    for (machine, place) in servers.others.iter().enumerate() {
        let mut session = connect(place);
        let slots = questions(&mut session, tree, machine);
        others.push((session, slots));
    }
    let mut floods = [&servers.elsewhere, &servers.here].map(|place| {
        let mut session = connect(place);
        let (slots, reads) = flooding(&mut session, tree, servers.queues);
        (session, slots, reads)
    });
    let mut found = Vec::new();
    for hostile in hostiles {
        let mut rate = 0.0;
        let mut latencies = Vec::new();
        std::thread::scope(|scope| {
            let threads: Vec<_> = others
                .iter_mut()
                .map(|(session, slots)| {
                    scope.spawn(move || pace(session, slots, PAUSE, None, long))
                })
                .collect();
            if *hostile != Hostile::Still {
                let (session, slots, reads) = &mut floods[usize::from(*hostile == Hostile::Here)];
                rate = flood(session, slots, reads, long);
            }
            for thread in threads {
                latencies.append(&mut thread.join().unwrap());
            }
        });
        found.push((latencies, rate));
    }
    found
}

fn main() {
    let mut report = Report::new("fairness");
    let tree = Tree::contents(&kept()).unwrap();
    let (rounds, long) = if is_test() {
        (1, Duration::from_millis(100))
    } else {
        (ROUNDS, Duration::from_secs(3))
    };
    let has_peer = Kind::available().contains(&Kind::Virtiofsd);
    let all = [Hostile::Still, Hostile::Elsewhere, Hostile::Here];
    type Make = fn(&Tree) -> Servers;
    let mut subjects: Vec<(&str, Make, &[Hostile])> = vec![(OURS, ours, &all)];
    if has_peer {
        let two = &[Hostile::Still, Hostile::Here];
        subjects.push((Kind::Virtiofsd.name(), virtiofsd, two));
    }
    let mut found: Vec<Vec<Vec<[f64; 3]>>> = subjects
        .iter()
        .map(|(_, _, hostiles)| vec![Vec::new(); hostiles.len()])
        .collect();
    for _ in 0..rounds {
        for ((_, make, hostiles), found) in subjects.iter().zip(&mut found) {
            let servers = make(&tree);
            let seen = round(&servers, &tree, hostiles, long);
            for ((mut latencies, rate), found) in seen.into_iter().zip(found) {
                found.push([part(&mut latencies, 0.5), part(&mut latencies, 0.99), rate]);
            }
        }
    }
    for hostile in &all {
        for ((name, _, hostiles), found) in subjects.iter().zip(&found) {
            let Some(index) = hostiles.iter().position(|other| other == hostile) else {
                continue;
            };
            let middle = |of: usize| {
                median(
                    &found[index]
                        .iter()
                        .map(|round| round[of])
                        .collect::<Vec<_>>(),
                )
            };
            let row = Row::new(hostile.what(), name, "us", middle(1))
                .with("p50 us", middle(0))
                .with("hostile requests/s", middle(2));
            println!("{}: {row:?}", hostile.what());
            report.add(row);
        }
    }
    report.finish();
}
