// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Directory trees that look like Nix stores: settled, of many paths, with hard links.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};

use rofs_tests::settled::settle;

/// Files in each directory of a path; with its symbolic link and itself that makes 42 entries.
pub const FILES: usize = 40;
/// Directories in each store path.
const DIRECTORIES: usize = 9;
/// Files in `forget`, a directory that is left alone until FORGET is measured.
pub const FORGETTABLE: usize = 20;
/// Entries of each store path, itself included.
pub const PATH_ENTRIES: usize = 1 + DIRECTORIES * (FILES + 2) + 1 + FORGETTABLE;
/// One file in so many is the same everywhere, and hard-linked, as `nix-store --optimise` does.
pub const SHARED: usize = 5;

/// Size of the file for reading.
pub const BIG: u64 = 64 << 20;
/// Small files in the path for reading.
pub const SMALL: usize = 2000;
/// Size of each of them.
pub const SMALL_SIZE: usize = 4096;

/// A tree, made once and kept.
#[derive(Clone, Debug)]
pub struct Tree {
    /// The directory to be served.
    pub root: PathBuf,
    /// Its store paths.
    pub paths: Vec<String>,
}

/// Where things that outlive a run are kept: `bench` in the target directory.
///
/// # Panics
/// If it cannot be made.
pub fn kept() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"),
        PathBuf::from,
    );
    let dir = target.join("bench");
    fs::create_dir_all(&dir).unwrap();
    dir
}

/// The name of store path number `number`.
fn path_name(number: usize) -> String {
    const DIGITS: &[u8; 32] = b"0123456789abcdfghijklmnpqrsvwxyz";
    // Spread like real hashes: the same bits in the same order would flatter any table.
    let mut state = number as u64;
    let mut hash = String::with_capacity(32);
    for _ in 0..32 {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        hash.push(char::from(DIGITS[(state >> 59) as usize]));
    }
    format!("{hash}-package-{number}")
}

impl Tree {
    /// A store of about `entries` entries, made in `dir` if it is not there yet.
    ///
    /// # Errors
    /// If the file system is full, or does not do what it should.
    pub fn store(dir: &Path, entries: usize) -> io::Result<Tree> {
        let paths = entries.div_ceil(PATH_ENTRIES);
        let name = format!("store-{entries}-{PATH_ENTRIES}");
        make(&dir.join(name), paths, |root| packages(root, paths))
    }

    /// A store of one path: the file `big`, and `SMALL` small ones.
    ///
    /// # Errors
    /// As for [`store`](Tree::store).
    pub fn contents(dir: &Path) -> io::Result<Tree> {
        make(&dir.join(format!("contents-{BIG}-{SMALL}")), 1, |root| {
            let top = root.join(path_name(0));
            DirBuilder::new().mode(0o755).create(&top)?;
            let block = block();
            let mut big = File::create(top.join("big"))?;
            for _ in 0..BIG / block.len() as u64 {
                big.write_all(&block)?;
            }
            big.sync_all()?;
            settle(&top.join("big"), 0o444)?;
            for number in 0..SMALL {
                let file = top.join(format!("small-{number}"));
                settled_file(&file, &block[..SMALL_SIZE])?;
            }
            settle(&top, 0o555)
        })
    }

