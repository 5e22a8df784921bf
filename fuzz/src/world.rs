// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A small store and a small tree, made once for each process, and what must not leave them.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Timespec, Timestamps};
use virtiofs::dax::{Bounds, DaxWindow};
use virtiofs::errno::{Errno, FsResult};
use virtiofs::fs::{Call, Found, Mapping, Name, NodeId, ReadFs};
use virtiofs::server::{Options, Server};
use virtiofs::store::{CachePolicy, NixOptions, NixStore, PlainOptions, PlainTree, open_root};

/// Stands in every file that no client may see, and in its name.
pub const SECRET: &[u8] = b"no client may ever see these forty bytes";

const HASHES: [&str; 8] = [
    "0c5b8vw40d1178xlpddw65q9gf1h2186",
    "1c5b8vw40d1178xlpddw65q9gf1h2186",
    "2c5b8vw40d1178xlpddw65q9gf1h2186",
    "3c5b8vw40d1178xlpddw65q9gf1h2186",
    "4c5b8vw40d1178xlpddw65q9gf1h2186",
    "5c5b8vw40d1178xlpddw65q9gf1h2186",
    "6c5b8vw40d1178xlpddw65q9gf1h2186",
    "7c5b8vw40d1178xlpddw65q9gf1h2186",
];

/// What a client shall find at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Content {
    File(Vec<u8>),
    Link(Vec<u8>),
    Directory,
    Other,
}

/// A place in a tree.
#[derive(Clone, Debug)]
pub struct Place {
    /// Components of its path.
    pub path: Vec<Vec<u8>>,
    /// What is there.
    pub content: Content,
    inode: (u64, u64),
}

/// A tree to serve.
#[derive(Debug)]
pub struct Tree {
    /// Where it is.
    pub root: PathBuf,
    /// Everything in it that a client may see, always in the same order.
    pub places: Vec<Place>,
    /// Whether it is served as a Nix store.
    pub nix: bool,
}

/// Both trees.
#[derive(Debug)]
pub struct World {
    _dir: tempfile::TempDir,
    base: PathBuf,
    /// The Nix store.
    pub store: Tree,
    /// The tree of all kinds of files.
    pub plain: Tree,
    before: BTreeMap<PathBuf, String>,
}

/// The world of this process.
pub fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(World::new)
}

fn write(path: &Path, content: &[u8], mode: u32) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// Sets modes and times as Nix does, from the top down.
fn settle(path: &Path) {
    let meta = fs::symlink_metadata(path).unwrap();
    if !meta.is_symlink() {
        let executable = meta.is_dir() || meta.mode() & 0o100 != 0;
        let mode = if executable { 0o555 } else { 0o444 };
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
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    if meta.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            settle(&entry.unwrap().path());
        }
    }
}

fn package(top: &Path, outside: &Path) {
    let script = b"#!/bin/sh\necho \"$0: $(cat \"${0%/*}/../share/doc/README\")\"\n";
    write(&top.join("bin/tool"), script, 0o755);
    symlink("tool", top.join("bin/alias")).unwrap();
    write(&top.join("share/doc/README"), b"read me", 0o644);
    let big: Vec<u8> = (0..9000u32)
        .flat_map(|i| format!("{i:07}\n").into_bytes())
        .collect();
    write(&top.join("lib/big"), &big, 0o644);
    write(&top.join("lib/empty"), b"", 0o644);
    write(&top.join("a/b/c/d/e/deep"), b"deep down", 0o644);
    fs::create_dir(top.join("nothing")).unwrap();
    for i in 0..40 {
        write(
            &top.join("many")
                .join("n".repeat(i % 20 + 1) + &i.to_string()),
            b"x",
            0o644,
        );
    }
    write(&top.join("long").join("l".repeat(255)), b"long", 0o644);
    symlink(outside, top.join("absolute")).unwrap();
    symlink("../../outside", top.join("relative")).unwrap();
    symlink("..", top.join("up")).unwrap();
    symlink("loop", top.join("loop")).unwrap();
    symlink("t".repeat(4000), top.join("far")).unwrap();
}

fn make_store(root: &Path, outside: &Path) {
    let path = |i: usize, name: &str| root.join(format!("{}-{name}", HASHES[i]));
    package(&path(0, "tool-1.0"), outside);
    settle(&path(0, "tool-1.0"));
    write(&path(1, "file"), b"a store path can be a file", 0o644);
    settle(&path(1, "file"));
    symlink(outside, path(2, "link")).unwrap();
    settle(&path(2, "link"));
    // Being built.
    package(&path(3, "building"), outside);
    write(&path(4, "script.sh"), b"#!/bin/sh\n", 0o755);
    // Settled from the top down, and not yet done.
    package(&path(5, "half"), outside);
    settle(&path(5, "half"));
    fs::set_permissions(path(5, "half/share"), Permissions::from_mode(0o755)).unwrap();
    write(&path(5, "half/share/new"), b"new", 0o644);
    // All that follows is hidden.
    write(&path(6, "tool.lock"), SECRET, 0o644);
    write(&path(7, "x.drv.chroot").join("file"), SECRET, 0o644);
    write(&root.join(".links").join(secret_name()), SECRET, 0o444);
    write(&root.join("tmp-1-2").join(secret_name()), SECRET, 0o444);
}

