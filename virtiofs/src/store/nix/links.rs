// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Files with several names: one inode is one node, so that clients cache it once.
//!
//! The first name that is seen gives the id. Should that name go away, the others lead to the file.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::fs::{NodeId, Timestamp};
use crate::store::host::Identity;

/// What remembering one file takes, in bytes, with the slack of hash tables.
const FILE: usize = 128;

/// Shared by all store paths of a store.
#[derive(Debug)]
pub(super) struct Links {
    /// Files that are remembered. Beyond that it is begun anew: a file may then be two nodes, and
    /// one whose first name is gone may have to be looked up again.
    limit: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    first: HashMap<Identity, NodeId>,
    /// Store paths (their top nodes) that have another name for a node.
    others: HashMap<NodeId, Vec<NodeId>>,
}

impl Links {
    /// Takes about so many bytes at most.
    pub(super) fn new(bytes: usize) -> Links {
        Links {
            limit: bytes / FILE,
            state: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The id of a file that was found in store path `top`, where it would be `own`.
    pub(super) fn id_of(&self, file: Identity, own: NodeId, top: NodeId) -> NodeId {
        // Without a time of birth nothing tells it from a later file with its inode number.
        if file.born == Timestamp::default() {
            return own;
        }
        let mut state = self.lock();
        if state.first.len() >= self.limit {
            *state = State::default();
        }
        let first = match state.first.entry(file) {
            Entry::Vacant(entry) => return *entry.insert(own),
            Entry::Occupied(entry) => *entry.get(),
        };
        if first != own {
            let others = state.others.entry(first).or_default();
            if !others.contains(&top) {
                others.push(top);
            }
        }
        first
    }

    /// Store paths that have another name for `node`.
    pub(super) fn others(&self, node: NodeId) -> Vec<NodeId> {
        self.lock().others.get(&node).cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_name_counts() {
        let links = Links::new(1 << 20);
        let file = |ino, secs| Identity {
            ino,
            born: Timestamp { secs, nanos: 0 },
        };
        let id = |file, own, top| links.id_of(file, NodeId(own), NodeId(top)).0;
        assert_eq!(id(file(1, 1), 10, 1), 10);
        assert_eq!(id(file(1, 1), 20, 2), 10);
        assert_eq!(id(file(1, 1), 20, 2), 10);
        assert_eq!(id(file(1, 1), 10, 1), 10);
        assert_eq!(links.others(NodeId(10)), [NodeId(2)]);
        assert_eq!(
            id(file(1, 2), 30, 3),
            30,
            "a later file with the same inode number"
        );
        assert_eq!(id(file(2, 0), 40, 1), 40);
        assert_eq!(id(file(2, 0), 50, 1), 50, "no time of birth, no certainty");
    }
    #[test]
    fn there_is_an_end_to_what_is_remembered() {
        let links = Links::new(10 * FILE);
        for ino in 0..1000 {
            let file = Identity {
                ino,
                born: Timestamp { secs: 1, nanos: 0 },
            };
            links.id_of(file, NodeId(ino), NodeId(0));
            assert!(links.lock().first.len() <= 10);
        }
    }
}
