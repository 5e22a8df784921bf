// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Cursors over the memory of one request.
//!
//! The client can change any byte at any time. A [`Reader`] therefore hands out copies, each byte
//! at most once; what is checked is the copy that is used.
#![allow(unsafe_code)] // one call of preadv2, at the end

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};

use vm_memory::VolatileSlice;
use zerocopy::{FromBytes, IntoBytes};

use crate::errno::{Errno, FsResult};
use crate::fs::DataSink;

/// Most segments one `preadv2(2)` takes (`UIO_MAXIOV`).
const MAX_IOVECS: usize = 1024;

/// Total length of some slices.
pub(super) fn total_len(slices: &[VolatileSlice<'_>]) -> usize {
    slices
        .iter()
        .fold(0usize, |sum, slice| sum.saturating_add(slice.len()))
}

/// Reads a request front to back.
pub(super) struct Reader<'s, 'm> {
    slices: &'s [VolatileSlice<'m>],
    /// Bytes of the first slice already read.
    offset: usize,
    left: usize,
}

impl<'s, 'm> Reader<'s, 'm> {
    pub(super) fn new(slices: &'s [VolatileSlice<'m>]) -> Self {
        Reader {
            slices,
            offset: 0,
            left: total_len(slices),
        }
    }

    /// Bytes not read yet.
    pub(super) fn left(&self) -> usize {
        self.left
    }

    /// Copies out as many bytes as there are, up to the size of `buf`.
    pub(super) fn read(&mut self, buf: &mut [u8]) -> usize {
        let mut done = 0;
        while done < buf.len() {
            let Some((first, rest)) = self.slices.split_first() else {
                break;
            };
            let n = (first.len() - self.offset).min(buf.len() - done);
            if let Ok(part) = first.subslice(self.offset, n) {
                part.copy_to(&mut buf[done..done + n]);
            }
            done += n;
            self.offset += n;
            if self.offset == first.len() {
                self.slices = rest;
                self.offset = 0;
            }
        }
        self.left -= done;
        done
    }

    /// Copies out a structure.
    ///
    /// # Errors
    /// `EINVAL` if the request ends inside it.
    pub(super) fn read_obj<T: FromBytes + IntoBytes>(&mut self) -> FsResult<T> {
        let mut object = T::new_zeroed();
        let bytes = object.as_mut_bytes();
        if self.read(bytes) == bytes.len() {
            Ok(object)
        } else {
            Err(Errno::INVAL)
        }
    }
}

/// Writes a reply front to back, never further than `limit` bytes.
#[derive(Clone)]
pub(super) struct Writer<'s, 'm> {
    slices: &'s [VolatileSlice<'m>],
    /// Bytes of the first slice already written.
    offset: usize,
    left: usize,
    written: usize,
    may_block: bool,
}

impl<'s, 'm> Writer<'s, 'm> {
    pub(super) fn new(slices: &'s [VolatileSlice<'m>], may_block: bool) -> Self {
        Writer {
            slices,
            offset: 0,
            left: total_len(slices),
            written: 0,
            may_block,
        }
    }

    /// A writer for what lies behind the next `count` bytes, or `None` if there are not so many.
    pub(super) fn behind(&self, count: usize) -> Option<Self> {
        let mut writer = self.clone();
        if count > writer.left {
            return None;
        }
        writer.advance(count);
        writer.written = 0;
        Some(writer)
    }

    /// Takes at most `limit` bytes more.
    pub(super) fn limit(&mut self, limit: usize) {
        self.left = self.left.min(limit);
    }

    /// Bytes that still fit.
    pub(super) fn left(&self) -> usize {
        self.left
    }

    /// Bytes written so far.
    pub(super) fn written(&self) -> usize {
        self.written
    }

    /// Writes all of `bytes` or, if they do not fit, nothing.
    pub(super) fn write_all(&mut self, bytes: &[u8]) -> bool {
        if bytes.len() > self.left {
            return false;
        }
        self.write(bytes);
        true
    }

    /// Writes what fits and returns how much that was.
    pub(super) fn write(&mut self, bytes: &[u8]) -> usize {
        let len = bytes.len().min(self.left);
        let mut done = 0;
        while done < len {
            let Some(first) = self.slices.first() else {
                break;
            };
            let n = (first.len() - self.offset).min(len - done);
            if let Ok(part) = first.subslice(self.offset, n) {
                part.copy_from(&bytes[done..done + n]);
            }
            done += n;
            self.advance(n);
        }
        done
    }

    /// Skips `count` bytes, which must fit.
    fn advance(&mut self, mut count: usize) {
        self.left -= count;
        self.written += count;
        while let Some((first, rest)) = self.slices.split_first() {
            let here = first.len() - self.offset;
            if count < here {
                self.offset += count;
                return;
            }
            count -= here;
            self.slices = rest;
            self.offset = 0;
        }
    }

    /// One `preadv2` of up to `len` bytes into what comes next.
    fn pread(&self, file: BorrowedFd<'_>, at: u64, len: usize) -> FsResult<usize> {
        let mut iovecs = [const { MaybeUninit::<libc::iovec>::uninit() }; MAX_IOVECS];
        let mut count = 0;
        let mut wanted = len.min(self.left);
        let mut offset = self.offset;
        for slice in self.slices {
            if wanted == 0 || count == MAX_IOVECS {
                break;
            }
            let n = (slice.len() - offset).min(wanted);
            if n > 0 {
                let part = slice.subslice(offset, n).map_err(|_| Errno::INVAL)?;
                iovecs[count].write(libc::iovec {
                    iov_base: part.ptr_guard_mut().as_ptr().cast(),
                    iov_len: n,
                });
                count += 1;
            }
            wanted -= n;
            offset = 0;
        }
        let Ok(at) = libc::off_t::try_from(at) else {
            return Err(Errno::INVAL);
        };
        let flags = if self.may_block { 0 } else { libc::RWF_NOWAIT };
        let iov_count = libc::c_int::try_from(count).map_err(|_| Errno::INVAL)?;
        loop {
            // SAFETY: the first `count` iovecs are initialised and name memory inside
            // `VolatileSlice`s, which is mapped for as long as their lifetime 'm lasts. That a
            // guest writes to it at the same time is what volatile memory is about; Rust holds no
            // reference into it.
            let n = unsafe {
                libc::preadv2(
                    file.as_raw_fd(),
                    iovecs.as_ptr().cast(),
                    iov_count,
                    at,
                    flags,
                )
            };
            if let Ok(n) = usize::try_from(n) {
                return Ok(n);
            }
            match std::io::Error::last_os_error().raw_os_error() {
                Some(libc::EINTR) => {}
                // File systems which do not know RWF_NOWAIT always have to be waited for.
                Some(libc::EOPNOTSUPP) if !self.may_block => return Err(Errno::AGAIN),
                Some(raw) => return Err(Errno::from_raw(raw)),
                None => return Err(Errno::IO),
            }
        }
    }
}

