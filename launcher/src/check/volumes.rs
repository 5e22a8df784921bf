// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Volumes.

use super::findings::{Findings, repeated};
use crate::description::{Description, FsType, ImageType, Volume};

/// VIRTIO_BLK_ID_BYTES.
const LONGEST_SERIAL: usize = 20;

pub(super) fn check(description: &Description, findings: &mut Findings<'_>) {
    let volumes = &description.volumes;
    for (index, first, image) in repeated(volumes, |volume| Some(volume.image.clone())) {
        let what = format!(
            "{} is the image of volumes[{first}] already",
            image.display()
        );
        findings.wrong(
            &format!("volumes[{index}].image"),
            what,
            "give each volume an image of its own",
        );
    }
    for (index, first, serial) in repeated(volumes, |volume| volume.serial.clone()) {
        let what = format!("{serial:?} is the serial number of volumes[{first}] already");
        findings.wrong(
            &format!("volumes[{index}].serial"),
            what,
            "write another one",
        );
    }
    for (index, first, label) in repeated(volumes, |volume| volume.label.clone()) {
        let what = format!("{label:?} is the label of volumes[{first}] already");
        findings.wrong(
            &format!("volumes[{index}].label"),
            what,
            "write another one",
        );
    }
    for (index, volume) in volumes.iter().enumerate() {
        let option = |name: &str| format!("volumes[{index}].{name}");
        image(volume, &option, findings);
        names(volume, &option, findings);
        size(volume, &option, findings);
    }
}

fn image(volume: &Volume, option: &impl Fn(&str) -> String, findings: &mut Findings<'_>) {
    let image = &volume.image;
    if image.file_name().is_none() {
        let what = format!("{image:?} is not the name of a file");
        findings.wrong(&option("image"), what, "write one, as \"root.img\"");
    } else if image.starts_with("~") {
        let what = "`~` is not expanded here: only a shell knows it";
        findings.wrong(
            &option("image"),
            what,
            "write the whole path; or just a name, for a file in the VM's state directory",
        );
    }
    if volume.image_type != ImageType::Raw && volume.auto_create {
        let what = format!(
            "only raw images are created, not {}",
            volume.image_type.name()
        );
        let instead = "write `autoCreate = false`, and make the image with qemu-img; or leave `imageType` out";
        findings.wrong(&option("imageType"), what, instead);
    }
}

fn names(volume: &Volume, option: &impl Fn(&str) -> String, findings: &mut Findings<'_>) {
    if let Some(serial) = &volume.serial {
        if serial.len() > LONGEST_SERIAL {
            let what = format!(
                "{serial:?} has {} bytes, and there is room for {LONGEST_SERIAL}",
                serial.len()
            );
            findings.wrong(&option("serial"), what, "write a shorter one");
        } else if serial.is_empty() || !serial.chars().all(|char| char.is_ascii_graphic()) {
            findings.wrong(
                &option("serial"),
                format!("{serial:?} is not a serial number"),
                "write letters and digits",
            );
        }
    }
    if let Some(label) = &volume.label {
        let (limit, fs) = (volume.fs_type.label_limit(), volume.fs_type.name());
        if label.len() > limit {
            let what = format!(
                "{label:?} has {} bytes, and {fs} has room for {limit}",
                label.len()
            );
            findings.wrong(&option("label"), what, "write a shorter one");
        } else if label.is_empty() || label.chars().any(|char| char.is_control() || char == '/') {
            findings.wrong(
                &option("label"),
                format!("{label:?} is not a label"),
                "write letters and digits",
            );
        }
        if !volume.auto_create {
            let what = "nothing is labelled, since `autoCreate` is off";
            findings.odd(
                &option("label"),
                what,
                "label the file system by hand; the guest looks for the label",
            );
        }
    }
}

fn size(volume: &Volume, option: &impl Fn(&str) -> String, findings: &mut Findings<'_>) {
    let fs = volume.fs_type.name();
    match volume.size {
        None if volume.auto_create => {
            let instead = "write `size = 8192`, in MiB; or `autoCreate = false` if the image is there already";
            findings.wrong(
                &option("size"),
                "the image is to be created, and nothing says how large",
                instead,
            );
        }
        Some(size) if volume.auto_create && size < least(volume.fs_type) => {
            let least = least(volume.fs_type);
            let what = format!("{size} MiB is too small for {fs}; sizes are in MiB");
            findings.wrong(&option("size"), what, format!("write {least} or more"));
        }
        _ => {}
    }
}

/// The smallest file system, in MiB, which mkfs makes without more arguments.
fn least(fs: FsType) -> u32 {
    match fs {
        FsType::Ext2 | FsType::Ext3 | FsType::Vfat => 1,
        FsType::Ext4 => 2,
        FsType::Btrfs => 110,
        FsType::Xfs => 300,
    }
}
