// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Sockets between host and guest.

use super::super::args::{Args, Opts};
use super::Machine;
use crate::description::Description;
use crate::host::Host;
use crate::refusal::Refusal;

pub(super) fn refusal(description: &Description, host: &Host) -> Option<Refusal> {
    (description.vsock.cid.is_some() && !host.vhost_vsock).then(|| {
        let instead = "`modprobe vhost_vsock` and the right to open the device (group kvm on most distributions), or leave `vsock` out";
        Refusal::new("vsock.cid", "/dev/vhost-vsock cannot be opened on this machine", instead)
    })
}

pub(super) fn add(args: &mut Args, machine: &Machine<'_>) {
    if let Some(cid) = machine.description.vsock.cid {
        args.option("-device", Opts::of("vhost-vsock-pci").set("guest-cid", cid));
    }
}
