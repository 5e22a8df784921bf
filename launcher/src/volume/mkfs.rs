// SPDX-License-Identifier: Apache-2.0 OR MIT
//! File systems that can be made, and how.

use std::ffi::OsString;
use std::path::Path;

/// A file system that a new image can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileSystem {
    /// The default.
    Ext4,
    /// With checksums and subvolumes.
    Btrfs,
    /// For large files; at least 300 MiB.
    Xfs,
    /// Which everything reads.
    Vfat,
}

impl FileSystem {
    /// All of them.
    pub const ALL: [FileSystem; 4] = [
        FileSystem::Ext4,
        FileSystem::Btrfs,
        FileSystem::Xfs,
        FileSystem::Vfat,
    ];

    /// By the name that mount knows it by.
    pub fn named(name: &str) -> Option<FileSystem> {
        FileSystem::ALL.into_iter().find(|fs| fs.name() == name)
    }

    /// The name that mount knows it by.
    pub fn name(self) -> &'static str {
        match self {
            FileSystem::Ext4 => "ext4",
            FileSystem::Btrfs => "btrfs",
            FileSystem::Xfs => "xfs",
            FileSystem::Vfat => "vfat",
        }
    }

    /// The program that makes it.
    pub fn program(self) -> String {
        format!("mkfs.{}", self.name())
    }

    /// Longest label in bytes.
    pub fn longest_label(self) -> usize {
        match self {
            FileSystem::Ext4 => 16,
            FileSystem::Btrfs => 255,
            FileSystem::Xfs => 12,
            FileSystem::Vfat => 11,
        }
    }

    /// Smallest image that it can be made on, in MiB.
    pub fn smallest_mib(self) -> u64 {
        match self {
            FileSystem::Ext4 | FileSystem::Vfat => 1,
            FileSystem::Btrfs => 110,
            FileSystem::Xfs => 300,
        }
    }

    /// Whether it can be grown once it is made.
    pub(super) fn grows(self) -> bool {
        self != FileSystem::Vfat
    }

    /// To this size in MiB, or a larger one, it is grown; Linux grows btrfs to no smaller one
    /// (`BTRFS_IOC_RESIZE` fails with `EINVAL` below 256 MiB).
    pub(super) fn smallest_grown_mib(self) -> u64 {
        match self {
            FileSystem::Btrfs => 256,
            _ => 0,
        }
    }

    /// What its program is called with.
    pub(super) fn arguments(
        self,
        label: Option<&str>,
        more: &[String],
        image: &Path,
    ) -> Vec<OsString> {
        let (quiet, label_flag): (&[&str], &str) = match self {
            FileSystem::Ext4 => (&["-q", "-F"], "-L"),
            FileSystem::Btrfs | FileSystem::Xfs => (&["-q", "-f"], "-L"),
            FileSystem::Vfat => (&[], "-n"),
        };
        let mut args: Vec<OsString> = quiet.iter().map(OsString::from).collect();
        if let Some(label) = label {
            args.push(label_flag.into());
            args.push(label.into());
        }
        args.extend(more.iter().map(OsString::from));
        args.push(image.into());
        args
    }
}
