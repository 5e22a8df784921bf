// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Disk images: made on first use, grown, locked; never shrunk, never formatted again.
//!
//! An image is made under another name, with a file system on it, and gets its own name when it is
//! complete, so that there is either no image or a whole one. Its file stays sparse.
//!
//! *Growing* lengthens the file. The file system in it is grown by the guest, which has it mounted
//! (the guest's init of this project does so): reading a file system that a guest has written with
//! tools of the host would lay the host open to the guest.
//!
//! *The lock* is a `flock` on the image, shared for read-only use. It is held as long as the
//! [`Volume`] lives, and the kernel drops it with the process, however that ends.

mod create;
mod error;
mod grow;
mod lock;
mod mkfs;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::path::Path;

pub use self::error::VolumeError;
pub use self::mkfs::FileSystem;
use crate::plan::VolumePlan;

/// What the preparing of volumes tells, and asks, while it lasts.
pub trait Watch {
    /// This begins, and may take a while.
    fn step(&self, what: &str);
    /// A person should know this.
    fn warn(&self, what: &str);
    /// This file is about to be made, and is to be removed should this process be killed.
    fn unfinished(&self, file: &Path);
    /// Whether to give up.
    fn cancelled(&self) -> bool;
}

/// An image that is there, and locked for us.
#[derive(Debug)]
pub struct Volume {
    _locked: File,
}

impl Volume {
    /// Makes the image if it is missing, grows it if it is too small, and locks it.
    ///
    /// # Errors
    /// [`VolumeError`]; nothing that was begun is left behind.
    pub fn prepare(plan: &VolumePlan, watch: &dyn Watch) -> Result<Volume, VolumeError> {
        let image = &plan.image;
        let locked = match lock::open(image, plan.read_only)? {
            Some(file) => {
                if plan.create && plan.format == "raw" {
                    grow::to_size(&file, plan, watch)?;
                }
                file
            }
            None if !plan.create => {
                return Err(VolumeError::Missing {
                    image: image.clone(),
                    read_only: plan.read_only,
                });
            }
            None if plan.format != "raw" => {
                return Err(VolumeError::Format {
                    image: image.clone(),
                    format: plan.format.clone(),
                });
            }
            None => create::create(plan, watch)?,
        };
        Ok(Volume { _locked: locked })
    }
}
