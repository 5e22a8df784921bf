// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Builds the guest's init as a static program, so that the launcher, which has it inside, is one
//! program that needs nothing else.
//!
//! `ROFS_INIT=FILE` takes a static `rofs-init` that was built before: for packagers, and wherever
//! this crate is built outside of its workspace.

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let guest = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("guest");
    println!("cargo::rerun-if-env-changed=ROFS_INIT");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=guest");
    let init = match env::var_os("ROFS_INIT") {
        Some(file) => {
            println!("cargo::rerun-if-changed={}", Path::new(&file).display());
            PathBuf::from(file)
        }
        None => build(&guest, &out)?,
    };
    fs::copy(&init, out.join("rofs-init"))
        .map_err(|e| format!("the guest's init, {}: {e}", init.display()))?;
    Ok(())
}

/// Has the cargo that runs this build it.
fn build(guest: &Path, out: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let target = env::var("TARGET")?;
    // OUT_DIR is PROFILE/build/PACKAGE/out; all profiles share one init.
    let dir = out.ancestors().nth(4).unwrap_or(out).join("rofs-init");
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
    cargo
        .current_dir(guest)
        .args([
            "rustc",
            "--quiet",
            "--locked",
            "--package",
            "rofs-guest",
            "--bin",
            "rofs-init",
        ])
        .args(["--profile", "guest"])
        // With a target of its own the flags are not for what runs during the build.
        .args(["--target", &target])
        .arg("--target-dir")
        .arg(&dir)
        .env("CARGO_ENCODED_RUSTFLAGS", "-Ctarget-feature=+crt-static");
    // What the outer build was asked for is not meant for this one.
    for name in [
        "RUSTFLAGS",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "CARGO_BUILD_TARGET",
    ] {
        cargo.env_remove(name);
    }
    let status = cargo
        .status()
        .map_err(|e| format!("cargo does not run: {e}"))?;
    if !status.success() {
        return Err(
            "the guest's init was not built; ROFS_INIT=FILE takes one that was built before".into(),
        );
    }
    Ok(dir.join(target).join("guest").join("rofs-init"))
}
