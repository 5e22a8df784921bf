// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a request may cost once the server knows the answer: counted, not timed.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::OnceLock;

use rofs_benches::alloc;
use rofs_benches::guest::Slot;
use rofs_benches::ours;
use rofs_benches::subject::{Client, entries};
use rofs_benches::syscalls::counted;
use rofs_benches::tree::{FILES, Tree, kept};
use rofs_tests::fuse::opcode;

/// A store of a few paths.
fn store() -> &'static Tree {
    static STORE: OnceLock<Tree> = OnceLock::new();
    STORE.get_or_init(|| Tree::store(&kept(), 1000).unwrap())
}

/// A server that was asked for everything below one directory already, and that directory.
fn server() -> (Client, String, u64) {
    let mut client = ours::store(&store().root);
    let path = format!("{}/dir-1", store().paths[0]);
    let directory = client.resolve(&path);
    (client, path, directory)
}

/// What many requests cost, together.
#[derive(Debug, PartialEq, Eq)]
struct Cost {
    /// System calls by their numbers.
    calls: BTreeMap<usize, u64>,
    allocations: u64,
}

const NOTHING: Cost = Cost {
    calls: BTreeMap::new(),
    allocations: 0,
};

/// Puts every request three times, and counts what that costs when they have been put before.
fn cost(client: &mut Client, requests: &[Slot]) -> Cost {
    counted(|counter| {
        let mut round = || {
            for slot in requests {
                client.call(*slot);
            }
        };
        round();
        let before = (counter.snapshot(), alloc::count());
        round();
        round();
        round();
        let allocations = alloc::count() - before.1;
        let calls = counter.since(&before.0);
        Cost { calls, allocations }
    })
}

#[test]
fn lookup_of_a_known_name_costs_nothing() {
    let (mut client, _, directory) = server();
    let names: Vec<String> = Tree::files().collect();
    let requests: Vec<Slot> = names
        .iter()
        .map(|name| client.prepare_lookup(directory, name))
        .collect();
    assert_eq!(cost(&mut client, &requests), NOTHING);
    assert_eq!(client.guest().error(requests[0]), 0);
    assert_ne!(client.guest().reply_u64(requests[0], 0), 0);
}

#[test]
fn lookup_of_a_missing_name_costs_nothing() {
    let (mut client, _, directory) = server();
    let requests: Vec<Slot> = (0..FILES)
        .map(|number| client.prepare_lookup(directory, &format!("missing-{number}")))
        .collect();
    assert_eq!(cost(&mut client, &requests), NOTHING);
    assert_eq!(client.guest().error(requests[0]), 0);
    assert_eq!(client.guest().reply_u64(requests[0], 0), 0);
}

/// Of a closure, too, and what is hidden costs no more than what is missing: it is not looked for.
#[test]
fn a_closure_costs_nothing() {
    let (shown, hidden) = (&store().paths[0], &store().paths[1]);
    let mut client = ours::closure(&store().root, std::slice::from_ref(shown));
    let path = format!("{shown}/dir-1");
    let directory = client.resolve(&path);
    let mut requests = vec![
        client.prepare_read(opcode::READDIRPLUS, directory, 0, 0, 32768),
        client.prepare_lookup(1, hidden),
        client.prepare_lookup(1, &format!("{hidden}-missing")),
    ];
    for name in Tree::files() {
        let node = client.resolve(&format!("{path}/{name}"));
        requests.push(client.prepare_lookup(directory, &name));
        requests.push(client.prepare(opcode::GETATTR, node, &[0; 16], Some(104)));
    }
    assert_eq!(cost(&mut client, &requests), NOTHING);
    for slot in &requests[1..3] {
        assert_eq!(client.guest().error(*slot), -libc::ENOENT);
    }
    assert_eq!(client.guest().error(requests[3]), 0);
}

#[test]
fn getattr_costs_nothing() {
    let (mut client, path, directory) = server();
    let mut requests = vec![client.prepare(opcode::GETATTR, directory, &[0; 16], Some(104))];
    for name in Tree::files() {
        let node = client.resolve(&format!("{path}/{name}"));
        requests.push(client.prepare(opcode::GETATTR, node, &[0; 16], Some(104)));
    }
    assert_eq!(cost(&mut client, &requests), NOTHING);
    assert_eq!(client.guest().error(requests[1]), 0);
}

#[test]
fn readlink_costs_nothing() {
    let (mut client, path, _) = server();
    let node = client.resolve(&format!("{path}/link"));
    let request = client.prepare(opcode::READLINK, node, &[], Some(4096));
    assert_eq!(cost(&mut client, &[request]), NOTHING);
    let used = client.call(request);
    assert_eq!(client.guest().reply(request, used), b"file-1");
}

#[test]
fn forget_costs_nothing() {
    let (mut client, path, _) = server();
    let mut requests = Vec::new();
    for name in Tree::files() {
        let node = client.resolve(&format!("{path}/{name}"));
        requests.push(client.prepare(opcode::FORGET, node, &1u64.to_le_bytes(), None));
    }
    assert_eq!(cost(&mut client, &requests), NOTHING);
}

#[test]
fn listing_a_directory_costs_nothing() {
    let (mut client, _, directory) = server();
    for (opcode, plus) in [(opcode::READDIR, false), (opcode::READDIRPLUS, true)] {
        for room in [4096, 32768] {
            let request = client.prepare_read(opcode, directory, 0, 0, room);
            assert_eq!(cost(&mut client, &[request]), NOTHING, "{opcode} {room}");
            let used = client.call(request);
            let listed = entries(&client.guest().reply(request, used), plus);
            assert!(listed > 10, "only {listed} entries");
        }
    }
}

#[test]
fn reading_cached_data_costs_one_call() {
    let (mut client, path, _) = server();
    let node = client.resolve(&format!("{path}/file-1"));
    let request = client.prepare_read(opcode::READ, node, 0, 0, 4096);
    let cost = cost(&mut client, &[request]);
    let preadv2 = usize::try_from(libc::SYS_preadv2).unwrap();
    assert_eq!(cost.calls, BTreeMap::from([(preadv2, 3)]));
    assert_eq!(cost.allocations, 0);
    let used = client.call(request);
    let data = client.guest().reply(request, used);
    assert_eq!(data, b"package 0 directory 1 file 1\n");
}

/// Opened beneath its store path, which is held open, and seen to be what it was.
#[test]
fn reading_a_file_for_the_first_time_costs_three_calls() {
    let (mut client, path, _) = server();
    let mut read = |number: usize| {
        let file = format!("{path}/file-{number}");
        // The host's page cache may have lost it since it was written.
        std::fs::read(store().root.join(&file)).unwrap();
        let node = client.resolve(&file);
        client.prepare_read(opcode::READ, node, 0, 0, 4096)
    };
    let (before, request) = (read(1), read(2));
    client.call(before);
    let calls = counted(|counter| {
        let before = counter.snapshot();
        client.call(request);
        counter.since(&before)
    });
    let once = |number: i64| (usize::try_from(number).unwrap(), 1);
    let numbers = [libc::SYS_openat2, libc::SYS_statx, libc::SYS_preadv2];
    assert_eq!(calls, BTreeMap::from(numbers.map(once)));
}
