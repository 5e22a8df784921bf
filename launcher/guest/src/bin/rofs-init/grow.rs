// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A mounted file system is grown to the size of its disk, which the launcher makes larger when the
//! description says so. It is done here because the host reads nothing that a guest has written.
#![allow(unsafe_code)]

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;

use crate::failure::{Context, Failure};

// include/uapi/linux: fs.h (BLKGETSIZE64), ext4.h, btrfs.h, and fs/xfs/libxfs/xfs_fs.h.
const BLKGETSIZE64: u64 = 0x8008_1272;
const EXT4_IOC_RESIZE_FS: u64 = 0x4008_6610;
const BTRFS_IOC_RESIZE: u64 = 0x5000_9403;
const XFS_IOC_FSGEOMETRY_V1: u64 = 0x8070_5864;
const XFS_IOC_FSGROWFSDATA: u64 = 0x4010_586e;

/// Grows what is mounted at `at` from `device`. A file system that has the disk's size already, or
/// that cannot be grown, is left alone.
pub(crate) fn grow(device: &str, fs_type: &str, at: &Path) -> Result<(), Failure> {
    let doing = || {
        format!(
            "growing the file system at {} to the size of its disk",
            at.display()
        )
    };
    let open = |path: &Path| File::open(path).context(doing);
    let size = || -> Result<u64, Failure> {
        let mut size = [0; 8];
        ioctl(&open(Path::new(device))?, BLKGETSIZE64, &mut size).context(doing)?;
        Ok(u64::from_ne_bytes(size))
    };
    match fs_type {
        "ext4" => {
            let root = open(at)?;
            let block = rustix::fs::fstatvfs(&root).context(doing)?.f_bsize.max(1);
            let mut blocks = (size()? / block).to_ne_bytes();
            ioctl(&root, EXT4_IOC_RESIZE_FS, &mut blocks).context(doing)
        }
        "btrfs" => {
            let root = open(at)?;
            let now = rustix::fs::fstatvfs(&root).context(doing)?;
            // It refuses a size below 256 MiB, even if it is that of now.
            if now.f_blocks.saturating_add(1) * now.f_frsize > size()? {
                return Ok(());
            }
            // struct btrfs_ioctl_vol_args: a descriptor that is not used, and a name.
            let mut most = [0; 4096];
            most[8..11].copy_from_slice(b"max");
            ioctl(&root, BTRFS_IOC_RESIZE, &mut most).context(doing)
        }
        "xfs" => {
            let root = open(at)?;
            // struct xfs_fsop_geom_v1: eight numbers of 32 bits, the first the size of a block and
            // the last the share of inodes in percent; then the blocks that there are.
            let mut geometry = [0; 112];
            ioctl(&root, XFS_IOC_FSGEOMETRY_V1, &mut geometry).context(doing)?;
            let block = number(&geometry[0..4]).max(1);
            let wanted = size()? / block;
            if wanted <= number(&geometry[32..40]) {
                return Ok(());
            }
            // struct xfs_growfs_data.
            let mut more = [0; 16];
            more[0..8].copy_from_slice(&wanted.to_ne_bytes());
            more[8..12].copy_from_slice(&geometry[28..32]);
            ioctl(&root, XFS_IOC_FSGROWFSDATA, &mut more).context(doing)
        }
        _ => Ok(()),
    }
}

/// A number of the machine's byte order.
fn number(bytes: &[u8]) -> u64 {
    let mut whole = [0; 8];
    let place = if cfg!(target_endian = "big") {
        8 - bytes.len()
    } else {
        0
    };
    whole[place..place + bytes.len()].copy_from_slice(bytes);
    u64::from_ne_bytes(whole)
}

/// `size_of_val(argument)` is what the request's number says.
fn ioctl<const N: usize>(file: &File, request: u64, argument: &mut [u8; N]) -> std::io::Result<()> {
    debug_assert_eq!(request >> 16 & 0x3fff, N as u64);
    // SAFETY: the kernel reads and writes as many bytes as the request's number says, which is how
    // long the argument is.
    match unsafe { libc::ioctl(file.as_raw_fd(), request as _, argument.as_mut_ptr()) } {
        -1 => Err(std::io::Error::last_os_error()),
        _ => Ok(()),
    }
}
