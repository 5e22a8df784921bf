// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The store as it lives: paths appear, settle, are optimised, collected and added again.

mod closure;

use super::*;
use crate::fs::Entry;
use rustix::fs::{AtFlags, Timespec, Timestamps};
use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

const HASH: &str = "0c5b8vw40d1178xlpddw65q9gf1h2186";

/// Sets mode and mtime of one file or directory as Nix does.
fn settle_one(path: &Path) {
    let meta = fs::symlink_metadata(path).unwrap();
    if !meta.is_symlink() {
        let mode = if meta.is_dir() || meta.mode() & 0o100 != 0 {
            0o555
        } else {
            0o444
        };
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }
    let one = Timespec {
        tv_sec: 1,
        tv_nsec: 0,
    };
    let times = Timestamps {
        last_access: one,
        last_modification: one,
    };
    rustix::fs::utimensat(rustix::fs::CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// From the top down.
pub(super) fn settle(path: &Path) {
    settle_one(path);
    if path.is_dir() && !path.is_symlink() {
        for entry in fs::read_dir(path).unwrap() {
            settle(&entry.unwrap().path());
        }
    }
}

/// Makes the times of a directory fresh and its bits writable, as a change to it would.
fn unsettle(path: &Path) {
    fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    let now = Timespec {
        tv_sec: 1_700_000_000,
        tv_nsec: 5,
    };
    let times = Timestamps {
        last_access: now,
        last_modification: now,
    };
    rustix::fs::utimensat(rustix::fs::CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

pub(super) struct Fixture {
    pub(super) dir: tempfile::TempDir,
    pub(super) store: NixStore,
}

impl Fixture {
    pub(super) fn new() -> Fixture {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join(".links")).unwrap();
        let store = Self::serve(dir.path());
        Fixture { dir, store }
    }

    fn serve(dir: &Path) -> NixStore {
        // Nothing is read but what is asked for.
        let options = NixOptions {
            read_ahead: false,
            ..NixOptions::default()
        };
        NixStore::new(super::super::open_root(dir).unwrap(), options).unwrap()
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(format!("{HASH}-{name}"))
    }

    /// A small package, not settled.
    pub(super) fn build(&self, name: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.join("bin")).unwrap();
        fs::create_dir_all(path.join("share/doc")).unwrap();
        fs::write(path.join("bin/tool"), "#!/bin/sh\n").unwrap();
        fs::set_permissions(path.join("bin/tool"), Permissions::from_mode(0o755)).unwrap();
        fs::write(path.join("share/doc/README"), "read me").unwrap();
        symlink("tool", path.join("bin/alias")).unwrap();
        path
    }

    fn add(&self, name: &str) -> PathBuf {
        let path = self.build(name);
        settle(&path);
        path
    }

    pub(super) fn look(&self, parent: NodeId, name: &str) -> Found {
        self.store
            .lookup(Call::WAIT, parent, Name::new(name.as_bytes()).unwrap())
            .unwrap()
    }

    pub(super) fn entry(&self, parent: NodeId, name: &str) -> Entry {
        match self.look(parent, name) {
            Found::Entry(entry) => entry,
            Found::Negative(_) => panic!("{name} does not exist"),
        }
    }

    pub(super) fn top(&self, name: &str) -> Entry {
        self.entry(NodeId::ROOT, &format!("{HASH}-{name}"))
    }

    fn list(&self, dir: NodeId) -> BTreeSet<String> {
        list(&self.store, dir, 0)
            .into_iter()
            .map(|(name, _)| name)
            .collect()
    }
}

struct Names(Vec<(String, Cookie)>, usize);

impl DirSink for Names {
    fn wants_nodes(&self) -> bool {
        true
    }
    fn push(&mut self, entry: &DirEntry<'_>, _: Option<&Entry>) -> bool {
        if self.0.len() == self.1 {
            return false;
        }
        self.0.push((
            String::from_utf8(entry.name.to_vec()).unwrap(),
            entry.cookie,
        ));
        true
    }
}

fn list(store: &NixStore, dir: NodeId, from: Cookie) -> Vec<(String, Cookie)> {
    let mut names = Names(Vec::new(), usize::MAX);
    store.readdir(Call::WAIT, dir, from, &mut names).unwrap();
    names.0
}

struct Bytes(Vec<u8>);

impl DataSink for Bytes {
    fn room(&self) -> usize {
        1 << 20
    }
    fn put_file(
        &mut self,
        file: std::os::fd::BorrowedFd<'_>,
        at: u64,
        len: usize,
    ) -> FsResult<usize> {
        let mut buffer = vec![0; len];
        let n = rustix::io::pread(file, &mut buffer, at)?;
        self.0.extend_from_slice(&buffer[..n]);
        Ok(n)
    }
    fn put(&mut self, bytes: &[u8]) -> usize {
        self.0.extend_from_slice(bytes);
        bytes.len()
    }
}

fn read(store: &NixStore, node: NodeId) -> FsResult<Vec<u8>> {
    let mut bytes = Bytes(Vec::new());
    store.read(Call::WAIT, node, 0, 1 << 20, &mut bytes)?;
    Ok(bytes.0)
}

#[test]
fn settled_is_for_ever_and_canonical() {
    let f = Fixture::new();
    f.add("pkg");
    let top = f.top("pkg");
    assert_eq!(
        top.entry_validity,
        Validity(Duration::from_secs(1)),
        "the root lives"
    );
    assert_eq!(top.attr_validity, Validity::FOREVER);
    assert_eq!(top.attr.mode, libc::S_IFDIR | 0o555);

    let bin = f.entry(top.node, "bin");
    assert_eq!(
        (bin.entry_validity, bin.attr_validity),
        (Validity::FOREVER, Validity::FOREVER)
    );
    let tool = f.entry(bin.node, "tool");
    assert_eq!(tool.attr.mode, libc::S_IFREG | 0o555);
    assert_eq!(
        (tool.attr.uid, tool.attr.gid, tool.attr.mtime.secs),
        (0, 0, 1)
    );
    assert_eq!(read(&f.store, tool.node).unwrap(), b"#!/bin/sh\n");
    let alias = f.entry(bin.node, "alias");
    let mut target = Bytes(Vec::new());
    f.store
        .readlink(Call::WAIT, alias.node, &mut target)
        .unwrap();
    assert_eq!((target.0.as_slice(), alias.attr.size), (&b"tool"[..], 4));
    // What is not there will never be.
    assert_eq!(
        f.look(bin.node, "absent"),
        Found::Negative(Validity::FOREVER)
    );
    assert_eq!(
        f.look(top.node, "absent"),
        Found::Negative(Validity::FOREVER)
    );
    // But in the root it may be, any moment.
    assert_eq!(
        f.look(NodeId::ROOT, &format!("{HASH}-absent")),
        Found::Negative(Validity::NONE)
    );
    assert_eq!(
        f.list(bin.node),
        ["", ".", "alias", "tool"]
            .map(|n| if n.is_empty() { ".." } else { n }.to_owned())
            .into()
    );
}

#[test]
fn files_and_links_right_below_the_root() {
    let f = Fixture::new();
    fs::write(f.path("source.tar"), "tar").unwrap();
    symlink("/elsewhere", f.path("link")).unwrap();
    for name in ["source.tar", "link"] {
        assert_eq!(f.top(name).attr_validity, Validity::NONE);
        settle(&f.path(name));
        assert_eq!(f.top(name).attr_validity, Validity::FOREVER);
    }
    assert_eq!(read(&f.store, f.top("source.tar").node).unwrap(), b"tar");
    let mut target = Bytes(Vec::new());
    f.store
        .readlink(Call::WAIT, f.top("link").node, &mut target)
        .unwrap();
    assert_eq!(target.0, b"/elsewhere");
    let name = Name::new(b"x").unwrap();
    let below = f.store.lookup(Call::WAIT, f.top("source.tar").node, name);
    assert_eq!(below, Err(Errno::NOTDIR));
}

#[test]
fn a_path_being_built_is_seen_as_it_is() {
    let f = Fixture::new();
    let path = f.build("pkg");
    let top = f.top("pkg");
    assert_eq!(
        (top.entry_validity, top.attr_validity),
        (Validity::NONE, Validity::NONE)
    );
    let bin = f.entry(top.node, "bin");
    assert_eq!(
        (bin.entry_validity, bin.attr_validity),
        (Validity::NONE, Validity::NONE)
    );
    assert_eq!(f.look(bin.node, "later"), Found::Negative(Validity::NONE));
    fs::write(path.join("bin/later"), "x").unwrap();
    let later = f.entry(bin.node, "later");
    assert_eq!(later.attr.size, 1);
    fs::write(path.join("bin/later"), "longer").unwrap();
    let (attr, validity) = f.store.getattr(Call::WAIT, later.node).unwrap();
    assert_eq!((attr.size, validity), (6, Validity::NONE));
    assert_eq!(read(&f.store, later.node).unwrap(), b"longer");
    assert!(f.list(bin.node).contains("later"));
    // Another file under the same name is another node.
    fs::rename(path.join("share/doc/README"), path.join("bin/later")).unwrap();
    assert_eq!(f.store.getattr(Call::WAIT, later.node), Err(Errno::STALE));
    assert_ne!(f.entry(bin.node, "later").node, later.node);

    settle(&path);
    assert_eq!(f.top("pkg").node, top.node);
    let bin = f.entry(top.node, "bin");
    assert_eq!(bin.entry_validity, Validity::FOREVER);
    assert_eq!(f.entry(bin.node, "later").entry_validity, Validity::FOREVER);
}

/// The top turns canonical first; what is below it may not be yet, or be going already.
#[test]
fn each_directory_speaks_for_itself() {
    let f = Fixture::new();
    let path = f.build("pkg");
    settle_one(&path);
    let top = f.top("pkg");
    assert_eq!(top.attr_validity, Validity::FOREVER);
    let bin = f.entry(top.node, "bin");
    assert_eq!(
        bin.entry_validity,
        Validity::FOREVER,
        "the top's entries are final"
    );
    assert_eq!(
        bin.attr.mode,
        libc::S_IFDIR | 0o555,
        "and canonical, whatever the host shows yet"
    );
    assert_eq!(
        f.look(bin.node, "absent"),
        Found::Negative(Validity::NONE),
        "bin's are not"
    );

    // Garbage collection, depth first: bin has lost an entry, the top looks as before.
    let f = Fixture::new();
    let path = f.add("pkg");
    unsettle(&path.join("bin"));
    fs::remove_file(path.join("bin/tool")).unwrap();
    let bin = f.entry(f.top("pkg").node, "bin");
    assert_eq!(f.look(bin.node, "tool"), Found::Negative(Validity::NONE));
    assert_eq!(f.look(bin.node, "absent"), Found::Negative(Validity::NONE));
}

/// Nothing but the mtime says that a directory has lost an entry: write bits may be gone again.
#[test]
fn mtime_alone_unsettles_and_so_do_write_bits_alone() {
    for case in 0..3 {
        let f = Fixture::new();
        let path = f.add("pkg").join("bin");
        match case {
            0 => {
                unsettle(&path);
                fs::set_permissions(&path, Permissions::from_mode(0o555)).unwrap();
            }
            1 => fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap(),
            _ => fs::set_permissions(&path, Permissions::from_mode(0o575)).unwrap(),
        }
        let bin = f.entry(f.top("pkg").node, "bin");
        assert_eq!(
            f.look(bin.node, "absent"),
            Found::Negative(Validity::NONE),
            "case {case}"
        );
    }
}

#[test]
fn collected_and_added_again_is_another() {
    let f = Fixture::new();
    let path = f.add("pkg");
    let top = f.top("pkg");
    let bin = f.entry(top.node, "bin");
    let tool = f.entry(bin.node, "tool");

    fs::remove_dir_all(&path).unwrap();
    assert_eq!(
        f.look(NodeId::ROOT, &format!("{HASH}-pkg")),
        Found::Negative(Validity::NONE)
    );
    for node in [top.node, bin.node, tool.node] {
        assert_eq!(f.store.getattr(Call::WAIT, node), Err(Errno::STALE));
        assert!(matches!(
            read(&f.store, node),
            Err(Errno::STALE | Errno::ISDIR)
        ));
    }
    let name = Name::new(b"tool").unwrap();
    assert_eq!(
        f.store.lookup(Call::WAIT, bin.node, name),
        Err(Errno::STALE)
    );

    f.build("pkg");
    fs::write(path.join("bin/tool"), "other").unwrap();
    settle(&path);
    let again = f.top("pkg");
    assert_ne!(again.node, top.node);
    let again = f.entry(f.entry(again.node, "bin").node, "tool");
    assert_eq!(read(&f.store, again.node).unwrap(), b"other");
    // Never bound to the new one, which has everything the old one had.
    for node in [top.node, bin.node, tool.node] {
        assert_eq!(f.store.getattr(Call::WAIT, node), Err(Errno::STALE));
    }
}

/// Swapped between two questions, without the root having been asked in between.
#[test]
fn a_swap_nobody_noticed_is_noticed_when_reading() {
    let f = Fixture::new();
    let path = f.add("pkg");
    let top = f.top("pkg");
    let tool = f.entry(f.entry(top.node, "bin").node, "tool");
    fs::rename(&path, f.path("aside")).unwrap();
    f.build("pkg");
    fs::write(path.join("bin/tool"), "#!/bin/no\n").unwrap();
    settle(&path);
    // The path it was told of is still held open, so that is what it reads ...
    assert_eq!(read(&f.store, tool.node).unwrap(), b"#!/bin/sh\n");
    assert_eq!(f.store.getattr(Call::WAIT, top.node), Err(Errno::STALE));
    // ... until that is gone, or not held any more. Never the other.
    f.store.files.remove(tool.node);
    fs::remove_dir_all(f.path("aside")).unwrap();
    assert_eq!(read(&f.store, tool.node), Err(Errno::STALE));
    f.store.root.places().forget(top.node);
    assert_eq!(read(&f.store, tool.node), Err(Errno::STALE));
}

/// A store is read by many; that shall not write to its disk.
#[test]
fn reading_leaves_times_of_access_alone() {
    let f = Fixture::new();
    let path = f.add("pkg");
    let (file, other) = (path.join("bin/tool"), path.join("share/doc/README"));
    let accessed = |path: &Path| fs::metadata(path).unwrap().atime();
    let before = (accessed(&file), accessed(&path.join("bin")));
    let bin = f.entry(f.top("pkg").node, "bin");
    f.list(bin.node);
    let tool = f.entry(bin.node, "tool");
    assert_eq!(read(&f.store, tool.node).unwrap(), b"#!/bin/sh\n");
    assert_eq!((accessed(&file), accessed(&path.join("bin"))), before);
    // Whoever reads without O_NOATIME leaves a trace.
    let before = accessed(&other);
    fs::read(&other).unwrap();
    if accessed(&other) == before {
        eprintln!("NOT TESTED: this file system keeps no times of access");
    }
}

/// `nix-store --optimise`: a link to a file of equal content is renamed over the file.
#[test]
fn optimising_changes_nothing() {
    let f = Fixture::new();
    let path = f.add("pkg");
    let bin = f.entry(f.top("pkg").node, "bin");
    let tool = f.entry(bin.node, "tool");
    let link = f.dir.path().join(".links/x");
    fs::write(&link, "#!/bin/sh\n").unwrap();
    settle(&link);
    fs::set_permissions(path.join("bin"), Permissions::from_mode(0o755)).unwrap();
    fs::hard_link(&link, f.dir.path().join(".tmp-link-1")).unwrap();
    fs::rename(f.dir.path().join(".tmp-link-1"), path.join("bin/tool")).unwrap();
    settle_one(&path.join("bin"));
    assert_eq!(read(&f.store, tool.node).unwrap(), b"#!/bin/sh\n");
    assert_eq!(f.entry(bin.node, "tool"), tool);
    // After a restart it is still the same node, by whichever inode.
    let restarted = Fixture::serve(f.dir.path());
    assert_eq!(read(&restarted, tool.node).unwrap(), b"#!/bin/sh\n");
}

#[test]
fn ids_from_before_a_restart_are_found() {
    let f = Fixture::new();
    for i in 0..20 {
        f.add(&format!("pkg{i}"));
    }
    let top = f.top("pkg7");
    let doc = f.entry(f.entry(top.node, "share").node, "doc");
    let readme = f.entry(doc.node, "README");
    for node in [readme.node, doc.node, top.node] {
        let restarted = Fixture::serve(f.dir.path());
        assert_eq!(
            restarted.getattr(Call::WAIT, node).unwrap(),
            f.store.getattr(Call::WAIT, node).unwrap()
        );
    }
    let restarted = Fixture::serve(f.dir.path());
    assert_eq!(read(&restarted, readme.node).unwrap(), b"read me");
    let listed = list(&f.store, doc.node, 0);
    assert_eq!(list(&restarted, doc.node, listed[0].1), listed[1..]);
    // Ids that never were stay unknown.
    for id in [0, 2, readme.node.0 ^ 1, u64::MAX] {
        assert_eq!(restarted.getattr(Call::WAIT, NodeId(id)), Err(Errno::STALE));
    }
}

#[test]
fn what_is_not_a_store_path_is_hidden() {
    let f = Fixture::new();
    f.add("pkg");
    fs::write(f.path("pkg.lock"), "").unwrap();
    fs::write(f.dir.path().join("tmp-1-2"), "").unwrap();
    fs::create_dir(f.path("x.drv.chroot")).unwrap();
    fs::write(f.path("Cargo.lock"), "[[package]]").unwrap();
    settle(&f.path("Cargo.lock"));
    let shown = f.list(NodeId::ROOT);
    let expected = [
        ".".to_owned(),
        "..".to_owned(),
        format!("{HASH}-pkg"),
        format!("{HASH}-Cargo.lock"),
    ];
    assert_eq!(shown, expected.into());
    for hidden in [
        ".links",
        &format!("{HASH}-pkg.lock"),
        "tmp-1-2",
        &format!("{HASH}-x.drv.chroot"),
    ] {
        assert!(
            matches!(f.look(NodeId::ROOT, hidden), Found::Negative(_)),
            "{hidden}"
        );
    }
    assert_eq!(
        read(&f.store, f.top("Cargo.lock").node).unwrap(),
        b"[[package]]"
    );
}

#[test]
fn a_new_path_is_seen_at_once_also_in_the_middle_of_a_listing() {
    let f = Fixture::new();
    for i in 0..50 {
        f.add(&format!("pkg{i}"));
    }
    let mut page = Names(Vec::new(), 10);
    f.store
        .readdir(Call::WAIT, NodeId::ROOT, 0, &mut page)
        .unwrap();
    f.add("new");
    fs::remove_dir_all(f.path("pkg3")).unwrap();
    assert_eq!(f.top("new").attr_validity, Validity::FOREVER);
    assert!(f.list(NodeId::ROOT).contains(&format!("{HASH}-new")));
    let rest = list(&f.store, NodeId::ROOT, page.0[9].1);
    let all: Vec<_> = page
        .0
        .into_iter()
        .chain(rest)
        .map(|(name, _)| name)
        .collect();
    let distinct: BTreeSet<_> = all.iter().collect();
    assert_eq!(all.len(), distinct.len(), "nothing twice");
    for i in (0..50).filter(|i| *i != 3) {
        assert!(
            distinct.contains(&format!("{HASH}-pkg{i}")),
            "nothing left out"
        );
    }
}

#[test]
fn a_truncated_file_is_an_error_not_zeros() {
    let f = Fixture::new();
    let path = f.add("pkg").join("bin/tool");
    let tool = f.entry(f.entry(f.top("pkg").node, "bin").node, "tool");
    assert_eq!(read(&f.store, tool.node).unwrap().len(), 10);
    fs::File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(3)
        .unwrap();
    assert_eq!(read(&f.store, tool.node), Err(Errno::IO));
    // Opened again, it shows that it is no longer what it was.
    assert_eq!(read(&f.store, tool.node), Err(Errno::STALE));
}

#[test]
fn a_truncated_file_is_not_mapped() {
    let f = Fixture::new();
    let path = f.add("pkg").join("bin/tool");
    let tool = f.entry(f.entry(f.top("pkg").node, "bin").node, "tool");
    let map = || f.store.map(Call::WAIT, tool.node, 0, 4096);
    let mapping = map().unwrap();
    assert!(mapping.fixed);
    assert_eq!(mapping.len, 10);
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.set_len(3).unwrap();
    // Of the last page that is left a client would see zeros.
    assert_eq!(map().unwrap_err(), Errno::IO);
    assert_eq!(map().unwrap_err(), Errno::STALE);
    // A file right below the root may be replaced unnoticed.
    let top = f.path("file");
    fs::write(&top, "text").unwrap();
    settle(&top);
    let top = f.top("file");
    assert!(!f.store.map(Call::WAIT, top.node, 0, 4096).unwrap().fixed);
}

#[test]
fn warm_questions_need_not_wait() {
    let f = Fixture::new();
    f.add("pkg");
    let bin = f.entry(f.top("pkg").node, "bin");
    let name = Name::new(b"tool").unwrap();
    assert_eq!(
        f.store.lookup(Call::NO_WAIT, bin.node, name),
        Err(Errno::AGAIN)
    );
    let Found::Entry(tool) = f.look(bin.node, "tool") else {
        panic!()
    };
    assert_eq!(
        f.store.lookup(Call::NO_WAIT, bin.node, name),
        Ok(Found::Entry(tool))
    );
    assert!(f.store.getattr(Call::NO_WAIT, tool.node).is_ok());
    let mut out = Bytes(Vec::new());
    assert_eq!(
        f.store.read(Call::NO_WAIT, tool.node, 0, 4, &mut out),
        Ok(4)
    );
}

#[test]
fn the_index_stays_within_its_limit_and_ids_stay_the_same() {
    let f = Fixture::new();
    for i in 0..40 {
        let path = f.build(&format!("pkg{i}"));
        for file in 0..50 {
            fs::write(path.join(format!("share/doc/file-{file}")), "x").unwrap();
        }
        settle(&path);
    }
    let limit = 100_000;
    let options = NixOptions {
        index_limit: limit,
        ..NixOptions::default()
    };
    let small = NixStore::new(super::super::open_root(f.dir.path()).unwrap(), options).unwrap();
    let walk = |store: &NixStore, i: usize| {
        let look = |parent, name: &str| {
            let name = Name::new(name.as_bytes()).unwrap();
            match store.lookup(Call::WAIT, parent, name).unwrap() {
                Found::Entry(entry) => entry.node,
                Found::Negative(_) => panic!("{name:?}"),
            }
        };
        let top = look(NodeId::ROOT, &format!("{HASH}-pkg{i}"));
        let doc = look(look(top, "share"), "doc");
        (0..50)
            .map(|file| look(doc, &format!("file-{file}")))
            .collect::<Vec<_>>()
    };
    let ids: Vec<_> = (0..40).map(|i| walk(&f.store, i)).collect();
    assert!(
        f.store.index_size() > 2 * limit,
        "the test needs more: {}",
        f.store.index_size()
    );
    for _ in 0..2 {
        for (i, ids) in ids.iter().enumerate() {
            assert_eq!(&walk(&small, i), ids);
            assert!(small.index_size() <= limit, "{}", small.index_size());
        }
    }
    // Nodes a client still knows of paths that were dropped.
    for ids in &ids {
        assert_eq!(read(&small, ids[49]).unwrap(), b"x");
        assert!(small.getattr(Call::WAIT, ids[0]).is_ok());
    }
}

/// One inode is one node, and stays it whichever of its names goes.
#[test]
fn hard_links_are_one_node() {
    let f = Fixture::new();
    let (one, two) = (f.build("one"), f.build("two"));
    let readme = one.join("share/doc/README");
    fs::remove_file(two.join("share/doc/README")).unwrap();
    fs::hard_link(&readme, two.join("share/doc/README")).unwrap();
    fs::hard_link(&readme, two.join("share/doc/COPY")).unwrap();
    settle(&one);
    settle(&two);
    let doc = |name: &str| f.entry(f.entry(f.top(name).node, "share").node, "doc").node;
    let first = f.entry(doc("one"), "README");
    assert_eq!(f.entry(doc("two"), "README").node, first.node);
    assert_eq!(f.entry(doc("two"), "COPY").node, first.node);
    assert_eq!(
        f.look(doc("two"), "absent"),
        Found::Negative(Validity::FOREVER)
    );
    assert_eq!(list(&f.store, doc("two"), 0).len(), 4);
    assert_eq!(read(&f.store, first.node).unwrap(), b"read me");
    assert_ne!(
        f.entry(f.entry(f.top("two").node, "bin").node, "tool").node,
        first.node
    );

    // The path that gave the id is collected; the file lives on in the other. First the file
    // goes, as it does when garbage is collected, then all.
    f.store.files.remove(first.node);
    unsettle(readme.parent().unwrap());
    fs::remove_file(&readme).unwrap();
    assert_eq!(read(&f.store, first.node).unwrap(), b"read me");
    fs::remove_dir_all(&one).unwrap();
    assert!(matches!(
        f.look(NodeId::ROOT, &format!("{HASH}-one")),
        Found::Negative(_)
    ));
    f.store.files.remove(first.node);
    assert_eq!(read(&f.store, first.node).unwrap(), b"read me");
    assert_eq!(
        f.store.getattr(Call::WAIT, first.node).unwrap().0,
        first.attr
    );
    assert_eq!(f.entry(doc("two"), "README").node, first.node);
    // And when the last is gone, so is the node.
    fs::remove_dir_all(&two).unwrap();
    assert!(matches!(
        f.look(NodeId::ROOT, &format!("{HASH}-two")),
        Found::Negative(_)
    ));
    f.store.files.remove(first.node);
    assert_eq!(read(&f.store, first.node), Err(Errno::STALE));
}
