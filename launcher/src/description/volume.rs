// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Disk images.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A disk image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Volume {
    /// The image's file; if not absolute, in the VM's state directory.
    pub image: PathBuf,
    /// Serial number of the disk, at most 20 bytes.
    #[serde(default)]
    pub serial: Option<String>,
    /// Past the host's page cache (O_DIRECT).
    #[serde(default)]
    pub direct: bool,
    /// Nothing can be written.
    #[serde(default)]
    pub read_only: bool,
    /// Label of the file system, set when it is created.
    #[serde(default)]
    pub label: Option<String>,
    /// Where it is mounted in the guest. Default: nowhere.
    #[serde(default)]
    pub mount_point: Option<PathBuf>,
    /// Size in MiB. The image is created with it, and grown to it; never shrunk.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub size: Option<u32>,
    /// Create the image, with a file system on it, if there is none.
    #[serde(default = "yes")]
    pub auto_create: bool,
    /// More arguments for mkfs.
    #[serde(default)]
    pub mkfs_extra_args: Vec<String>,
    /// File system to create and to mount.
    #[serde(default)]
    pub fs_type: FsType,
    /// Format of the image. One that is created is raw.
    #[serde(default)]
    pub image_type: ImageType,
}

impl Volume {
    /// An image that exists, with everything else as by default.
    pub fn new(image: impl Into<PathBuf>) -> Self {
        Self {
            image: image.into(),
            serial: None,
            direct: false,
            read_only: false,
            label: None,
            mount_point: None,
            size: None,
            auto_create: false,
            mkfs_extra_args: Vec::new(),
            fs_type: FsType::default(),
            image_type: ImageType::default(),
        }
    }
}

fn yes() -> bool {
    true
}

/// A file system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FsType {
    /// ext2
    Ext2,
    /// ext3
    Ext3,
    /// ext4
    #[default]
    Ext4,
    /// Btrfs
    Btrfs,
    /// XFS
    Xfs,
    /// FAT
    Vfat,
}

impl FsType {
    /// Its name, as in `mkfs.NAME` and `mount -t NAME`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ext2 => "ext2",
            Self::Ext3 => "ext3",
            Self::Ext4 => "ext4",
            Self::Btrfs => "btrfs",
            Self::Xfs => "xfs",
            Self::Vfat => "vfat",
        }
    }

    /// How many bytes its label can have.
    pub fn label_limit(self) -> usize {
        match self {
            Self::Ext2 | Self::Ext3 | Self::Ext4 => 16,
            Self::Btrfs => 255,
            Self::Xfs => 12,
            Self::Vfat => 11,
        }
    }
}

/// Format of an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ImageType {
    /// As it is.
    #[default]
    Raw,
    /// QEMU's.
    Qcow2,
    /// Virtual PC's.
    Vhd,
    /// Hyper-V's.
    Vhdx,
}

impl ImageType {
    /// Its name, as in the option.
    pub fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Qcow2 => "qcow2",
            Self::Vhd => "vhd",
            Self::Vhdx => "vhdx",
        }
    }
}
