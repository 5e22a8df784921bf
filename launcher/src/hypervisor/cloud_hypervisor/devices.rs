// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Disks, shares, network, sound, vsock, balloon.

use super::super::args::{Args, Opts};
use super::super::machine::{Disk, FsDevice, Link, Nic};
use super::Machine;

/// The guest's vsock address where only the agent wants one. It is seen by this machine alone.
const AGENT_CID: u32 = 3;

/// The longest ring that rofs-serve and virtiofsd take.
const RING: u32 = 1024;

/// Rings of a sound device: control, event, playing, recording (virtio 1.3, 5.14.2).
const SOUND_RINGS: [u32; 4] = [64; 4];

pub(super) fn add(args: &mut Args, machine: &Machine<'_>) {
    let cpus = machine.description.vcpu;
    // One option takes several values.
    values(
        args,
        "--disk",
        machine.disks.iter().map(|one| disk(one, cpus)),
    );
    values(args, "--fs", machine.fs.iter().map(|one| fs(one, cpus)));
    values(args, "--net", machine.nics.iter().map(net));
    if let Some(socket) = &machine.sound_socket {
        let sound = Opts::new()
            .path("socket", socket)
            .set("device_type", "sound");
        args.option(
            "--generic-vhost-user",
            sound.list("queue_sizes", SOUND_RINGS.iter()),
        );
    }
    if let Some(cid) = vsock_cid(machine) {
        args.option(
            "--vsock",
            Opts::new()
                .set("cid", cid)
                .path("socket", &machine.sockets.vsock()),
        );
    }
    let description = machine.description;
    if description.balloon || description.initial_balloon_mem > 0 {
        let balloon = Opts::new().set("size", format!("{}M", description.initial_balloon_mem));
        let balloon = balloon.switch("deflate_on_oom", description.deflate_on_oom);
        args.option("--balloon", balloon.switch("free_page_reporting", true));
    }
}

fn values(args: &mut Args, option: &str, values: impl Iterator<Item = Opts>) {
    for (i, value) in values.enumerate() {
        if i == 0 {
            args.flag(option);
        }
        args.flag(&value.to_string());
    }
}

fn disk(disk: &Disk, cpus: u32) -> Opts {
    Opts::new()
        .path("path", &disk.image)
        .switch("readonly", disk.read_only)
        .switch("direct", disk.direct)
        // Of a raw image whose format is guessed the first sector cannot be written.
        .set("image_type", disk.format)
        .maybe("serial", disk.serial.as_ref())
        .set("num_queues", cpus)
}

fn fs(fs: &FsDevice, cpus: u32) -> Opts {
    // More queues than processors are refused.
    let queues = u32::from(fs.request_queues).min(cpus).max(1);
    Opts::new()
        .set("tag", &fs.tag)
        .path("socket", &fs.socket)
        .set("num_queues", queues)
        .set("queue_size", RING)
}

fn net(nic: &Nic) -> Opts {
    let pairs = |queues: u32| (queues > 1).then_some(2 * queues);
    match &nic.link {
        Link::Tap { name, queues, .. } => Opts::new()
            .set("tap", name)
            .set("mac", &nic.mac)
            .maybe("num_queues", pairs(*queues)),
        Link::Macvtap { fds, .. } => {
            let queues = u32::try_from(fds.len()).unwrap_or(1);
            Opts::new()
                .list("fd", fds.iter())
                .set("mac", &nic.mac)
                .maybe("num_queues", pairs(queues))
        }
        Link::VhostUser(socket) => Opts::new()
            .switch("vhost_user", true)
            .path("socket", socket)
            .set("vhost_mode", "client")
            .set("mac", &nic.mac)
            .set("num_queues", 2),
        // Refused before a machine is made (see `supports`); without a link there is no interface.
        Link::User { .. } | Link::Stream(_) | Link::Bridge { .. } => {
            Opts::new().set("mac", &nic.mac)
        }
    }
}

/// The guest's vsock address.
pub(super) fn vsock_cid(machine: &Machine<'_>) -> Option<u32> {
    machine
        .description
        .vsock
        .cid
        .or(machine.agent.then_some(AGENT_CID))
}