fn make_plain(root: &Path, outside: &Path) {
    package(root, outside);
    let mknod = |name: &str, kind, dev| {
        // Devices take privileges that are not needed for anything else.
        let _ = rustix::fs::mknodat(CWD, root.join(name), kind, Mode::from_raw_mode(0o666), dev);
    };
    mknod("fifo", FileType::Fifo, 0);
    mknod("null", FileType::CharacterDevice, rustix::fs::makedev(1, 3));
    fs::hard_link(root.join("bin/tool"), root.join("other name")).unwrap();
    symlink("/proc/self/root", root.join("magic")).unwrap();
}

fn secret_name() -> String {
    String::from_utf8_lossy(SECRET).into_owned()
}

impl World {
    fn new() -> World {
        let dir = tempfile::Builder::new()
            .prefix("rofs-fuzz-")
            .tempdir()
            .unwrap();
        let base = dir.path().to_owned();
        let outside = base.join("outside");
        write(&outside.join("secret"), SECRET, 0o644);
        write(&outside.join(secret_name()), SECRET, 0o644);
        let (store, plain) = (base.join("store"), base.join("plain"));
        fs::create_dir(&store).unwrap();
        fs::create_dir(&plain).unwrap();
        make_store(&store, &outside);
        make_plain(&plain, &outside);
        World {
            _dir: dir,
            before: snapshot(&base),
            base,
            store: Tree::new(store, true),
            plain: Tree::new(plain, false),
        }
    }

    /// The tree that an input's first byte chooses.
    pub fn tree(&self, config: u8) -> &Tree {
        if config & 1 == 0 {
            &self.store
        } else {
            &self.plain
        }
    }

    /// Panics if anything on the disk is not what it was. Dear, so only done now and then.
    pub fn check_unchanged(&self) {
        let after = snapshot(&self.base);
        for (path, what) in &self.before {
            assert_eq!(after.get(path), Some(what), "{} changed", path.display());
        }
        assert_eq!(after.len(), self.before.len(), "there is something new");
    }
}

/// All that can be told of every file but when it was read.
fn snapshot(base: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut left = vec![base.to_owned()];
    while let Some(path) = left.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        let (mtime, ctime) = (
            (meta.mtime(), meta.mtime_nsec()),
            (meta.ctime(), meta.ctime_nsec()),
        );
        let mut what = format!(
            "{} {:o} {} {} {} {} {mtime:?} {ctime:?}",
            meta.ino(),
            meta.mode(),
            meta.nlink(),
            meta.uid(),
            meta.gid(),
            meta.size()
        );
        if meta.is_symlink() {
            what += &fs::read_link(&path).unwrap().to_string_lossy();
        } else if meta.is_file() {
            what += &String::from_utf8_lossy(&fs::read(&path).unwrap());
        } else if meta.is_dir() {
            left.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        }
        found.insert(path, what);
    }
    found
}

impl Tree {
    fn new(root: PathBuf, nix: bool) -> Tree {
        let mut places = Vec::new();
        walk(&root, &mut Vec::new(), &mut places, nix);
        Tree { root, places, nix }
    }

    /// A server of this tree that has no past, set up by an input's first byte.
    pub fn server(&self, config: u8) -> Server<Arc<dyn ReadFs>> {
        let root = open_root(&self.root).unwrap();
        // So few files that some have to be closed again.
        let open_files = if config & 2 == 0 { 4 } else { 64 };
        let fs: Arc<dyn ReadFs> = if self.nix {
            let options = NixOptions {
                open_files,
                // Runs shall be alike.
                read_ahead: false,
                ..NixOptions::default()
            };
            Arc::new(NixStore::new(root, options).unwrap())
        } else {
            let cache = match config >> 2 & 3 {
                0 => CachePolicy::Never,
                1 => CachePolicy::Metadata,
                2 => CachePolicy::Auto,
                _ => CachePolicy::Always,
            };
            Arc::new(PlainTree::new(root, PlainOptions { cache, open_files }).unwrap())
        };
        let options = Options {
            readdirplus: config & 16 == 0,
            direct_io_allow_mmap: config & 32 != 0,
            dax_min: Some(4096),
        };
        Server::new(fs, options)
    }

