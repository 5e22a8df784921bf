// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a guest boots: a NixOS system, or a kernel with what belongs to it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::description::Description;
use crate::host::{Host, modules_beside};
use crate::refusal::Refusal;

/// The files a guest boots from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boot {
    /// The kernel's image.
    pub kernel: PathBuf,
    /// The initrd that came with it.
    pub initrd: Option<PathBuf>,
    /// The directory with the kernel's `modules.dep`.
    pub modules: Option<PathBuf>,
    /// The NixOS system, if the guest is one.
    pub system: Option<System>,
    /// A `nix-store` among what the guest has, to load registrations with.
    pub nix_store: Option<PathBuf>,
}

/// A NixOS system, as `nixos-rebuild build` makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct System {
    /// Its store path.
    pub path: PathBuf,
    /// The parameters its kernel wants.
    pub kernel_params: Vec<String>,
    /// It was built to mount the store for itself, as by microvm.nix's guest module.
    pub mounts_store: bool,
}

/// A path is no NixOS system.
#[derive(Debug, thiserror::Error)]
#[error("{} is no NixOS system: {file}: {why}", path.display())]
pub struct SystemError {
    path: PathBuf,
    file: &'static str,
    why: io::Error,
}

/// Names under which a kernel package has its image.
const IMAGES: [&str; 5] = ["bzImage", "Image", "vmlinuz", "vmlinux", "kernel"];

impl Boot {
    /// Finds what a description boots.
    ///
    /// # Errors
    /// Names the options whose files are not there.
    pub fn find(description: &Description, host: &Host) -> Result<Boot, Vec<Refusal>> {
        let mut refusals = Vec::new();
        let system = description
            .system
            .as_deref()
            .and_then(|path| match System::read(path) {
                Ok(system) => Some(system),
                Err(e) => {
                    refusals.push(Refusal::new(
                        "system",
                        e,
                        "the path that `nixos-rebuild build` links as `result`",
                    ));
                    None
                }
            });
        let own = system.as_ref().map(|system| &system.path);
        let file = |path: &Path, option: &str, refusals: &mut Vec<Refusal>| {
            if let Err(e) = fs::File::open(path) {
                refusals.push(Refusal::new(
                    option,
                    format!("{}: {e}", path.display()),
                    "a file that is there",
                ));
            }
        };
        let (kernel, modules) = match (&description.kernel, own) {
            (Some(kernel), _) => {
                let image = image_of(kernel);
                (Some(image.clone()), modules_beside(&image))
            }
            (None, Some(system)) => (Some(system.join("kernel")), modules_of(system)),
            (None, None) if description.system.is_some() => (None, None),
            (None, None) => match &host.kernel {
                Some(kernel) => (Some(kernel.image.clone()), kernel.modules.clone()),
                None => {
                    let what = "there is no kernel that this user can read, neither of this system nor in /boot";
                    refusals.push(Refusal::new(
                        "kernel",
                        what,
                        "the path of a kernel image, or set ROFS_KERNEL to one",
                    ));
                    (None, None)
                }
            },
        };
        if let Some(kernel) = &kernel {
            file(kernel, "kernel", &mut refusals);
        }
        let initrd = description
            .initrd
            .clone()
            .or_else(|| own.map(|system| system.join("initrd")));
        if let Some(initrd) = &description.initrd {
            file(initrd, "initrd", &mut refusals);
        }
        if let Some(dir) = description
            .modules
            .as_ref()
            .filter(|dir| !dir.join("modules.dep").is_file())
        {
            let what = format!("{} has no modules.dep in it", dir.display());
            let instead = "the directory of one kernel's modules, as /lib/modules/RELEASE";
            refusals.push(Refusal::new("modules", what, instead));
        }
        match kernel {
            Some(kernel) if refusals.is_empty() => Ok(Boot {
                kernel,
                initrd,
                modules: description.modules.clone().or(modules),
                nix_store: nix_store(system.as_ref(), &description.closure),
                system,
            }),
            _ => Err(refusals),
        }
    }

    /// Whether an init of ours prepares the guest: as the description says; otherwise unless the
    /// system mounts for itself, or an initrd was given for a kernel that runs nothing of ours.
    pub fn guest_init(&self, description: &Description) -> bool {
        description
            .guest_init_wanted()
            .unwrap_or(match &self.system {
                Some(system) => !system.mounts_store && description.initrd.is_none(),
                None => false,
            })
    }
}

