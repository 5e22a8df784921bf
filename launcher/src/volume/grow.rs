// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Lengthening an image.

use std::fs::File;

use super::{FileSystem, VolumeError, Watch};
use crate::plan::VolumePlan;

/// Makes the image as long as the plan says, unless it is longer.
pub(super) fn to_size(
    file: &File,
    plan: &VolumePlan,
    watch: &dyn Watch,
) -> Result<(), VolumeError> {
    let failed = |what, why| VolumeError::Io {
        image: plan.image.clone(),
        what,
        why,
    };
    let meta = file.metadata().map_err(|e| failed("look at it", e))?;
    let Some(mib) = plan.size_mib.filter(|_| meta.is_file()) else {
        return Ok(());
    };
    let image = plan.image.display();
    let (is, wanted) = (meta.len(), mib.saturating_mul(1 << 20));
    if wanted < is {
        watch.warn(&format!(
            "volume {image}: has {} MiB, which is more than the {mib} MiB of size; left as it is, \
             because volumes are never shrunk",
            is >> 20
        ));
    } else if wanted > is && plan.read_only {
        watch.warn(&format!(
            "volume {image}: has {} MiB, less than the {mib} MiB of size; left as it is, because it \
             is read-only",
            is >> 20
        ));
    } else if wanted > is {
        file.set_len(wanted).map_err(|e| failed("grow it", e))?;
        let fs = FileSystem::named(&plan.fs_type);
        let least = fs.map_or(0, FileSystem::smallest_grown_mib);
        if mib < least {
            watch.warn(&format!(
                "volume {image}: grown from {} to {mib} MiB, but its {} file system keeps its size \
                 until `size` is {least} or more",
                is >> 20,
                plan.fs_type
            ));
        } else if fs.is_some_and(|fs| !fs.grows()) {
            watch.warn(&format!(
                "volume {image}: grown from {} to {mib} MiB, but its {} file system keeps its size",
                is >> 20,
                plan.fs_type
            ));
        } else {
            log::info!("volume {image}: grown from {} to {mib} MiB", is >> 20);
        }
    }
    Ok(())
}
