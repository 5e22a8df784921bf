// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Network interfaces: what each is connected to, and who makes that.

use std::net::Ipv4Addr;

use super::passt;
use super::{ProcessPlan, Sockets};
use crate::description::{
    Description, Forward, ForwardFrom, ForwardProto, Interface, InterfaceType, UserBackend,
};
use crate::host::Host;
use crate::hypervisor::{HostForward, Hypervisor, Link, Nic, Relay};
use crate::refusal::Refusal;

/// The first descriptor of a macvtap in the hypervisor.
const FIRST_FD: u32 = 10;

/// The network of one `user` interface, which the launcher makes and so knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UserNetwork(u8);

impl UserNetwork {
    /// Bits of its prefix.
    pub(super) const PREFIX: u8 = 24;

    /// Of the `index`th interface: several must not have the same addresses.
    pub(super) fn of(index: usize) -> UserNetwork {
        UserNetwork(u8::try_from(index.saturating_add(2)).unwrap_or(u8::MAX))
    }

    fn at(self, last: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 0, self.0, last)
    }

    pub(super) fn network(self) -> Ipv4Addr {
        self.at(0)
    }

    /// The host, as the guest sees it: its loopback interface.
    pub(super) fn host(self) -> Ipv4Addr {
        self.at(2)
    }

    pub(super) fn dns(self) -> Ipv4Addr {
        self.at(3)
    }

    pub(super) fn guest(self) -> Ipv4Addr {
        self.at(15)
    }

    /// Where forwarded ports of the host are, when no address is given.
    fn relay(self) -> Ipv4Addr {
        self.at(100)
    }

    fn contains(self, address: Ipv4Addr) -> bool {
        let [a, b, c, _] = address.octets();
        [a, b, c] == [10, 0, self.0]
    }
}

/// Interfaces, and the programs behind them.
#[derive(Debug, Default)]
pub(super) struct Network {
    pub(super) nics: Vec<Nic>,
    pub(super) helpers: Vec<ProcessPlan>,
}

pub(super) struct Planner<'a> {
    pub(super) description: &'a Description,
    pub(super) host: &'a Host,
    pub(super) hypervisor: &'a dyn Hypervisor,
    pub(super) sockets: &'a Sockets,
    pub(super) name: &'a str,
}

