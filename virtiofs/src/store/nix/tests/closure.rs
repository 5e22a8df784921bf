// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Shares that show a closure: what is hidden is as if it was not there.

use super::*;
use crate::store::nix::index::path_tag;

fn name(name: &str) -> String {
    format!("{HASH}-{name}")
}

fn closure(names: &[&str]) -> Closure {
    Closure::new(names.iter().map(|n| name(n))).unwrap()
}

fn look(store: &NixStore, parent: NodeId, name: &str) -> FsResult<Found> {
    store.lookup(Call::WAIT, parent, Name::new(name.as_bytes()).unwrap())
}

fn entry(store: &NixStore, parent: NodeId, name: &str) -> Entry {
    match look(store, parent, name) {
        Ok(Found::Entry(entry)) => entry,
        other => panic!("{name}: {other:?}"),
    }
}

fn names(store: &NixStore) -> BTreeSet<String> {
    let listed = list(store, NodeId::ROOT, 0);
    listed.into_iter().map(|(name, _)| name).collect()
}

/// The same with no nodes asked for.
fn bare_names(store: &NixStore, from: Cookie) -> Vec<(String, Cookie)> {
    struct Bare(Names);
    impl DirSink for Bare {
        fn wants_nodes(&self) -> bool {
            false
        }
        fn push(&mut self, entry: &DirEntry<'_>, node: Option<&Entry>) -> bool {
            self.0.push(entry, node)
        }
    }
    let mut names = Bare(Names(Vec::new(), usize::MAX));
    store
        .readdir(Call::WAIT, NodeId::ROOT, from, &mut names)
        .unwrap();
    names.0.0
}

fn expected(paths: &[&str]) -> BTreeSet<String> {
    let dots = [".", ".."].map(str::to_owned);
    dots.into_iter()
        .chain(paths.iter().map(|n| name(n)))
        .collect()
}

/// What every question about a node says.
fn all_answers(store: &NixStore, node: NodeId) -> Vec<Errno> {
    let mut answers = Vec::new();
    for call in [Call::NO_WAIT, Call::WAIT] {
        let mut bytes = Bytes(Vec::new());
        let mut names = Names(Vec::new(), usize::MAX);
        answers.extend([
            store.getattr(call, node).unwrap_err(),
            store
                .lookup(call, node, Name::new(b"bin").unwrap())
                .unwrap_err(),
            store
                .lookup(call, node, Name::new(b"tool").unwrap())
                .unwrap_err(),
            store.readlink(call, node, &mut bytes).unwrap_err(),
            store.read(call, node, 0, 100, &mut bytes).unwrap_err(),
            store.readdir(call, node, 0, &mut names).unwrap_err(),
            store.map(call, node, 0, 100).unwrap_err(),
        ]);
        assert!(bytes.0.is_empty() && names.0.is_empty());
    }
    answers
}

/// Ids of a top node, directories, a file and a link.
fn some_nodes(store: &NixStore, path: &str) -> Vec<NodeId> {
    let top = entry(store, NodeId::ROOT, &name(path)).node;
    let bin = entry(store, top, "bin").node;
    let tool = entry(store, bin, "tool").node;
    read(store, tool).unwrap();
    let alias = entry(store, bin, "alias").node;
    vec![top, bin, tool, alias]
}

