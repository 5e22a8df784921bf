// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Inputs of `chain`: what a driver does to its memory and its ring.
//!
//! A byte that sets up the server, one that sets up the ring, then operations ([`Op`]). Addresses
//! are written as an [`At`], because eight random bytes would never be one. A reader that comes to
//! the end of the input reads zeros, as is usual with `arbitrary`.

use std::num::{NonZeroUsize, Wrapping};
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use arbitrary::{Arbitrary, Unstructured};
use memchr::memmem;
use virtio_queue::{Queue, QueueT};
use virtiofs::dax::DaxWindow;
use virtiofs::fs::ReadFs;
use virtiofs::server::Server;
use virtiofs::vhost::Pool;
use virtiofs::vhost::fuzzing::Ring;
use vm_memory::{
    Bytes, GuestAddress, GuestMemoryAtomic, GuestMemoryMmap, GuestRegionMmap, MmapRegion,
    VolatileMemory,
};

use crate::request::{now_and_then, stand_for};
use crate::wire::{self, OUT_HEADER};
use crate::world::{Nodes, SECRET, world};

/// Operations of one input at most.
const MOST: usize = 256;
/// Turns after the last operation at most, each of up to 64 requests.
const LAST_TURNS: usize = 4;

const PAGE: u64 = 4096;
/// Start and length of the regions. The first two touch, as far as the guest can see.
const REGIONS: [(u64, u64); 3] = [(0, 16 * PAGE), (16 * PAGE, 2 * PAGE), (32 * PAGE, 2 * PAGE)];

const TABLE: u64 = 0x1000;
const AVAIL: u64 = 0x2000;
const USED: u64 = 0x3000;
const INDIRECT: u64 = 0x4000;
/// Where requests are.
pub const REQUEST: u64 = 0x6000;
/// Where replies go.
pub const REPLY: u64 = 0x8000;

const NEXT: u16 = 1;
const WRITE: u16 = 2;
const IS_INDIRECT: u16 = 4;

/// An address in guest memory: one of eight places, and a distance from it.
#[derive(Clone, Copy, Debug, Arbitrary)]
#[allow(missing_docs)]
pub struct At {
    pub place: u8,
    pub offset: u16,
}

impl At {
    /// In the memory for requests.
    pub const fn request(offset: u16) -> At {
        At { place: 0, offset }
    }
    /// In the memory for replies.
    pub const fn reply(offset: u16) -> At {
        At { place: 1, offset }
    }
    /// In the memory for indirect tables.
    pub const fn indirect(offset: u16) -> At {
        At { place: 2, offset }
    }

    fn address(self) -> u64 {
        let offset = u64::from(self.offset);
        match self.place % 8 {
            0 => REQUEST + offset,
            1 => REPLY + offset,
            2 => INDIRECT + offset,
            3 => TABLE + offset,
            4 => AVAIL + offset,
            5 => USED + offset,
            // The end of some region, and what is around it.
            6 => {
                let (start, len) = REGIONS[usize::from(self.place >> 3) % REGIONS.len()];
                (start + len + offset).wrapping_sub(0x8000)
            }
            _ => u64::MAX - offset,
        }
    }
}

/// One thing a driver does.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum Op {
    /// Writes a descriptor into some table.
    Descriptor {
        table: Option<At>,
        index: u16,
        at: At,
        len: u32,
        flags: u16,
        next: u16,
    },
    /// Writes a request into the memory for requests; with `raw` as it is, else with a true length
    /// and true node ids.
    Request {
        offset: u16,
        raw: bool,
        bytes: Vec<u8>,
    },
    /// Offers a chain.
    Offer(u16),
    /// Writes anything anywhere.
    Poke { at: At, bytes: Vec<u8> },
    /// Lets the device look.
    Turn,
    /// Sets the available index.
    Index(u16),
    /// Moves a part of the ring.
    Move { part: u8, at: At },
    /// Sets the indices at which the device goes on.
    Resume { next_avail: u16, next_used: u16 },
    /// Takes a region of memory away, or gives all of them back.
    Memory(u8),
}