/// The links in a system lead to store paths, which need not be visible here for them to be in the
/// guest; so they are not followed.
fn nix_store(system: Option<&System>, closure: &[PathBuf]) -> Option<PathBuf> {
    let system = system.map(|system| system.path.join("sw/bin/nix-store"));
    let closure = closure.iter().map(|path| path.join("bin/nix-store"));
    system
        .into_iter()
        .chain(closure)
        .find(|file| fs::symlink_metadata(file).is_ok())
}

fn image_of(kernel: &Path) -> PathBuf {
    if !kernel.is_dir() {
        return kernel.to_owned();
    }
    IMAGES
        .iter()
        .map(|name| kernel.join(name))
        .find(|image| image.is_file())
        .unwrap_or_else(|| kernel.join(IMAGES[0]))
}

fn modules_of(system: &Path) -> Option<PathBuf> {
    let dirs = fs::read_dir(system.join("kernel-modules/lib/modules")).ok()?;
    dirs.flatten()
        .map(|entry| entry.path())
        .find(|dir| dir.join("modules.dep").is_file())
}

impl System {
    /// Reads a system. `path` may be a link to it, such as `result` or `/run/current-system`.
    ///
    /// # Errors
    /// If it lacks what every NixOS system has.
    pub fn read(path: &Path) -> Result<System, SystemError> {
        let failed = |file, why| SystemError {
            path: path.to_owned(),
            file,
            why,
        };
        let path = fs::canonicalize(path).map_err(|why| failed("the path itself", why))?;
        for file in ["kernel", "initrd", "init"] {
            fs::metadata(path.join(file)).map_err(|why| failed(file, why))?;
        }
        let params = fs::read_to_string(path.join("kernel-params"))
            .map_err(|why| failed("kernel-params", why))?;
        let fstab = fs::read_to_string(path.join("etc/fstab")).unwrap_or_default();
        Ok(System {
            kernel_params: params.split_whitespace().map(str::to_owned).collect(),
            mounts_store: mounts_store(&fstab),
            path,
        })
    }

    /// What becomes process 1.
    pub fn init(&self) -> PathBuf {
        self.path.join("init")
    }
}

/// Whether an fstab brings the store in from outside: from a share, from microvm.nix's store image,
/// or as an overlay.
fn mounts_store(fstab: &str) -> bool {
    fstab
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|fields| fields.first().is_some_and(|first| !first.starts_with('#')))
        .any(|fields| match fields[..] {
            [_, place, kind, ..] => {
                let shared = ["virtiofs", "9p", "overlay", "erofs", "squashfs"].contains(&kind);
                shared && (place == "/nix/store" || place.starts_with("/nix/.ro-store"))
            }
            _ => false,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systems_built_for_microvms() {
        assert!(mounts_store(
            "ro-store /nix/.ro-store virtiofs defaults,x-initrd.mount 0 0\n"
        ));
        assert!(mounts_store(
            "# made\nstore /nix/store 9p trans=virtio 0 0\n"
        ));
        assert!(mounts_store(
            "overlay /nix/store overlay lowerdir=/nix/.ro-store 0 0\n"
        ));
        assert!(!mounts_store(
            "/dev/disk/by-label/nixos / ext4 defaults 0 1\n"
        ));
        assert!(!mounts_store(
            "home /home virtiofs defaults 0 0\n# ro /nix/store 9p\n"
        ));
    }

    fn system() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for file in ["kernel", "initrd", "init"] {
            fs::write(dir.path().join(file), "").unwrap();
        }
        fs::write(
            dir.path().join("kernel-params"),
            "loglevel=4 net.ifnames=0\n",
        )
        .unwrap();
        dir
    }

    #[test]
    fn a_system_is_read() {
        let dir = system();
        let system = System::read(dir.path()).unwrap();
        assert_eq!(system.kernel_params, ["loglevel=4", "net.ifnames=0"]);
        assert!(!system.mounts_store);
    }

    #[test]
    fn what_is_missing_is_named() {
        let dir = system();
        fs::remove_file(dir.path().join("initrd")).unwrap();
        let message = System::read(dir.path()).unwrap_err().to_string();
        assert!(message.contains("is no NixOS system: initrd:"), "{message}");
        assert!(System::read(Path::new("/nowhere/system")).is_err());
    }
}
