// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The set of store paths that a client may see.

use std::collections::HashSet;
use std::ffi::CString;
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::naming;
use crate::store::listing::{Listed, Listing};

/// Names of store paths. It can be changed while it is in use; all clones of it are one set.
///
/// That a name is in it does not mean that there is such a path: it may come later, or be gone.
#[derive(Clone)]
pub struct Closure {
    set: Arc<ArcSwap<Set>>,
}

/// The set at a moment.
pub(super) struct Set {
    names: HashSet<Box<[u8]>>,
    listing: Arc<Listing>,
}

/// What was given is not the name of a store path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAStorePath(pub Vec<u8>);

impl fmt::Display for NotAStorePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = String::from_utf8_lossy(&self.0);
        write!(f, "`{name}` is not the name of a store path")
    }
}

impl std::error::Error for NotAStorePath {}

impl Closure {
    /// The set of these names (`<hash>-<name>`, without the store's directory).
    ///
    /// # Errors
    /// If one is not a store path's name.
    pub fn new<N: AsRef<[u8]>>(
        names: impl IntoIterator<Item = N>,
    ) -> Result<Closure, NotAStorePath> {
        let set = Arc::new(ArcSwap::from_pointee(Set::new(names)?));
        Ok(Closure { set })
    }

    /// Puts these names in the place of those before: what is not among them is gone at once, what
    /// is new is there at once. Clients keep what they were told: of a path that is gone, what they
    /// have cached; of the list of paths, the old one for
    /// [`NixOptions::root_timeout`](super::NixOptions).
    ///
    /// # Errors
    /// If one is not a store path's name. Then nothing has changed.
    pub fn replace<N: AsRef<[u8]>>(
        &self,
        names: impl IntoIterator<Item = N>,
    ) -> Result<(), NotAStorePath> {
        self.set.store(Arc::new(Set::new(names)?));
        Ok(())
    }

    /// How many names are in it.
    pub fn len(&self) -> usize {
        self.set.load().names.len()
    }

    /// Whether no name is in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether this name is in it.
    pub fn contains(&self, name: &[u8]) -> bool {
        self.set.load().names.contains(name)
    }

    /// The set as it is now.
    pub(super) fn now(&self) -> Arc<Set> {
        self.set.load_full()
    }
}

impl fmt::Debug for Closure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Closure({} store paths)", self.len())
    }
}

impl Set {
    fn new<N: AsRef<[u8]>>(names: impl IntoIterator<Item = N>) -> Result<Set, NotAStorePath> {
        let mut set = HashSet::new();
        let mut listed = Vec::new();
        for name in names {
            let name = name.as_ref();
            let wrong = || NotAStorePath(name.to_vec());
            if !naming::is_store_path(name) {
                return Err(wrong());
            }
            if set.insert(name.into()) {
                listed.push(Listed {
                    name: CString::new(name).map_err(|_| wrong())?,
                    // To be looked up, as is whether there is such a path.
                    ino: 0,
                    kind: None,
                });
            }
        }
        Ok(Set {
            names: set,
            listing: Arc::new(Listing::of(listed)),
        })
    }

    /// All names, in the order of a listing.
    pub(super) fn listing(&self) -> &Arc<Listing> {
        &self.listing
    }
}

impl fmt::Debug for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Set({} store paths)", self.names.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "0c5b8vw40d1178xlpddw65q9gf1h2186-a";
    const B: &str = "0c5b8vw40d1178xlpddw65q9gf1h2186-b";

    #[test]
    fn only_names_of_store_paths() {
        for bad in [
            "",
            "a",
            ".links",
            &format!("/nix/store/{A}"),
            &format!("{A}/bin"),
        ] {
            let error = Closure::new([A, bad]).unwrap_err();
            assert_eq!(error, NotAStorePath(bad.into()));
        }
        assert!(Closure::new::<&str>([]).unwrap().is_empty());
    }

    #[test]
    fn clones_are_one_set() {
        let closure = Closure::new([A, A]).unwrap();
        let clone = closure.clone();
        assert_eq!((closure.len(), closure.contains(A.as_bytes())), (1, true));
        clone.replace([B]).unwrap();
        assert!(!closure.contains(A.as_bytes()) && closure.contains(B.as_bytes()));
        clone.replace([A, "x"]).unwrap_err();
        assert!(closure.contains(B.as_bytes()));
    }
}
