// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What can be wrong with a volume.

use std::io;
use std::path::PathBuf;

/// Why a volume cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// It is not there, and not to be made.
    #[error("volume {}: no such image; {}", image.display(), remedy(*read_only))]
    Missing {
        /// The image.
        image: PathBuf,
        /// The guest could not put anything into it.
        read_only: bool,
    },
    /// It is not there, and only raw images are made.
    #[error("volume {}: no such image, and only raw ones are created: make it with \
             `qemu-img create -f {format}`, or leave the format out", image.display())]
    Format {
        /// The image.
        image: PathBuf,
        /// Its format.
        format: String,
    },
    /// It is to be made, but nobody said how large.
    #[error("volume {}: no such image, and no size to make it with; set size to a number of MiB",
            .0.display())]
    NoSize(PathBuf),
    /// Not a file system that is made here.
    #[error("volume {}: file systems of type {fs_type} are not made here: set fsType to ext4, \
             btrfs, xfs or vfat, or make the image yourself", image.display())]
    FileSystem {
        /// The image.
        image: PathBuf,
        /// What was asked for.
        fs_type: String,
    },
    /// mkfs is not installed.
    #[error("volume {}: {program} is needed to make it and is not installed; install {package}, \
             or make the image yourself", image.display())]
    NoMkfs {
        /// The image.
        image: PathBuf,
        /// The program.
        program: String,
        /// The package that has it.
        package: String,
    },
    /// mkfs failed.
    #[error("volume {}: {program} {how}{}", image.display(), said(words))]
    Mkfs {
        /// The image.
        image: PathBuf,
        /// The program.
        program: String,
        /// How it ended.
        how: String,
        /// What it said last.
        words: String,
    },
    /// The host's disk is full.
    #[error("volume {}: no space left to make it: {} has {free_mib} MiB free; free some, or put \
             the image elsewhere", image.display(), dir.display())]
    Full {
        /// The image.
        image: PathBuf,
        /// Where it was to be.
        dir: PathBuf,
        /// Bytes left there, in MiB.
        free_mib: u64,
    },
    /// Another machine uses it.
    #[error("volume {}: in use{}; stop the virtual machine that has it, or give this one an image \
             of its own", image.display(), by(*holder))]
    InUse {
        /// The image.
        image: PathBuf,
        /// The process that holds the lock, if it can be told.
        holder: Option<u32>,
    },
    /// It is no disk image.
    #[error("volume {}: neither a file nor a block device", .0.display())]
    NotAnImage(PathBuf),
    /// Anything else.
    #[error("volume {}: cannot {what}: {why}", image.display())]
    Io {
        /// The image.
        image: PathBuf,
        /// What failed.
        what: &'static str,
        /// How.
        why: io::Error,
    },
    /// Somebody asked to give up.
    #[error("volume {}: interrupted; nothing was made", .0.display())]
    Cancelled(PathBuf),
}

fn remedy(read_only: bool) -> &'static str {
    match read_only {
        true => {
            "one that is read-only is not made, since it would stay empty: make it, or let the \
                 guest fill it first, without readOnly"
        }
        false => "make it, or set autoCreate = true",
    }
}

fn said(words: &str) -> String {
    match words {
        "" => String::new(),
        words => format!(":\n{words}"),
    }
}

fn by(holder: Option<u32>) -> String {
    holder.map_or_else(
        || " by another virtual machine".to_owned(),
        |pid| format!(" by another virtual machine (process {pid})"),
    )
}
