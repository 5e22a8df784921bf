// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Screen and sound of the user.

use std::env;
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use crate::description::{Description, SoundBackend};

/// Screen and sound of the user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desktop {
    /// Whether windows can be opened: there is a Wayland socket, or `DISPLAY` is set.
    pub windows: bool,
    /// A device that renders (`/dev/dri/renderD128`) and can be opened.
    pub render_node: Option<PathBuf>,
    /// The sound server, when the description asks for one.
    pub sound: Option<SoundServer>,
}

/// A sound server's socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SoundServer {
    /// Somebody accepts connections there.
    Reachable(PathBuf),
    /// Nobody does; the sentence says where was looked.
    Unreachable(String),
}

impl Desktop {
    pub(super) fn look(description: &Description) -> Desktop {
        Desktop {
            windows: windows(),
            render_node: render_node(),
            sound: match (description.sound.enable, description.sound.backend) {
                (true, SoundBackend::Pipewire) => {
                    Some(pipewire(|name| env::var_os(name).map(PathBuf::from)))
                }
                (true, SoundBackend::Pulseaudio) => {
                    Some(pulseaudio(|name| env::var_os(name).map(PathBuf::from)))
                }
                _ => None,
            },
        }
    }
}

fn windows() -> bool {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty());
    let wayland = set("WAYLAND_DISPLAY").is_some_and(|display| {
        let socket = env::var_os("XDG_RUNTIME_DIR")
            .map_or_else(PathBuf::new, PathBuf::from)
            .join(display);
        socket.exists()
    });
    wayland || set("DISPLAY").is_some()
}

fn render_node() -> Option<PathBuf> {
    let mut nodes: Vec<PathBuf> = fs::read_dir("/dev/dri")
        .ok()?
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("renderD"))
        .map(|entry| entry.path())
        .collect();
    nodes.sort();
    nodes.into_iter().find(|node| {
        fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(node)
            .is_ok()
    })
}

/// Where PipeWire's clients look (pipewire(1)): in `$PIPEWIRE_RUNTIME_DIR`, `$XDG_RUNTIME_DIR` or
/// `$USERPROFILE`, for `$PIPEWIRE_REMOTE` or `pipewire-0`.
fn pipewire(variable: impl Fn(&str) -> Option<PathBuf>) -> SoundServer {
    let remote = variable("PIPEWIRE_REMOTE").unwrap_or_else(|| "pipewire-0".into());
    let dir = variable("PIPEWIRE_RUNTIME_DIR").or_else(|| variable("XDG_RUNTIME_DIR"));
    reach("PipeWire", dir.as_deref(), &remote)
}

/// `$PULSE_SERVER` (only unix sockets matter here), or `$XDG_RUNTIME_DIR/pulse/native`.
fn pulseaudio(variable: impl Fn(&str) -> Option<PathBuf>) -> SoundServer {
    if let Some(server) = variable("PULSE_SERVER") {
        let text = server.to_string_lossy().into_owned();
        // Anything that is not a socket (a host name) is for the library to find.
        let Some(path) = text
            .strip_prefix("unix:")
            .or_else(|| text.starts_with('/').then_some(&*text))
        else {
            return SoundServer::Reachable(server);
        };
        return reach("PulseAudio", None, Path::new(path));
    }
    let dir = variable("PULSE_RUNTIME_PATH")
        .or_else(|| variable("XDG_RUNTIME_DIR").map(|dir| dir.join("pulse")));
    reach("PulseAudio", dir.as_deref(), Path::new("native"))
}

fn reach(what: &str, dir: Option<&Path>, socket: &Path) -> SoundServer {
    let path = match dir {
        Some(dir) => dir.join(socket),
        None if socket.is_absolute() => socket.to_owned(),
        None => {
            return SoundServer::Unreachable(format!(
                "{what} was not looked for: XDG_RUNTIME_DIR is not set"
            ));
        }
    };
    match UnixStream::connect(&path) {
        Ok(_) => SoundServer::Reachable(path),
        Err(e) => {
            SoundServer::Unreachable(format!("{what} does not answer at {}: {e}", path.display()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn a_server_is_reachable_when_it_accepts() {
        let dir = tempfile::tempdir().unwrap();
        let look = || pipewire(|name| (name == "XDG_RUNTIME_DIR").then(|| dir.path().to_owned()));
        let SoundServer::Unreachable(why) = look() else {
            panic!("nobody is there")
        };
        assert!(why.contains("pipewire-0"), "{why}");
        let listener = UnixListener::bind(dir.path().join("pipewire-0")).unwrap();
        assert_eq!(
            look(),
            SoundServer::Reachable(dir.path().join("pipewire-0"))
        );
        // A socket whose owner died is still in the directory.
        drop(listener);
        assert!(matches!(look(), SoundServer::Unreachable(_)));
    }

    #[test]
    fn pulse_servers_elsewhere_are_left_to_the_library() {
        let at = |server: &'static str| {
            pulseaudio(move |name| (name == "PULSE_SERVER").then(|| server.into()))
        };
        assert_eq!(
            at("tcp:sound.example"),
            SoundServer::Reachable("tcp:sound.example".into())
        );
        assert!(matches!(
            at("unix:/nowhere/native"),
            SoundServer::Unreachable(_)
        ));
    }
}
