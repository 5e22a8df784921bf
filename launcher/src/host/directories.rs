// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where machines live.

use std::env;
use std::path::{Path, PathBuf};

/// Where machines live: each has a directory of its name in both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directories {
    /// For what lives as long as a machine runs: `$XDG_RUNTIME_DIR/rofs-vm`, or `/run/rofs-vm`.
    pub runtime: PathBuf,
    /// For what stays: `$XDG_STATE_HOME/rofs-vm`, `~/.local/state/rofs-vm`, or `/var/lib/rofs-vm`.
    pub state: PathBuf,
}

/// There is no place for a machine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DirectoriesError {
    /// For its sockets.
    #[error(
        "no directory for sockets: set XDG_RUNTIME_DIR to a directory that is this user's alone"
    )]
    Runtime,
    /// For its images.
    #[error("no directory for images and logs: set HOME or XDG_STATE_HOME")]
    State,
}

impl Directories {
    /// Asks the environment.
    ///
    /// # Errors
    /// If neither the environment nor this user's privileges give a place.
    pub fn find() -> Result<Directories, DirectoriesError> {
        let root = rustix::process::geteuid().is_root();
        Directories::from(root, |name| env::var_os(name).map(PathBuf::from))
    }

    fn from(
        root: bool,
        variable: impl Fn(&str) -> Option<PathBuf>,
    ) -> Result<Directories, DirectoriesError> {
        // The specification says that relative ones are to be ignored.
        let absolute = |name| variable(name).filter(|path| path.is_absolute());
        let runtime = absolute("XDG_RUNTIME_DIR")
            .or_else(|| root.then(|| PathBuf::from("/run")))
            .ok_or(DirectoriesError::Runtime)?;
        let state = absolute("XDG_STATE_HOME")
            .or_else(|| root.then(|| PathBuf::from("/var/lib")))
            .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
            .ok_or(DirectoriesError::State)?;
        Ok(Directories {
            runtime: runtime.join("rofs-vm"),
            state: state.join("rofs-vm"),
        })
    }

    /// Where a running machine's sockets and lock are.
    pub fn runtime_of(&self, name: &str) -> PathBuf {
        self.runtime.join(Path::new(name))
    }

    /// Where a machine's images and logs are.
    pub fn state_of(&self, name: &str) -> PathBuf {
        self.state.join(Path::new(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(root: bool, variables: &[(&str, &str)]) -> Result<Directories, DirectoriesError> {
        Directories::from(root, |name| {
            variables
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| PathBuf::from(value))
        })
    }

    #[test]
    fn a_user_has_them_at_home() {
        let found = find(
            false,
            &[("XDG_RUNTIME_DIR", "/run/user/7"), ("HOME", "/home/a")],
        )
        .unwrap();
        assert_eq!(found.runtime_of("vm"), Path::new("/run/user/7/rofs-vm/vm"));
        assert_eq!(
            found.state_of("vm"),
            Path::new("/home/a/.local/state/rofs-vm/vm")
        );
    }

    #[test]
    fn root_has_them_in_the_system() {
        let found = find(true, &[("HOME", "/root")]).unwrap();
        assert_eq!(found.runtime, Path::new("/run/rofs-vm"));
        assert_eq!(found.state, Path::new("/var/lib/rofs-vm"));
    }

    #[test]
    fn without_a_place_it_is_said() {
        assert_eq!(
            find(false, &[("HOME", "/home/a")]),
            Err(DirectoriesError::Runtime)
        );
        assert_eq!(
            find(false, &[("XDG_RUNTIME_DIR", "run")]),
            Err(DirectoriesError::Runtime)
        );
        assert_eq!(
            find(false, &[("XDG_RUNTIME_DIR", "/r")]),
            Err(DirectoriesError::State)
        );
    }
}
