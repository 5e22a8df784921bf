// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `--closure`: which store paths a share shows.
//!
//! Everything is read outside the sandbox, the Nix database once and before it closes. Lists of
//! paths are watched by the supervisor ([`watch`]), which tells the server when one has changed
//! ([`channel`]): the server needs no way to the file.

pub(crate) mod channel;
mod list;
pub(crate) mod watch;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use nixdb::{Database, Error};
use rustix::fs::{AtFlags, statat};
use virtiofs::store::Closure;

use self::list::List;
use crate::failure::{Failure, Outcome, fail};
use crate::roots::Root;

/// The directory by which store paths are named, wherever the store lies.
const LOGICAL: &str = "/nix/store";

/// What the options of a share ask for.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) paths_and_files: Vec<PathBuf>,
    pub(crate) database: Option<PathBuf>,
}

/// The closure that a share shows.
#[derive(Debug)]
pub(crate) struct Chosen {
    pub(crate) set: Closure,
    /// Names that do not change: those of paths given, and of what they refer to.
    fixed: BTreeSet<String>,
    /// Files that list more.
    lists: Vec<List>,
}

impl Chosen {
    /// Finds the store paths of a share. Lists are read when they are watched already, so that no
    /// change is missed.
    pub(crate) fn new(wanted: &Wanted, root: &Root, watch: &mut watch::Files) -> Outcome<Chosen> {
        let store = Store { root };
        let mut given = Vec::new();
        let mut lists = Vec::new();
        for arg in &wanted.paths_and_files {
            let flag = format!("--closure {}", arg.display());
            match store.what_is(arg, &flag)? {
                Given::Path(name) => given.push((flag, name)),
                Given::List => {
                    watch.add(arg, &flag)?;
                    lists.push(List::new(arg, flag));
                }
            }
        }
        let mut fixed = BTreeSet::new();
        if !given.is_empty() {
            fixed.extend(store.with_references(&given, wanted.database.as_deref())?);
        }
        let mut names = fixed.clone();
        for list in &lists {
            for (line, name) in list.read(&store)? {
                if !store.has(&name) {
                    fail!("{}: line {line}: {name} is not in {store}", list.flag);
                }
                names.insert(name);
            }
        }
        let set = Closure::new(&names).map_err(|e| Failure::new(format!("--closure: {e}")))?;
        log::info!("{store}: {} store path(s) of it are shown", names.len());
        Ok(Chosen { set, fixed, lists })
    }

    /// All names, with the lists as they are now.
    pub(crate) fn names(&self, root: &Root) -> Outcome<BTreeSet<String>> {
        let store = Store { root };
        let mut names = self.fixed.clone();
        for list in &self.lists {
            names.extend(list.read(&store)?.into_iter().map(|(_, name)| name));
        }
        Ok(names)
    }

    pub(crate) fn lists(&self) -> &[List] {
        &self.lists
    }
}

/// What somebody gave to `--closure`.
enum Given {
    /// The name of a store path, or of that in which something lies.
    Path(String),
    List,
}

/// The store that a share shows.
struct Store<'r> {
    root: &'r Root,
}

impl std::fmt::Display for Store<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.root.path.display())
    }
}

impl Store<'_> {
    fn what_is(&self, arg: &Path, flag: &str) -> Outcome<Given> {
        if let Some(name) = self.name_of(arg) {
            if !self.has(&name) {
                fail!("{flag}: {name} is not in {self}");
            }
            return Ok(Given::Path(name));
        }
        // `./result` leads there, too.
        let real = fs::canonicalize(arg).map_err(|e| {
            Failure::new(format!(
                "{flag}: neither in {self} nor a file that lists paths of it: {e}"
            ))
        })?;
        if let Some(name) = self.name_of(&real) {
            return Ok(Given::Path(name));
        }
        if !real.is_file() {
            fail!("{flag}: neither in {self} nor a file that lists paths of it");
        }
        Ok(Given::List)
    }

    /// The name of the store path that `path` is, or lies in, going by nothing but its words.
    fn name_of(&self, path: &Path) -> Option<String> {
        if path.components().any(|part| part == Component::ParentDir) {
            return None;
        }
        let inside = path
            .strip_prefix(&self.root.path)
            .or_else(|_| path.strip_prefix(LOGICAL))
            .ok()?;
        match inside.components().next()? {
            Component::Normal(name) => name.to_str().map(str::to_owned),
            _ => None,
        }
    }

    fn has(&self, name: &str) -> bool {
        statat(&self.root.fd, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
    }

    /// The names of the given paths and of all that they refer to.
    fn with_references(
        &self,
        given: &[(String, String)],
        database: Option<&Path>,
    ) -> Outcome<Vec<String>> {
        let (database, flag) = match database {
            Some(file) => (
                Database::new(file),
                format!("--nix-database {}", file.display()),
            ),
            None => (Database::beside(&self.root.path), "--closure".to_owned()),
        };
        let failed = |e: Error| match e {
            Error::Missing(file) => Failure::new(format!(
                "{flag}: there is no Nix database {} that tells what a store path refers to; name \
                 it by --nix-database, or give a file that lists all paths",
                file.display()
            )),
            e => Failure::new(format!("{flag}: {e}")),
        };
        let dir = database.store_dir().map_err(failed)?;
        let dir = dir.unwrap_or_else(|| LOGICAL.to_owned());
        let mut paths = Vec::new();
        for (flag, name) in given {
            let path = format!("{dir}/{name}");
            if !database.is_valid(&path).map_err(failed)? {
                fail!(
                    "{flag}: {path} is not valid, says {}: is it being built, or was it never \
                     finished?",
                    database.file().display()
                );
            }
            paths.push(path);
        }
        let closure = database.closure(&paths).map_err(failed)?;
        let names = closure.iter().filter_map(|path| path.rsplit('/').next());
        Ok(names.map(str::to_owned).collect())
    }
}
