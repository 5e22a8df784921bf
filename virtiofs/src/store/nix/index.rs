// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The index of one store path: what its settled directories contain, in memory, for ever.
//!
//! A directory enters the index as a whole, as one immutable [`Block`], so a reader sees all of it
//! or nothing, and a name that is not in a block does not exist. Blocks, nodes and names are
//! appended and never change or move; readers take no lock.

use std::collections::HashSet;
use std::mem::size_of;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use super::append::AppendVec;
use super::links::Links;
use super::settled::canonical;
use super::table::Table;
use crate::fs::{Attr, FileKind, NodeId};
use crate::store::hash;
use crate::store::host::Identity;
use crate::store::treepath::TreePath;

/// Where a node stands: which block, and where in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) block: u32,
    pub(super) slot: u32,
}

impl Place {
    /// The top node of the store path.
    pub(super) const TOP: Place = Place { block: 0, slot: 0 };
    /// What no place packs to: there are fewer than 2^32 blocks.
    pub(super) const NOWHERE: u64 = u64::MAX;

    pub(super) const fn pack(self) -> u64 {
        (self.block as u64) << 32 | self.slot as u64
    }

    #[allow(clippy::cast_possible_truncation)] // the two halves
    pub(super) const fn unpack(packed: u64) -> Option<Place> {
        if packed == Self::NOWHERE {
            return None;
        }
        Some(Place {
            block: (packed >> 32) as u32,
            slot: packed as u32,
        })
    }
}

/// A file, directory or symbolic link.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) id: NodeId,
    ino: u64,
    size: u64,
    /// Where its name begins in the block's names; a symbolic link's target follows the name.
    name_at: u32,
    /// Index of the block with a directory's entries, plus one; 0 while it is not known.
    entries: AtomicU32,
    name_len: u8,
    kind: FileKind,
    executable: bool,
    /// Its id is that of another name of the same file.
    is_link: bool,
}

impl Node {
    pub(super) fn kind(&self) -> FileKind {
        self.kind
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn ino(&self) -> u64 {
        self.ino
    }

    pub(super) fn attr(&self) -> Attr {
        canonical(self.ino, self.kind, self.size, self.executable)
    }
}

/// What is in a directory.
#[derive(Debug)]
pub(super) struct Block {
    /// The directory.
    dir: Place,
    /// Its entries in the order of their cookies.
    nodes: Box<[Node]>,
    names: Box<[u8]>,
}

impl Block {
    pub(super) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    pub(super) fn name(&self, node: &Node) -> &[u8] {
        let start = node.name_at as usize;
        &self.names[start..start + usize::from(node.name_len)]
    }

    pub(super) fn target(&self, node: &Node) -> &[u8] {
        let start = node.name_at as usize + usize::from(node.name_len);
        let len = usize::try_from(node.size).unwrap_or(usize::MAX);
        self.names
            .get(start..start.saturating_add(len))
            .unwrap_or_default()
    }
}

/// An entry on its way into the index.
#[derive(Clone, Debug)]
pub(super) struct NewNode {
    pub(super) name: Vec<u8>,
    pub(super) ino: u64,
    pub(super) size: u64,
    pub(super) kind: FileKind,
    pub(super) executable: bool,
    /// Target of a symbolic link; its length is the size.
    pub(super) target: Vec<u8>,
    /// Set for a file that has other names.
    pub(super) links: Option<Identity>,
}

/// Index of one store path.
#[derive(Debug)]
pub(super) struct Index {
    blocks: AppendVec<Block>,
    table: Table,
    /// Bytes of nodes and names.
    contents: AtomicUsize,
    /// Held while something is appended.
    append: Mutex<()>,
}

impl Index {
    /// An index that knows the top node only.
    pub(super) fn new(id: NodeId, top: NewNode) -> Index {
        let index = Index {
            blocks: AppendVec::new(),
            table: Table::new(),
            contents: AtomicUsize::new(0),
            append: Mutex::new(()),
        };
        index.append_block(Place::TOP, |_| id, vec![top], &Links::default());
        index
    }

    pub(super) fn block(&self, block: u32) -> Option<&Block> {
        self.blocks.get(block)
    }

