// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Network interfaces.

use std::net::Ipv4Addr;

use super::super::args::{Args, Opts};
use super::super::machine::{Link, Nic};
use super::Machine;
use crate::description::ForwardProto;
use crate::plan::quote;

pub(super) fn add(args: &mut Args, machine: &Machine<'_>) {
    for (i, nic) in machine.nics.iter().enumerate() {
        let id = format!("net{i}");
        if let Link::VhostUser(socket) = &nic.link {
            args.option(
                "-chardev",
                Opts::of("socket").set("id", &id).path("path", socket),
            );
        }
        args.option("-netdev", netdev(nic, &id));
        let queues = queues(&nic.link);
        let mut device = Opts::of("virtio-net-pci")
            .set("netdev", &id)
            .set("mac", &nic.mac);
        if queues > 1 {
            // Only where each queue has somebody behind it: of a single-queue network the guest
            // would wait for the others for ever.
            device = device.switch("mq", true).set("vectors", 2 * queues + 2);
        }
        // No firmware for booting from the network.
        args.option("-device", device.set("romfile", ""));
    }
}

fn queues(link: &Link) -> u32 {
    match link {
        Link::Tap { queues, .. } => *queues,
        Link::Macvtap { fds, .. } => u32::try_from(fds.len()).unwrap_or(1),
        _ => 1,
    }
}

fn netdev(nic: &Nic, id: &str) -> Opts {
    let netdev = |kind| Opts::of(kind).set("id", id);
    match &nic.link {
        Link::User {
            network,
            host_forwards,
            guest_forwards,
        } => {
            let mut options = netdev("user").set("net", format!("{network}/24"));
            for forward in host_forwards {
                let proto = match forward.proto {
                    ForwardProto::Tcp => "tcp",
                    ForwardProto::Udp => "udp",
                };
                let (host, guest) = (end(forward.host), end(forward.guest));
                options = options.set("hostfwd", format!("{proto}:{host}-{guest}"));
            }
            for relay in guest_forwards {
                let (address, port) = relay.guest;
                // QEMU splits it as a shell would.
                let command = relay
                    .command
                    .iter()
                    .map(|word| quote(word))
                    .collect::<Vec<_>>()
                    .join(" ");
                options = options.set("guestfwd", format!("tcp:{address}:{port}-cmd:{command}"));
            }
            options
        }
        Link::Stream(socket) => netdev("stream")
            .switch("server", false)
            .set("addr.type", "unix")
            .path("addr.path", socket),
        Link::VhostUser(_) => netdev("vhost-user").set("chardev", id),
        Link::Tap {
            name,
            queues,
            vhost,
        } => {
            // The scripts that QEMU would run otherwise are not ours to run.
            let options = netdev("tap")
                .set("ifname", name)
                .set("script", "no")
                .set("downscript", "no");
            let options = options.when(*vhost, "vhost");
            if *queues > 1 {
                options.set("queues", queues)
            } else {
                options
            }
        }
        Link::Macvtap { fds, .. } => match fds.as_slice() {
            [fd] => netdev("tap").set("fd", fd),
            fds => netdev("tap").set(
                "fds",
                fds.iter().map(u32::to_string).collect::<Vec<_>>().join(":"),
            ),
        },
        Link::Bridge { name, helper } => netdev("bridge").set("br", name).path("helper", helper),
    }
}

/// `ADDRESS:PORT`, where no address means the usual one.
fn end((address, port): (Option<Ipv4Addr>, u16)) -> String {
    address.map_or_else(|| format!(":{port}"), |address| format!("{address}:{port}"))
}
