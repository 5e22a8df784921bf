// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Whether a server would do well to map small files instead of reading them: what this host takes
//! for a file of one page, the first time and again.
#![allow(unsafe_code)] // mmap(2), and a copy out of it

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::ptr::{copy_nonoverlapping, null_mut};

use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use crate::measure::{Work, median};
use crate::report::is_test;
use crate::tree::{SMALL, SMALL_SIZE, Tree};

const ROUNDS: usize = 11;

/// A mapped file.
struct Mapped(*mut u8);

impl Mapped {
    fn new(file: &File) -> Mapped {
        let (read, shared) = (ProtFlags::READ, MapFlags::SHARED);
        // SAFETY: the kernel chooses the place, so no other memory is replaced.
        let at = unsafe { mmap(null_mut(), SMALL_SIZE, read, shared, file, 0) };
        Mapped(at.unwrap().cast())
    }

    fn copy(&self, into: &mut [u8; SMALL_SIZE]) {
        // SAFETY: a whole page is mapped, of a file of a store that does not change.
        unsafe { copy_nonoverlapping(self.0, into.as_mut_ptr(), SMALL_SIZE) };
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`, and used by nobody else.
        unsafe { munmap(self.0.cast(), SMALL_SIZE) }.unwrap();
    }
}

/// Nanoseconds for each file.
fn each(count: usize, mut once: impl FnMut(usize)) -> f64 {
    let rounds = if is_test() { 1 } else { ROUNDS };
    let samples: Vec<f64> = (0..rounds)
        .map(|_| {
            let start = Work::start();
            for number in 0..count {
                once(number);
            }
            start.elapsed().as_nanos() as f64 / count as f64
        })
        .collect();
    median(&samples)
}

/// What one page takes: by a call and out of a mapping, with all that is to be done for a file
/// that was not used before, and again.
///
/// # Panics
/// If the tree is not there.
pub fn compare(tree: &Tree) -> [(&'static str, f64); 4] {
    let top = tree.root.join(&tree.paths[0]);
    let paths: Vec<PathBuf> = (0..SMALL)
        .map(|number| top.join(format!("small-{number}")))
        .collect();
    let mut page = [0; SMALL_SIZE];
    let open = |number: usize| File::open(&paths[number]).unwrap();
    let once_read = each(SMALL, |number| {
        open(number).read_exact_at(&mut page, 0).unwrap();
    });
    let once_mapped = each(SMALL, |number| Mapped::new(&open(number)).copy(&mut page));
    // As many as are kept open.
    let files: Vec<File> = (0..256).map(open).collect();
    let again_read = each(files.len(), |number| {
        files[number].read_exact_at(&mut page, 0).unwrap();
    });
    let mapped: Vec<Mapped> = files.iter().map(Mapped::new).collect();
    let mut copy = |number: usize| mapped[number].copy(&mut page);
    (0..mapped.len()).for_each(&mut copy); // the first time it is not there yet
    let again_mapped = each(mapped.len(), copy);
    [
        ("4 KiB once, preadv2", once_read),
        ("4 KiB once, mapped", once_mapped),
        ("4 KiB again, preadv2", again_read),
        ("4 KiB again, mapped", again_mapped),
    ]
}