impl DataSink for Writer<'_, '_> {
    fn room(&self) -> usize {
        self.left
    }

    fn put_file(&mut self, file: BorrowedFd<'_>, at: u64, len: usize) -> FsResult<usize> {
        let len = len.min(self.left);
        let mut done = 0;
        while done < len {
            let position = at.checked_add(done as u64).ok_or(Errno::INVAL)?;
            let n = self.pread(file, position, len - done)?;
            if n == 0 {
                break;
            }
            self.advance(n);
            done += n;
        }
        Ok(done)
    }

    fn put(&mut self, bytes: &[u8]) -> usize {
        self.write(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::AsFd;

    /// Cuts `memory` into slices of the given lengths.
    fn cut<'m>(memory: &'m mut [u8], lengths: &[usize]) -> Vec<VolatileSlice<'m>> {
        let whole = VolatileSlice::from(memory);
        let mut at = 0;
        lengths
            .iter()
            .map(|n| {
                at += n;
                whole.subslice(at - n, *n).unwrap()
            })
            .collect()
    }

    #[test]
    fn reading_crosses_slices_of_any_length() {
        let mut memory: Vec<u8> = (0..=99).collect();
        let slices = cut(&mut memory, &[1, 0, 7, 39, 0, 53]);
        let mut reader = Reader::new(&slices);
        assert_eq!(reader.left(), 100);
        assert_eq!(
            reader.read_obj::<u64>(),
            Ok(u64::from_le_bytes([0, 1, 2, 3, 4, 5, 6, 7]))
        );
        let mut rest = [0; 200];
        assert_eq!(reader.read(&mut rest), 92);
        assert!(rest[..92].iter().copied().eq(8..=99));
        assert_eq!(reader.left(), 0);
        assert_eq!(reader.read_obj::<u64>(), Err(Errno::INVAL));
    }

    #[test]
    fn writing_stops_at_the_limit_and_behind_skips() {
        let mut memory = vec![0u8; 64];
        let slices = cut(&mut memory, &[3, 0, 20, 41]);
        let start = Writer::new(&slices, true);
        let mut writer = start.behind(16).unwrap();
        writer.limit(10);
        assert!(!writer.write_all(&[9; 11]));
        assert!(writer.write_all(&[1; 8]));
        assert_eq!(writer.write(&[2; 8]), 2);
        assert_eq!((writer.written(), writer.left()), (10, 0));
        assert!(start.behind(65).is_none());
        assert!(start.behind(64).is_some());
        let mut head = start;
        assert!(head.write_all(&[7; 16]));
        drop(slices);
        assert_eq!(&memory[..16], &[7; 16]);
        assert_eq!(&memory[16..26], &[1, 1, 1, 1, 1, 1, 1, 1, 2, 2]);
        assert!(memory[26..].iter().all(|b| *b == 0));
    }

    #[test]
    fn a_file_lands_across_slices_and_more_than_uio_maxiov_of_them() {
        let mut file = tempfile::tempfile().unwrap();
        let content: Vec<u8> = (0..5000u32).map(|i| (i % 251) as u8).collect();
        file.write_all(&content).unwrap();
        let mut memory = vec![0u8; 6000];
        let slices = cut(&mut memory, &[2; 3000]);
        let mut writer = Writer::new(&slices, true);
        assert_eq!(writer.put_file(file.as_fd(), 10, 5900), Ok(4990));
        assert_eq!(writer.put_file(file.as_fd(), 1 << 63, 1), Err(Errno::INVAL));
        drop(slices);
        assert_eq!(&memory[..4990], &content[10..]);
    }
}