impl Op {
    /// Appends it to an input.
    pub fn write(&self, input: &mut Vec<u8>) {
        let put_at = |input: &mut Vec<u8>, at: &At| {
            input.push(at.place);
            input.extend(at.offset.to_le_bytes());
        };
        let len = |bytes: &[u8]| u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_le_bytes();
        match self {
            Op::Descriptor {
                table,
                index,
                at,
                len,
                flags,
                next,
            } => {
                input.push(if table.is_some() { 1 } else { 0 });
                if let Some(table) = table {
                    put_at(input, table);
                }
                input.extend(index.to_le_bytes());
                put_at(input, at);
                input.extend(len.to_le_bytes());
                input.extend(flags.to_le_bytes());
                input.extend(next.to_le_bytes());
            }
            Op::Request { offset, raw, bytes } => {
                input.push(if *raw { 3 } else { 2 });
                input.extend(offset.to_le_bytes());
                input.extend(len(bytes));
                input.extend(bytes);
            }
            Op::Offer(head) => {
                input.push(4);
                input.extend(head.to_le_bytes());
            }
            Op::Poke { at, bytes } => {
                input.push(5);
                put_at(input, at);
                input.extend(len(bytes));
                input.extend(bytes);
            }
            Op::Turn => input.push(6),
            Op::Index(index) => {
                input.push(7);
                input.extend(index.to_le_bytes());
            }
            Op::Move { part, at } => {
                input.extend([8, *part]);
                put_at(input, at);
            }
            Op::Resume {
                next_avail,
                next_used,
            } => {
                input.push(9);
                input.extend(next_avail.to_le_bytes());
                input.extend(next_used.to_le_bytes());
            }
            Op::Memory(region) => input.extend([10, *region]),
        }
    }

    fn read(from: &mut Unstructured<'_>) -> arbitrary::Result<Op> {
        fn bytes(from: &mut Unstructured<'_>) -> arbitrary::Result<Vec<u8>> {
            let len = usize::from(from.arbitrary::<u16>()?);
            Ok(from.bytes(len.min(from.len()))?.to_vec())
        }
        Ok(match from.arbitrary::<u8>()? % 11 {
            tag @ (0 | 1) => Op::Descriptor {
                table: if tag == 1 {
                    Some(from.arbitrary()?)
                } else {
                    None
                },
                index: from.arbitrary()?,
                at: from.arbitrary()?,
                len: from.arbitrary()?,
                flags: from.arbitrary()?,
                next: from.arbitrary()?,
            },
            tag @ (2 | 3) => Op::Request {
                offset: from.arbitrary()?,
                raw: tag == 3,
                bytes: bytes(from)?,
            },
            4 => Op::Offer(from.arbitrary()?),
            5 => Op::Poke {
                at: from.arbitrary()?,
                bytes: bytes(from)?,
            },
            6 => Op::Turn,
            7 => Op::Index(from.arbitrary()?),
            8 => Op::Move {
                part: from.arbitrary()?,
                at: from.arbitrary()?,
            },
            9 => Op::Resume {
                next_avail: from.arbitrary()?,
                next_used: from.arbitrary()?,
            },
            _ => Op::Memory(from.arbitrary()?),
        })
    }
}

/// What a Linux driver does with a request: header, body, reply header and reply body in
/// descriptors of their own, in the ring or in an indirect table. `slot` is the number of the
/// request in the input, below 8.
pub fn as_linux_would(request: &[u8], room: u16, slot: u16, indirect: bool) -> Vec<Op> {
    let len = u16::try_from(request.len()).unwrap_or(u16::MAX);
    let (offset, reply) = (slot * 0x400, slot * 0x1000);
    let header = u16::try_from(wire::IN_HEADER).unwrap_or(0).min(len);
    let reply_header = u16::try_from(OUT_HEADER).unwrap_or(0);
    let buffers = [
        (At::request(offset), header, 0),
        (At::request(offset + header), len - header, 0),
        (At::reply(reply), reply_header, WRITE),
        (
            At::reply(reply + reply_header),
            room.saturating_sub(reply_header),
            WRITE,
        ),
    ];
    let mut ops = vec![Op::Request {
        offset,
        raw: false,
        bytes: request.to_vec(),
    }];
    let table = indirect.then(|| At::indirect(slot * 0x100));
    let first = if indirect { 0 } else { slot * 4 };
    let used: Vec<_> = buffers.into_iter().filter(|(_, len, _)| *len > 0).collect();
    for (index, (at, len, flags)) in (first..).zip(&used) {
        let last = usize::from(index - first) + 1 == used.len();
        ops.push(Op::Descriptor {
            table,
            index,
            at: *at,
            len: u32::from(*len),
            flags: flags | if last { 0 } else { NEXT },
            next: if last { 0 } else { index + 1 },
        });
    }
    if let Some(at) = table {
        let len = u32::try_from(used.len()).unwrap_or(0) * 16;
        let index = slot * 4;
        ops.push(Op::Descriptor {
            table: None,
            index,
            at,
            len,
            flags: IS_INDIRECT,
            next: 0,
        });
    }
    ops.push(Op::Offer(slot * 4));
    ops
}

