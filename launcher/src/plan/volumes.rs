// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Volumes: the images to make, and the disks that the guest sees.

use std::path::Path;

use super::VolumePlan;
use crate::description::Description;
use crate::hypervisor::Disk;

/// The images. Those that are not absolute are in the machine's state directory.
pub(super) fn volumes(description: &Description, state_dir: &Path) -> Vec<VolumePlan> {
    let plan = |volume: &crate::description::Volume| VolumePlan {
        image: state_dir.join(&volume.image),
        format: volume.image_type.name().to_owned(),
        create: volume.auto_create && !volume.read_only,
        size_mib: volume.size.map(u64::from),
        fs_type: volume.fs_type.name().to_owned(),
        label: volume.label.clone(),
        mkfs_args: volume.mkfs_extra_args.clone(),
        read_only: volume.read_only,
    };
    description.volumes.iter().map(plan).collect()
}

/// The disks: the store's image, then the volumes.
pub(super) fn disks(description: &Description, volumes: &[VolumePlan]) -> Vec<Disk> {
    let store = store_disk(description).map(|image| Disk {
        image: image.to_owned(),
        format: "raw",
        serial: None,
        direct: false,
        read_only: true,
    });
    let volumes = description.volumes.iter().zip(volumes).enumerate();
    let disk = |(i, (volume, plan)): (usize, (&crate::description::Volume, &VolumePlan))| Disk {
        image: plan.image.clone(),
        format: volume.image_type.name(),
        serial: Some(serial(description, i)),
        direct: volume.direct,
        read_only: volume.read_only,
    };
    store.into_iter().chain(volumes.map(disk)).collect()
}

/// The serial number by which our init finds a volume: the order in which a guest's kernel finds
/// disks is not promised.
pub(super) fn serial(description: &Description, index: usize) -> String {
    let wanted = description
        .volumes
        .get(index)
        .and_then(|volume| volume.serial.clone());
    wanted.unwrap_or_else(|| format!("volume{index}"))
}

pub(super) fn store_disk(description: &Description) -> Option<&Path> {
    description
        .store_disk
        .as_deref()
        .filter(|_| description.store_on_disk)
}
