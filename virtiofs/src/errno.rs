// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The one error a request can have.

use std::fmt;
use std::io;

/// A Linux error number, as a guest will see it (`errno(3)`, always positive).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(i32);

/// What a file-system operation returns.
pub type FsResult<T> = Result<T, Errno>;

macro_rules! errnos {
    ($($name:ident = $value:ident, $doc:literal;)*) => {
        impl Errno {
            $(#[doc = $doc] pub const $name: Errno = Errno(libc::$value);)*
        }
        const NAMES: &[(i32, &str)] = &[$((libc::$value, stringify!($value)),)*];
    };
}

errnos! {
    PERM = EPERM, "Operation not permitted.";
    NOENT = ENOENT, "No such file or directory.";
    IO = EIO, "Input/output error.";
    BADF = EBADF, "Bad file descriptor.";
    AGAIN = EAGAIN, "It would block, and the caller said not to (see [`Call`](crate::fs::Call)).";
    NOMEM = ENOMEM, "Out of memory.";
    ACCES = EACCES, "Permission denied.";
    NOTDIR = ENOTDIR, "Not a directory.";
    ISDIR = EISDIR, "Is a directory.";
    INVAL = EINVAL, "Invalid argument.";
    NFILE = ENFILE, "Too many open files in the system.";
    MFILE = EMFILE, "Too many open files.";
    NOTTY = ENOTTY, "Inappropriate ioctl for device.";
    FBIG = EFBIG, "File too large.";
    ROFS = EROFS, "Read-only file system.";
    RANGE = ERANGE, "The buffer is too small.";
    NAMETOOLONG = ENAMETOOLONG, "File name too long.";
    NOSYS = ENOSYS, "Not implemented; a FUSE client remembers and never asks again.";
    LOOP = ELOOP, "A symbolic link where none may be followed.";
    NODATA = ENODATA, "No such extended attribute.";
    PROTO = EPROTO, "Protocol error.";
    OVERFLOW = EOVERFLOW, "Value too large.";
    OPNOTSUPP = EOPNOTSUPP, "Operation not supported.";
    STALE = ESTALE, "The file behind this node id is gone; a client looks it up again.";
}

impl Errno {
    /// The positive number. `Errno(0)` cannot be made.
    pub const fn raw(self) -> i32 {
        self.0
    }

    /// Takes over an error number of the kernel's; anything outside 1..=4095 becomes `EIO`.
    pub const fn from_raw(raw: i32) -> Errno {
        if raw > 0 && raw < 4096 {
            Errno(raw)
        } else {
            Errno::IO
        }
    }
}

impl From<rustix::io::Errno> for Errno {
    fn from(error: rustix::io::Errno) -> Errno {
        Errno::from_raw(error.raw_os_error())
    }
}

impl From<io::Error> for Errno {
    fn from(error: io::Error) -> Errno {
        Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(raw, _)| *raw == self.0) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "errno {}", self.0),
        }
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        io::Error::from_raw_os_error(self.0).fmt(f)
    }
}

impl std::error::Error for Errno {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonsense_becomes_eio() {
        for raw in [0, -1, -libc::ENOENT, 4096, i32::MAX] {
            assert_eq!(Errno::from_raw(raw), Errno::IO);
        }
        assert_eq!(Errno::from_raw(libc::ESTALE), Errno::STALE);
        assert_eq!(format!("{:?}", Errno::STALE), "ESTALE");
    }
}