    pub(super) fn node(&self, place: Place) -> Option<&Node> {
        self.blocks.get(place.block)?.nodes.get(place.slot as usize)
    }

    /// Where the node with this id stands.
    pub(super) fn find(&self, id: NodeId) -> Option<Place> {
        self.table.find(id.0, |place| {
            let node = self.node(place)?;
            // A link is found by the id it would have, too: it may have had it once.
            (node.id == id || (node.is_link && self.key(place)? == id.0)).then_some(place)
        })
    }

    /// Where a link to the node with this id stands. Looks at everything.
    pub(super) fn find_link(&self, id: NodeId) -> Option<Place> {
        (0..self.blocks.len()).find_map(|block| {
            let slot = self
                .block(block)?
                .nodes
                .iter()
                .position(|node| node.id == id)?;
            Some(Place {
                block,
                slot: u32::try_from(slot).ok()?,
            })
        })
    }

    /// What a node is found by.
    fn key(&self, place: Place) -> Option<u64> {
        let block = self.block(place.block)?;
        let node = block.nodes.get(place.slot as usize)?;
        if node.is_link {
            Some(child_hash(self.node(block.dir)?.id, block.name(node)))
        } else {
            Some(node.id.0)
        }
    }

    /// What the directory at `dir` contains; `None` while that is not known.
    pub(super) fn entries(&self, dir: Place) -> Option<&Block> {
        let block = self
            .node(dir)?
            .entries
            .load(Ordering::Acquire)
            .checked_sub(1)?;
        self.blocks.get(block)
    }

    /// The entry `name` of the directory at `dir`: `None` while its entries are not known,
    /// `Some(None)` if it has no such entry.
    pub(super) fn child(&self, dir: Place, name: &[u8]) -> Option<Option<&Node>> {
        let node = self.node(dir)?;
        let wanted = node.entries.load(Ordering::Acquire).checked_sub(1)?;
        let block = self.blocks.get(wanted)?;
        Some(self.table.find(child_hash(node.id, name), |place| {
            if place.block != wanted {
                return None;
            }
            let child = block.nodes.get(place.slot as usize)?;
            (block.name(child) == name).then_some(child)
        }))
    }

    /// The entry `name` of the directory with this id, if it is known that there is one. One look
    /// into the table, where [`child`](Self::child) takes two: most names that are asked for exist.
    pub(super) fn known_child(&self, dir: NodeId, name: &[u8]) -> Option<&Node> {
        self.table.find(child_hash(dir, name), |place| {
            let block = self.block(place.block)?;
            let node = block.nodes.get(place.slot as usize)?;
            (block.name(node) == name && self.node(block.dir)?.id == dir).then_some(node)
        })
    }

    /// Enters what the directory at `dir` contains. If somebody else was faster, theirs stays:
    /// both read the same settled directory.
    pub(super) fn fill(
        &self,
        dir: Place,
        mut entries: Vec<NewNode>,
        links: &Links,
    ) -> Option<&Block> {
        hash::sort_by_cookie(&mut entries, |entry| &entry.name);
        let parent = self.node(dir)?;
        let id_of = |name: &[u8]| NodeId(child_hash(parent.id, name));
        self.append_block(dir, id_of, entries, links);
        self.entries(dir)
    }

