// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Guest memory, as the front-end describes it.
#![allow(unsafe_code)] // one call of mmap

use std::fs::File;
use std::io;
use std::sync::{Arc, PoisonError};

use rustix::fs::{FileType, fstat};
use rustix::mm::{MapFlags, ProtFlags};
use vhost::vhost_user::message::VhostUserMemoryRegion;
use vm_memory::{
    FileOffset, GuestAddress, GuestAddressSpace, GuestMemoryAtomic, GuestMemoryMmap,
    GuestMemoryRegion, GuestRegionMmap, MmapRegion,
};

use super::cutoff;

/// Most regions that one connection may map: what the kernel's vhost takes, too.
pub(super) const MAX_SLOTS: usize = 509;

/// Size of the blocks of files (`st_blksize`) that are not made of huge pages, at most. Some file
/// systems on disks have larger ones; keeping those open does no harm.
const SMALL_PAGES: i64 = 4096;

/// Guest memory as queue threads see it; they look once a batch, so changes need no lock.
pub(super) type Memory = GuestMemoryAtomic<GuestMemoryMmap>;

/// The mapped regions, and where the front-end has them in its own address space.
#[derive(Debug)]
pub(super) struct MemoryTable {
    memory: Memory,
    mappings: Vec<Mapping>,
}

#[derive(Clone, Copy, Debug)]
struct Mapping {
    guest: u64,
    size: u64,
    user: u64,
}

impl MemoryTable {
    pub(super) fn new() -> MemoryTable {
        let memory = GuestMemoryAtomic::new(GuestMemoryMmap::new());
        MemoryTable {
            memory,
            mappings: Vec::new(),
        }
    }

    pub(super) fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Replaces everything.
    pub(super) fn set(
        &mut self,
        regions: &[VhostUserMemoryRegion],
        files: Vec<File>,
    ) -> io::Result<()> {
        let mut mapped = Vec::with_capacity(regions.len());
        let mut mappings = Vec::with_capacity(regions.len());
        for (region, file) in regions.iter().zip(files) {
            let mapping = Mapping::new(region)?;
            mapped.push(mapping.map(file, region.mmap_offset)?);
            mappings.push(mapping);
        }
        // QEMU sends them in ascending order, but nobody promised.
        mapped.sort_by_key(|region| region.start_addr());
        self.replace(GuestMemoryMmap::from_arc_regions(mapped).map_err(io::Error::other)?);
        self.mappings = mappings;
        Ok(())
    }

    /// Adds one region.
    pub(super) fn add(&mut self, region: &VhostUserMemoryRegion, file: File) -> io::Result<()> {
        if self.mappings.len() >= MAX_SLOTS {
            return Err(io::Error::other(format!(
                "more than {MAX_SLOTS} memory regions"
            )));
        }
        let mapping = Mapping::new(region)?;
        let mapped = mapping.map(file, region.mmap_offset)?;
        let memory = self
            .memory
            .memory()
            .insert_region(mapped)
            .map_err(io::Error::other)?;
        self.replace(memory);
        self.mappings.push(mapping);
        Ok(())
    }

    /// Removes one region; it must be one that was added, whole.
    pub(super) fn remove(&mut self, region: &VhostUserMemoryRegion) -> io::Result<()> {
        let mapping = Mapping::new(region)?;
        let (memory, _) = self
            .memory
            .memory()
            .remove_region(GuestAddress(mapping.guest), mapping.size)
            .map_err(io::Error::other)?;
        self.replace(memory);
        self.mappings.retain(|other| other.guest != mapping.guest);
        Ok(())
    }

    /// The guest's address of what the front-end has at `user`.
    pub(super) fn translate(&self, user: u64) -> Option<GuestAddress> {
        self.mappings.iter().find_map(|mapping| {
            let offset = user
                .checked_sub(mapping.user)
                .filter(|offset| *offset < mapping.size)?;
            Some(GuestAddress(mapping.guest + offset))
        })
    }

    fn replace(&self, memory: GuestMemoryMmap) {
        self.memory
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .replace(memory);
    }
}

impl Mapping {
    /// Checks that no sum of the region's fields overflows.
    fn new(region: &VhostUserMemoryRegion) -> io::Result<Mapping> {
        let mapping = Mapping {
            guest: region.guest_phys_addr,
            size: region.memory_size,
            user: region.user_addr,
        };
        let offset = region.mmap_offset;
        let fits = |start: u64| start.checked_add(mapping.size).is_some();
        if mapping.size == 0 || ![mapping.guest, mapping.user, offset].into_iter().all(fits) {
            return Err(io::Error::other(format!(
                "no such memory region: {:#x} bytes at guest {:#x}, user {:#x}, file {offset:#x}",
                mapping.size, mapping.guest, mapping.user,
            )));
        }
        Ok(mapping)
    }

