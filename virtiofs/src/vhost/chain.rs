// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One descriptor chain, turned into the memory it names.

use std::fmt;
use std::mem::size_of;

use virtio_queue::desc::split::Descriptor;
use vm_memory::{
    Address, Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion,
    GuestRegionMmap, MemoryRegionAddress, VolatileMemory, VolatileSlice,
};

/// Most pieces of memory that one chain may have: as many as virtio's longest ring has
/// descriptors. Bounds what a guest can make us remember.
const MAX_SEGMENTS: u16 = 32768;

/// Room for segments that is kept from one request to the next; more than any sane request needs.
const KEEP_SEGMENTS: usize = 4096;

/// Size of a descriptor.
const DESCRIPTOR: u32 = 16;

/// Why a chain cannot be what the driver meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChainError {
    /// More descriptors than the table has: a loop.
    Loop,
    /// `next` points behind the table.
    Index(u16),
    /// The descriptor table is not in memory.
    Table(GuestAddress),
    /// An indirect table of no or half a descriptor, or of too many.
    IndirectLength(u32),
    /// An indirect descriptor within an indirect table, or with a `next`.
    IndirectFlags,
    /// A buffer is not in memory.
    Buffer(GuestAddress, u32),
    /// The device shall read behind what it shall write.
    Order,
    /// Longer than the protocol can say.
    TooLong,
}

impl fmt::Display for ChainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ChainError::Loop => f.write_str("the chain is a loop"),
            ChainError::Index(index) => write!(f, "no descriptor {index}"),
            ChainError::Table(at) => write!(f, "no memory at {:#x} for descriptors", at.0),
            ChainError::IndirectLength(len) => write!(f, "an indirect table of {len} bytes"),
            ChainError::IndirectFlags => f.write_str("an indirect descriptor where none may be"),
            ChainError::Buffer(at, len) => write!(f, "no memory at {:#x} for {len} bytes", at.0),
            ChainError::Order => f.write_str("a readable descriptor behind a writable one"),
            ChainError::TooLong => f.write_str("the chain is too long"),
        }
    }
}

/// The memory of one request.
#[derive(Debug, Default)]
pub(super) struct Segments<'m> {
    pub(super) readable: Vec<VolatileSlice<'m>>,
    pub(super) writable: Vec<VolatileSlice<'m>>,
}

impl<'m> Segments<'m> {
    /// The same storage, empty, for slices of other memory: requests allocate nothing.
    pub(super) fn recycle<'n>(self) -> Segments<'n> {
        Segments {
            readable: recycle(self.readable),
            writable: recycle(self.writable),
        }
    }

    /// Collects the buffers of the chain that starts at `head` in the table of `size` descriptors
    /// at `table`. On an error what was found so far stays.
    pub(super) fn collect(
        &mut self,
        memory: &'m GuestMemoryMmap,
        table: GuestAddress,
        size: u16,
        head: u16,
    ) -> Result<(), ChainError> {
        self.readable.clear();
        self.writable.clear();
        let mut finder = Finder::new(memory);
        let mut table = Table::new(&mut finder, table, u32::from(size), false);
        let mut index = head;
        let mut left = table.size;
        let mut bytes = 0u32;
        loop {
            left = left.checked_sub(1).ok_or(ChainError::Loop)?;
            // Read once: the driver may change it under our hands.
            let descriptor = table.descriptor(memory, index)?;
            if descriptor.refers_to_indirect_table() {
                if table.indirect || descriptor.has_next() {
                    return Err(ChainError::IndirectFlags);
                }
                table = Table::indirect(&mut finder, &descriptor)?;
                index = 0;
                left = table.size;
                continue;
            }
            bytes = bytes
                .checked_add(descriptor.len())
                .ok_or(ChainError::TooLong)?;
            self.push(&mut finder, &descriptor)?;
            if !descriptor.has_next() {
                return Ok(());
            }
            index = descriptor.next();
        }
    }

