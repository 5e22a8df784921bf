// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Whole servers, each a process of its own, over vhost-user and a real ring.
//!
//! Not by criterion: a closed loop of so many requests in flight for so long is what a guest is
//! like, and the tail of the latencies and the server's own processor time count as much as the
//! rate.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, missing_docs)]

use std::path::Path;
use std::time::Duration;

use rofs_benches::busy::Busy;
use rofs_benches::guest::Slot;
use rofs_benches::measure::median;
use rofs_benches::report::{Report, Row, filter, is_test};
use rofs_benches::socket::ring::{Load, Session};
use rofs_benches::socket::server::Kind;
use rofs_benches::socket::walk::walk;
use rofs_benches::tree::{Tree, kept};
use rofs_tests::fuse::{opcode, read_in};

/// Rounds, in each of which every server has its turn; the median counts.
const ROUNDS: usize = 3;
const DEPTHS: [usize; 3] = [1, 8, 64];

#[derive(Clone, Copy, PartialEq)]
enum Question {
    Lookup,
    Negative,
    Getattr,
    Read(u32),
}

impl Question {
    fn name(self) -> String {
        match self {
            Question::Lookup => "LOOKUP".to_owned(),
            Question::Negative => "LOOKUP negative".to_owned(),
            Question::Getattr => "GETATTR".to_owned(),
            Question::Read(size) => format!("READ {} KiB", size >> 10),
        }
    }
}

/// So many requests for one queue, each for something else.
fn prepare(
    session: &mut Session,
    tree: &Tree,
    ring: usize,
    question: Question,
    count: usize,
) -> Vec<Slot> {
    let lookup = session.lookup_slot();
    if let Question::Read(size) = question {
        return reads(session, tree, ring, lookup, size, count);
    }
    let mut slots = Vec::new();
    for number in 0..count {
        let path = &tree.paths[number * 7919 % tree.paths.len()];
        let top = session.lookup(lookup, 1, path.as_bytes());
        let directory = format!("dir-{}", number % 9);
        let dir = session.lookup(lookup, top, directory.as_bytes());
        let mut name = format!("file-{}", 1 + number % 39);
        let node = session.lookup(lookup, dir, name.as_bytes());
        if question == Question::Getattr {
            slots.push(session.prepare(ring, opcode::GETATTR, node, &[0; 16], Some(104)));
            continue;
        }
        if question == Question::Negative {
            name = format!("missing-{number}");
        }
        let body = [name.as_bytes(), b"\0"].concat();
        slots.push(session.prepare(ring, opcode::LOOKUP, dir, &body, Some(128)));
    }
    slots
}

/// READs at different places of one file.
fn reads(
    session: &mut Session,
    tree: &Tree,
    ring: usize,
    lookup: Slot,
    size: u32,
    count: usize,
) -> Vec<Slot> {
    let top = session.lookup(lookup, 1, tree.paths[0].as_bytes());
    let node = session.lookup(lookup, top, b"big");
    let open = session.open_slot();
    let (node, handle) = session.open(open, node);
    (0..count as u64)
        .map(|number| {
            let mut body = read_in(number * u64::from(size), size);
            body[..8].copy_from_slice(&handle.to_le_bytes());
            session.prepare(ring, opcode::READ, node, &body, Some(size as usize))
        })
        .collect()
}

fn load(kind: Kind, tree: &Tree, case: &Case) -> Load {
    let Case {
        question,
        depth,
        queues,
        sleep,
        ..
    } = *case;
    let mut session = Session::start(kind, &tree.root, queues);
    let slots: Vec<Vec<Slot>> = (0..queues)
        .map(|ring| prepare(&mut session, tree, ring, question, depth / queues))
        .collect();
    let unit = if is_test() { 10 } else { 100 };
    session.load(&slots, Duration::from_millis(unit), sleep);
    session.load(&slots, Duration::from_millis(5 * unit), sleep)
}

#[derive(Clone, Copy)]
struct Case {
    question: Question,
    depth: usize,
    queues: usize,
    /// The client sleeps until it is interrupted.
    sleep: bool,
    /// Every processor has something else to do as well.
    busy: bool,
}

impl Case {
    const fn new(question: Question, depth: usize) -> Case {
        Case {
            question,
            depth,
            queues: 1,
            sleep: true,
            busy: false,
        }
    }