    /// A store of about `entries` entries, and of one more path for guests: `big`, of so many MiB,
    /// so many `small` files in directories of 40, and the static program `bin/program`.
    ///
    /// # Errors
    /// As for [`store`](Tree::store).
    pub fn guest(
        dir: &Path,
        entries: usize,
        small: usize,
        big: u64,
        program: &Path,
    ) -> io::Result<Tree> {
        let paths = entries.div_ceil(PATH_ENTRIES);
        let name = format!("guest-{entries}-{small}-{big}");
        make(&dir.join(name), paths + 1, |root| {
            packages(root, paths)?;
            let top = root.join(path_name(paths));
            for dir in [&top, &top.join("small"), &top.join("bin")] {
                DirBuilder::new().mode(0o755).create(dir)?;
            }
            fs::copy(program, top.join("bin/program"))?;
            settle(&top.join("bin/program"), 0o555)?;
            let block = block();
            for number in 0..small.div_ceil(FILES) {
                let dir = top.join(format!("small/dir-{number}"));
                DirBuilder::new().mode(0o755).create(&dir)?;
                for file in 0..FILES.min(small - number * FILES) {
                    // From a few bytes to two pages.
                    let size = (number * FILES + file) * 37 % 8192;
                    settled_file(&dir.join(format!("file-{file}")), &block[..size])?;
                }
                settle(&dir, 0o555)?;
            }
            let mut file = File::create(top.join("big"))?;
            for _ in 0..big {
                file.write_all(&block)?;
            }
            file.sync_all()?;
            settle(&top.join("big"), 0o444)?;
            for dir in [&top.join("bin"), &top.join("small"), &top] {
                settle(dir, 0o555)?;
            }
            Ok(())
        })
    }

    /// Names in each directory of a path, which are called `dir-0` and so on.
    pub fn files() -> impl Iterator<Item = String> {
        (0..FILES).map(|number| format!("file-{number}"))
    }

    /// The directories of a path.
    pub fn directories() -> impl Iterator<Item = String> {
        (0..DIRECTORIES).map(|number| format!("dir-{number}"))
    }
}

/// Whether file `number` of a directory has other names.
pub fn is_shared(number: usize) -> bool {
    number.is_multiple_of(SHARED)
}

fn make(root: &Path, paths: usize, fill: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<Tree> {
    if !root.is_dir() {
        let unfinished = root.with_extension(format!("unfinished-{}", std::process::id()));
        DirBuilder::new().recursive(true).create(&unfinished)?;
        fill(&unfinished)?;
        // Somebody else may have been faster; then this one is in vain.
        if fs::rename(&unfinished, root).is_err() && !root.is_dir() {
            return Err(io::Error::other(format!("cannot make {}", root.display())));
        }
    }
    Ok(Tree {
        root: root.to_owned(),
        paths: (0..paths).map(path_name).collect(),
    })
}

/// A mebibyte in which no two words are alike.
fn block() -> Vec<u8> {
    (0..1u32 << 18).flat_map(u32::to_le_bytes).collect()
}

fn packages(root: &Path, paths: usize) -> io::Result<()> {
    let shared = root.join(".links");
    fs::create_dir(&shared)?;
    for number in 0..FILES {
        let link = shared.join(format!("link-{number}"));
        settled_file(&link, format!("shared {number}\n").as_bytes())?;
    }
    for number in 0..paths {
        package(root, number)?;
    }
    Ok(())
}

fn package(root: &Path, number: usize) -> io::Result<()> {
    let top = root.join(path_name(number));
    DirBuilder::new().mode(0o755).create(&top)?;
    for (index, directory) in Tree::directories().enumerate() {
        let dir = top.join(directory);
        DirBuilder::new().mode(0o755).create(&dir)?;
        for (file, name) in Tree::files().enumerate() {
            if is_shared(file) {
                fs::hard_link(root.join(format!(".links/link-{file}")), dir.join(name))?;
            } else {
                let content = format!("package {number} directory {index} file {file}\n");
                settled_file(&dir.join(name), content.as_bytes())?;
            }
        }
        symlink("file-1", dir.join("link"))?;
        settle(&dir.join("link"), 0)?;
        settle(&dir, 0o555)?;
    }
    let dir = top.join("forget");
    DirBuilder::new().mode(0o755).create(&dir)?;
    for file in 0..FORGETTABLE {
        settled_file(&dir.join(format!("file-{file}")), b"forget me")?;
    }
    settle(&dir, 0o555)?;
    settle(&top, 0o555)
}

fn settled_file(path: &Path, content: &[u8]) -> io::Result<()> {
    File::create(path)?.write_all(content)?;
    settle(path, 0o444)
}