type GuestMemory = GuestMemoryAtomic<GuestMemoryMmap>;

/// Guest memory: regions with a page around each that nobody has any business in.
struct Memory {
    /// All of it, the pages between included.
    backing: &'static MmapRegion,
    regions: Vec<Arc<GuestRegionMmap>>,
    atomic: GuestMemory,
}

/// Where a region lies in the backing.
fn place_of(region: usize) -> u64 {
    REGIONS[..region]
        .iter()
        .map(|(_, len)| len + PAGE)
        .sum::<u64>()
        + PAGE
}

impl Memory {
    fn new() -> Memory {
        let size = usize::try_from(place_of(REGIONS.len())).unwrap();
        let backing = Box::leak(Box::new(MmapRegion::new(size).unwrap()));
        let region = |index: usize| {
            let (start, len) = REGIONS[index];
            Arc::new(
                GuestRegionMmap::new(part(backing, place_of(index), len), GuestAddress(start))
                    .unwrap(),
            )
        };
        let regions: Vec<_> = (0..REGIONS.len()).map(region).collect();
        let atomic =
            GuestMemoryAtomic::new(GuestMemoryMmap::from_arc_regions(regions.clone()).unwrap());
        Memory {
            backing,
            regions,
            atomic,
        }
    }

    /// The same for every input of this thread: mapping memory is slow.
    fn with<T>(run: impl FnOnce(&Memory) -> T) -> T {
        thread_local! {
            static MEMORY: Memory = Memory::new();
        }
        MEMORY.with(|memory| {
            memory.keep(usize::MAX);
            memory
                .backing
                .as_volatile_slice()
                .copy_from(&vec![0u8; memory.backing.size()]);
            run(memory)
        })
    }

    /// Takes region number `without` away; all the others are there.
    fn keep(&self, without: usize) {
        let kept = self
            .regions
            .iter()
            .enumerate()
            .filter(|(index, _)| *index != without);
        let kept = kept.map(|(_, region)| Arc::clone(region)).collect();
        self.atomic
            .lock()
            .unwrap()
            .replace(GuestMemoryMmap::from_arc_regions(kept).unwrap());
    }

    fn guest(&self) -> impl std::ops::Deref<Target = GuestMemoryMmap> {
        vm_memory::GuestAddressSpace::memory(&self.atomic)
    }

    /// As much of it as there is memory for.
    fn poke(&self, at: u64, bytes: &[u8]) {
        let _ = self.guest().write(bytes, GuestAddress(at));
    }

    fn all(&self) -> Vec<u8> {
        let mut all = vec![0; self.backing.size()];
        self.backing.as_volatile_slice().copy_to(&mut all[..]);
        all
    }
}

/// A part of the backing as a region of its own.
#[allow(unsafe_code)]
fn part(backing: &'static MmapRegion, at: u64, len: u64) -> MmapRegion {
    let (at, len) = (usize::try_from(at).unwrap(), usize::try_from(len).unwrap());
    assert!(at + len <= backing.size());
    let start = backing.as_ptr().wrapping_add(at);
    // SAFETY: the range lies within the backing, which is never unmapped; both are used through
    // volatile accesses only.
    unsafe { MmapRegion::build_raw(start, len, backing.prot(), backing.flags()) }.unwrap()
}

