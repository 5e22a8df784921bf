// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The host's file system, seen from a directory nobody can leave.
//!
//! Everything is opened by `openat2(2)` beneath a descriptor, with no symbolic link and no magic
//! link followed, so that neither a guest nor whoever changes the tree meanwhile can lead the
//! server outside.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{AtFlags, Mode, OFlags, RawDir, ResolveFlags, Statx, StatxFlags};
use rustix::io::Errno as HostErrno;

use crate::errno::{Errno, FsResult};
use crate::fs::{Attr, Call, FileKind, Timestamp};

/// What tells one file from another that has its name later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Identity {
    pub(super) ino: u64,
    /// Time of birth; zero where the file system does not record it.
    pub(super) born: Timestamp,
}

/// What `statx(2)` says of a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct HostStat {
    pub(super) kind: FileKind,
    pub(super) identity: Identity,
    pub(super) device: (u32, u32),
    pub(super) attr: Attr,
}

/// Only the owner of a file may leave its time of access alone. Who is not that of one is of none:
/// this spares a call for each file that is opened.
static NOT_OWNER: AtomicBool = AtomicBool::new(false);

const STATX: StatxFlags = StatxFlags::BASIC_STATS.union(StatxFlags::BTIME);
/// How often a racing rename may make `openat2` start over before that becomes an error.
const RACES: usize = 16;

fn convert(stat: &Statx) -> FsResult<HostStat> {
    let time = |t: rustix::fs::StatxTimestamp| Timestamp {
        secs: t.tv_sec,
        nanos: t.tv_nsec,
    };
    let mode = u32::from(stat.stx_mode);
    let kind = FileKind::from_mode(mode).ok_or(Errno::IO)?;
    let has_birth = stat.stx_mask & StatxFlags::BTIME.bits() != 0;
    let born = if has_birth {
        time(stat.stx_btime)
    } else {
        Timestamp::default()
    };
    Ok(HostStat {
        kind,
        identity: Identity {
            ino: stat.stx_ino,
            born,
        },
        device: (stat.stx_dev_major, stat.stx_dev_minor),
        attr: Attr {
            ino: stat.stx_ino,
            size: stat.stx_size,
            blocks: stat.stx_blocks,
            atime: time(stat.stx_atime),
            mtime: time(stat.stx_mtime),
            ctime: time(stat.stx_ctime),
            mode,
            nlink: stat.stx_nlink,
            uid: stat.stx_uid,
            gid: stat.stx_gid,
            rdev: encode_device(stat.stx_rdev_major, stat.stx_rdev_minor),
            blksize: stat.stx_blksize,
            dax: false,
        },
    })
}

/// The kernel's `new_encode_dev`, which is what FUSE carries.
const fn encode_device(major: u32, minor: u32) -> u32 {
    (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)
}

/// Attributes of an open file.
pub(super) fn stat_fd(file: BorrowedFd<'_>) -> FsResult<HostStat> {
    convert(&rustix::fs::statx(file, c"", AtFlags::EMPTY_PATH, STATX)?)
}

/// Attributes of `name` (one component) in `dir`, never of what a symbolic link leads to.
pub(super) fn stat_at(dir: BorrowedFd<'_>, name: &CStr) -> FsResult<HostStat> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    convert(&rustix::fs::statx(dir, name, flags, STATX)?)
}

/// How to open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Open {
    /// A place in the tree (`O_PATH`), of whatever kind.
    Place,
    /// A directory, to be listed.
    Directory,
    /// A regular file, to be read.
    File,
}

/// Opens `path` beneath `dir`. A call that may not wait gets `EAGAIN` unless the kernel has the
/// whole path in memory.
pub(super) fn open_beneath(
    call: Call,
    dir: BorrowedFd<'_>,
    path: &CStr,
    how: Open,
) -> FsResult<OwnedFd> {
    let mut flags = OFlags::CLOEXEC
        | OFlags::NOFOLLOW
        | match how {
            Open::Place => OFlags::PATH,
            Open::Directory => OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOATIME,
            // Should the file have been swapped for a FIFO or a device: do not wait for a writer
            // and do not take it for a terminal.
            Open::File => OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOATIME,
        };
    if NOT_OWNER.load(Ordering::Relaxed) {
        flags -= OFlags::NOATIME;
    }
    match open_retrying(call, dir, path, flags) {
        Err(HostErrno::PERM) if flags.contains(OFlags::NOATIME) => {
            NOT_OWNER.store(true, Ordering::Relaxed);
            Ok(open_retrying(call, dir, path, flags - OFlags::NOATIME)?)
        }
        result => Ok(result?),
    }
}