    fn push(&mut self, finder: &mut Finder<'m>, descriptor: &Descriptor) -> Result<(), ChainError> {
        if !descriptor.is_write_only() && !self.writable.is_empty() {
            return Err(ChainError::Order);
        }
        let segments = if descriptor.is_write_only() {
            &mut self.writable
        } else {
            &mut self.readable
        };
        let (at, len) = (descriptor.addr(), descriptor.len());
        let count = usize::try_from(len).map_err(|_| ChainError::TooLong)?;
        // Nearly always it is one slice; several where regions of memory touch.
        if count > 0
            && segments.len() < usize::from(MAX_SEGMENTS)
            && let Some(slice) = finder.slice(at, count)
        {
            segments.push(slice);
            return Ok(());
        }
        for slice in finder.memory.get_slices(at, count) {
            if segments.len() == usize::from(MAX_SEGMENTS) {
                return Err(ChainError::TooLong);
            }
            segments.push(slice.map_err(|_| ChainError::Buffer(at, len))?);
        }
        Ok(())
    }
}

/// Finds pieces of memory. What belongs to one request mostly lies in one region, so the last one
/// is looked at first.
struct Finder<'m> {
    memory: &'m GuestMemoryMmap,
    last: Option<&'m GuestRegionMmap>,
}

impl<'m> Finder<'m> {
    fn new(memory: &'m GuestMemoryMmap) -> Finder<'m> {
        Finder { memory, last: None }
    }

    /// The memory there, unless it is not all in one region.
    fn slice(&mut self, at: GuestAddress, len: usize) -> Option<VolatileSlice<'m>> {
        let within = |region: &'m GuestRegionMmap| {
            let offset = at.checked_offset_from(region.start_addr())?;
            region.get_slice(MemoryRegionAddress(offset), len).ok()
        };
        if let Some(slice) = self.last.and_then(within) {
            return Some(slice);
        }
        self.last = self.memory.find_region(at);
        within(self.last?)
    }
}

/// A descriptor table.
struct Table<'m> {
    at: GuestAddress,
    size: u32,
    /// All of it, unless regions of memory touch in the middle.
    slice: Option<VolatileSlice<'m>>,
    indirect: bool,
}

impl<'m> Table<'m> {
    fn new(finder: &mut Finder<'m>, at: GuestAddress, size: u32, indirect: bool) -> Table<'m> {
        let len = usize::try_from(u64::from(size) * u64::from(DESCRIPTOR));
        Table {
            at,
            size,
            slice: len.ok().and_then(|len| finder.slice(at, len)),
            indirect,
        }
    }

    fn indirect(finder: &mut Finder<'m>, descriptor: &Descriptor) -> Result<Table<'m>, ChainError> {
        let len = descriptor.len();
        let size = len / DESCRIPTOR;
        // Linux makes indirect tables that are longer than the ring.
        if size == 0 || !len.is_multiple_of(DESCRIPTOR) || size > u32::from(MAX_SEGMENTS) {
            return Err(ChainError::IndirectLength(len));
        }
        Ok(Table::new(finder, descriptor.addr(), size, true))
    }

    fn descriptor(&self, memory: &GuestMemoryMmap, index: u16) -> Result<Descriptor, ChainError> {
        if u32::from(index) >= self.size {
            return Err(ChainError::Index(index));
        }
        if let Some(slice) = &self.slice {
            let at = usize::from(index) * size_of::<Descriptor>();
            let descriptor = slice.get_ref(at).map_err(|_| ChainError::Table(self.at))?;
            return Ok(descriptor.load());
        }
        self.at
            .checked_add(u64::from(index) * u64::from(DESCRIPTOR))
            .and_then(|at| memory.read_obj(at).ok())
            .ok_or(ChainError::Table(self.at))
    }
}

/// An empty vector with the storage of `used`. No element is converted: `collect` takes over the
/// allocation because the types have the same layout, which a test asserts.
fn recycle<'n>(mut used: Vec<VolatileSlice<'_>>) -> Vec<VolatileSlice<'n>> {
    used.clear();
    if used.capacity() > KEEP_SEGMENTS {
        return Vec::new();
    }
    used.into_iter().map_while(|_| None).collect()
}

#[cfg(test)]
#[path = "chain_test.rs"]
mod tests;
