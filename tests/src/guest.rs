// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The memory of a guest: a memfd, shared with the back-end.

use std::fs::File;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{MemfdFlags, memfd_create};
use vm_memory::{
    ByteValued, Bytes, FileOffset, GuestAddress, GuestMemoryMmap, GuestRegionMmap, MmapRegion,
};

use crate::channel::words;

/// One region, as the front-end describes it.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Region {
    pub guest: u64,
    pub size: u64,
    pub user: u64,
    pub offset: u64,
}

impl Region {
    /// The bytes of it in a message.
    pub fn bytes(&self) -> Vec<u8> {
        words(&[self.guest, self.size, self.user, self.offset])
    }
}

const MIB: u64 = 1 << 20;
/// Where two regions touch.
pub const SEAM: u64 = 256 * MIB;
/// Where low memory ends.
pub const LOW_END: u64 = 2 * SEAM;
/// Where high memory begins.
pub const HIGH: u64 = 4 << 30;
/// Where high memory ends.
pub const HIGH_END: u64 = HIGH + 8 * MIB;

/// Memory in three regions: two that touch and one far above them.
#[derive(Clone, Debug)]
pub struct Guest {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    file: File,
    memory: GuestMemoryMmap,
    next: AtomicU64,
}

impl Default for Guest {
    fn default() -> Guest {
        Guest::new()
    }
}

impl Guest {
    /// The regions. No address is the same number on both sides.
    pub const REGIONS: [Region; 3] = [
        Region {
            guest: 0,
            size: SEAM,
            user: 0x7f00_0000_0000,
            offset: 0,
        },
        Region {
            guest: SEAM,
            size: SEAM,
            user: 0x7f10_0000_0000,
            offset: SEAM,
        },
        Region {
            guest: HIGH,
            size: HIGH_END - HIGH,
            user: 0x7f20_0000_0000,
            offset: LOW_END,
        },
    ];

    /// Fresh memory, all zero.
    pub fn new() -> Guest {
        let file = File::from(memfd_create("guest", MemfdFlags::CLOEXEC).unwrap());
        file.set_len(LOW_END + (HIGH_END - HIGH)).unwrap(); // what is not touched costs nothing
        let regions = Guest::REGIONS.map(|region| {
            let offset = FileOffset::new(file.try_clone().unwrap(), region.offset);
            let mapping = MmapRegion::from_file(offset, region.size as usize).unwrap();
            GuestRegionMmap::new(mapping, GuestAddress(region.guest)).unwrap()
        });
        let memory = GuestMemoryMmap::from_regions(regions.into()).unwrap();
        let next = AtomicU64::new(0x10000);
        Guest {
            inner: Arc::new(Inner { file, memory, next }),
        }
    }

    /// The memfd.
    pub fn file(&self) -> &File {
        &self.inner.file
    }

    /// Room of `size` bytes that nobody else uses, on a boundary of 4096.
    pub fn allocate(&self, size: u64) -> u64 {
        let size = size.next_multiple_of(4096);
        let at = self.inner.next.fetch_add(size, Ordering::Relaxed);
        // Tests use the surroundings of the seam and of the ends for themselves.
        assert!(at + size < SEAM - 0x10000, "the guest is out of memory");
        at
    }

    /// Puts bytes somewhere.
    pub fn write(&self, at: u64, bytes: &[u8]) {
        self.write_slice(bytes, GuestAddress(at)).unwrap();
    }

    /// Gets bytes from somewhere.
    pub fn read(&self, at: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.read_slice(&mut bytes, GuestAddress(at)).unwrap();
        bytes
    }

    /// Gets a number from somewhere.
    pub fn get<T: ByteValued>(&self, at: u64) -> T {
        self.read_obj(GuestAddress(at)).unwrap()
    }

    /// Where the front-end has what the guest has at `guest`.
    pub fn user(guest: u64) -> u64 {
        let region = Guest::REGIONS
            .iter()
            .find(|region| (region.guest..region.guest + region.size).contains(&guest))
            .unwrap();
        guest - region.guest + region.user
    }
}

impl Deref for Guest {
    type Target = GuestMemoryMmap;

    fn deref(&self) -> &GuestMemoryMmap {
        &self.inner.memory
    }
}
