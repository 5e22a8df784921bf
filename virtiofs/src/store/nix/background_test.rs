// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is read ahead, and what is not.

use std::path::Path;
use std::time::{Duration, Instant};

use super::super::index::Place;
use super::super::tests::{Fixture, settle};
use super::*;
use crate::errno::Errno;
use crate::fs::{Call, Found, Name, NodeId, ReadFs};
use crate::store::{NixOptions, NixStore, open_root};

/// Directories of the path that is looked into, beside its top.
const DIRS: u32 = 30;

/// A store with one large path, and another server for it.
fn store(options: NixOptions) -> (Fixture, NixStore) {
    let fixture = Fixture::new();
    let path = fixture.path("large");
    for dir in 0..DIRS {
        let dir = path.join(format!("dir-{dir}"));
        std::fs::create_dir_all(&dir).unwrap();
        for file in 0..50 {
            std::fs::write(dir.join(format!("file-{file}")), "x").unwrap();
        }
    }
    settle(&path);
    let store = serve(fixture.dir.path(), options);
    (fixture, store)
}

fn serve(dir: &Path, options: NixOptions) -> NixStore {
    NixStore::new(open_root(dir).unwrap(), options).unwrap()
}

fn look(store: &NixStore, parent: NodeId, name: &str) -> NodeId {
    let name = Name::new(name.as_bytes()).unwrap();
    match store.lookup(Call::WAIT, parent, name).unwrap() {
        Found::Entry(entry) => entry.node,
        Found::Negative(_) => panic!("{name:?}"),
    }
}

/// Asks the first question that goes into the path.
fn first_answer(fixture: &Fixture, store: &NixStore) -> NodeId {
    let top = fixture.path("large");
    let top = look(
        store,
        NodeId::ROOT,
        top.file_name().unwrap().to_str().unwrap(),
    );
    look(store, top, "dir-0");
    top
}

/// How many directories of a path are in the index.
fn known(store: &NixStore, top: NodeId) -> u32 {
    let path = store.root.path_of(Call::WAIT, &store.view, top).unwrap();
    let blocks = (0..).take_while(|block| path.index().block(*block).is_some());
    // The first has the top node only.
    u32::try_from(blocks.count()).unwrap() - 1
}

fn eventually(mut holds: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    true
}

#[test]
fn the_first_answer_waits_for_one_directory() {
    let (fixture, _) = store(NixOptions::default());
    let top = first_answer(&fixture, &fixture.store);
    assert_eq!(known(&fixture.store, top), 1, "directories were read");
}

#[test]
fn the_rest_is_read_ahead_and_that_is_no_use() {
    let (fixture, store) = store(NixOptions::default());
    let top = first_answer(&fixture, &store);
    assert!(eventually(|| known(&store, top) == DIRS + 1));
    let path = store.root.path_of(Call::WAIT, &store.view, top).unwrap();
    assert!(path.find(top) == Some(Place::TOP) && path.unused_for() > 0);
    for dir in 0..DIRS {
        let dir = look(&store, top, &format!("dir-{dir}"));
        let name = Name::new(b"file-7").unwrap();
        assert!(store.lookup(Call::NO_WAIT, dir, name).is_ok());
    }
}

#[test]
fn nothing_is_read_ahead_while_new_paths_are_looked_into() {
    let (fixture, store) = store(NixOptions::default());
    let shared = &store.background.as_ref().unwrap().shared;
    let top = first_answer(&fixture, &store);
    // As if somebody did so all the time.
    shared.lock().offered = Some(Instant::now() + Duration::from_secs(3600));
    std::thread::sleep(2 * QUIET);
    assert_eq!(known(&store, top), 1);
    shared.lock().offered = None;
    assert!(eventually(|| known(&store, top) == DIRS + 1));
}

#[test]
fn nothing_is_read_ahead_beyond_half_of_the_limit() {
    let (other, probe) = store(NixOptions::default());
    let whole = {
        let top = first_answer(&other, &probe);
        assert!(eventually(|| known(&probe, top) == DIRS + 1));
        probe.index_size()
    };
    let (fixture, store) = store(NixOptions {
        index_limit: whole,
        ..NixOptions::default()
    });
    let top = first_answer(&fixture, &store);
    // When it is through with this path, the next one that it is given is gone from the queue.
    let background = store.background.as_ref().unwrap();
    assert!(eventually(|| background.shared.is_full()));
    std::thread::sleep(Duration::from_millis(50));
    let read = known(&store, top);
    assert!(read > 1 && read < DIRS, "{read} of {DIRS}");
    assert!(store.index_size() < whole);
    // What was not read ahead is there all the same.
    let dir = look(&store, top, "dir-1");
    look(&store, dir, "file-49");
}

#[test]
fn a_path_that_was_dropped_is_read_no_further() {
    let (fixture, store) = store(NixOptions::default());
    let top = first_answer(&fixture, &fixture.store);
    let path = fixture
        .store
        .root
        .path_of(Call::WAIT, &fixture.store.view, top)
        .unwrap();
    let background = store.background.as_ref().unwrap();
    let weak = Arc::downgrade(&path);
    drop(fixture);
    drop(path);
    assert!(eventually(|| weak.upgrade().is_none()));
    background.shared.lock().paths.push_back(weak);
    background.shared.work.notify_one();
    assert!(eventually(|| background.shared.lock().paths.is_empty()));
}

#[test]
fn it_ends_with_the_store() {
    let (fixture, store) = store(NixOptions::default());
    let places = Arc::downgrade(store.root.places());
    first_answer(&fixture, &store);
    drop(store);
    assert!(places.upgrade().is_none(), "a thread has it still");
}

#[test]
fn the_queue_has_an_end() {
    let (fixture, store) = store(NixOptions {
        read_ahead: false,
        ..NixOptions::default()
    });
    let top = first_answer(&fixture, &store);
    let path = store.root.path_of(Call::WAIT, &store.view, top).unwrap();
    let (places, usage) = (store.root.places(), store.root.usage());
    let background = Background {
        shared: Arc::new(Shared {
            places: Arc::clone(places),
            usage: Arc::clone(usage),
            limit: usize::MAX,
            state: Mutex::default(),
            work: Condvar::new(),
        }),
        thread: None,
    };
    let waiting = || background.shared.lock().paths.len();
    background.read(&path);
    background.read(&path);
    assert_eq!(waiting(), 1, "one path twice");
    for _ in 0..2 * WAITING {
        path.give_up_read_ahead();
        background.read(&path);
    }
    assert_eq!(waiting(), WAITING);
    assert!(path.begin_read_ahead(), "it is never offered again");
    assert_eq!(
        store.lookup(
            Call::NO_WAIT,
            look(&store, top, "dir-3"),
            Name::new(b"x").unwrap()
        ),
        Err(Errno::AGAIN)
    );
}
