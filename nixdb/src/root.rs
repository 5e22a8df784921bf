// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Holding a path against garbage collection while it is in use.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Error;

/// A symbolic link to a store path, known to the garbage collector as a root. Dropping it removes
/// the link, and Nix the rest when it next collects.
#[derive(Debug)]
pub struct GcRoot {
    link: PathBuf,
    path: PathBuf,
}

impl GcRoot {
    /// Holds the valid store path `path` by a link made at `link`, which may be any place that is
    /// ours: Nix looks from `gcroots/auto` whether it is still there. `store` is what to give as
    /// Nix's `--store`, if not what is configured on this machine.
    ///
    /// `nix-store` does it: where the store is not ours only Nix's daemon can, and only Nix itself
    /// knows how to do it while a collection is under way.
    ///
    /// # Errors
    /// [`Error::NoNix`] without a `nix-store` on the `PATH`; [`Error::NotHeld`]. Both are worded
    /// as warnings: whatever uses the path can go on.
    pub fn add(path: &str, link: &Path, store: Option<&str>) -> Result<GcRoot, Error> {
        let not_held = |reason: String| Error::NotHeld {
            path: path.to_owned(),
            reason,
        };
        if Path::new(path).extension().is_some_and(|e| e == "drv") {
            // `--realise` would build it, and hold what it made.
            return Err(not_held("it is a derivation".to_owned()));
        }
        let mut command = Command::new("nix-store");
        command.args(store.map(|store| ["--store", store]).iter().flatten());
        // The path is there; if not, it is not worth waiting for the network to say so.
        command.args(["--option", "substitute", "false", "--realise", path]);
        // Older ones take `--indirect`; newer ones mean it anyway and take the flag in silence.
        command.arg("--add-root").arg(link).arg("--indirect");
        let output = command
            .stdin(Stdio::null())
            .output()
            .map_err(|e| match e.kind() {
                io::ErrorKind::NotFound => Error::NoNix {
                    path: path.to_owned(),
                },
                _ => not_held(format!("nix-store: {e}")),
            })?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let last = said.lines().rfind(|line| !line.trim().is_empty());
            return Err(not_held(match last {
                Some(line) => line.trim().to_owned(),
                None => format!("nix-store ended with {}", output.status),
            }));
        }
        match fs::read_link(link) {
            Ok(target) if target == Path::new(path) => Ok(GcRoot {
                link: link.to_owned(),
                path: target,
            }),
            _ => Err(not_held(format!(
                "nix-store did not make the link {}",
                link.display()
            ))),
        }
    }

    /// The link.
    pub fn link(&self) -> &Path {
        &self.link
    }
}

impl Drop for GcRoot {
    fn drop(&mut self) {
        // Somebody may have put something else in its place.
        if fs::read_link(&self.link).is_ok_and(|target| target == self.path) {
            let _ = fs::remove_file(&self.link);
        }
    }
}