    fn name(self) -> String {
        let how = if self.sleep { "" } else { ", polling client" };
        let host = if self.busy { ", busy host" } else { "" };
        let queues = match self.queues {
            1 => "1 queue".to_owned(),
            more => format!("{more} queues"),
        };
        let (question, depth) = (self.question.name(), self.depth);
        format!("{question}, depth {depth}, {queues}{how}{host}")
    }
}

fn measure(report: &mut Report, kinds: &[Kind], tree: &Tree, case: &Case) {
    let what = case.name();
    if filter().is_some_and(|part| !what.contains(&part)) {
        return;
    }
    let mut kinds: Vec<Kind> = kinds
        .iter()
        .copied()
        .filter(|kind| case.queues == 1 || matches!(kind, Kind::Ours | Kind::Null))
        .collect();
    // What polling brings where there is time to poll, and what it takes.
    if case.question == Question::Lookup && case.queues == 1 {
        kinds.push(Kind::OursPolling);
    }
    let _busy = case.busy.then(Busy::start);
    let rounds = if is_test() { 1 } else { ROUNDS };
    let mut loads: Vec<Vec<Load>> = vec![Vec::new(); kinds.len()];
    for _ in 0..rounds {
        for (kind, loads) in kinds.iter().zip(&mut loads) {
            loads.push(load(*kind, tree, case));
        }
    }
    for (kind, loads) in kinds.iter().zip(&loads) {
        let middle = |of: fn(&Load) -> f64| median(&loads.iter().map(of).collect::<Vec<f64>>());
        let row = Row::new(&what, kind.name(), "requests/s", middle(|load| load.rate))
            .with("p50 us", middle(|load| load.p50))
            .with("p99 us", middle(|load| load.p99))
            .with("server us", middle(|load| load.cpu));
        println!("{what}: {row:?}");
        report.add(row);
    }
}

fn walks(report: &mut Report, kinds: &[Kind], root: &Path, size: usize) {
    let what = format!("cold walk, {size} entries");
    if filter().is_some_and(|part| !what.contains(&part)) {
        return;
    }
    let rounds = if is_test() { 1 } else { ROUNDS };
    for kind in kinds
        .iter()
        .filter(|kind| matches!(kind, Kind::Ours | Kind::Virtiofsd))
    {
        let mut walks = Vec::new();
        for _ in 0..rounds {
            let mut session = Session::start(*kind, root, 1);
            walks.push(walk(&mut session));
        }
        let took: Vec<f64> = walks
            .iter()
            .map(|walk| walk.took.as_secs_f64() * 1e3)
            .collect();
        let cpu: Vec<f64> = walks
            .iter()
            .map(|walk| walk.cpu.as_secs_f64() * 1e3)
            .collect();
        let row = Row::new(&what, kind.name(), "ms", median(&took))
            .with("entries", walks[0].entries as f64)
            .with("requests", walks[0].requests as f64)
            .with("server ms", median(&cpu));
        println!("{what}: {row:?}");
        report.add(row);
    }
}

fn main() {
    let mut report = Report::new("socket");
    let kinds = Kind::available();
    let (small, large) = if is_test() {
        (1000, 1000)
    } else {
        (100_000, 120_000)
    };
    let tree = Tree::store(&kept(), small).unwrap();
    let contents = Tree::contents(&kept()).unwrap();

    let mut cases = Vec::new();
    for question in [Question::Lookup, Question::Negative, Question::Getattr] {
        for depth in DEPTHS {
            cases.push(Case::new(question, depth));
        }
    }
    let question = Question::Lookup;
    let single = Case::new(question, 1);
    cases.push(Case {
        sleep: false,
        ..single
    });
    cases.push(Case {
        busy: true,
        ..single
    });
    for queues in [2, 4] {
        let many = Case::new(question, 64);
        cases.push(Case { queues, ..many });
    }
    for case in &cases {
        measure(&mut report, &kinds, &tree, case);
    }
    for size in [4 << 10, 128 << 10] {
        let question = Question::Read(size);
        for depth in [1, 8] {
            measure(&mut report, &kinds, &contents, &Case::new(question, depth));
        }
    }
    let big = Tree::store(&kept(), large).unwrap();
    walks(&mut report, &kinds, &big.root, large);
    report.finish();
}