#[test]
fn a_hidden_path_is_as_one_that_is_not_there() {
    let f = Fixture::new();
    for path in ["shown", "hidden"] {
        f.add(path);
    }
    f.build("hidden-and-live");
    let some = f.store.restricted_to(&closure(&["shown", "to-come"]));

    // Everything the other share knows, down to open files, is no way in.
    let mut hidden = some_nodes(&f.store, "hidden");
    hidden.extend(some_nodes(&f.store, "hidden-and-live"));
    let missing = all_answers(&some, NodeId(hidden[0].0 ^ 0x55));
    assert!(missing[7..].iter().all(|errno| *errno == Errno::STALE));
    for node in hidden {
        assert_eq!(all_answers(&some, node), missing, "{node:?}");
    }
    // Nor if this share is the first to hear of them, as after a restart.
    let restarted = Fixture::serve(f.dir.path()).restricted_to(&closure(&["shown"]));
    for node in some_nodes(&f.store, "hidden") {
        assert_eq!(all_answers(&restarted, node), missing, "{node:?}");
    }
    for path in ["hidden", "hidden-and-live", "missing", "to-come"] {
        let found = look(&some, NodeId::ROOT, &name(path));
        assert_eq!(found, Ok(Found::Negative(Validity::NONE)), "{path}");
    }
    assert_eq!(names(&some), expected(&["shown"]));
    assert_eq!(bare_names(&some, 0).len(), 3);
    // What is shown is what it is elsewhere.
    assert_eq!(some_nodes(&some, "shown"), some_nodes(&f.store, "shown"));
    let restarted = Fixture::serve(f.dir.path()).restricted_to(&closure(&["shown"]));
    for node in some_nodes(&some, "shown") {
        assert_eq!(
            restarted.getattr(Call::WAIT, node).unwrap(),
            f.store.getattr(Call::WAIT, node).unwrap()
        );
    }
}

#[test]
fn the_root_tells_nothing_of_hidden_paths() {
    let f = Fixture::new();
    f.add("shown");
    let set = closure(&["shown", "to-come"]);
    let some = f.store.restricted_to(&set);
    let attr = |store: &NixStore| store.getattr(Call::WAIT, NodeId::ROOT).unwrap().0;
    let before = (attr(&some), some.statfs(Call::WAIT).unwrap());
    for i in 0..100 {
        f.add(&format!("hidden-{i}"));
    }
    assert_ne!(attr(&f.store), before.0, "the real one does change");
    assert_eq!((attr(&some), some.statfs(Call::WAIT).unwrap()), before);
    for i in 0..100 {
        fs::remove_dir_all(f.path(&format!("hidden-{i}"))).unwrap();
    }
    assert_eq!(attr(&some), before.0);
    assert_eq!((before.1.blocks, before.1.files), (0, 0));

    // Clients keep their list until the mtime changes, so what they do see changes it.
    let mut last = before.0.mtime;
    let mut newer = |what: &str| {
        let now = attr(&some).mtime;
        assert!(now > last, "{what}");
        assert_eq!(attr(&some).mtime, now, "{what}");
        last = now;
    };
    f.add("to-come");
    newer("added");
    fs::remove_dir_all(f.path("to-come")).unwrap();
    f.add("to-come");
    newer("another one");
    fs::remove_dir_all(f.path("to-come")).unwrap();
    newer("collected");
    set.replace::<&str>([]).unwrap();
    newer("no more shown");
}

#[test]
fn the_set_changes_while_it_is_served() {
    let f = Fixture::new();
    for path in ["one", "two", "three"] {
        f.add(path);
    }
    let set = closure(&["one", "two"]);
    let some = f.store.restricted_to(&set);
    let one = some_nodes(&some, "one");
    let two = some_nodes(&some, "two");
    let first = bare_names(&some, 0)[2].1;
    let missing = all_answers(&some, NodeId(one[0].0 ^ 0x55));

    set.replace([name("two"), name("three")]).unwrap();
    for node in &one {
        assert_eq!(all_answers(&some, *node), missing);
    }
    for node in &two {
        assert!(some.getattr(Call::WAIT, *node).is_ok());
    }
    some_nodes(&some, "three");
    assert_eq!(names(&some), expected(&["two", "three"]));
    // A list that was begun before ends without it.
    assert!(
        !bare_names(&some, first)
            .iter()
            .any(|listed| listed.0 == name("one"))
    );
    assert!(
        !list(&some, NodeId::ROOT, first)
            .iter()
            .any(|listed| listed.0 == name("one"))
    );

    // And back: the same nodes.
    set.replace([name("one")]).unwrap();
    for node in &one {
        assert!(some.getattr(Call::WAIT, *node).is_ok());
    }
    assert_eq!(some_nodes(&some, "one"), one);
    assert_eq!(read(&some, two[2]), Err(Errno::STALE));
}

