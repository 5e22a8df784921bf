// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Disk images: made on first use, grown, and otherwise left alone.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::Place;
use crate::world::{Machine, busybox, eventually, one_program, text};

/// Every kind, with these sizes.
fn volumes([ext4, btrfs, xfs, vfat, less]: [u32; 5], read_only: &str) -> String {
    let volume = |name: &str, size: u32, more: &str| {
        format!(
            "[[volumes]]\nimage = \"{name}.img\"\nmountPoint = \"/{name}\"\nsize = {size}\nlabel = \"{name}-l\"\n{more}\n"
        )
    };
    one_program("sleep 1000")
        + &volume(
            "ext4",
            ext4,
            "serial = \"the-serial\"\nmkfsExtraArgs = [\"-m\", \"0\"]",
        )
        + &volume("btrfs", btrfs, "fsType = \"btrfs\"\ndirect = true")
        + &volume("xfs", xfs, "fsType = \"xfs\"")
        + &volume("vfat", vfat, "fsType = \"vfat\"").replace("vfat-l", "VFAT-L")
        + &volume("less", less, "")
        + &volume("ro", 32, read_only)
}

/// What a script prints in the guest.
fn shell(machine: &Machine<'_>, script: &str) -> String {
    let output = machine.exec(&[&busybox(), "sh", "-c", script]);
    let said = text(&output.stderr);
    assert!(output.status.success(), "{script}: {said}{}", machine.log());
    text(&output.stdout)
}

/// Sizes of the file systems in MiB, as the guest sees them.
fn sizes(machine: &Machine<'_>) -> Vec<u32> {
    let script = "df -m /ext4 /btrfs /xfs /vfat /less | tail -n +2 | tr -s ' ' | cut -d' ' -f2";
    let out = shell(machine, script);
    out.lines().map(|line| line.parse().unwrap()).collect()
}

/// Labels and UUIDs of the file systems, which are others once somebody has formatted them.
fn ids(machine: &Machine<'_>) -> String {
    let names = ["ext4", "btrfs", "xfs", "vfat", "less", "ro"];
    let images = names.map(|name| machine.state_dir().join(format!("{name}.img")));
    let output = Command::new("blkid")
        .args(["-p", "-s", "LABEL", "-s", "UUID"])
        .args(images)
        .output()
        .unwrap();
    let said = text(&output.stdout);
    assert_eq!(said.lines().count(), 6, "{said}");
    said
}

#[test]
fn guests_have_volumes_of_every_kind_that_only_grow() {
    let place = Place::new();
    let machine = Machine::new(&place, "disks", &volumes([64, 160, 320, 32, 32], ""));
    machine.start();
    let mounts = shell(
        &machine,
        "grep ^/dev/vd /proc/mounts | cut -d' ' -f2-4 | cut -d, -f1",
    );
    assert_eq!(
        mounts,
        "/ext4 ext4 rw\n/btrfs btrfs rw\n/xfs xfs rw\n/vfat vfat rw\n/less ext4 rw\n/ro ext4 rw\n"
    );
    assert_eq!(shell(&machine, "cat /sys/block/vda/serial"), "the-serial");
    shell(
        &machine,
        "for at in ext4 btrfs xfs vfat ro; do echo in $at >/$at/file; done",
    );
    let first = sizes(&machine);
    let log = machine.log();
    assert!(!log.contains("rofs-init"), "{log}");
    machine.stop();
    let before = ids(&machine);
    for label in ["ext4-l", "btrfs-l", "xfs-l", "VFAT-L", "ro-l"] {
        assert!(before.contains(&format!(" LABEL=\"{label}\"")), "{before}");
    }
    for name in ["ext4", "btrfs", "xfs", "vfat", "less"] {
        let meta = fs::metadata(machine.state_dir().join(format!("{name}.img"))).unwrap();
        assert_eq!(meta.permissions().mode() & 0o777, 0o600);
        assert!(
            meta.blocks() * 512 < meta.len() * 3 / 4,
            "{name} is not sparse"
        );
    }

    machine.describe(&volumes([128, 256, 448, 64, 16], "readOnly = true"));
    let output = machine.try_start();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let log = machine.log();
    assert!(
        log.contains("grown from 32 to 64 MiB, but its vfat file system keeps its size"),
        "{log}"
    );
    assert!(
        log.contains(
            "more than the 16 MiB of size; left as it is, because volumes are never shrunk"
        ),
        "{log}"
    );
    assert_eq!(
        shell(
            &machine,
            "cd /; cat ext4/file btrfs/file xfs/file vfat/file"
        ),
        "in ext4\nin btrfs\nin xfs\nin vfat\n"
    );
    let grown = sizes(&machine);
    for (i, more) in [(0, 50), (1, 90), (2, 100)] {
        assert!(grown[i] >= first[i] + more, "{first:?} {grown:?}");
    }
    assert_eq!(grown[3..], first[3..]);
    machine.stop();
    assert_eq!(ids(&machine), before);
    let less = fs::metadata(machine.state_dir().join("less.img")).unwrap();
    assert_eq!(less.len(), 32 << 20);
}

