// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Programs of this machine.

use std::env;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

/// Where mkfs and its like are, which the PATH of an ordinary user often leaves out.
const SYSTEM: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// Finds a program on `PATH`, or else where system programs are.
pub fn on_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(SYSTEM.iter().map(PathBuf::from))
        .filter(|dir| dir.is_absolute())
        .map(|dir| dir.join(name))
        .find(|file| is_program(file))
}

fn is_program(file: &Path) -> bool {
    file.is_file() && access(file, Access::EXEC_OK).is_ok()
}

/// The package that has a program, by its name in most distributions and in nixpkgs.
pub fn which_package(program: &str) -> &str {
    match program {
        "mkfs.ext4" => "e2fsprogs",
        "mkfs.btrfs" => "btrfs-progs",
        "mkfs.xfs" => "xfsprogs",
        "mkfs.vfat" => "dosfstools",
        "nix-store" => "nix",
        other => other,
    }
}