    /// A DAX window, if an input's first byte asks for one.
    pub fn window(&'static self, config: u8) -> Option<Window> {
        (config & 64 != 0).then_some(Window(self))
    }

    /// Whether `bytes` stand at `at` in any file of the tree.
    pub fn has(&self, bytes: &[u8], at: u64) -> bool {
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        self.places.iter().any(|place| match &place.content {
            Content::File(content) => content.get(at..).is_some_and(|it| it.starts_with(bytes)),
            _ => false,
        })
    }
}

fn walk(dir: &Path, above: &mut Vec<Vec<u8>>, places: &mut Vec<Place>, nix: bool) {
    let mut entries: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap())
        .collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (path, name) = (entry.path(), entry.file_name().into_encoded_bytes());
        let hidden = !HASHES[..6]
            .iter()
            .any(|hash| name.starts_with(hash.as_bytes()));
        if nix && above.is_empty() && hidden {
            continue;
        }
        let meta = fs::symlink_metadata(&path).unwrap();
        let content = if meta.is_file() {
            Content::File(fs::read(&path).unwrap())
        } else if meta.is_symlink() {
            Content::Link(
                fs::read_link(&path)
                    .unwrap()
                    .into_os_string()
                    .into_encoded_bytes(),
            )
        } else if meta.is_dir() {
            Content::Directory
        } else {
            Content::Other
        };
        above.push(name);
        places.push(Place {
            path: above.clone(),
            content,
            inode: (meta.dev(), meta.ino()),
        });
        if meta.is_dir() {
            walk(&path, above, places, nix);
        }
        above.pop();
    }
}

/// Node ids of a tree as one server gives them; each is asked for when it is needed first.
#[derive(Debug)]
pub struct Nodes {
    tree: &'static Tree,
    ids: Vec<Option<u64>>,
}

impl Nodes {
    /// Nothing is known yet.
    pub fn new(tree: &'static Tree) -> Nodes {
        Nodes {
            tree,
            ids: vec![None; tree.places.len()],
        }
    }

    /// The id of place number `index`, counted round.
    pub fn id(&mut self, fs: &dyn ReadFs, index: usize) -> u64 {
        let index = index % self.ids.len();
        if let Some(id) = self.ids[index] {
            return id;
        }
        let mut node = NodeId::ROOT;
        for name in &self.tree.places[index].path {
            let Ok(Found::Entry(entry)) = fs.lookup(Call::WAIT, node, Name::new(name).unwrap())
            else {
                panic!("{:?} is not found", self.tree.places[index]);
            };
            node = entry.node;
        }
        self.ids[index] = Some(node.0);
        node.0
    }

    /// The place whose id was given out before.
    pub fn place(&self, id: u64) -> Option<&'static Place> {
        let index = self.ids.iter().position(|known| *known == Some(id))?;
        Some(&self.tree.places[index])
    }
}

/// A window in which nothing is mapped, but everything about it is checked.
#[derive(Clone, Copy, Debug)]
pub struct Window(&'static Tree);

impl DaxWindow for Window {
    fn size(&self) -> u64 {
        1 << 21
    }

    fn open(&self) -> FsResult<()> {
        Ok(())
    }

    fn close(&self) {}

    fn map(&self, moffset: u64, len: u64, mapping: &Mapping, foffset: u64) -> FsResult<()> {
        self.unmap(moffset, len)?;
        let file = mapping.file.as_fd();
        let flags = rustix::fs::fcntl_getfl(file).unwrap();
        assert_eq!(
            flags & OFlags::ACCMODE,
            OFlags::RDONLY,
            "a file open for writing"
        );
        assert!(!flags.contains(OFlags::PATH));
        let stat = rustix::fs::fstat(file).unwrap();
        assert_eq!(FileType::from_raw_mode(stat.st_mode), FileType::RegularFile);
        let inode = (stat.st_dev, stat.st_ino);
        let inside = self.0.places.iter().any(|place| place.inode == inode);
        assert!(inside, "a file from outside of the tree");
        let size = u64::try_from(stat.st_size).unwrap();
        assert!(
            mapping.len > 0
                && foffset
                    .checked_add(mapping.len)
                    .is_some_and(|end| end <= size),
            "behind the end of the file"
        );
        if foffset.is_multiple_of(4096) {
            Ok(())
        } else {
            Err(Errno::INVAL)
        }
    }

    fn unmap(&self, moffset: u64, len: u64) -> FsResult<()> {
        // What a client asks for comes here as it is.
        let page = 4096;
        Bounds {
            size: self.size(),
            page,
        }
        .check(moffset, len)
    }
}
