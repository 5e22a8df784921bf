// SPDX-License-Identifier: Apache-2.0 OR MIT

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use rofs_guest::config::{
    Command as GuestCommand, GuestConfig, PowerOff, Stdio as GuestStdio, Then,
};

use super::*;
use crate::plan::ModulesPlan;

/// A module directory in which one module depends on others and has an optional one.
fn module_dir() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    put(
        "modules.dep",
        "kernel/net/virtio_net.ko: kernel/net/net-failover.ko kernel/net/failover.ko\n\
         kernel/net/net-failover.ko: kernel/net/failover.ko\n\
         kernel/net/failover.ko:\n\
         kernel/fs/btrfs.ko: kernel/lib/raid6_pq.ko\n\
         kernel/lib/raid6_pq.ko:\n\
         kernel/crypto/crc32c_generic.ko:\n",
    );
    put(
        "modules.builtin",
        "kernel/fs/fuse/fuse.ko\nkernel/fs/fuse/virtiofs.ko\n",
    );
    put(
        "modules.softdep",
        "# soft\nsoftdep btrfs pre: crc32c missing post: zstd\n",
    );
    put(
        "modules.alias",
        "alias crc32c crc32c_generic\nalias virtio:d00000001v* virtio_net\n",
    );
    for module in [
        "net/virtio_net",
        "net/net-failover",
        "net/failover",
        "fs/btrfs",
    ] {
        put(&format!("kernel/{module}.ko"), module);
    }
    dir
}

fn names(list: &[&str]) -> Vec<String> {
    list.iter().map(|name| (*name).to_owned()).collect()
}

fn plan(path: &Path, modules: Option<ModulesPlan>) -> InitrdPlan {
    InitrdPlan {
        path: path.to_owned(),
        guest: GuestConfig {
            hostname: "box".into(),
            modules: Vec::new(),
            agent: None,
            mounts: Vec::new(),
            store_overlay: None,
            files: Vec::new(),
            interfaces: Vec::new(),
            dns: Vec::new(),
            nix_store: None,
            then: Then::Run(GuestCommand {
                argv: names(&["true"]),
                env: Vec::new(),
                cwd: None,
                stdio: GuestStdio::Console,
            }),
            power_off: PowerOff::PowerOff,
            stop_seconds: 10,
        },
        modules,
        registration: None,
    }
}

#[test]
fn modules_come_after_what_they_need_and_once() {
    let dir = module_dir();
    let index = ModuleIndex::read(dir.path()).unwrap();
    let files = |needed: &[&str], wanted: &[&str]| {
        index
            .resolve(&names(needed), &names(wanted))
            .unwrap()
            .iter()
            .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        files(&["virtiofs", "virtio-net", "net_failover"], &["no_such"]),
        ["failover.ko", "net-failover.ko", "virtio_net.ko"]
    );
    assert_eq!(
        files(&[], &["btrfs"]),
        ["raid6_pq.ko", "crc32c_generic.ko", "btrfs.ko"]
    );
}

#[test]
fn a_needed_module_that_is_missing_is_named() {
    let dir = module_dir();
    let index = ModuleIndex::read(dir.path()).unwrap();
    let message = index.resolve(&names(&["9p"]), &[]).unwrap_err().to_string();
    assert!(message.contains("no module 9p"), "{message}");
    assert!(
        message.contains(&dir.path().display().to_string()),
        "{message}"
    );
}

#[test]
fn a_directory_without_modules_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let message = ModuleIndex::read(dir.path()).unwrap_err().to_string();
    assert!(message.contains("modules.dep: No such file"), "{message}");
}

#[test]
fn modules_are_unpacked_however_they_are_packed() {
    let dir = tempfile::tempdir().unwrap();
    let contents: Vec<u8> = (0..100_000_u32)
        .flat_map(|i| (i / 7).to_le_bytes())
        .collect();
    // The kernel's own options: xz with CRC32 only, zstd with a large window.
    let packers: [(&str, &[&str]); 3] = [
        ("xz", &["xz", "--check=crc32", "--lzma2=dict=1MiB", "-c"]),
        ("zst", &["zstd", "-q", "-19", "-c"]),
        ("gz", &["gzip", "-c"]),
    ];
    for (ending, packer) in packers {
        let path = dir.path().join(format!("m.ko.{ending}"));
        let started = Command::new(packer[0])
            .args(&packer[1..])
            .stdin(Stdio::piped())
            .stdout(fs::File::create(&path).unwrap())
            .spawn();
        let Ok(mut child) = started else {
            eprintln!("SKIPPED: no {} here; .ci/provision installs it", packer[0]);
            continue;
        };
        child.stdin.take().unwrap().write_all(&contents).unwrap();
        assert!(child.wait().unwrap().success());
        assert!(decompress::read(&path).unwrap() == contents, "{ending}");
        assert_eq!(decompress::plain_name(&path), "m.ko");
        // Half a file is an error, not half a module.
        let packed = fs::read(&path).unwrap();
        fs::write(&path, &packed[..packed.len() / 2]).unwrap();
        assert!(decompress::read(&path).is_err(), "{ending}");
    }
}

#[test]
fn an_initrd_has_the_init_its_configuration_and_the_modules() {
    let modules = module_dir();
    let out = tempfile::tempdir().unwrap();
    let path = out.path().join("initrd");
    let plan = plan(
        &path,
        Some(ModulesPlan {
            dir: modules.path().into(),
            needed: names(&["virtio_net"]),
            wanted: Vec::new(),
        }),
    );
    write(&plan, Some(b"/nix/store/x\n")).unwrap();

    let mut found = Vec::new();
    let mut rest = fs::File::open(&path).unwrap();
    loop {
        let mut entry = newc::Reader::new(rest).unwrap();
        if entry.entry().is_trailer() {
            break;
        }
        let mut contents = Vec::new();
        entry.read_to_end(&mut contents).unwrap();
        found.push((
            entry.entry().name().to_owned(),
            entry.entry().mode(),
            contents,
        ));
        rest = entry.finish().unwrap();
    }
    let paths: Vec<&str> = found.iter().map(|(name, ..)| name.as_str()).collect();
    let expected = [
        "init",
        "modules",
        "modules/failover.ko",
        "modules/net-failover.ko",
        "modules/virtio_net.ko",
        "guest.json",
        "registration",
    ];
    assert_eq!(paths, expected);
    assert_eq!(found[0].1, 0o100_755);
    assert!(found[0].2.starts_with(b"\x7fELF"));
    let config: GuestConfig = serde_json::from_slice(&found[5].2).unwrap();
    assert_eq!(
        config.modules,
        ["failover.ko", "net-failover.ko", "virtio_net.ko"]
    );
    assert_eq!(found[6].2, b"/nix/store/x\n");
}

#[test]
fn the_init_needs_no_libraries() {
    // A program header PT_INTERP names a loader, which the initrd does not have.
    let offset = usize::try_from(u64::from_le_bytes(INIT[32..40].try_into().unwrap())).unwrap();
    let size = usize::from(u16::from_le_bytes([INIT[54], INIT[55]]));
    let count = usize::from(u16::from_le_bytes([INIT[56], INIT[57]]));
    for i in 0..count {
        assert_ne!(INIT[offset + i * size..][..4], 3_u32.to_le_bytes());
    }
}
