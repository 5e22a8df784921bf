// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Inputs of `mapping`: SETUPMAPPING and REMOVEMAPPING, one after the other, into a window of real
//! memory. What is in it is compared with a naive model, every byte of it.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex};

use virtiofs::dax::{Copied, DaxWindow, Local, MapError, Mapper};
use vm_memory::{MmapRegion, VolatileMemory, VolatileSlice};

use crate::wire::{self, IN_HEADER, OUT_HEADER};
use crate::world::{Content, Nodes, world};

const WINDOW: u64 = 2 << 20;
const PAGE: u64 = 4096;
/// Requests of one input at most.
const MOST: usize = 32;

const INIT: u32 = 26;
const SETUPMAPPING: u32 = 48;
const REMOVEMAPPING: u32 = 49;
const ENOMEM: i32 = -12;

/// A front-end that maps the memory of [`Copied`]: it keeps the descriptor, to look at.
#[derive(Debug, Default)]
struct Keeper(Mutex<Option<OwnedFd>>);

impl Mapper for Keeper {
    fn map(
        &self,
        moffset: u64,
        file: BorrowedFd<'_>,
        offset: u64,
        len: u64,
    ) -> Result<(), MapError> {
        assert_eq!((moffset, offset, len), (0, 0, WINDOW), "mapped once, whole");
        *self.0.lock().unwrap() = Some(file.try_clone_to_owned().unwrap());
        Ok(())
    }

    fn unmap(&self, moffset: u64, len: u64) -> Result<(), MapError> {
        assert_eq!((moffset, len), (0, WINDOW));
        Ok(())
    }
}

/// A window, and what the guest sees in it.
enum Seen {
    Copies(Copied, Arc<Keeper>),
    Files(Local, Arc<MmapRegion>),
}

impl Seen {
    fn new(copies: bool) -> Seen {
        if copies {
            let keeper = Arc::new(Keeper::default());
            Seen::Copies(
                Copied::new(WINDOW, Arc::clone(&keeper) as _).unwrap(),
                keeper,
            )
        } else {
            let size = usize::try_from(WINDOW).unwrap();
            let region = Arc::new(MmapRegion::new(size).unwrap());
            Seen::Files(Local::new(Arc::clone(&region)).unwrap(), region)
        }
    }

    fn window(&self) -> &dyn DaxWindow {
        match self {
            Seen::Copies(window, _) => window,
            Seen::Files(window, _) => window,
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(WINDOW).unwrap()];
        match self {
            Seen::Copies(_, keeper) => {
                let memory = keeper.0.lock().unwrap();
                let got = rustix::io::pread(memory.as_ref().unwrap(), &mut bytes, 0);
                assert_eq!(got, Ok(bytes.len()));
            }
            Seen::Files(_, region) => {
                let got = region.get_slice(0, bytes.len()).unwrap();
                got.copy_to(&mut bytes[..]);
            }
        }
        bytes
    }
}

/// One request, in 8 bytes.
#[derive(Clone, Copy, Debug)]
struct Op {
    setup: bool,
    /// Number of the node in the tree.
    node: usize,
    foffset: u64,
    len: u64,
    moffset: u64,
}

impl Op {
    fn read(data: &mut &[u8]) -> Option<Op> {
        let (head, rest) = data.split_first_chunk::<8>()?;
        *data = rest;
        let [what, node, foffset, len, low, high, crooked, _] = *head;
        let mut op = Op {
            setup: what & 1 == 0,
            node: usize::from(node),
            foffset: u64::from(foffset) % 128 * PAGE,
            // Whole windows too.
            len: match len {
                0 => WINDOW,
                pages => u64::from(pages) * PAGE,
            },
            moffset: u64::from(u16::from_le_bytes([low, high]) % 600) * PAGE,
        };
        // Now and then anything at all.
        match crooked {
            250 => op.moffset = op.moffset.wrapping_sub(1),
            251 => op.len = op.len.wrapping_neg(),
            252 => op.moffset = u64::MAX - op.moffset,
            253 => op.foffset = u64::MAX - op.foffset,
            254 => op.foffset += 1,
            255 => op.len -= 1,
            _ => {}
        }
        Some(op)
    }

    fn fits(&self) -> bool {
        let whole = |n: u64| n.is_multiple_of(PAGE);
        let end = self.moffset.checked_add(self.len);
        self.len > 0
            && whole(self.len)
            && whole(self.moffset)
            && end.is_some_and(|end| end <= WINDOW)
    }
}

/// Runs one input: its first byte chooses the tree and the kind of window.
///
/// # Panics
/// If anything is not as it must be.
pub fn run(data: &[u8]) {
    let Some((config, mut data)) = data.split_first() else {
        return;
    };
    let tree = world().tree(*config);
    let server = tree.server(*config);
    let mut nodes = Nodes::new(tree);
    let copies = config & 64 != 0;
    let seen = Seen::new(copies);
    let ask = |opcode: u32, node: u64, body: &[u8]| {
        let mut request = vec![0; IN_HEADER];
        wire::put(&mut request, 4, &opcode.to_le_bytes());
        wire::put(&mut request, 16, &node.to_le_bytes());
        request.extend(body);
        wire::fix_length(&mut request);
        let mut reply = [0; OUT_HEADER + 64];
        let (readable, writable) = (
            [VolatileSlice::from(&mut request[..])],
            [VolatileSlice::from(&mut reply[..])],
        );
        let used = server.handle(&readable, &writable, Some(seen.window()));
        assert!(used as usize >= OUT_HEADER, "no answer");
        i32::from_le_bytes(reply[4..8].try_into().unwrap())
    };

    let mut init = Vec::new();
    for word in [7u32, 41, 0, 1 << 26 | 1 << 30, 2] {
        init.extend(word.to_le_bytes());
    }
    init.resize(64, 0);
    assert_eq!(ask(INIT, 0, &init), 0);

    let mut model = vec![0; usize::try_from(WINDOW).unwrap()];
    for _ in 0..MOST {
        let Some(op) = Op::read(&mut data) else { break };
        let id = nodes.id(&**server.fs(), op.node);
        let words = |words: &[u64]| {
            words
                .iter()
                .flat_map(|w| w.to_le_bytes())
                .collect::<Vec<u8>>()
        };
        let (error, content) = if op.setup {
            let body = words(&[u64::MAX, op.foffset, op.len, 2, op.moffset]);
            let content = match &nodes.place(id).unwrap().content {
                Content::File(content) => usize::try_from(op.foffset)
                    .ok()
                    .and_then(|from| content.get(from..))
                    .filter(|content| !content.is_empty()),
                _ => None,
            };
            (ask(SETUPMAPPING, id, &body), content)
        } else {
            let body = [&1u32.to_le_bytes()[..], &words(&[op.moffset, op.len])].concat();
            (ask(REMOVEMAPPING, 1, &body), Some(&[][..]))
        };
        let possible =
            op.fits() && content.is_some() && (!op.setup || op.foffset.is_multiple_of(PAGE));
        match error {
            0 => {
                assert!(possible, "{op:?}");
                let at = usize::try_from(op.moffset).unwrap();
                let len = usize::try_from(op.len).unwrap();
                let content = content.unwrap_or_default();
                let there = content.len().min(len);
                model[at..at + len].fill(0);
                model[at..at + there].copy_from_slice(&content[..there]);
            }
            // So many mappings are too many.
            ENOMEM if !copies => {}
            error => assert!(!possible, "{op:?}: {error}"),
        }
        assert!(seen.bytes() == model, "after {op:?}");
    }
}
