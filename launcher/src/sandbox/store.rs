// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where things are in the store that the guest will see.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

/// Where every guest has its store.
pub(super) const STORE: &str = "/nix/store";

/// As many links as the kernel follows.
const MOST_LINKS: usize = 40;

/// This machine's files as if `dir` were mounted at `/nix/store`.
#[derive(Clone, Debug)]
pub(super) struct Store {
    /// Where the store really is.
    pub(super) dir: PathBuf,
    /// The root it belongs to, in which `nix/var` may be.
    pub(super) root: PathBuf,
}

impl Store {
    /// The host's own, or the one in `given`.
    pub(super) fn find(given: Option<&Path>) -> io::Result<Store> {
        let Some(given) = given else {
            return Ok(Store {
                dir: STORE.into(),
                root: "/".into(),
            });
        };
        let given = fs::canonicalize(given)?;
        let inner = given.join("nix/store");
        if inner.is_dir() {
            return Ok(Store {
                dir: inner,
                root: given,
            });
        }
        let root = given.ancestors().nth(2).unwrap_or(&given).to_owned();
        Ok(Store { dir: given, root })
    }

    /// Whether a readable Nix database belongs to it.
    pub(super) fn has_database(&self) -> bool {
        fs::File::open(self.root.join("nix/var/nix/db/db.sqlite")).is_ok()
    }

    /// Where a path of the guest is on this machine.
    pub(super) fn real(&self, path: &Path) -> PathBuf {
        match path.strip_prefix(STORE) {
            Ok(rest) => self.dir.join(rest),
            Err(_) => path.to_owned(),
        }
    }

    /// The path without links in it, all of which must lead somewhere.
    pub(super) fn canonical(&self, path: &Path) -> Option<PathBuf> {
        let mut links = 0;
        let mut done = PathBuf::from("/");
        // What is still to be walked, the next component last; links put theirs onto it.
        let mut rest = reversed(path);
        while let Some(part) = rest.pop() {
            match Path::new(&part).components().next() {
                Some(Component::RootDir) => done = PathBuf::from("/"),
                Some(Component::ParentDir) => {
                    done.pop();
                }
                Some(Component::Normal(name)) => {
                    let next = done.join(name);
                    let metadata = fs::symlink_metadata(self.real(&next)).ok()?;
                    if metadata.is_symlink() {
                        links += 1;
                        if links > MOST_LINKS {
                            return None;
                        }
                        rest.extend(reversed(&fs::read_link(self.real(&next)).ok()?));
                    } else {
                        done = next;
                    }
                }
                _ => {}
            }
        }
        Some(done)
    }

    /// The path in the store under which something can be reached, with its own name if that is
    /// there: `ls` may be a link to a program that does what it is called.
    pub(super) fn inside(&self, path: &Path) -> Option<PathBuf> {
        let mut path = path.to_owned();
        for _ in 0..MOST_LINKS {
            path = self.canonical(path.parent()?)?.join(path.file_name()?);
            if path.starts_with(STORE) {
                return self.canonical(&path).map(|_| path);
            }
            let target = fs::read_link(&path).ok()?;
            path = path.parent()?.join(target);
        }
        None
    }

    /// The store path that something in the store belongs to.
    pub(super) fn store_path(path: &Path) -> Option<PathBuf> {
        let name = path.strip_prefix(STORE).ok()?.components().next()?;
        Some(Path::new(STORE).join(name))
    }

    /// A program of a search path.
    pub(super) fn on_path(&self, name: &OsStr, path: &OsStr) -> Option<PathBuf> {
        std::env::split_paths(path)
            .filter(|dir| dir.is_absolute())
            .map(|dir| dir.join(name))
            .find(|file| {
                self.canonical(file)
                    .is_some_and(|file| executable(&self.real(&file)))
            })
    }
}

fn reversed(path: &Path) -> Vec<OsString> {
    path.components()
        .rev()
        .map(|part| part.as_os_str().to_owned())
        .collect()
}

fn executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(file)
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}
