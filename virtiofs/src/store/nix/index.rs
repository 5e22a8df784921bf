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
    /// How often its own id was moved on because another node had it.
    moved: u32,
}

/// Which id a file with several names goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ids {
    /// That of the name which was seen first, whatever store path that is in.
    Shared,
    /// That of the name it was found by.
    Own,
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

    /// The id of this node, which is the entry `name` of the directory `dir`.
    pub(super) fn id_as(&self, ids: Ids, dir: NodeId, name: &[u8]) -> NodeId {
        if self.is_link && ids == Ids::Own {
            let first = NodeId(child_hash(dir, name));
            (0..self.moved).fold(first, |id, _| next_id(id))
        } else {
            self.id
        }
    }

    pub(super) fn attr(&self) -> Attr {
        canonical(self.ino, self.kind, self.size, self.executable)
    }
}

/// What is in a directory.
#[derive(Debug)]
pub(super) struct Block {
    /// The directory, and its id.
    dir: Place,
    dir_id: NodeId,
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
    /// Blocks whose entries are all in the table.
    complete: AtomicU32,
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
            complete: AtomicU32::new(0),
            contents: AtomicUsize::new(0),
            append: Mutex::new(()),
        };
        index.append_block(Place::TOP, |_| id, vec![top], &Links::new(0));
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
            Some(node.id_as(Ids::Own, block.dir_id, block.name(node)).0)
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
        let id = self.node(dir)?.id;
        self.child_by_hash(dir, child_hash(id, name), name)
    }

    fn child_by_hash(&self, dir: Place, hash: u64, name: &[u8]) -> Option<Option<&Node>> {
        let wanted = self
            .node(dir)?
            .entries
            .load(Ordering::Acquire)
            .checked_sub(1)?;
        let block = self.blocks.get(wanted)?;
        Some(self.table.find(hash, |place| {
            if place.block != wanted {
                return None;
            }
            let child = block.nodes.get(place.slot as usize)?;
            (block.name(child) == name).then_some(child)
        }))
    }

    /// The same for a directory of which only the id is known. Begins with the entry, which takes
    /// one look into the table: most names that are asked for exist.
    pub(super) fn child_of(&self, dir: NodeId, name: &[u8]) -> Option<Option<&Node>> {
        let hash = child_hash(dir, name);
        let complete = self.complete.load(Ordering::Acquire);
        let known = self.table.find(hash, |place| {
            let block = self.block(place.block)?;
            let node = block.nodes.get(place.slot as usize)?;
            (block.dir_id == dir && block.name(node) == name).then_some(node)
        });
        if known.is_some() {
            return Some(known);
        }
        let place = self.find(dir)?;
        match self.node(place)?.entries.load(Ordering::Acquire) {
            0 => None,
            // All that is in the directory was there to be found.
            entries if entries <= complete => Some(None),
            _ => self.child_by_hash(place, hash, name),
        }
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
        let last = Place {
            block,
            slot: u32::try_from(entries.len()).ok()?,
        };
        if !Table::has_room_for(last) {
            return None; // served as if it were not settled
        }
        let dir_id = self.node(dir).map_or(NodeId::ROOT, |dir| dir.id);
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
            let (own, moved) = self.unused(id_of(&entry.name), &mut ids);
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
                moved,
            });
        }
        let (nodes, names) = (nodes.into_boxed_slice(), names.into_boxed_slice());
        let count = u32::try_from(nodes.len()).ok()?;
        let contents = nodes.len() * size_of::<Node>() + names.len();
        self.contents.fetch_add(contents, Ordering::Relaxed);
        self.blocks.push(Block {
            dir,
            dir_id,
            nodes,
            names,
        })?;
        self.table.reserve(entries.len(), |place| self.key(place));
        for slot in 0..count {
            let place = Place { block, slot };
            self.table.insert(self.key(place)?, place);
        }
        self.complete.store(block + 1, Ordering::Release);
        if !is_top {
            // Only now do readers see the block, and with it all of the above.
            self.node(dir)?.entries.store(block + 1, Ordering::Release);
        }
        Some(())
    }

    /// `id`, or if another node has it already, the next that none has. Lookups by name start at
    /// the hash and come by all ids that were moved on from it, because [`Table`] probes upwards.
    /// Also says how often it was moved on.
    fn unused(&self, mut id: NodeId, pending: &mut HashSet<NodeId>) -> (NodeId, u32) {
        let mut moved = 0;
        while self.find(id).is_some() || !pending.insert(id) {
            id = next_id(id);
            moved += 1;
        }
        (id, moved)
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

/// The id behind `id`, for one that is taken. [`Table`] must look on for it where it looks for
/// `id`, so only the bits that say where change.
#[allow(clippy::cast_possible_truncation)] // the low half
const fn next_id(id: NodeId) -> NodeId {
    NodeId(id.0 & !0xffff_ffff | (id.0 as u32).wrapping_add(1) as u64)
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
        let block = index.fill(Place::TOP, entries, &Links::new(0)).unwrap();
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
                .fill(bin, vec![], &Links::new(0))
                .unwrap()
                .nodes()
                .len(),
            0
        );
        // Whoever comes second does not change anything.
        assert_eq!(
            index
                .fill(bin, vec![entry("x", FileKind::Regular)], &Links::new(0))
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
            index.fill(Place::TOP, all, &Links::new(0)).unwrap();
            for dir in dirs {
                let place = index
                    .find(index.child(Place::TOP, dir.as_bytes()).unwrap().unwrap().id)
                    .unwrap();
                index
                    .fill(place, vec![entry("x", FileKind::Regular)], &Links::new(0))
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

    /// Whose table has just grown, and through all sizes.
    #[test]
    fn small_directories_take_no_more_than_they_may() {
        let (_, index) = top();
        let dirs: Vec<String> = (0..19).map(|i| format!("dir-{i}")).collect();
        let entries = |names: &[String], kind| names.iter().map(|name| entry(name, kind)).collect();
        let files: Vec<String> = (0..41).map(|i| format!("file-{i}")).collect();
        let links = Links::new(0);
        index.fill(Place::TOP, entries(&dirs, FileKind::Directory), &links);
        let (mut count, mut names) = (dirs.len(), dirs.concat().len());
        for dir in &dirs {
            let child = index.child(Place::TOP, dir.as_bytes()).unwrap().unwrap();
            let place = index.find(child.id).unwrap();
            index.fill(place, entries(&files, FileKind::Regular), &links);
            count += files.len();
            names += files.concat().len();
        }
        let each = (index.size() - size_of::<Index>() - names) / count;
        assert!(each <= 96, "{each} bytes an entry of {count}");
    }

    #[test]
    fn no_number_of_entries_takes_more_than_it_may() {
        // The table is largest for what is in it when it has just grown.
        for count in [1000, 98_304, 98_305, 100_000] {
            let (_, index) = top();
            let names: Vec<String> = (0..count).map(|i| format!("file-{i}")).collect();
            let all = names
                .iter()
                .map(|name| entry(name, FileKind::Regular))
                .collect();
            index.fill(Place::TOP, all, &Links::new(0)).unwrap();
            for name in &names {
                let node = index.child(Place::TOP, name.as_bytes()).unwrap().unwrap();
                assert!(index.find(node.id).is_some());
            }
            let names: usize = names.iter().map(String::len).sum();
            let each = (index.size() - size_of::<Index>() - names) / count;
            assert!(each <= 96, "{each} bytes an entry of {count}");
        }
    }
}
