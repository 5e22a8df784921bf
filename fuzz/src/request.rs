// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Inputs of `request`: some requests, one after the other, to one server.
//!
//! A byte that sets up the server, then for each request [`Control`] in six bytes and the request
//! itself. Recorded requests need nothing more than that in front of them.

use std::cell::Cell;
use std::sync::Arc;

use memchr::memmem;
use virtiofs::dax::DaxWindow;
use virtiofs::fs::ReadFs;
use virtiofs::server::Server;
use vm_memory::VolatileSlice;

use crate::wire::{self, IN_HEADER, OUT_HEADER};
use crate::world::{Content, Nodes, SECRET, Tree, world};

/// Requests of one input at most; more would only be slow.
const MOST: usize = 64;
/// What memory is filled with that nobody should write to.
const FILL: u8 = 0xee;
/// Bytes between two slices.
const GAP: usize = 8;

/// How a request is handed over.
#[derive(Clone, Copy, Debug, Default)]
pub struct Control {
    /// See the constants.
    pub flags: u8,
    /// How memory is cut: 0 not at all, else into pieces at random up to some power of two.
    pub cut: u8,
    /// Room for the reply.
    pub room: u16,
    /// Length of the request.
    pub len: u16,
}

impl Control {
    /// Leave the length in the header as it is. (A header with another is answered before
    /// anything else is looked at, so most inputs would get no further.)
    pub const RAW_LENGTH: u8 = 1;
    /// Leave node ids as they are.
    pub const RAW_NODES: u8 = 2;
    /// Ask without waiting first.
    pub const TRY: u8 = 4;
    /// Sixteen times the room.
    pub const LARGE: u8 = 8;

    /// Appends a request to an input.
    pub fn write(self, request: &[u8], input: &mut Vec<u8>) {
        input.extend([self.flags, self.cut]);
        input.extend(self.room.to_le_bytes());
        input.extend(self.len.to_le_bytes());
        input.extend(request);
    }

    fn read<'d>(data: &mut &'d [u8]) -> Option<(Control, &'d [u8])> {
        let (head, rest) = data.split_first_chunk::<6>()?;
        let [flags, cut, room @ .., _, _] = *head;
        let len = u16::from_le_bytes([head[4], head[5]]);
        let (request, rest) = rest.split_at(rest.len().min(usize::from(len)));
        *data = rest;
        let room = u16::from_le_bytes(room);
        Some((
            Control {
                flags,
                cut,
                room,
                len,
            },
            request,
        ))
    }
}

/// Pieces of memory with gaps between them.
struct Pieces {
    memory: Vec<u8>,
    /// Where each starts, and how long it is.
    cuts: Vec<(usize, usize)>,
}

impl Pieces {
    fn new(len: usize, cut: u8, salt: u32) -> Pieces {
        let mut random = u32::from(cut).wrapping_mul(0x9e37_79b9) ^ salt | 1;
        let (mut cuts, mut left, mut at) = (Vec::new(), len, GAP);
        while left > 0 || cuts.is_empty() {
            let mut piece = left;
            if cut != 0 && cuts.len() < 3000 {
                random ^= random << 13;
                random ^= random >> 17;
                random ^= random << 5;
                // Of no bytes too.
                piece = left.min((random as usize >> 8) % (2 << (cut & 15)));
            }
            cuts.push((at, piece));
            at += piece + GAP;
            left -= piece;
        }
        Pieces {
            memory: vec![FILL; at],
            cuts,
        }
    }

    fn slices(&mut self) -> Vec<VolatileSlice<'_>> {
        let whole = VolatileSlice::from(&mut self.memory[..]);
        let slice = |(at, len): &(usize, usize)| whole.subslice(*at, *len).unwrap();
        self.cuts.iter().map(slice).collect()
    }

    fn put(&mut self, mut bytes: &[u8]) {
        for (at, len) in &self.cuts {
            let (here, rest) = bytes.split_at(*len);
            self.memory[*at..at + len].copy_from_slice(here);
            bytes = rest;
        }
    }

    /// What is in them, after a look at what is not.
    fn take(&self) -> Vec<u8> {
        let (mut taken, mut behind) = (Vec::with_capacity(self.memory.len()), 0);
        let untouched = |from: usize, to: usize| {
            assert!(
                self.memory[from..to].iter().all(|byte| *byte == FILL),
                "wrote outside"
            );
        };
        for (at, len) in &self.cuts {
            untouched(behind, *at);
            taken.extend_from_slice(&self.memory[*at..at + len]);
            behind = at + len;
        }
        untouched(behind, self.memory.len());
        taken
    }
}

