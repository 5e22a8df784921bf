// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The initrd that brings the guest side along: the init, what it is to do, and kernel modules.

mod decompress;
mod modules;

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use cpio::newc;
use rofs_guest::config::{CONFIG_PATH, MODULES_DIR, REGISTRATION_PATH};

use crate::plan::InitrdPlan;

pub use modules::ModuleIndex;

/// The guest's init: a static program, which `build.rs` builds.
const INIT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/rofs-init"));

/// Why there is no initrd.
#[derive(Debug, thiserror::Error)]
pub enum InitrdError {
    /// A file of the kernel's module directory cannot be read.
    #[error("{}: {why}; it should be the module directory of the guest's kernel, as /lib/modules/RELEASE (option `modules`)", path.display())]
    ModuleDir {
        /// The file.
        path: PathBuf,
        /// Why.
        why: io::Error,
    },
    /// The kernel has not what the guest needs.
    #[error(
        "the guest's kernel has no module {name}, neither built in nor in {}; take another kernel, or one with all its modules (options `kernel` and `modules`)",
        dir.display()
    )]
    NoModule {
        /// The module.
        name: String,
        /// Where it was looked for.
        dir: PathBuf,
    },
    /// A module is not what its name says.
    #[error("the kernel module {} cannot be unpacked: {why}", path.display())]
    Unpack {
        /// The module.
        path: PathBuf,
        /// Why.
        why: io::Error,
    },
    /// The initrd cannot be written.
    #[error("writing the guest's initrd {}: {why}", path.display())]
    Write {
        /// The initrd.
        path: PathBuf,
        /// Why.
        why: io::Error,
    },
}

/// Writes the initrd of a plan, readable for its owner only: arguments and variables of the guest's
/// command are in it.
///
/// `registration` is what `nix-store --dump-db` would print for the paths that the guest's Nix
/// database should know.
///
/// # Errors
///
/// See [`InitrdError`]. What was written of the file stays.
pub fn write(plan: &InitrdPlan, registration: Option<&[u8]>) -> Result<(), InitrdError> {
    let archive = pack(plan, registration)?;
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&plan.path)
        .and_then(|mut file| file.write_all(&archive))
        .map_err(|why| InitrdError::Write {
            path: plan.path.clone(),
            why,
        })
}

fn pack(plan: &InitrdPlan, registration: Option<&[u8]>) -> Result<Vec<u8>, InitrdError> {
    let failed = |why| InitrdError::Write {
        path: plan.path.clone(),
        why,
    };
    let mut archive = Archive::default();
    archive.add("/init", 0o100_755, INIT).map_err(failed)?;
    archive.add(MODULES_DIR, 0o040_755, &[]).map_err(failed)?;
    let mut guest = plan.guest.clone();
    if let Some(wanted) = &plan.modules {
        let index = ModuleIndex::read(&wanted.dir)?;
        for module in index.resolve(&wanted.needed, &wanted.wanted)? {
            let path = wanted.dir.join(&module);
            let bytes = decompress::read(&path).map_err(|why| InitrdError::Unpack {
                path: path.clone(),
                why,
            })?;
            let name = decompress::plain_name(&path);
            archive
                .add(&format!("{MODULES_DIR}/{name}"), 0o100_644, &bytes)
                .map_err(failed)?;
            guest.modules.push(name);
        }
    }
    let config = serde_json::to_vec(&guest).map_err(|e| failed(e.into()))?;
    archive
        .add(CONFIG_PATH, 0o100_600, &config)
        .map_err(failed)?;
    if let Some(registration) = registration {
        archive
            .add(REGISTRATION_PATH, 0o100_600, registration)
            .map_err(failed)?;
    }
    archive.finish().map_err(failed)
}

/// A cpio archive as the kernel unpacks it.
#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    fn add(&mut self, path: &str, mode: u32, contents: &[u8]) -> io::Result<()> {
        let size = u32::try_from(contents.len())
            .map_err(|_| io::Error::other(format!("{path} is larger than 4 GiB")))?;
        self.entries += 1;
        let mut entry = newc::Builder::new(path.trim_start_matches('/'))
            .ino(self.entries)
            .nlink(1)
            .mode(mode)
            .write(&mut self.bytes, size);
        entry.write_all(contents)?;
        entry.finish().map(drop)
    }

    fn finish(self) -> io::Result<Vec<u8>> {
        newc::trailer(self.bytes)
    }
}

#[cfg(test)]
mod tests;