/// Pieces of guest memory.
type Ranges = Vec<(u64, u64)>;

fn overlap(a: &Ranges, b: &Ranges) -> bool {
    a.iter().any(|(at, len)| {
        b.iter()
            .any(|(other, more)| *at < other + more && *other < at + len)
    })
}

/// A chain as this file understands it, written without a look at the device.
#[derive(Debug, Default)]
struct Chain {
    /// Its own descriptors.
    tables: Ranges,
    readable: Ranges,
    writable: Ranges,
    /// It was not followed to its end.
    long: bool,
}

impl Chain {
    /// Descriptors that are followed: a loop through an indirect table has no end otherwise.
    const MOST: usize = 1000;

    /// Follows it up to the first thing that is wrong.
    fn follow(memory: &GuestMemoryMmap, queue: &Queue, head: u16) -> Chain {
        let mut chain = Chain::default();
        let (mut table, mut size, mut index) = (queue.desc_table(), u64::from(queue.size()), head);
        let (mut left, mut indirect) = (size, false);
        while left > 0 && u64::from(index) < size {
            left -= 1;
            if chain.tables.len() == Chain::MOST {
                chain.long = true;
                break;
            }
            let Some(at) = table.checked_add(16 * u64::from(index)) else {
                break;
            };
            let mut descriptor = [0; 16];
            if memory
                .read_slice(&mut descriptor, GuestAddress(at))
                .is_err()
            {
                break;
            }
            chain.tables.push((at, 16));
            let address = wire::u64_at(&descriptor, 0).unwrap();
            let len = u64::from(wire::u32_at(&descriptor, 8).unwrap());
            let flags = u16::from_le_bytes([descriptor[12], descriptor[13]]);
            if flags & IS_INDIRECT != 0 {
                if indirect || flags & NEXT != 0 || len == 0 || len % 16 != 0 {
                    break;
                }
                (table, size, left) = (address, len / 16, len / 16);
                (index, indirect) = (0, true);
                continue;
            }
            let written = flags & WRITE != 0;
            if !written && !chain.writable.is_empty() {
                break;
            }
            // What lies partly outside of memory may count as far as it does not.
            for (start, region) in REGIONS {
                let from = address.max(start);
                let end = address.saturating_add(len).min(start + region);
                if from < end {
                    let ranges = if written {
                        &mut chain.writable
                    } else {
                        &mut chain.readable
                    };
                    ranges.push((from, end - from));
                }
            }
            if flags & NEXT == 0 {
                break;
            }
            index = u16::from_le_bytes([descriptor[14], descriptor[15]]);
        }
        chain
    }

    fn room(&self) -> u64 {
        self.writable.iter().map(|(_, len)| len).sum()
    }

    /// The first bytes of what it can be answered with, where that is.
    fn reply(&self, memory: &GuestMemoryMmap, len: usize) -> Vec<u8> {
        let mut reply = Vec::new();
        for (at, here) in &self.writable {
            let mut bytes = vec![0; (len - reply.len()).min(usize::try_from(*here).unwrap())];
            memory.read_slice(&mut bytes, GuestAddress(*at)).unwrap();
            reply.extend(bytes);
        }
        reply
    }
}

/// What is expected of a turn.
struct Expected {
    before: Vec<u8>,
    next_used: u16,
    heads: Vec<u16>,
    chains: Vec<Chain>,
    /// Nothing that is written to is anything else too, so all can be told beforehand.
    clean: bool,
    /// Whether a region of memory is missing.
    whole: bool,
}

