// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What was asked once is not asked again: requests counted on their way from a real kernel.

use std::time::{Duration, Instant};

use super::harness::{Guest, Kernel, Server, Shell, Store};
use rofs_tests::linux::pages;
use rofs_tests::relay::Relay;

/// So long that nothing at the root is asked again either.
const FOR_EVER: [&str; 2] = ["--root-timeout", "1000000"];
/// What one program start asks for in vain.
const MISSES: usize = 500;

/// A guest, with what it asks counted.
struct Counted {
    store: Store,
    _server: Server,
    relay: Relay,
    shell: Shell,
}

impl Counted {
    fn start(args: &[&str]) -> Counted {
        let store = Store::large();
        let server = Server::start(&store, args);
        let relay = Relay::start(server.as_ref());
        let guest = Guest::new(Kernel::Uml, &relay).args(["--mem", "1024"]);
        let shell = guest.shell();
        Counted {
            store,
            _server: server,
            relay,
            shell,
        }
    }

    /// Has the guest do something; how many requests that took.
    fn requests(&mut self, line: &str) -> u64 {
        let before = self.relay.seen();
        let printed = self
            .shell
            .run(&format!("guest-check {line} || echo failed"));
        assert!(!printed.is_empty() && !printed.contains("failed"), "{line}");
        self.relay.seen().since(before).requests
    }

    /// A program that runs after many looks at what is not there, in all trees of the store.
    fn program_start(&self) -> (String, u64) {
        let trees: Vec<String> = (0..10)
            .map(|n| self.store.path(&format!("tree-{n}")) + "/group0")
            .collect();
        let (busybox, paths) = (self.store.path("busybox"), trees.len() as u64 + 1);
        let line = format!("start {busybox}/bin/true {MISSES} {}", trees.join(" "));
        (line, paths)
    }
}

#[test]
fn a_walk_costs_its_pages_and_then_nothing() {
    let mut guest = Counted::start(&FOR_EVER);
    let cold = guest.requests("stat /nix/store");
    let pages = pages(&guest.store.root());
    assert!(
        cold <= pages + pages / 20,
        "{cold} requests for {pages} pages"
    );
    for again in ["stat /nix/store", "find /nix/store", "stat /nix/store"] {
        assert_eq!(guest.requests(again), 0, "{again}, a second time");
    }
}

#[test]
fn a_program_starts_again_without_a_request() {
    let mut guest = Counted::start(&FOR_EVER);
    let (start, paths) = guest.program_start();
    let cold = guest.requests(&start);
    // A name that is missing costs one, so do a store path and a directory, and the program some
    // for its pages.
    let misses = MISSES as u64;
    assert!(
        (misses..misses + 2 * paths + 50).contains(&cold),
        "{cold} requests"
    );
    for _ in 0..3 {
        assert_eq!(guest.requests(&start), 0, "a second start");
    }
}

/// With the root's ordinary timeout, only the root's names are asked for again.
#[test]
fn only_store_paths_are_asked_for_again() {
    let mut guest = Counted::start(&[]);
    let (start, paths) = guest.program_start();
    guest.requests(&start);
    let entries = std::fs::read_dir(guest.store.root()).unwrap().count() as u64;
    guest.requests("stat /nix/store");
    std::thread::sleep(Duration::from_millis(1100));
    for (line, paths) in [(&*start, paths), ("stat /nix/store", entries)] {
        let began = Instant::now();
        let asked = guest.requests(line);
        // Each name once in each second, and the root's own attributes and listing.
        let seconds = began.elapsed().as_secs() + 1;
        let root = 4 + entries / 20;
        assert!(
            asked <= (paths + root) * seconds,
            "{line}: {asked} requests in {seconds} s, of {paths} paths"
        );
    }
}
