// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Finds virtio disks.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::thread;
use std::time::{Duration, Instant};

use rofs_guest::config::Disk;

use crate::failure::{Context, Failure};
use crate::superblock::{self, Superblock};

/// How long a disk may take to appear after its driver is there.
const PATIENCE: Duration = Duration::from_secs(10);

/// The device of a disk, which may take a moment to appear.
pub(crate) fn find(disk: &Disk) -> Result<String, Failure> {
    wait_for(|| {
        all().into_iter().find(|name| match disk {
            Disk::Serial(serial) => fs::read_to_string(format!("/sys/block/{name}/serial"))
                .is_ok_and(|found| found.trim_end_matches(['\n', '\0']) == serial),
            Disk::Label(label) => read_superblock(&format!("/dev/{name}"))
                .is_some_and(|found| found.label == *label),
            Disk::Index(index) => *name == name_of(*index),
        })
    })
    .map(|name| format!("/dev/{name}"))
    .ok_or_else(|| {
        let wanted = match disk {
            Disk::Serial(serial) => format!("the serial number '{serial}'"),
            Disk::Label(label) => format!("the label '{label}'"),
            Disk::Index(index) => format!("the name {}", name_of(*index)),
        };
        Failure::new(format!(
            "no disk with {wanted} appeared; there are: {}. Is the module virtio_blk in the kernel's module directory?",
            match all() {
                names if names.is_empty() => "none".into(),
                names => names.join(", "),
            }
        ))
    })
}

/// The file system on a device.
pub(crate) fn fs_type(device: &str) -> Result<String, Failure> {
    read_superblock(device)
        .map(|found| found.fs_type.to_owned())
        .ok_or_else(|| {
            Failure::new(format!(
                "{device} holds none of the file systems ext4, btrfs, xfs and vfat"
            ))
        })
}

/// Asks until there is an answer or patience ends.
pub(crate) fn wait_for<T>(mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    loop {
        let answer = ask();
        if answer.is_some() || start.elapsed() > PATIENCE {
            return answer;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// The names of all virtio disks.
fn all() -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir("/sys/block")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.starts_with("vd"))
        .collect();
    names.sort_by_key(|name| (name.len(), name.clone()));
    names
}

/// `vda`, ..., `vdz`, `vdaa`, ...: bijective numbers to base 26.
fn name_of(index: u32) -> String {
    let mut letters = Vec::new();
    let mut rest = index;
    loop {
        letters.push(char::from(b'a' + u8::try_from(rest % 26).unwrap_or(0)));
        rest /= 26;
        if rest == 0 {
            break;
        }
        rest -= 1;
    }
    letters
        .iter()
        .rev()
        .fold("vd".to_owned(), |name, letter| format!("{name}{letter}"))
}

fn read_superblock(device: &str) -> Option<Superblock> {
    let mut start = vec![0; superblock::LENGTH];
    let file = File::open(device).ok()?;
    let mut filled = 0;
    while filled < start.len() {
        match file.read_at(start.get_mut(filled..)?, u64::try_from(filled).ok()?) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(_) => return None,
        }
    }
    superblock::recognise(&start)
}

/// As [`Context`], for the parts of a path in `/sys` and the like.
pub(crate) fn read_line(path: &str) -> Result<String, Failure> {
    fs::read_to_string(path)
        .map(|text| text.trim_end().to_owned())
        .context(|| format!("reading {path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_are_named_as_the_kernel_does() {
        for (index, name) in [
            (0, "vda"),
            (25, "vdz"),
            (26, "vdaa"),
            (701, "vdzz"),
            (702, "vdaaa"),
        ] {
            assert_eq!(name_of(index), name);
        }
    }
}