impl Expected {
    fn new(memory: &Memory, queue: &Queue, whole: bool) -> Expected {
        let guest = memory.guest();
        let size = queue.size();
        let next_used = queue.next_used();
        let (mut heads, mut chains) = (Vec::new(), Vec::new());
        if let Ok(index) = queue.avail_idx(&*guest, Ordering::Relaxed) {
            let offered = (index - Wrapping(queue.next_avail())).0;
            // More than the ring is long is an error, and so is a head that is none.
            for i in 0..if offered > size { 0 } else { offered } {
                let slot = queue.next_avail().wrapping_add(i) % size;
                let at = queue.avail_ring().saturating_add(4 + 2 * u64::from(slot));
                let Ok(head) = guest.read_obj::<u16>(GuestAddress(at)) else {
                    break;
                };
                if head >= size {
                    break;
                }
                heads.push(head);
                chains.push(match i {
                    0..64 => Chain::follow(&guest, queue, head),
                    _ => Chain {
                        long: true,
                        ..Chain::default()
                    },
                });
            }
        }
        let used: Ranges = vec![(queue.used_ring(), 6 + 8 * u64::from(size))];
        let rings: Ranges = vec![
            (queue.desc_table(), 16 * u64::from(size)),
            (queue.avail_ring(), 6 + 2 * u64::from(size)),
        ];
        let overflow = |ranges: &Ranges| {
            ranges
                .iter()
                .any(|(at, len)| at.checked_add(*len).is_none())
        };
        let mut clean = !overflow(&used) && !overflow(&rings) && !overlap(&used, &rings);
        // What was not looked at can be anything, and comparing all with all has its price.
        clean &= !chains.iter().any(|chain| chain.long);
        for (i, chain) in chains.iter().enumerate() {
            if !clean {
                break;
            }
            // Within itself, too.
            let own = &chain.writable;
            let twice =
                (0..own.len()).any(|n| overlap(&own[n..=n].to_vec(), &own[n + 1..].to_vec()));
            clean &= !twice && !overlap(&used, &chain.tables) && !overlap(&used, own);
            clean &= !overlap(own, &rings) && !overlap(&used, &chain.readable);
            for (j, other) in chains.iter().enumerate() {
                clean &= !overlap(own, &other.tables) && !overlap(own, &other.readable);
                clean &= i == j || !overlap(own, &other.writable);
            }
        }
        Expected {
            before: memory.all(),
            next_used,
            heads,
            chains,
            clean,
            whole,
        }
    }

    fn check(&self, memory: &Memory, queue: &Queue) {
        let after = memory.all();
        let mut unwritten = self.before.clone();
        let mut allow = |at: u64, len: u64| {
            for (region, (start, size)) in REGIONS.iter().enumerate() {
                let (from, end) = (at.max(*start), at.saturating_add(len).min(start + size));
                if from < end {
                    let place = usize::try_from(place_of(region) + from - start).unwrap();
                    let place = place..place + usize::try_from(end - from).unwrap();
                    unwritten[place.clone()].copy_from_slice(&after[place]);
                }
            }
        };
        if self.clean {
            allow(queue.used_ring(), 6 + 8 * u64::from(queue.size()));
            for (at, len) in self.chains.iter().flat_map(|chain| &chain.writable) {
                allow(*at, *len);
            }
        } else {
            for (at, len) in REGIONS {
                allow(at, len);
            }
        }
        assert!(after == unwritten, "wrote where nothing was asked for");
        if memmem::find(&after, SECRET).is_some() {
            assert!(
                memmem::find(&self.before, SECRET).is_some(),
                "a secret came out"
            );
        }

        let answered = queue.next_used().wrapping_sub(self.next_used);
        assert!(answered <= 64, "{answered} requests in one turn");
        if !self.clean {
            return;
        }
        assert!(
            usize::from(answered) <= self.heads.len(),
            "more answers than requests"
        );
        let guest = memory.guest();
        // A ring that goes on with an index further back than its length goes round.
        if answered > queue.size() {
            return;
        }
        // Answers come in any order: some requests are answered by other threads.
        let mut left: Vec<_> = self.heads.iter().zip(&self.chains).collect();
        for i in 0..answered {
            let slot = self.next_used.wrapping_add(i) % queue.size();
            let at = queue.used_ring() + 4 + 8 * u64::from(slot);
            let id: u32 = guest.read_obj(GuestAddress(at)).unwrap();
            let len: u32 = guest.read_obj(GuestAddress(at + 4)).unwrap();
            let found = left.iter().position(|(head, _)| u32::from(**head) == id);
            let (_, chain) = left.remove(found.expect("an answer to what was not asked"));
            assert!(
                u64::from(len) <= chain.room(),
                "{len} bytes into {}",
                chain.room()
            );
            // With memory missing this file does not know where the reply went.
            if len == 0 || !self.whole {
                continue;
            }
            let header = chain.reply(&guest, OUT_HEADER);
            assert_eq!(wire::u32_at(&header, 0), Some(len), "length in the header");
            let error = wire::u32_at(&header, 4).unwrap().cast_signed();
            assert!((-4095..=0).contains(&error), "error {error}");
            assert!(
                error == 0 || len as usize == OUT_HEADER,
                "an error with a body"
            );
        }
    }
}

