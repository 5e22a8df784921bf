// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Store paths that a running machine needs are kept from the garbage collector.

use std::fs;
use std::path::{Path, PathBuf};

use nixdb::GcRoot;

use super::Report;
use super::guard::Guard;
use crate::nix::Store;

/// Links in a directory of their own, which Nix knows as indirect roots: when they go, so does the
/// protection. What cannot be held is told; a machine runs without, too.
pub(super) fn hold(
    paths: &[PathBuf],
    store: &Store,
    dir: &Path,
    guard: &Guard,
    report: &dyn Report,
) -> Vec<GcRoot> {
    if paths.is_empty() {
        return Vec::new();
    }
    if let Err(e) = fs::create_dir(dir) {
        report.say(&format!("warning: cannot make {}: {e}", dir.display()));
        return Vec::new();
    }
    let mut held = Vec::new();
    for (n, path) in paths.iter().enumerate() {
        let link = dir.join(n.to_string());
        guard.file(&link);
        match store.hold(path, &link) {
            Ok(root) => held.push(root),
            Err(e) => report.say(&format!("warning: {e}")),
        }
    }
    guard.directory(dir);
    held
}