/// Runs one input.
///
/// # Panics
/// If anything is not as it must be.
pub fn run(data: &[u8]) {
    let Some((config, mut data)) = data.split_first() else {
        return;
    };
    let tree = world().tree(*config);
    let server = tree.server(*config);
    let window = tree.window(*config);
    let window = window.as_ref().map(|window| window as &dyn DaxWindow);
    let mut nodes = Nodes::new(tree);
    for _ in 0..MOST {
        let Some((control, request)) = Control::read(&mut data) else {
            break;
        };
        let mut request = request.to_vec();
        if control.flags & Control::RAW_NODES == 0 {
            stand_for(&mut request, &server, &mut nodes);
        }
        if control.flags & Control::RAW_LENGTH == 0 {
            wire::fix_length(&mut request);
        }
        ask(&server, window, control, &request, tree, &nodes);
    }
    now_and_then();
}

/// Puts true node ids in the place of what stands for them.
pub fn stand_for(request: &mut [u8], server: &Server<Arc<dyn ReadFs>>, nodes: &mut Nodes) {
    wire::map_nodes(request, |id| match wire::stand_in(id) {
        Some(index) => nodes.id(&**server.fs(), index),
        None => id,
    });
}

/// Looks whether the trees are still what they were.
pub fn now_and_then() {
    thread_local! {
        static RUNS: Cell<u32> = const { Cell::new(0) };
    }
    RUNS.set(RUNS.get().wrapping_add(1));
    if RUNS.get().is_multiple_of(8192) {
        world().check_unchanged();
    }
}

fn ask(
    server: &Server<Arc<dyn ReadFs>>,
    window: Option<&dyn DaxWindow>,
    control: Control,
    request: &[u8],
    tree: &Tree,
    nodes: &Nodes,
) {
    let large = if control.flags & Control::LARGE == 0 {
        1
    } else {
        16
    };
    let room = usize::from(control.room) * large;
    let mut readable = Pieces::new(request.len(), control.cut, 0);
    readable.put(request);
    let mut writable = Pieces::new(room, control.cut, 0x5555_5555);

    let mut used = None;
    if control.flags & Control::TRY != 0 {
        used = server.try_handle(&readable.slices(), &writable.slices(), window);
        // What was written and then not answered may lie there, but nowhere else.
        writable.take();
    }
    let used = used.unwrap_or_else(|| {
        writable = Pieces::new(room, control.cut, 0x5555_5555);
        server.handle(&readable.slices(), &writable.slices(), window)
    });
    assert_eq!(readable.take(), request, "the request was written to");
    check(request, &writable.take(), used as usize, tree, nodes);
}

/// What must hold of every reply.
///
/// # Panics
/// If it does not.
pub fn check(request: &[u8], reply: &[u8], used: usize, tree: &Tree, nodes: &Nodes) {
    assert!(used <= reply.len(), "used {used} of {}", reply.len());
    let (reply, rest) = reply.split_at(used);
    assert!(
        rest.iter().all(|byte| *byte == FILL),
        "wrote behind the reply"
    );
    let opcode = wire::u32_at(request, 4);
    let one_way = matches!(opcode, Some(wire::FORGET | wire::BATCH_FORGET));
    if used == 0 {
        assert!(one_way || rest.len() < OUT_HEADER, "no answer");
        return;
    }
    assert!(!one_way, "an answer to what has none");
    assert!(used >= OUT_HEADER);
    assert_eq!(
        wire::u32_at(reply, 0),
        u32::try_from(used).ok(),
        "length in the header"
    );
    let error = wire::u32_at(reply, 4).unwrap().cast_signed();
    assert!((-4095..=0).contains(&error), "error {error}");
    let unique = if request.len() < 16 {
        Some(0)
    } else {
        wire::u64_at(request, 8)
    };
    assert_eq!(wire::u64_at(reply, 8), unique, "unique");
    let body = &reply[OUT_HEADER..];
    if error != 0 {
        assert!(body.is_empty(), "an error with a body");
        return;
    }
    assert!(memmem::find(body, SECRET).is_none(), "a secret came out");

    let node = wire::u64_at(request, 16).unwrap_or(0);
    let place = nodes.place(node);
    match opcode {
        Some(wire::READ) => {
            let at = wire::u64_at(request, IN_HEADER + 8).unwrap();
            let size = wire::u32_at(request, IN_HEADER + 16).unwrap() as usize;
            assert!(body.len() <= size, "more than was asked for");
            match place.map(|place| &place.content) {
                Some(Content::File(content)) => {
                    let at = usize::try_from(at).unwrap().min(content.len());
                    let wanted = size.min(reply.len() + rest.len() - OUT_HEADER);
                    assert_eq!(
                        body,
                        &content[at..content.len().min(at.saturating_add(wanted))]
                    );
                }
                Some(other) => panic!("read {} bytes of {other:?}", body.len()),
                None => assert!(body.is_empty() || tree.has(body, at), "not of the tree"),
            }
        }
        Some(wire::READLINK) => match place.map(|place| &place.content) {
            Some(content) => assert_eq!(*content, Content::Link(body.to_vec())),
            None => {
                let content = Content::Link(body.to_vec());
                assert!(tree.places.iter().any(|place| place.content == content));
            }
        },
        _ => {}
    }
}