fn queue(size_log2: u8, event_idx: bool) -> Queue {
    let mut queue = Queue::new(256).unwrap();
    queue.try_set_size(1 << size_log2).unwrap();
    queue
        .try_set_desc_table_address(GuestAddress(TABLE))
        .unwrap();
    queue
        .try_set_avail_ring_address(GuestAddress(AVAIL))
        .unwrap();
    queue.try_set_used_ring_address(GuestAddress(USED)).unwrap();
    queue.set_event_idx(event_idx);
    queue.set_ready(true);
    queue
}

/// Few threads, because starting them takes longer than all else.
fn pool() -> Pool {
    static POOL: OnceLock<Pool> = OnceLock::new();
    POOL.get_or_init(|| Pool::new(NonZeroUsize::MIN.saturating_add(1)))
        .clone()
}

/// Runs one input.
///
/// # Panics
/// If anything is not as it must be.
pub fn run(data: &[u8]) {
    Memory::with(|memory| {
        let _ = drive(memory, &mut Unstructured::new(data));
    });
    now_and_then();
}

struct Driver<'m> {
    memory: &'m Memory,
    ring: Ring<Arc<dyn ReadFs>>,
    offered: u16,
    /// It was told that it is broken.
    stopped: bool,
    whole: bool,
}

impl Driver<'_> {
    fn turn(&mut self) -> bool {
        if self.stopped {
            return false;
        }
        let expected = Expected::new(self.memory, &self.ring.queue, self.whole);
        let turn = self.ring.turn();
        expected.check(self.memory, &self.ring.queue);
        self.stopped = turn.is_err();
        turn.is_ok_and(|(_, more)| more)
    }

    fn index(&mut self, index: u16) {
        self.offered = index;
        self.memory.poke(
            self.ring.queue.avail_ring().saturating_add(2),
            &index.to_le_bytes(),
        );
    }

    fn act(&mut self, op: Op, server: &Server<Arc<dyn ReadFs>>, nodes: &mut Nodes) {
        match op {
            Op::Descriptor {
                table,
                index,
                at,
                len,
                flags,
                next,
            } => {
                let table = table.map_or(self.ring.queue.desc_table(), At::address);
                let mut descriptor = at.address().to_le_bytes().to_vec();
                descriptor.extend(len.to_le_bytes());
                descriptor.extend(flags.to_le_bytes());
                descriptor.extend(next.to_le_bytes());
                self.memory
                    .poke(table.wrapping_add(16 * u64::from(index)), &descriptor);
            }
            Op::Request {
                offset,
                raw,
                mut bytes,
            } => {
                if !raw {
                    stand_for(&mut bytes, server, nodes);
                    wire::fix_length(&mut bytes);
                }
                self.memory.poke(REQUEST + u64::from(offset), &bytes);
            }
            Op::Offer(head) => {
                let slot = u64::from(self.offered % self.ring.queue.size());
                let at = self.ring.queue.avail_ring().saturating_add(4 + 2 * slot);
                self.memory.poke(at, &head.to_le_bytes());
                self.index(self.offered.wrapping_add(1));
            }
            Op::Poke { at, bytes } => self.memory.poke(at.address(), &bytes),
            Op::Turn => drop(self.turn()),
            Op::Index(index) => self.index(index),
            Op::Move { part, at } => {
                let (queue, at) = (&mut self.ring.queue, GuestAddress(at.address()));
                // Refused where the front-end's message would be.
                let _ = match part % 3 {
                    0 => queue.try_set_desc_table_address(at),
                    1 => queue.try_set_avail_ring_address(at),
                    _ => queue.try_set_used_ring_address(at),
                };
            }
            Op::Resume {
                next_avail,
                next_used,
            } => {
                self.ring.queue.set_next_avail(next_avail);
                self.ring.queue.set_next_used(next_used);
                self.stopped = false;
            }
            Op::Memory(region) => {
                let region = usize::from(region) % (REGIONS.len() + 1);
                self.whole = region == REGIONS.len();
                self.memory.keep(region);
            }
        }
    }
}

