// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Options of microvm.nix which rofs-vm does not use, or calls otherwise.
//!
//! They may stand in a file, so that what `nix eval --json` prints of a `config.microvm` runs as it
//! is. Where one is set to something that matters, a warning says that it has no effect.

/// An option which is read but not used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unused {
    /// The option.
    pub(crate) option: &'static str,
    /// Which values make no difference.
    pub(crate) quiet: Quiet,
    /// What to do instead.
    pub(crate) instead: &'static str,
}

/// Values of an unused option that make no difference.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Quiet {
    /// All: it says how to build something, or concerns another hypervisor.
    All,
    /// Null, false, 0 and what is empty.
    Empty,
    /// As `Empty`, and this text.
    Text(&'static str),
    /// As `Empty`, and a file's name, without a folder, with this ending.
    FileName(&'static str),
}

const fn built(option: &'static str) -> Unused {
    Unused {
        option,
        quiet: Quiet::All,
        instead: "it says how microvm.nix builds something",
    }
}

const fn other(option: &'static str) -> Unused {
    Unused {
        option,
        quiet: Quiet::All,
        instead: "it concerns a hypervisor which rofs-vm does not drive",
    }
}

const fn unless_empty(option: &'static str, instead: &'static str) -> Unused {
    Unused {
        option,
        quiet: Quiet::Empty,
        instead,
    }
}

/// What microvm.nix calls by another name than we: its name, ours.
pub(crate) const RENAMED: &[(&str, &str)] = &[("initrdPath", "initrd")];

/// All of them.
pub(crate) const UNUSED: &[Unused] = &[
    built("optimize"),
    built("runner"),
    built("declaredRunner"),
    built("vmHostPackages"),
    built("binScripts"),
    built("bootDisk"),
    built("deploy"),
    built("prettyProcnames"),
    built("systemSymlink"),
    built("storeDiskType"),
    built("storeDiskErofsFlags"),
    built("storeDiskSquashfsFlags"),
    built("graphics.crosvmPackage"),
    built("vsock.ssh"),
    other("alioth"),
    other("crosvm"),
    other("firecracker"),
    other("kvmtool"),
    other("stratovirt"),
    other("vfkit"),
    unless_empty(
        "preStart",
        "run these commands before rofs-vm, for instance in an `ExecStartPre=` of its unit",
    ),
    unless_empty(
        "extraArgsScript",
        "write the arguments into `qemu.extraArgs` or `cloud-hypervisor.extraArgs`",
    ),
    unless_empty("balloonMem", "write `balloon = true`"),
    unless_empty("user", "start rofs-vm as that user; it needs no root"),
    unless_empty(
        "devices",
        "pass the device in `qemu.extraArgs`, as in [\"-device\", \"vfio-pci,host=0000:01:00.0\"]",
    ),
    unless_empty(
        "registerWithMachined",
        "`rofs-vm list` shows what is running",
    ),
    unless_empty(
        "qemu.pcieRootPorts",
        "write the ports into `qemu.extraArgs`, as in [\"-device\", \"pcie-root-port,id=port0\"]",
    ),
    Unused {
        option: "socket",
        quiet: Quiet::FileName(".sock"),
        instead: "the control socket is in the VM's runtime directory; `rofs-vm status` shows it",
    },
    Unused {
        option: "virtiofsd.group",
        quiet: Quiet::Text("kvm"),
        instead: "virtiofsd and the hypervisor run as the same user, who owns the socket",
    },
];