    fn append_block(
        &self,
        dir: Place,
        id_of: impl Fn(&[u8]) -> NodeId,
        entries: Vec<NewNode>,
        links: &Links,
    ) -> Option<()> {
        // A thread that panicked while appending has at worst left nodes nobody refers to.
        let _guard = self
            .append
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let is_top = self.blocks.len() == 0;
        if !is_top && self.entries(dir).is_some() {
            return None;
        }
        let block = self.blocks.len();
        let mut names = Vec::new();
        let mut nodes = Vec::with_capacity(entries.len());
        let mut ids = HashSet::with_capacity(entries.len());
        for entry in &entries {
            let name_at = u32::try_from(names.len()).ok()?;
            names.extend_from_slice(&entry.name);
            names.extend_from_slice(&entry.target);
            let size = if entry.kind == FileKind::Symlink {
                entry.target.len() as u64
            } else {
                entry.size
            };
            let own = self.unused(id_of(&entry.name), &mut ids);
            let top = self.node(Place::TOP).map_or(own, |top| top.id);
            let id = entry.links.map_or(own, |file| links.id_of(file, own, top));
            nodes.push(Node {
                id,
                ino: entry.ino,
                size,
                name_at,
                entries: AtomicU32::new(0),
                name_len: u8::try_from(entry.name.len()).ok()?,
                kind: entry.kind,
                executable: entry.executable,
                is_link: id != own,
            });
        }
        let (nodes, names) = (nodes.into_boxed_slice(), names.into_boxed_slice());
        let count = u32::try_from(nodes.len()).ok()?;
        let contents = nodes.len() * size_of::<Node>() + names.len();
        self.contents.fetch_add(contents, Ordering::Relaxed);
        self.blocks.push(Block { dir, nodes, names })?;
        for slot in 0..count {
            let place = Place { block, slot };
            self.table
                .insert(self.key(place)?, place, |place| self.key(place));
        }
        if !is_top {
            // Only now do readers see the block, and with it all of the above.
            self.node(dir)?.entries.store(block + 1, Ordering::Release);
        }
        Some(())
    }

    /// `id`, or if another node has it already, the next that none has. Lookups by name start at
    /// the hash and come by all ids that were moved on from it, because [`Table`] probes upwards.
    fn unused(&self, mut id: NodeId, pending: &mut HashSet<NodeId>) -> NodeId {
        while self.find(id).is_some() || !pending.insert(id) {
            id = NodeId(same_path(id.0.wrapping_add(1), id));
        }
        id
    }

    /// Puts the path from the top node (without it) to the node at `place` before `path`.
    pub(super) fn prepend_path_to(&self, mut place: Place, path: &mut TreePath) -> Option<()> {
        while place != Place::TOP {
            let block = self.block(place.block)?;
            path.prepend(block.name(block.nodes.get(place.slot as usize)?));
            place = block.dir;
        }
        Some(())
    }

    /// Bytes taken, without the allocator's share.
    pub(super) fn size(&self) -> usize {
        size_of::<Index>() + self.blocks.size() + self.table.size() + self.contents()
    }

