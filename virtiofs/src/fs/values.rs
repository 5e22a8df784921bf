// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Questions and answers, as plain values.

use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use crate::errno::{Errno, FsResult};

/// Names a file or directory for as long as a client may remember it. 0 names nothing; 1 is the
/// root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u64);

impl NodeId {
    /// The root directory (`FUSE_ROOT_ID`).
    pub const ROOT: NodeId = NodeId(1);
}

/// How long an answer stays true. Zero: ask again every time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Validity(pub Duration);

impl Validity {
    /// True now, and nobody knows for how long.
    pub const NONE: Validity = Validity(Duration::ZERO);
    /// True for ever. (Seconds that still fit the signed 64 bits a client computes with.)
    pub const FOREVER: Validity = Validity(Duration::from_secs(i64::MAX as u64));
}

/// One path component: 1 to 255 bytes, no NUL, no slash, neither `.` nor `..`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name<'a>(&'a [u8]);

impl<'a> Name<'a> {
    /// Longest name in bytes (`NAME_MAX`).
    pub const MAX: usize = 255;

    /// Checks a name.
    ///
    /// # Errors
    /// `ENAMETOOLONG` over 255 bytes, `EINVAL` for anything else that is not one path component.
    pub fn new(bytes: &'a [u8]) -> FsResult<Name<'a>> {
        if bytes.len() > Self::MAX {
            return Err(Errno::NAMETOOLONG);
        }
        if bytes.is_empty()
            || bytes == b"."
            || bytes == b".."
            // All bytes, without stopping at the first: so it takes the processor many at a time.
            || bytes.iter().fold(false, |bad, b| bad | (*b == b'/') | (*b == 0))
        {
            return Err(Errno::INVAL);
        }
        Ok(Name(bytes))
    }

    /// The bytes of the name.
    pub const fn as_bytes(self) -> &'a [u8] {
        self.0
    }
}

impl fmt::Debug for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(self.0))
    }
}

/// What kind of file a node is; the values of `d_type` in `readdir(3)`, which are also the top
/// four bits of `st_mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum FileKind {
    Fifo = libc::DT_FIFO,
    CharDevice = libc::DT_CHR,
    Directory = libc::DT_DIR,
    BlockDevice = libc::DT_BLK,
    Regular = libc::DT_REG,
    Symlink = libc::DT_LNK,
    Socket = libc::DT_SOCK,
}

impl FileKind {
    /// From the file type bits of `st_mode`.
    pub const fn from_mode(mode: u32) -> Option<FileKind> {
        Some(match mode & libc::S_IFMT {
            libc::S_IFIFO => FileKind::Fifo,
            libc::S_IFCHR => FileKind::CharDevice,
            libc::S_IFDIR => FileKind::Directory,
            libc::S_IFBLK => FileKind::BlockDevice,
            libc::S_IFREG => FileKind::Regular,
            libc::S_IFLNK => FileKind::Symlink,
            libc::S_IFSOCK => FileKind::Socket,
            _ => return None,
        })
    }

    /// The file type bits of `st_mode`.
    pub const fn mode(self) -> u32 {
        (self as u32) << 12
    }
}

/// A point in time, as `statx(2)` gives it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp {
    /// Seconds since 1970.
    pub secs: i64,
    /// Nanoseconds, below 1,000,000,000.
    pub nanos: u32,
}

/// Attributes of a node, as `stat(2)` will show them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attr {
    /// Inode number; equal in `stat` and `readdir`.
    pub ino: u64,
    /// Size in bytes.
    pub size: u64,
    /// Space taken, in units of 512 bytes.
    pub blocks: u64,
    /// Last access.
    pub atime: Timestamp,
    /// Last change of content.
    pub mtime: Timestamp,
    /// Last change of attributes.
    pub ctime: Timestamp,
    /// File type and permission bits.
    pub mode: u32,
    /// Number of hard links; 1 for a directory means "not counted".
    pub nlink: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device number in the kernel's encoding, for device nodes.
    pub rdev: u32,
    /// Preferred size of reads in bytes.
    pub blksize: u32,
    /// Whether it is a regular file whose contents stay as they are, so that whoever maps it once
    /// may keep the mapping.
    pub dax: bool,
}

/// A node somebody was told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its id. The client holds one reference more to it, until [`ReadFs::forget`](super::ReadFs::forget).
    pub node: NodeId,
    /// Its attributes.
    pub attr: Attr,
    /// How long the name leads to this node.
    pub entry_validity: Validity,
    /// How long the attributes hold.
    pub attr_validity: Validity,
}

/// Answer to a lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::large_enum_variant)] // lives on the stack of one request
pub enum Found {
    /// The name exists.
    Entry(Entry),
    /// There is no such name, and there will be none for so long.
    Negative(Validity),
}

/// How a client shall treat an opened file or directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Opened {
    /// Pages (or directory entries) cached from earlier opens are still good.
    pub keep_cache: bool,
    /// Do not cache at all: every `read(2)` is asked.
    pub direct_io: bool,
}

/// Numbers for `statfs(2)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct StatFs {
    pub blocks: u64,
    pub blocks_free: u64,
    pub blocks_available: u64,
    pub files: u64,
    pub files_free: u64,
    /// Unit of the block counts, in bytes.
    pub block_size: u32,
    pub fragment_size: u32,
    pub name_max: u32,
}

/// What a file system is able to promise to every client, fixed for its lifetime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// [`ReadFs::open`](super::ReadFs::open) has nothing to say: clients may open without asking and keep their caches.
    pub stateless_open: bool,
    /// Symlink targets never change while their node lives.
    pub cache_symlinks: bool,
    /// Listing a directory together with the attributes of its entries is as cheap as listing
    /// names: always do it.
    pub cheap_attributes: bool,
}

/// A part of a file that may be mapped.
#[derive(Clone, Debug)]
pub struct Mapping {
    /// The file, open for reading only.
    pub file: Arc<OwnedFd>,
    /// The file never changes. One that does may shrink, and then nothing is behind a mapping.
    pub fixed: bool,
    /// How many bytes from the asked offset exist; the rest of the range is beyond the end.
    pub len: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_one_component() {
        for bad in [&b""[..], b".", b"..", b"a/b", b"/", b"a\0b"] {
            assert_eq!(Name::new(bad), Err(Errno::INVAL), "{bad:?}");
        }
        assert_eq!(Name::new(&[b'x'; 256]), Err(Errno::NAMETOOLONG));
        for good in [&b"a"[..], b"...", b".hidden", b"a b", &[0xff; 255]] {
            assert_eq!(Name::new(good).unwrap().as_bytes(), good);
        }
    }

    #[test]
    fn kinds_are_mode_bits() {
        for kind in [
            FileKind::Fifo,
            FileKind::Directory,
            FileKind::Regular,
            FileKind::Symlink,
        ] {
            assert_eq!(FileKind::from_mode(kind.mode() | 0o755), Some(kind));
        }
    }
}