    fn map(&self, file: File, offset: u64) -> io::Result<Arc<GuestRegionMmap>> {
        let stat = fstat(&file)?;
        let end = offset + self.size; // checked in `new`
        // Memory behind the end of its file would end the whole process by SIGBUS.
        if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
            && u64::try_from(stat.st_size).unwrap_or(0) < end
        {
            return Err(io::Error::other(format!(
                "a memory region ends at {end:#x} in a file of {:#x} bytes",
                stat.st_size
            )));
        }
        let size = usize::try_from(self.size).map_err(io::Error::other)?;
        let mut page = rustix::param::page_size();
        let region = if stat.st_blksize > SMALL_PAGES {
            page = page.max(usize::try_from(stat.st_blksize).unwrap_or(0));
            // Huge pages: their place in memory must be as aligned as they are.
            MmapRegion::from_file(FileOffset::new(file, offset), size).map_err(io::Error::other)?
        } else {
            map_and_close(&file, offset, size)?
        };
        let region = GuestRegionMmap::new(region, GuestAddress(self.guest))
            .map(Arc::new)
            .ok_or_else(|| io::Error::other("a memory region beyond the end of memory"))?;
        cutoff::watch(&region, page);
        Ok(region)
    }
}

/// Maps a part of `file` without keeping it open, as vm-memory would: a guest may have many
/// regions. Its mapping without file only serves as the place, which it unmaps in the end.
fn map_and_close(file: &File, offset: u64, size: usize) -> io::Result<MmapRegion> {
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
    let place = MmapRegion::build(
        None,
        size,
        (ProtFlags::READ | ProtFlags::WRITE).bits().cast_signed(),
        flags.bits().cast_signed() | libc::MAP_ANONYMOUS,
    )
    .map_err(io::Error::other)?;
    // SAFETY: what is replaced is the mapping made above, whole; nobody has seen it yet.
    unsafe {
        rustix::mm::mmap(
            place.as_ptr().cast(),
            size,
            ProtFlags::READ | ProtFlags::WRITE,
            MapFlags::SHARED | MapFlags::NORESERVE | MapFlags::FIXED,
            file,
            offset,
        )?;
    }
    Ok(place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use vm_memory::{Bytes, GuestMemory, Permissions};

    const PAGE: u64 = 4096;

    fn file(pages: u64) -> File {
        let file = tempfile::tempfile().unwrap();
        file.set_len(pages * PAGE).unwrap();
        file
    }

    fn region(guest: u64, size: u64, user: u64, offset: u64) -> VhostUserMemoryRegion {
        VhostUserMemoryRegion::new(guest, size, user, offset)
    }

    #[test]
    fn regions_come_in_any_order_and_are_translated() {
        let mut table = MemoryTable::new();
        let regions = [
            region(8 * PAGE, PAGE, 0x7000, 0),
            region(0, 2 * PAGE, 0x10_0000, PAGE),
        ];
        table.set(&regions, vec![file(1), file(3)]).unwrap();
        assert_eq!(table.translate(0x7004), Some(GuestAddress(8 * PAGE + 4)));
        assert_eq!(table.translate(0x10_1fff), Some(GuestAddress(0x1fff)));
        assert_eq!(table.translate(0x10_2000), None);
        assert_eq!(table.translate(0), None);
        table
            .memory()
            .memory()
            .write_obj(7u32, GuestAddress(8 * PAGE))
            .unwrap();

        table
            .add(&region(16 * PAGE, PAGE, 0x9000, 0), file(1))
            .unwrap();
        assert!(
            table
                .memory()
                .memory()
                .check_range(GuestAddress(16 * PAGE), 1, Permissions::Read)
        );
        table.remove(&region(16 * PAGE, PAGE, 0x9000, 0)).unwrap();
        assert_eq!(table.translate(0x9000), None);
        table
            .remove(&region(16 * PAGE, PAGE, 0x9000, 0))
            .unwrap_err();
    }

    #[test]
    fn impossible_regions_are_refused() {
        let cases = [
            ("empty", region(0, 0, 0, 0)),
            ("guest overflow", region(u64::MAX - 100, PAGE, 0, 0)),
            ("user overflow", region(0, PAGE, u64::MAX - 100, 0)),
            ("offset overflow", region(0, PAGE, 0, u64::MAX - 100)),
            ("behind the end of the file", region(0, 2 * PAGE, 0, 0)),
            ("offset not of a page", region(0, PAGE - 1, 0, 1)),
            ("as large as it gets", region(0, u64::MAX, 0, 0)),
        ];
        for (what, region) in cases {
            let mut table = MemoryTable::new();
            assert!(table.set(&[region], vec![file(1)]).is_err(), "{what}");
            assert!(table.add(&region, file(1)).is_err(), "{what}");
        }
        let mut table = MemoryTable::new();
        let twice = [region(0, PAGE, 0, 0), region(0, PAGE, 0x1_0000, 0)];
        table.set(&twice, vec![file(1), file(1)]).unwrap_err();
        table
            .add(&region(0, PAGE, 0, 0), File::open("/").unwrap())
            .unwrap_err();
    }

    #[test]
    fn there_is_a_last_slot() {
        let mut table = MemoryTable::new();
        let one = file(1);
        for slot in 0..MAX_SLOTS as u64 {
            table
                .add(
                    &region(slot * PAGE, PAGE, slot * PAGE, 0),
                    one.try_clone().unwrap(),
                )
                .unwrap();
        }
        let slot = MAX_SLOTS as u64 * PAGE;
        table.add(&region(slot, PAGE, slot, 0), one).unwrap_err();
    }
}