#[test]
fn shares_of_one_store_show_each_its_own() {
    let f = Fixture::new();
    f.add("one");
    f.add("two");
    let (first, second) = (
        f.store.restricted_to(&closure(&["one"])),
        f.store.restricted_to(&closure(&["two"])),
    );
    let (one, two) = (some_nodes(&first, "one"), some_nodes(&second, "two"));
    for (store, theirs) in [(&first, &two), (&second, &one)] {
        let missing = all_answers(store, NodeId(theirs[0].0 ^ 0x55));
        for node in theirs {
            assert_eq!(all_answers(store, *node), missing);
        }
    }
    assert_eq!(names(&first), expected(&["one"]));
    assert_eq!(names(&second), expected(&["two"]));
    assert_eq!(names(&f.store), expected(&["one", "two"]));
}

/// Files that are one inode in a hidden path and in one that is shown.
#[test]
fn links_do_not_tell_of_hidden_paths() {
    let f = Fixture::new();
    let (hidden, shown, other) = (f.build("hidden"), f.build("shown"), f.build("other"));
    let file = "share/doc/README";
    for path in [&shown, &other] {
        fs::remove_file(path.join(file)).unwrap();
        fs::hard_link(hidden.join(file), path.join(file)).unwrap();
    }
    fs::hard_link(hidden.join(file), shown.join("share/doc/COPY")).unwrap();
    for path in [&hidden, &shown, &other] {
        settle(path);
    }
    let doc = |store: &NixStore, path: &str| {
        let top = entry(store, NodeId::ROOT, &name(path)).node;
        entry(store, entry(store, top, "share").node, "doc").node
    };
    let first = entry(&f.store, doc(&f.store, "hidden"), "README").node;
    assert_eq!(
        entry(&f.store, doc(&f.store, "shown"), "README").node,
        first
    );

    let set = closure(&["shown", "other"]);
    let some = f.store.restricted_to(&set);
    let shown_doc = doc(&some, "shown");
    let mut ids = BTreeSet::new();
    for (dir, file) in [
        (shown_doc, "README"),
        (shown_doc, "COPY"),
        (doc(&some, "other"), "README"),
    ] {
        let cold = entry(&some, dir, file);
        assert_eq!(entry(&some, dir, file), cold);
        assert_eq!(
            path_tag(cold.node),
            path_tag(dir),
            "nothing of the hidden path in it"
        );
        assert_eq!(read(&some, cold.node).unwrap(), b"read me");
        assert_eq!(some.getattr(Call::WAIT, cold.node).unwrap().0, cold.attr);
        ids.insert(cold.node);
    }
    assert_eq!(ids.len(), 3);
    // Listed with the same ids.
    struct Nodes(BTreeSet<NodeId>);
    impl DirSink for Nodes {
        fn wants_nodes(&self) -> bool {
            true
        }
        fn push(&mut self, _: &DirEntry<'_>, node: Option<&Entry>) -> bool {
            self.0.extend(node.map(|entry| entry.node));
            true
        }
    }
    let mut listed = Nodes(BTreeSet::new());
    some.readdir(Call::WAIT, shown_doc, 0, &mut listed).unwrap();
    assert!(listed.0.len() == 2 && listed.0.is_subset(&ids));
    // The hidden path's id of the file is not for this share, though the file is.
    let missing = all_answers(&some, NodeId(first.0 ^ 0x55));
    assert_eq!(all_answers(&some, first), missing);

    // One of the paths is not shown any more: the file in the other stays what it is.
    let (gone, stays) = (
        entry(&some, shown_doc, "README").node,
        entry(&some, doc(&some, "other"), "README").node,
    );
    set.replace([name("other")]).unwrap();
    assert_eq!(all_answers(&some, gone), missing);
    assert_eq!(read(&some, stays).unwrap(), b"read me");
    // After a restart, too, whichever name is seen first then.
    let restarted = Fixture::serve(f.dir.path());
    assert_eq!(
        read(&restarted.restricted_to(&set), stays).unwrap(),
        b"read me"
    );
    // And when the path that once gave the file its id is collected.
    fs::remove_dir_all(&hidden).unwrap();
    assert!(matches!(
        f.look(NodeId::ROOT, &name("hidden")),
        Found::Negative(_)
    ));
    f.store.files.remove(stays);
    assert_eq!(read(&f.store, first).unwrap(), b"read me");
    assert_eq!(all_answers(&some, first), missing);
    assert_eq!(read(&some, stays).unwrap(), b"read me");
}