fn drive(memory: &Memory, from: &mut Unstructured<'_>) -> arbitrary::Result<()> {
    let (config, setup): (u8, u8) = (from.arbitrary()?, from.arbitrary()?);
    let tree = world().tree(config);
    let server = Arc::new(tree.server(config));
    let window = tree
        .window(config)
        .map(|window| Arc::new(window) as Arc<dyn DaxWindow>);
    let mut nodes = Nodes::new(tree);
    let start = |queue| {
        let (memory, window) = (memory.atomic.clone(), window.clone());
        Ring::new(queue, Arc::clone(&server), memory, window, pool())
    };
    let mut driver = Driver {
        memory,
        ring: start(queue(setup & 7, setup & 8 != 0)),
        offered: 0,
        stopped: false,
        whole: true,
    };
    for _ in 0..MOST {
        if from.is_empty() {
            break;
        }
        driver.act(Op::read(from)?, &server, &mut nodes);
    }
    for _ in 0..LAST_TURNS {
        if !driver.turn() {
            break;
        }
    }

    // Whatever that was, a new ring of the same server answers.
    memory.keep(usize::MAX);
    let again = as_linux_would(&getattr_root(), 120, 0, setup & 16 != 0);
    let mut driver = Driver {
        ring: start(queue(2, false)),
        offered: 0,
        stopped: false,
        whole: true,
        ..driver
    };
    driver.memory.poke(AVAIL, &[0; 4]);
    driver.memory.poke(USED, &[0; 4]);
    for op in again {
        driver.act(op, &server, &mut nodes);
    }
    driver.turn();
    assert!(!driver.stopped, "a good ring was stopped");
    let mut header = [0; OUT_HEADER];
    memory
        .guest()
        .read_slice(&mut header, GuestAddress(REPLY))
        .unwrap();
    assert_eq!(
        wire::u32_at(&header, 0),
        Some(120),
        "a good request was not answered"
    );
    assert_eq!(wire::u32_at(&header, 4), Some(0), "a good request failed");
    Ok(())
}

fn getattr_root() -> Vec<u8> {
    let mut request = vec![0; wire::IN_HEADER + 16];
    wire::put(&mut request, 4, &wire::GETATTR.to_le_bytes());
    wire::put(&mut request, 8, &7u64.to_le_bytes());
    wire::put(&mut request, 16, &1u64.to_le_bytes());
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let at = At {
            place: 6,
            offset: 0x1234,
        };
        let ops = [
            Op::Descriptor {
                table: Some(at),
                index: 1,
                at,
                len: 2,
                flags: 3,
                next: 4,
            },
            Op::Descriptor {
                table: None,
                index: 1,
                at,
                len: 2,
                flags: 3,
                next: 4,
            },
            Op::Request {
                offset: 9,
                raw: true,
                bytes: vec![1, 2, 3],
            },
            Op::Request {
                offset: 9,
                raw: false,
                bytes: vec![],
            },
            Op::Offer(7),
            Op::Poke {
                at,
                bytes: vec![5; 300],
            },
            Op::Turn,
            Op::Index(0xffff),
            Op::Move { part: 2, at },
            Op::Resume {
                next_avail: 1,
                next_used: 2,
            },
            Op::Memory(1),
        ];
        let mut input = Vec::new();
        ops.iter().for_each(|op| op.write(&mut input));
        let mut from = Unstructured::new(&input);
        for op in &ops {
            assert_eq!(
                format!("{op:?}"),
                format!("{:?}", Op::read(&mut from).unwrap())
            );
        }
        assert!(from.is_empty());
    }
}
