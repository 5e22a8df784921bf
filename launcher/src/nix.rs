// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What running a machine takes from Nix: which paths belong to a closure, what the guest's
//! database is told of them, and that they are not collected meanwhile.

use std::fs;
use std::path::{Path, PathBuf};

use nixdb::{Database, Error, GcRoot};

use crate::plan::{ClosurePlan, Plan, ShareKind, ShareServer};

/// Where store paths are named to be, wherever the store lies.
const STORE: &str = "/nix/store";

/// A Nix store of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// Its directory: `/nix/store`, or `ROOT/nix/store`.
    dir: PathBuf,
}

impl Store {
    /// The store in this directory.
    pub fn new(dir: impl Into<PathBuf>) -> Store {
        Store { dir: dir.into() }
    }

    /// The one that a plan's guest sees.
    pub fn of(plan: &Plan) -> Store {
        let served = plan.shares.iter().find(|share| {
            matches!(
                share.server,
                ShareServer::InProcess {
                    kind: ShareKind::NixStore,
                    ..
                }
            )
        });
        Store::new(served.map_or_else(|| PathBuf::from(STORE), |share| share.source.clone()))
    }

    /// The closure of a plan's paths, whole, sorted.
    ///
    /// # Errors
    /// If the database cannot be read, or has not all of the paths.
    pub fn closure(&self, plan: &ClosurePlan) -> Result<Vec<String>, Error> {
        let roots: Vec<String> = plan
            .roots
            .iter()
            .map(|path| self.store_path(path))
            .collect();
        Database::beside(&self.dir).closure(&roots)
    }

    /// What `nix-store --load-db` in the guest is to read of a closure.
    ///
    /// # Errors
    /// As for [`closure`](Self::closure).
    pub fn registration(&self, plan: &ClosurePlan) -> Result<String, Error> {
        Database::beside(&self.dir).registration(&self.closure(plan)?)
    }

    /// Keeps a path from the garbage collector as long as the result lives, by a link in a
    /// directory of ours.
    ///
    /// # Errors
    /// Worded as warnings: a machine runs without, too.
    pub fn hold(&self, path: &Path, link: &Path) -> Result<GcRoot, Error> {
        let path = self.store_path(path);
        let elsewhere = self.root().filter(|_| self.on_disk(&path).exists());
        GcRoot::add(&path, link, elsewhere)
    }

    /// The path of the store that a file, or a link to one, is in.
    fn store_path(&self, path: &Path) -> String {
        let whole = match path.starts_with(STORE) {
            true => path.to_owned(),
            false => fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()),
        };
        let name = whole
            .strip_prefix(STORE)
            .or_else(|_| whole.strip_prefix(&self.dir))
            .ok()
            .and_then(|below| below.components().next());
        name.map_or_else(
            || whole.display().to_string(),
            |name| format!("{STORE}/{}", name.as_os_str().display()),
        )
    }

    /// `ROOT` of `ROOT/nix/store`; none for this machine's own store.
    fn root(&self) -> Option<&str> {
        let root = self.dir.to_str()?.strip_suffix(STORE)?;
        (!root.is_empty()).then_some(root)
    }

    fn on_disk(&self, path: &str) -> PathBuf {
        self.dir.join(
            path.strip_prefix(STORE)
                .unwrap_or(path)
                .trim_start_matches('/'),
        )
    }
}

/// The name of a store path, without the store.
pub fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_roots() {
        let own = Store::new("/nix/store");
        assert_eq!(
            own.store_path(Path::new("/nix/store/a-b/bin/c")),
            "/nix/store/a-b"
        );
        assert_eq!(own.root(), None);
        let other = Store::new("/srv/x/nix/store");
        assert_eq!(
            other.store_path(Path::new("/srv/x/nix/store/a-b")),
            "/nix/store/a-b"
        );
        assert_eq!(other.root(), Some("/srv/x"));
        assert_eq!(
            other.on_disk("/nix/store/a-b"),
            Path::new("/srv/x/nix/store/a-b")
        );
        assert_eq!(name("/nix/store/a-b"), "a-b");
    }
}
