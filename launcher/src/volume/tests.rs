// SPDX-License-Identifier: Apache-2.0 OR MIT

use std::cell::{Cell, RefCell};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use super::{FileSystem, Volume, VolumeError, Watch};
use crate::plan::VolumePlan;
use crate::process::on_path;

#[derive(Default)]
struct Notes {
    warnings: RefCell<Vec<String>>,
    /// Asks to give up after so many questions.
    patience: Cell<Option<u32>>,
}

impl Watch for Notes {
    fn step(&self, _: &str) {}
    fn warn(&self, what: &str) {
        self.warnings.borrow_mut().push(what.to_owned());
    }
    fn unfinished(&self, _: &Path) {}
    fn cancelled(&self) -> bool {
        match self.patience.get() {
            Some(0) => true,
            left => {
                self.patience.set(left.map(|n| n - 1));
                false
            }
        }
    }
}

fn volume(image: &Path) -> VolumePlan {
    VolumePlan {
        image: image.to_owned(),
        format: "raw".into(),
        create: true,
        size_mib: Some(512),
        fs_type: "ext4".into(),
        label: Some("root".into()),
        mkfs_args: Vec::new(),
        read_only: false,
    }
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn made_once_and_locked() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("root.img");
    let plan = volume(&image);
    let notes = Notes::default();
    let first = Volume::prepare(&plan, &notes).unwrap();
    assert_eq!(names(dir.path()), ["root.img"]);
    let meta = fs::metadata(&image).unwrap();
    assert_eq!((meta.len(), meta.mode() & 0o777), (512 << 20, 0o600));
    assert!(meta.blocks() * 512 < 64 << 20, "{} blocks", meta.blocks());

    let error = Volume::prepare(&plan, &notes).unwrap_err();
    assert!(
        matches!(error, VolumeError::InUse { holder: Some(pid), .. } if pid == std::process::id()),
        "{error}"
    );
    drop(first);
    // What the guest wrote stays.
    let label = |text: &str| {
        let tune = on_path("tune2fs").unwrap();
        let output = Command::new(tune)
            .args(["-L", text])
            .arg(&image)
            .output()
            .unwrap();
        assert!(output.status.success());
    };
    label("mine");
    let _second = Volume::prepare(&plan, &notes).unwrap();
    assert_eq!(
        blkid(&image, "LABEL").as_deref(),
        Some("mine"),
        "it was formatted again"
    );
}

fn blkid(image: &Path, what: &str) -> Option<String> {
    let output = Command::new(on_path("blkid")?)
        .args(["-p", "-o", "value", "-s", what])
        .arg(image)
        .output()
        .unwrap();
    Some(String::from_utf8(output.stdout).unwrap().trim().to_owned())
}

#[test]
fn every_file_system() {
    for fs in FileSystem::ALL {
        if on_path(&fs.program()).is_none() {
            eprintln!("SKIPPED: {} is not installed", fs.program());
            continue;
        }
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("disk.img");
        let plan = VolumePlan {
            fs_type: fs.name().into(),
            label: Some("DATA".into()),
            ..volume(&image)
        };
        let _volume = Volume::prepare(&plan, &Notes::default()).unwrap();
        assert_eq!(blkid(&image, "TYPE").as_deref(), Some(fs.name()));
        assert_eq!(blkid(&image, "LABEL").as_deref(), Some("DATA"));
    }
}

#[test]
fn read_only_ones_are_shared() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("disk.img");
    let plan = volume(&image);
    drop(Volume::prepare(&plan, &Notes::default()).unwrap());
    let reading = VolumePlan {
        read_only: true,
        ..plan.clone()
    };
    let _a = Volume::prepare(&reading, &Notes::default()).unwrap();
    let _b = Volume::prepare(&reading, &Notes::default()).unwrap();
    assert!(Volume::prepare(&plan, &Notes::default()).is_err());
}

#[test]
fn grown_but_never_shrunk() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("disk.img");
    let sized = |mib| VolumePlan {
        size_mib: Some(mib),
        ..volume(&image)
    };
    let notes = Notes::default();
    drop(Volume::prepare(&sized(64), &notes).unwrap());
    drop(Volume::prepare(&sized(128), &notes).unwrap());
    assert_eq!(fs::metadata(&image).unwrap().len(), 128 << 20);
    assert!(notes.warnings.borrow().is_empty());
    drop(Volume::prepare(&sized(64), &notes).unwrap());
    assert_eq!(fs::metadata(&image).unwrap().len(), 128 << 20);
    assert!(notes.warnings.borrow()[0].contains("never shrunk"));
}

#[test]
fn btrfs_that_is_still_too_small_to_be_grown() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("disk.img");
    let notes = Notes::default();
    // What is in the image is the guest's business.
    fs::File::create(&image)
        .and_then(|file| file.set_len(110 << 20))
        .unwrap();
    let sized = |mib| VolumePlan {
        size_mib: Some(mib),
        fs_type: "btrfs".into(),
        ..volume(&image)
    };
    drop(Volume::prepare(&sized(128), &notes).unwrap());
    let said = notes.warnings.borrow().join("; ");
    assert!(said.contains("until `size` is 256 or more"), "{said}");
    drop(Volume::prepare(&sized(256), &notes).unwrap());
    assert_eq!(notes.warnings.borrow().len(), 1);
}

#[test]
fn nothing_half_made() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("disk.img");
    let plan = volume(&image);

    let interrupted = Notes::default();
    interrupted.patience.set(Some(0));
    let error = Volume::prepare(&plan, &interrupted).unwrap_err();
    assert!(matches!(error, VolumeError::Cancelled(_)), "{error}");
    assert!(names(dir.path()).is_empty());

    let refused = VolumePlan {
        mkfs_args: vec!["--no-such-flag".into()],
        ..plan.clone()
    };
    let error = Volume::prepare(&refused, &Notes::default()).unwrap_err();
    assert!(
        error.to_string().contains("mkfs.ext4 ended with status 1"),
        "{error}"
    );
    assert!(names(dir.path()).is_empty());

    // What a killed launcher left.
    fs::write(dir.path().join(".disk.img.unfinished"), "half").unwrap();
    drop(Volume::prepare(&plan, &Notes::default()).unwrap());
    assert_eq!(names(dir.path()), ["disk.img"]);
}

#[test]
fn what_cannot_be_made() {
    let dir = tempfile::tempdir().unwrap();
    let image = dir.path().join("disk.img");
    let plan = volume(&image);
    let say = |plan: &VolumePlan| {
        Volume::prepare(plan, &Notes::default())
            .unwrap_err()
            .to_string()
    };
    let with = |change: fn(&mut VolumePlan)| {
        let mut plan = plan.clone();
        change(&mut plan);
        say(&plan)
    };
    assert!(with(|p| p.create = false).contains("no such image; make it"));
    assert!(with(|p| p.format = "qcow2".into()).contains("qemu-img create -f qcow2"));
    assert!(with(|p| p.size_mib = None).contains("set size"));
    assert!(with(|p| p.fs_type = "zfs".into()).contains("ext4, btrfs, xfs or vfat"));
    assert!(with(|p| p.image = "/proc/none/disk.img".into()).contains("cannot"));
    assert!(with(|p| p.image = "/dev/null".into()).contains("neither a file nor"));
    assert!(names(dir.path()).is_empty());
}