/// A machine with one volume, whose mkfs says that it has begun and does not end.
fn endless<'a>(place: &'a Place, name: &str) -> (Machine<'a>, PathBuf) {
    let bin = place.path().join("bin");
    fs::create_dir_all(&bin).unwrap();
    let begun = place.path().join("begun");
    let _ = fs::remove_file(&begun);
    let mkfs = format!("#!/bin/sh\n: >{}\nexec sleep 1000\n", begun.display());
    fs::write(bin.join("mkfs.ext4"), mkfs).unwrap();
    fs::set_permissions(bin.join("mkfs.ext4"), fs::Permissions::from_mode(0o755)).unwrap();
    let description = one_program("true")
        + "[[volumes]]\nimage = \"data.img\"\nmountPoint = \"/data\"\nsize = 64\n";
    (Machine::new(place, name, &description), begun)
}

/// The state directory has nothing in it.
fn is_empty(dir: &Path) -> bool {
    fs::read_dir(dir).unwrap().next().is_none()
}

#[test]
fn a_volume_is_made_whole_or_not_at_all() {
    let place = Place::new();
    for (signal, words) in [
        (Signal::INT, "data.img: interrupted; nothing was made"),
        (Signal::KILL, "its supervisor was killed"),
    ] {
        let (machine, begun) = endless(&place, "half");
        let mut run = machine.run();
        let child = run
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        eventually("mkfs has begun", || begun.exists());
        let unfinished = machine.state_dir().join(".data.img.unfinished");
        assert!(unfinished.exists());
        assert!(!machine.state_dir().join("data.img").exists());
        kill_process(Pid::from_child(&child), signal).unwrap();
        // Whoever clears up has its stderr, too.
        let output = child.wait_with_output().unwrap();
        let said = text(&output.stderr);
        assert!(said.contains(words), "{said}");
        assert!(is_empty(&machine.state_dir()), "{:?}", place.left());
        assert!(!machine.runtime_dir().exists());
        eventually("mkfs is gone", || place.processes().is_empty());
    }
}

#[test]
fn a_disk_that_is_full_gets_no_image() {
    let place = Place::new();
    let small = place.path().join("small");
    fs::create_dir(&small).unwrap();
    let description = one_program("true")
        + &format!(
            "[[volumes]]\nimage = \"{}/data.img\"\nmountPoint = \"/data\"\nsize = 512\n",
            small.display()
        );
    let machine = Machine::new(&place, "full", &description);
    let run = machine.run();
    // A disk of its own, which goes with it.
    let output = Command::new("unshare")
        .args(["-m", "sh", "-c"])
        .arg("mount -t tmpfs -o size=64k small \"$0\" && { \"$@\"; status=$?; ls -A \"$0\"; exit $status; }")
        .arg(&small)
        .arg(run.get_program())
        .args(run.get_args())
        .envs(run.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .output()
        .unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("data.img: no space left to make it: "),
        "{said}"
    );
    assert!(
        said.contains("free some, or put the image elsewhere"),
        "{said}"
    );
    assert_eq!(text(&output.stdout), "");
    assert!(!machine.runtime_dir().exists());
    assert_eq!(place.processes(), Vec::<String>::new());
}
