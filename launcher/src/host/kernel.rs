// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The kernel of this machine, for guests that bring none.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// A kernel that lies on this machine, and its modules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostKernel {
    /// The image.
    pub image: PathBuf,
    /// The directory with `modules.dep`, if it was found.
    pub modules: Option<PathBuf>,
}

impl HostKernel {
    /// `$ROFS_KERNEL`, else the kernel that runs here (of NixOS, or in `/boot`), else the newest
    /// one in `/boot`.
    pub(super) fn find() -> Option<HostKernel> {
        if let Some(image) = env::var_os("ROFS_KERNEL").map(PathBuf::from) {
            return Some(HostKernel {
                modules: modules_beside(&image),
                image,
            });
        }
        let release = rustix::system::uname()
            .release()
            .to_string_lossy()
            .into_owned();
        HostKernel::among(Path::new("/"), &release)
    }

    fn among(root: &Path, running: &str) -> Option<HostKernel> {
        let booted = root.join("run/booted-system");
        if readable(&booted.join("kernel")) {
            let modules = Some(booted.join("kernel-modules/lib/modules").join(running))
                .filter(|dir| has_modules(dir));
            return Some(HostKernel {
                image: booted.join("kernel"),
                modules,
            });
        }
        let boot = root.join("boot");
        let images = fs::read_dir(&boot).ok().into_iter().flatten().flatten();
        let releases = images.filter_map(|entry| {
            Some(
                entry
                    .file_name()
                    .to_str()?
                    .strip_prefix("vmlinuz-")?
                    .to_owned(),
            )
        });
        // The one that runs, otherwise the newest; only root can read some distributions' images.
        let mut releases: Vec<String> = releases
            .filter(|release| readable(&boot.join(format!("vmlinuz-{release}"))))
            .collect();
        releases.sort_by_cached_key(|release| (release == running, version_key(release)));
        let release = releases.pop()?;
        let modules = ["lib/modules", "usr/lib/modules"]
            .iter()
            .map(|dir| root.join(dir).join(&release))
            .find(|dir| has_modules(dir));
        Some(HostKernel {
            image: boot.join(format!("vmlinuz-{release}")),
            modules,
        })
    }
}

/// The modules of a kernel image: in its Nix package, or in `/lib/modules` when its name ends in
/// the release.
pub(crate) fn modules_beside(image: &Path) -> Option<PathBuf> {
    let package = image.parent()?.join("lib/modules");
    let only = fs::read_dir(&package)
        .ok()
        .and_then(|mut entries| entries.next()?.ok())
        .map(|entry| entry.path());
    let by_name = image
        .file_name()?
        .to_str()?
        .split_once('-')
        .map(|(_, release)| Path::new("/lib/modules").join(release));
    only.into_iter().chain(by_name).find(|dir| has_modules(dir))
}

fn has_modules(dir: &Path) -> bool {
    dir.join("modules.dep").is_file()
}

fn readable(file: &Path) -> bool {
    File::open(file).is_ok_and(|file| file.metadata().is_ok_and(|metadata| metadata.is_file()))
}

/// Numbers compare as numbers: 6.9 comes before 6.12.
fn version_key(release: &str) -> Vec<u64> {
    release
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|part| part.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(file: &Path) {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, "").unwrap();
    }

    #[test]
    fn the_running_one_then_the_newest() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        assert_eq!(HostKernel::among(root, "6.9.1"), None);
        touch(&root.join("boot/vmlinuz-6.9.1"));
        touch(&root.join("boot/vmlinuz-6.12.3"));
        touch(&root.join("lib/modules/6.12.3/modules.dep"));
        let newest = HostKernel::among(root, "7.0").unwrap();
        assert_eq!(newest.image, root.join("boot/vmlinuz-6.12.3"));
        assert_eq!(newest.modules, Some(root.join("lib/modules/6.12.3")));
        let running = HostKernel::among(root, "6.9.1").unwrap();
        assert_eq!(
            (running.image, running.modules),
            (root.join("boot/vmlinuz-6.9.1"), None)
        );
        touch(&root.join("run/booted-system/kernel"));
        touch(&root.join("run/booted-system/kernel-modules/lib/modules/6.6/modules.dep"));
        let nixos = HostKernel::among(root, "6.6").unwrap();
        assert_eq!(nixos.image, root.join("run/booted-system/kernel"));
        assert!(nixos.modules.is_some());
    }

    #[test]
    fn modules_of_a_package() {
        let package = tempfile::tempdir().unwrap();
        let dep = package.path().join("lib/modules/6.1.0/modules.dep");
        touch(&dep);
        assert_eq!(
            modules_beside(&package.path().join("bzImage")).as_deref(),
            dep.parent()
        );
        assert_eq!(modules_beside(Path::new("/nowhere/bzImage")), None);
    }
}
