// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The programs that run a VM, and what concerns one of them alone.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A hypervisor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Hypervisor {
    /// QEMU: has everything.
    #[default]
    Qemu,
    /// cloud-hypervisor: small; no screen.
    CloudHypervisor,
}

impl Hypervisor {
    /// Its name, as in the option.
    pub fn name(self) -> &'static str {
        match self {
            Self::Qemu => "qemu",
            Self::CloudHypervisor => "cloud-hypervisor",
        }
    }
}

/// What runs the guest's instructions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Accel {
    /// The processor where that works, otherwise software.
    #[default]
    Auto,
    /// The processor.
    Kvm,
    /// Software: slow, needs nothing; QEMU only.
    Tcg,
}

/// What concerns QEMU alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Qemu {
    /// Machine: `microvm`, `q35`, on ARM `virt`. Default: `microvm`, on ARM `virt`.
    pub machine: Option<String>,
    /// Options of the machine, in place of the usual ones.
    pub machine_opts: Option<BTreeMap<String, String>>,
    /// More arguments, passed as they are.
    pub extra_args: Vec<String>,
    /// The guest's console is a serial port.
    pub serial_console: bool,
    /// Package with QEMU in its `bin`. Default, and if it is not on this host: QEMU on PATH.
    pub package: Option<PathBuf>,
}

impl Qemu {
    /// The machine, also where the file names none.
    pub fn machine(&self) -> &str {
        self.machine
            .as_deref()
            .unwrap_or(if cfg!(target_arch = "aarch64") {
                "virt"
            } else {
                "microvm"
            })
    }
}

impl Default for Qemu {
    fn default() -> Self {
        Self {
            machine: None,
            machine_opts: None,
            extra_args: Vec::new(),
            serial_console: true,
            package: None,
        }
    }
}

/// What concerns cloud-hypervisor alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct CloudHypervisor {
    /// OEM strings for the guest's SMBIOS tables.
    #[serde(rename = "platformOEMStrings")]
    pub platform_oem_strings: Vec<String>,
    /// More arguments, passed as they are.
    pub extra_args: Vec<String>,
    /// Package with cloud-hypervisor in its `bin`. Default, and if it is not on this host: cloud-hypervisor on PATH.
    pub package: Option<PathBuf>,
}

/// What concerns virtiofsd alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Virtiofsd {
    /// When it names files by handle, which saves descriptors but wants privileges.
    pub inode_file_handles: Option<InodeFileHandles>,
    /// How many threads it uses; "`nproc`" is as many as the host has CPUs.
    pub thread_pool_size: ThreadPoolSize,
    /// More arguments.
    pub extra_args: Vec<String>,
    /// Package with virtiofsd in its `bin`. Default, and if it is not on this host: virtiofsd on PATH or in the usual places.
    pub package: Option<PathBuf>,
}

impl Default for Virtiofsd {
    fn default() -> Self {
        Self {
            inode_file_handles: Some(InodeFileHandles::Prefer),
            thread_pool_size: ThreadPoolSize::default(),
            extra_args: Vec::new(),
            package: None,
        }
    }
}

/// When virtiofsd names files by handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum InodeFileHandles {
    /// Never.
    Never,
    /// Where it can.
    Prefer,
    /// Always; otherwise it fails.
    Mandatory,
}

/// How many threads virtiofsd uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ThreadPoolSize {
    /// This many; none is often fastest.
    Threads(u32),
    /// A number in text, or "`nproc`".
    Text(String),
}

impl Default for ThreadPoolSize {
    fn default() -> Self {
        Self::Text("`nproc`".into())
    }
}
