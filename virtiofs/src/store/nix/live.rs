// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Nodes in directories that may still change.
//!
//! Clients were told of them without validity, so they ask every time, and every time the host is
//! asked whether the file is still the same. All that is kept is where to look.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::fs::NodeId;
use crate::store::host::Identity;

/// Nodes kept for one store path. A client that comes back with one that is forgotten gets ESTALE
/// and looks it up again.
const LIMIT: usize = 1 << 18;

/// Where a node was found.
#[derive(Clone, Debug)]
pub(super) struct LiveNode {
    pub(super) parent: NodeId,
    pub(super) name: Box<[u8]>,
    pub(super) identity: Identity,
}

/// Live nodes of one store path.
#[derive(Debug, Default)]
pub(super) struct LiveNodes {
    nodes: Mutex<HashMap<NodeId, LiveNode>>,
}

impl LiveNodes {
    pub(super) fn get(&self, id: NodeId) -> Option<LiveNode> {
        self.nodes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&id)
            .cloned()
    }

    pub(super) fn remember(&self, id: NodeId, node: impl FnOnce() -> LiveNode) {
        let mut nodes = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        if nodes.contains_key(&id) {
            return;
        }
        if nodes.len() >= LIMIT {
            nodes.clear();
        }
        nodes.insert(id, node());
    }
}