    /// Bytes that the entries take.
    fn contents(&self) -> usize {
        self.contents.load(Ordering::Relaxed)
    }
}

/// The upper bits of a node id tell its store path, the others the node in it.
const PATH_BITS: u32 = 16;
const NODE_MASK: u64 = u64::MAX >> PATH_BITS;

/// The part of a node id that all nodes of a store path share.
#[allow(clippy::cast_possible_truncation)] // 16 bits are left
pub(super) const fn path_tag(id: NodeId) -> u16 {
    (id.0 >> (64 - PATH_BITS)) as u16
}

/// `hash`, made an id in the same store path as `id`.
const fn same_path(hash: u64, id: NodeId) -> u64 {
    let node = hash & NODE_MASK;
    // Small numbers are special (the root is 1), whatever the path.
    let node = if node < 1024 { node + 1024 } else { node };
    (id.0 & !NODE_MASK) | node
}

/// Id of the top node of a store path: from its name and which file bears it.
pub(super) fn top_id(name: &[u8], identity: Identity) -> NodeId {
    let named = hash::child(NodeId::ROOT.0, name);
    NodeId(same_path(hash::bind(named, identity), NodeId(named)))
}

/// Id of the entry `name` of the settled directory `dir`: settled, a name means one file for ever.
pub(super) fn child_hash(dir: NodeId, name: &[u8]) -> u64 {
    same_path(hash::child(dir.0, name), dir)
}

/// Id of the entry `name` of a directory that may still change, bound to the file it is now.
pub(super) fn live_id(dir: NodeId, name: &[u8], identity: Identity) -> NodeId {
    NodeId(same_path(
        hash::bind(hash::child(dir.0, name), identity),
        dir,
    ))
}

/// [`path_tag`] of the ids in the store path of this name.
pub(super) fn name_tag(name: &[u8]) -> u16 {
    path_tag(NodeId(hash::child(NodeId::ROOT.0, name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::Timestamp;

    fn entry(name: &str, kind: FileKind) -> NewNode {
        NewNode {
            name: name.into(),
            ino: 7,
            size: 1,
            kind,
            executable: false,
            links: None,
            target: if kind == FileKind::Symlink {
                b"to".to_vec()
            } else {
                Vec::new()
            },
        }
    }

    fn top() -> (NodeId, Index) {
        let identity = Identity {
            ino: 5,
            born: Timestamp::default(),
        };
        let id = top_id(b"hash-name", identity);
        (id, Index::new(id, entry("hash-name", FileKind::Directory)))
    }

    #[test]
    fn a_directory_is_unknown_then_complete() {
        let (id, index) = top();
        assert_eq!(index.find(id), Some(Place::TOP));
        assert!(index.entries(Place::TOP).is_none());
        assert!(index.child(Place::TOP, b"bin").is_none());
        let entries = vec![
            entry("bin", FileKind::Directory),
            entry("link", FileKind::Symlink),
            entry("f", FileKind::Regular),
        ];
        let block = index.fill(Place::TOP, entries, &Links::default()).unwrap();
        assert_eq!(block.nodes().len(), 3);
        let link = index.child(Place::TOP, b"link").unwrap().unwrap();
        assert_eq!(
            (block.name(link), block.target(link)),
            (&b"link"[..], &b"to"[..])
        );
        assert!(index.child(Place::TOP, b"lin").unwrap().is_none());
        let bin = index
            .find(index.child(Place::TOP, b"bin").unwrap().unwrap().id)
            .unwrap();
        assert!(index.entries(bin).is_none());
        assert_eq!(
            index
                .fill(bin, vec![], &Links::default())
                .unwrap()
                .nodes()
                .len(),
            0
        );
        // Whoever comes second does not change anything.
        assert_eq!(
            index
                .fill(bin, vec![entry("x", FileKind::Regular)], &Links::default())
                .unwrap()
                .nodes()
                .len(),
            0
        );
    }

    #[test]
    fn ids_are_the_same_whatever_the_order_and_differ_between_incarnations() {
        let ids = |dirs: [&str; 2]| {
            let (_, index) = top();
            let all = ["a", "b"]
                .map(|d| entry(d, FileKind::Directory))
                .into_iter()
                .collect();
            index.fill(Place::TOP, all, &Links::default()).unwrap();
            for dir in dirs {
                let place = index
                    .find(index.child(Place::TOP, dir.as_bytes()).unwrap().unwrap().id)
                    .unwrap();
                index
                    .fill(
                        place,
                        vec![entry("x", FileKind::Regular)],
                        &Links::default(),
                    )
                    .unwrap();
            }
            ["a", "b"].map(|dir| {
                let place = index
                    .find(index.child(Place::TOP, dir.as_bytes()).unwrap().unwrap().id)
                    .unwrap();
                index.child(place, b"x").unwrap().unwrap().id
            })
        };
        assert_eq!(ids(["a", "b"]), ids(["b", "a"]));
        let born = |secs| Identity {
            ino: 5,
            born: Timestamp { secs, nanos: 0 },
        };
        assert_ne!(top_id(b"n", born(1)), top_id(b"n", born(2)));
        assert_eq!(path_tag(top_id(b"n", born(1))), name_tag(b"n"));
        assert_ne!(
            live_id(NodeId(9), b"n", born(1)),
            live_id(NodeId(9), b"n", born(2))
        );
    }

    #[test]
    fn a_hundred_thousand_entries_take_less_than_they_may() {
        let (_, index) = top();
        let names: Vec<String> = (0..100_000).map(|i| format!("file-{i}")).collect();
        let all = names
            .iter()
            .map(|name| entry(name, FileKind::Regular))
            .collect();
        index.fill(Place::TOP, all, &Links::default()).unwrap();
        for name in &names {
            let node = index.child(Place::TOP, name.as_bytes()).unwrap().unwrap();
            assert!(index.find(node.id).is_some());
        }
        let names: usize = names.iter().map(String::len).sum();
        assert!((index.size() - names) / 100_000 <= 96, "{}", index.size());
    }
}
