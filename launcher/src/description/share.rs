// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Directories of the host in the guest.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A directory of the host that the guest can mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Share {
    /// Name by which the guest mounts it: at most 36 bytes, 31 with 9p.
    pub tag: String,
    /// Directory on the host.
    pub source: PathBuf,
    /// Where it is mounted in the guest.
    pub mount_point: PathBuf,
    /// How it is shared.
    #[serde(default)]
    pub proto: Protocol,
    /// Nothing can be written. Shares of `/nix/store` are always read-only.
    #[serde(default)]
    pub read_only: bool,
    /// Socket between share and hypervisor, in the VM's runtime directory. Default: one is chosen.
    #[serde(default)]
    pub socket: Option<PathBuf>,
    /// Whose the files are, and who may do what (9p).
    #[serde(default)]
    pub security_model: SecurityModel,
    /// What the guest may keep in its caches (virtiofs). Of a store, it may keep everything.
    #[serde(default)]
    pub cache: Cache,
    /// Pass `--posix-acl --xattr` to virtiofsd (writable virtiofs shares).
    #[serde(default = "yes")]
    pub posix_acl: bool,
    /// More arguments for virtiofsd (writable virtiofs shares).
    #[serde(default)]
    pub extra_args: Vec<String>,
    /// Serve it from a process of its own in a sandbox, `rofs-serve`, and not from rofs-vm (read-only virtiofs shares). (rofs-vm only)
    #[serde(default)]
    pub process: bool,
    /// Large files, programs and libraries are mapped into the guest instead of read into its page cache (read-only virtiofs shares; QEMU 11.1 or newer). (rofs-vm only)
    #[serde(default)]
    pub dax: bool,
    /// How much can be mapped at once with `dax`, in MiB; a power of two. (rofs-vm only)
    #[serde(default = "dax_window")]
    #[schemars(range(min = 2))]
    pub dax_window: u32,
}

impl Share {
    /// A share of `source` with everything else as by default.
    pub fn new(
        tag: impl Into<String>,
        source: impl Into<PathBuf>,
        mount_point: impl Into<PathBuf>,
    ) -> Self {
        Self {
            tag: tag.into(),
            source: source.into(),
            mount_point: mount_point.into(),
            proto: Protocol::default(),
            read_only: false,
            socket: None,
            security_model: SecurityModel::default(),
            cache: Cache::default(),
            posix_acl: true,
            extra_args: Vec::new(),
            process: false,
            dax: false,
            dax_window: dax_window(),
        }
    }

    /// Whether this is the host's store.
    pub fn is_store(&self) -> bool {
        self.source == Path::new("/nix/store")
    }

    /// Whether nothing can be written: asked for, or because this is the store.
    pub fn serves_read_only(&self) -> bool {
        self.read_only || self.is_store()
    }
}

fn yes() -> bool {
    true
}

fn dax_window() -> u32 {
    512
}

/// How a directory is shared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// 9p, which QEMU serves itself: works everywhere, slowly.
    #[default]
    #[serde(rename = "9p")]
    NineP,
    /// virtio-fs: read-only shares are served by rofs-vm, writable ones by an installed virtiofsd.
    Virtiofs,
}

/// What the host does with the owners and permissions which the guest sets (9p).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SecurityModel {
    /// As the guest says; wants root.
    Passthrough,
    /// As the guest says where that is possible, otherwise not at all.
    #[default]
    None,
    /// Kept in extended attributes.
    Mapped,
    /// Kept in hidden files.
    MappedFile,
}

/// What the guest may keep in its caches (virtiofs).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Cache {
    /// For a second, then it asks again.
    #[default]
    Auto,
    /// For ever: nobody else changes the directory.
    Always,
    /// Names and attributes, not content.
    Metadata,
    /// Nothing.
    Never,
}