fn open_retrying(
    call: Call,
    dir: BorrowedFd<'_>,
    path: &CStr,
    flags: OFlags,
) -> Result<OwnedFd, HostErrno> {
    let mut resolve =
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let mut tries = RACES;
    if !call.may_block {
        resolve |= ResolveFlags::CACHED;
        tries = 1;
    }
    let mut result = Err(HostErrno::AGAIN);
    for _ in 0..tries {
        result = rustix::fs::openat2(dir, path, flags, Mode::empty(), resolve);
        match result {
            Err(HostErrno::AGAIN | HostErrno::INTR) => {}
            _ => break,
        }
    }
    match result {
        // An interrupted call that may not wait is asked again where it may; so is any, if the
        // kernel is older than 5.12 and does not know RESOLVE_CACHED.
        Err(HostErrno::INTR) => Err(HostErrno::AGAIN),
        Err(HostErrno::INVAL) if !call.may_block => Err(HostErrno::AGAIN),
        result => result,
    }
}

/// Opens a directory that is held as a place, to be listed.
pub(super) fn open_listable(place: BorrowedFd<'_>) -> FsResult<OwnedFd> {
    open_beneath(Call::WAIT, place, c".", Open::Directory)
}

/// What it means that a node a client knows cannot be found where it was.
pub(super) fn gone(errno: Errno) -> Errno {
    match errno {
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP => Errno::STALE,
        errno => errno,
    }
}

/// Lets only regular files through to those who want to read.
pub(super) fn readable(file: OwnedFd, stat: &HostStat) -> FsResult<OwnedFd> {
    match stat.kind {
        FileKind::Regular => Ok(file),
        FileKind::Directory => Err(Errno::ISDIR),
        _ => Err(Errno::INVAL),
    }
}

/// Target of the symbolic link `name` in `dir`, at most 4095 bytes long (`PATH_MAX`).
pub(super) fn read_link(dir: BorrowedFd<'_>, name: &CStr) -> FsResult<Vec<u8>> {
    let mut buffer = [MaybeUninit::<u8>::uninit(); libc::PATH_MAX as usize];
    let (target, _) = rustix::fs::readlinkat_raw(dir, name, &mut buffer)?;
    Ok(target.to_vec())
}

/// Calls `each` with the name, inode number and (if known) kind of every entry of a directory but
/// `.` and `..`. Reads from the start, whoever read `dir` before.
pub(super) fn list(
    dir: BorrowedFd<'_>,
    mut each: impl FnMut(&CStr, u64, Option<FileKind>) -> FsResult<()>,
) -> FsResult<()> {
    rustix::fs::seek(dir, rustix::fs::SeekFrom::Start(0))?;
    let mut buffer = Vec::with_capacity(64 * 1024);
    let mut entries = RawDir::new(dir.as_fd(), buffer.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name();
        if name != c"." && name != c".." {
            each(name, entry.ino(), kind_of(entry.file_type()))?;
        }
    }
    Ok(())
}

fn kind_of(file_type: rustix::fs::FileType) -> Option<FileKind> {
    FileKind::from_mode(file_type.as_raw_mode())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn dir_fd(path: &std::path::Path) -> OwnedFd {
        rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).unwrap()
    }

    #[test]
    fn nothing_leads_outside() {
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("secret"), "x").unwrap();
        let tree = tempfile::tempdir().unwrap();
        std::fs::create_dir(tree.path().join("dir")).unwrap();
        std::fs::write(tree.path().join("dir/file"), "x").unwrap();
        symlink(outside.path(), tree.path().join("out")).unwrap();
        symlink("dir", tree.path().join("in")).unwrap();
        symlink(
            format!("/proc/{}/root", std::process::id()),
            tree.path().join("magic"),
        )
        .unwrap();
        let root = dir_fd(tree.path());
        let open = |path: &CStr, how| open_beneath(Call::WAIT, root.as_fd(), path, how).map(drop);

        assert_eq!(open(c"dir/file", Open::File), Ok(()));
        assert_eq!(open(c"dir", Open::Directory), Ok(()));
        // O_PATH|O_NOFOLLOW of a link gives the link itself; as part of a path it is an error.
        assert_eq!(open(c"out/secret", Open::File), Err(Errno::LOOP));
        assert_eq!(open(c"in/file", Open::File), Err(Errno::LOOP));
        assert_eq!(open(c"magic/etc/passwd", Open::File), Err(Errno::LOOP));
        for path in [
            c"..",
            c"../x",
            c"dir/../..",
            c"/etc/passwd",
            c"dir/../../etc",
        ] {
            for how in [Open::Place, Open::File] {
                assert_eq!(
                    open(path, how),
                    Err(Errno::from_raw(libc::EXDEV)),
                    "{path:?}"
                );
            }
        }
        assert_eq!(open(c"dir", Open::File).err(), None); // the caller checks the kind
        assert_eq!(open(c"dir/file", Open::Directory), Err(Errno::NOTDIR));
    }

    #[test]
    fn a_fifo_does_not_hang() {
        let tree = tempfile::tempdir().unwrap();
        let root = dir_fd(tree.path());
        rustix::fs::mknodat(
            &root,
            c"fifo",
            rustix::fs::FileType::Fifo,
            Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        let file = open_beneath(Call::WAIT, root.as_fd(), c"fifo", Open::File).unwrap();
        assert_eq!(stat_fd(file.as_fd()).unwrap().kind, FileKind::Fifo);
    }
}
