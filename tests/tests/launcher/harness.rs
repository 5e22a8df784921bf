// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `rofs-vm` in directories of a test's own, and the store and kernel of its guests.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use rustix::fs::{FlockOperation, flock};

/// `target/vm`, which `.ci/provision` fills.
pub(crate) fn vm_dir() -> PathBuf {
    let dir = std::env::var_os("ROFS_VM_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/vm"),
        PathBuf::from,
    );
    assert!(
        dir.join("lib/modules").exists(),
        "{dir:?} is not complete: run .ci/provision"
    );
    dir
}

/// The kernel of the guests; unpacked, because that boots faster.
pub(crate) fn kernel() -> PathBuf {
    let unpacked = vm_dir().join("vmlinux");
    if unpacked.exists() {
        unpacked
    } else {
        vm_dir().join("vmlinuz")
    }
}

/// A root with a small store made by Nix, which all tests share and none changes.
pub(crate) fn store() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let dir = vm_dir().join("store-launcher");
        // Another process may be making it.
        let lock = File::create(vm_dir().join("store-launcher.lock")).unwrap();
        flock(&lock, FlockOperation::LockExclusive).unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("vm/make-store");
        let made = Command::new(script)
            .arg(&dir)
            .arg("200")
            .stdout(Stdio::null())
            .status();
        assert!(made.unwrap().success(), "make-store failed");
        dir
    })
}

/// The store path that `make-store` made under this name.
pub(crate) fn store_path(name: &str) -> String {
    let paths = fs::read_to_string(store().join("paths")).unwrap();
    let line = paths
        .lines()
        .find(|line| line.split(' ').next() == Some(name))
        .unwrap();
    line.split(' ').nth(1).unwrap().to_owned()
}

/// The shell of the guests.
pub(crate) fn busybox() -> String {
    format!("{}/bin/busybox", store_path("busybox"))
}

/// Directories for `rofs-vm`, which must be as empty in the end as they were.
pub(crate) struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    pub(crate) fn new() -> Place {
        let dir = tempfile::Builder::new().prefix("rofs").tempdir().unwrap();
        for name in ["run", "state"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        Place { dir }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The binary under test, built beside this one.
    pub(crate) fn rofs_vm(&self) -> Command {
        let tests = std::env::current_exe().unwrap();
        let path = tests.parent().unwrap().parent().unwrap().join("rofs-vm");
        assert!(
            path.exists(),
            "{path:?} is missing: build it with `cargo build --bins`"
        );
        let mut command = Command::new(path);
        command
            .env("ROFS_ACCEL", "tcg")
            .env("ROFS_KERNEL", kernel())
            .env("XDG_RUNTIME_DIR", self.dir.path().join("run"))
            .env("XDG_STATE_HOME", self.dir.path().join("state"));
        command
    }

    /// All that is left in the directories.
    pub(crate) fn left(&self) -> Vec<PathBuf> {
        fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() && !path.is_symlink() {
                    walk(&path, found);
                }
                found.push(path);
            }
        }
        let mut found = Vec::new();
        for name in ["run", "state"] {
            walk(&self.dir.path().join(name), &mut found);
        }
        // The directory of all machines stays.
        found.retain(|path| !path.ends_with("run/rofs-vm") && !path.ends_with("state/rofs-vm"));
        found
    }

    /// Processes that have one of the directories in their arguments.
    pub(crate) fn processes(&self) -> Vec<String> {
        let dir = self.dir.path().to_str().unwrap();
        let all = fs::read_dir("/proc").unwrap().flatten();
        all.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
            .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
            .filter(|line| line.contains(dir))
            .collect()
    }

    /// Fails if anything is left of the machines that ran here.
    pub(crate) fn assert_clean(&self) {
        assert_eq!(self.left(), Vec::<PathBuf>::new());
        assert_eq!(self.processes(), Vec::<String>::new());
    }
}
