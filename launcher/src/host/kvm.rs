// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Whether hardware virtualisation works.

use std::fs::{self, OpenOptions};
use std::io;

/// Whether hardware virtualisation works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kvm {
    /// `/dev/kvm` can be used.
    Usable,
    /// It should not be used; the sentence says why, and what helps.
    Unusable(String),
}

impl Kvm {
    pub(super) fn look() -> Kvm {
        if let Err(e) = OpenOptions::new().read(true).write(true).open("/dev/kvm") {
            return Kvm::Unusable(match e.kind() {
                io::ErrorKind::NotFound => "this machine has no /dev/kvm (is virtualisation switched on in its firmware?)".to_owned(),
                io::ErrorKind::PermissionDenied => {
                    "/dev/kvm may not be opened by this user (`sudo usermod -aG kvm $USER`, then log in again)".to_owned()
                }
                _ => format!("/dev/kvm: {e}"),
            });
        }
        // A KVM without the processor's help exists (inside some virtual machines) and runs guests
        // made for it only; whoever has such a guest says `accel = "kvm"`.
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        if cfg!(target_arch = "x86_64") && !has_virtualisation(&cpuinfo) {
            return Kvm::Unusable(
                "/dev/kvm is there, but the processor has neither VMX nor SVM, so ordinary kernels would not run".to_owned(),
            );
        }
        Kvm::Usable
    }
}

fn has_virtualisation(cpuinfo: &str) -> bool {
    cpuinfo
        .lines()
        .filter(|line| line.starts_with("flags"))
        .any(|line| {
            line.split_whitespace()
                .any(|flag| flag == "vmx" || flag == "svm")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_words() {
        assert!(has_virtualisation("model : x\nflags\t\t: fpu vmx sse\n"));
        assert!(has_virtualisation("flags : svm\n"));
        assert!(!has_virtualisation(
            "flags : fpu svm_lock\nvmx flags : vnmi\n"
        ));
    }
}