impl Planner<'_> {
    pub(super) fn network(&self, refusals: &mut Vec<Refusal>) -> Network {
        let mut network = Network::default();
        let mut user_networks = 0;
        let mut fd = FIRST_FD;
        for (i, interface) in self.description.interfaces.iter().enumerate() {
            let link = match interface.kind {
                InterfaceType::User => {
                    let own = UserNetwork::of(user_networks);
                    // All forwarded ports are the first one's.
                    let forwards = if user_networks == 0 {
                        &self.description.forward_ports[..]
                    } else {
                        &[]
                    };
                    user_networks += 1;
                    self.user(i, interface, own, forwards, &mut network.helpers, refusals)
                }
                InterfaceType::Tap => self.tap(i, interface, refusals),
                InterfaceType::Macvtap => self.macvtap(i, interface, &mut fd, refusals),
                InterfaceType::Bridge => self.bridge(i, interface, refusals),
            };
            if let Some(link) = link {
                network.nics.push(Nic {
                    id: interface.id.clone(),
                    mac: interface.mac_for(self.name),
                    link,
                });
            }
        }
        network
    }

    fn user(
        &self,
        i: usize,
        interface: &Interface,
        own: UserNetwork,
        forwards: &[Forward],
        helpers: &mut Vec<ProcessPlan>,
        refusals: &mut Vec<Refusal>,
    ) -> Option<Link> {
        let passt = match interface.user.backend {
            UserBackend::Passt => true,
            UserBackend::Qemu => false,
            UserBackend::Auto => !self.hypervisor.has_user_network(),
        };
        if !passt {
            return Some(self.slirp(own, forwards, refusals));
        }
        let option = format!("interfaces[{i}].user.backend");
        let alternative = if self.hypervisor.has_user_network() {
            "install passt, or `user.backend = \"qemu\"`"
        } else {
            "install passt, or `type = \"tap\"`, or `hypervisor = \"qemu\"`"
        };
        let Some(program) = &self.host.tools.passt else {
            refusals.push(Refusal::new(option, "passt is not installed", alternative));
            return None;
        };
        let socket = self.sockets.net(i);
        if !program.vhost_user && !self.hypervisor.has_user_network() {
            let what =
                "this passt cannot be a vhost-user device, which needs a version of 2025 or later";
            refusals.push(Refusal::new(option, what, alternative));
            return None;
        }
        helpers.push(passt::process(
            program,
            &socket,
            own,
            forwards,
            self.host.root,
            refusals,
        ));
        Some(if program.vhost_user {
            Link::VhostUser(socket)
        } else {
            Link::Stream(socket)
        })
    }

    /// QEMU's own network.
    fn slirp(&self, own: UserNetwork, forwards: &[Forward], refusals: &mut Vec<Refusal>) -> Link {
        let mut host_forwards = Vec::new();
        let mut guest_forwards = Vec::new();
        for (i, forward) in forwards.iter().enumerate() {
            let host = address(&forward.host.address);
            let guest = address(&forward.guest.address);
            match forward.from {
                ForwardFrom::Host => {
                    host_forwards.push(HostForward {
                        proto: forward.proto,
                        host: (host, forward.host.port),
                        guest: (guest, forward.guest.port),
                    });
                }
                ForwardFrom::Guest => match self.relay(i, forward, own) {
                    Ok(relay) => guest_forwards.extend(relay),
                    Err(refusal) => refusals.push(refusal),
                },
            }
        }
        Link::User {
            network: own.network(),
            host_forwards,
            guest_forwards,
        }
    }

    /// A port in the guest's network that leads to one of the host; `None` when it does already.
    fn relay(
        &self,
        i: usize,
        forward: &Forward,
        own: UserNetwork,
    ) -> Result<Option<Relay>, Refusal> {
        let host = address(&forward.host.address).unwrap_or(Ipv4Addr::LOCALHOST);
        let guest = address(&forward.guest.address);
        let same = forward.host.port == forward.guest.port;
        if host.is_loopback() && same && guest.is_none_or(|guest| guest == own.host()) {
            return Ok(None);
        }
        let refuse = |option: &str, what: String, instead: String| {
            Refusal::new(format!("forwardPorts[{i}].{option}"), what, instead)
        };
        if forward.proto == ForwardProto::Udp {
            let what = "QEMU's own network forwards only TCP from guest to host".to_owned();
            let instead = format!(
                "leave it out: the guest reaches the host's loopback interface at {}",
                own.host()
            );
            return Err(refuse("proto", what, instead));
        }
        let guest = guest.unwrap_or(own.relay());
        if !own.contains(guest) || [own.host(), own.dns(), own.network()].contains(&guest) {
            let what = format!("{guest} is no free address in the guest's network");
            return Err(refuse(
                "guest.address",
                what,
                format!("one of {}/24, such as {}", own.network(), own.relay()),
            ));
        }
        let Some(program) = &self.host.tools.rofs_vm else {
            let what =
                "this program does not know its own path, which it needs for connecting the port"
                    .to_owned();
            return Err(refuse(
                "from",
                what,
                format!(
                    "the host's ports at {}, where the guest has them anyway",
                    own.host()
                ),
            ));
        };
        let command = vec![
            program.display().to_string(),
            "relay".to_owned(),
            host.to_string(),
            forward.host.port.to_string(),
        ];
        Ok(Some(Relay {
            guest: (guest, forward.guest.port),
            command,
        }))
    }

    fn tap(&self, i: usize, interface: &Interface, refusals: &mut Vec<Refusal>) -> Option<Link> {
        let name = &interface.id;
        let cpus = self.description.vcpu;
        let Some(multi_queue) = self.host.interfaces.get(name).and_then(|known| known.tap) else {
            let queues = if cpus > 1 { " multi_queue" } else { "" };
            let what = format!("this machine has no tap interface {name}");
            let instead = format!(
                "`ip tuntap add {name} mode tap user $USER{queues}` and `ip link set {name} up`, as root"
            );
            refusals.push(Refusal::new(format!("interfaces[{i}].id"), what, instead));
            return None;
        };
        if interface.tap.vhost && !self.host.vhost_net && self.hypervisor.has_user_network() {
            let instead =
                "`modprobe vhost_net` and the right to open the device, or leave `tap.vhost` out";
            refusals.push(Refusal::new(
                format!("interfaces[{i}].tap.vhost"),
                "/dev/vhost-net cannot be opened on this machine",
                instead,
            ));
        }
        // One made without `multi_queue` cannot be opened twice.
        let queues = if multi_queue { cpus } else { 1 };
        Some(Link::Tap {
            name: name.clone(),
            queues,
            vhost: interface.tap.vhost,
        })
    }

    fn macvtap(
        &self,
        i: usize,
        interface: &Interface,
        fd: &mut u32,
        refusals: &mut Vec<Refusal>,
    ) -> Option<Link> {
        let name = &interface.id;
        let Some(device) = self
            .host
            .interfaces
            .get(name)
            .and_then(|known| known.macvtap.clone())
        else {
            let link = interface.macvtap.link.as_deref().unwrap_or("LINK");
            let what = format!("this machine has no macvtap interface {name}");
            let mac = interface.mac_for(self.name);
            let instead = format!(
                "`ip link add link {link} name {name} address {mac} type macvtap mode bridge`, `ip link set {name} up` and the right to open its device /dev/tapN, as root"
            );
            refusals.push(Refusal::new(format!("interfaces[{i}].id"), what, instead));
            return None;
        };
        let first = *fd;
        *fd += self.description.vcpu;
        Some(Link::Macvtap {
            fds: (first..*fd).collect(),
            device,
        })
    }

    fn bridge(&self, i: usize, interface: &Interface, refusals: &mut Vec<Refusal>) -> Option<Link> {
        let name = interface.bridge.as_ref()?;
        if !self
            .host
            .interfaces
            .get(name)
            .is_some_and(|known| known.bridge)
        {
            let instead =
                format!("`ip link add {name} type bridge` and `ip link set {name} up`, as root");
            refusals.push(Refusal::new(
                format!("interfaces[{i}].bridge"),
                format!("this machine has no bridge {name}"),
                instead,
            ));
        }
        let Some(helper) = self.host.tools.bridge_helper.clone() else {
            let instead = format!(
                "install QEMU's, with its set-uid bit and `allow {name}` in /etc/qemu/bridge.conf; or `type = \"tap\"`, with a tap device that is in the bridge"
            );
            refusals.push(Refusal::new(
                format!("interfaces[{i}].type"),
                "qemu-bridge-helper is not installed",
                instead,
            ));
            return None;
        };
        Some(Link::Bridge {
            name: name.clone(),
            helper,
        })
    }
}

/// An IPv4 address, if one is written there; what else is there was refused before.
pub(super) fn address(text: &str) -> Option<Ipv4Addr> {
    text.parse().ok()
}
