// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Network interfaces, forwarded ports, vsock.

use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Interface {
    /// What it is connected to.
    #[serde(rename = "type")]
    pub kind: InterfaceType,
    /// Its name on the host (`tap`, `macvtap`), at most 15 bytes; otherwise just a name.
    pub id: String,
    /// MAC address in the guest. Default: made from the names of VM and interface.
    #[serde(default)]
    pub mac: Option<String>,
    /// Bridge of the host to attach it to (`bridge`).
    #[serde(default)]
    pub bridge: Option<String>,
    /// What concerns type `macvtap` alone.
    #[serde(default)]
    pub macvtap: Macvtap,
    /// What concerns type `tap` alone.
    #[serde(default)]
    pub tap: Tap,
    /// What concerns type `user` alone. (rofs-vm only)
    #[serde(default)]
    pub user: User,
    /// Address which rofs-vm's init gives it in the guest, as `192.0.2.2/24`. Default: with `user`, one in the network made for it; otherwise none. (rofs-vm only)
    #[serde(default)]
    pub address: Option<String>,
    /// Default gateway; goes with `address`. (rofs-vm only)
    #[serde(default)]
    pub gateway: Option<IpAddr>,
    /// Name servers; go with `address`. (rofs-vm only)
    #[serde(default)]
    pub dns: Vec<IpAddr>,
}

impl Interface {
    /// An interface with everything else as by default.
    pub fn new(kind: InterfaceType, id: impl Into<String>) -> Self {
        Self {
            kind,
            id: id.into(),
            mac: None,
            bridge: None,
            macvtap: Macvtap::default(),
            tap: Tap::default(),
            user: User::default(),
            address: None,
            gateway: None,
            dns: Vec::new(),
        }
    }

    /// The MAC address: the given one, otherwise one of the locally administered range that is the
    /// same at each start.
    pub fn mac_for(&self, vm: &str) -> String {
        self.mac.clone().unwrap_or_else(|| {
            // FNV-1a: not for secrets, only so that interfaces differ.
            let hash = [vm, "\n", &self.id]
                .iter()
                .flat_map(|part| part.bytes())
                .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                    (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
                });
            let [_, _, _, b3, b4, b5, b6, b7] = hash.to_be_bytes();
            format!("02:{b3:02x}:{b4:02x}:{b5:02x}:{b6:02x}:{b7:02x}")
        })
    }
}

/// What an interface is connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum InterfaceType {
    /// A network of its own, with the host as its gateway; wants no privileges.
    User,
    /// A tap device which exists on the host.
    Tap,
    /// A macvtap device which exists on the host.
    Macvtap,
    /// A bridge of the host, through qemu-bridge-helper.
    Bridge,
}

/// What concerns macvtap interfaces alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Macvtap {
    /// Interface of the host it belongs to.
    pub link: Option<String>,
    /// Who can be reached through it.
    pub mode: Option<MacvtapMode>,
}

/// Who can be reached through a macvtap interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MacvtapMode {
    /// Nobody on the same link.
    Private,
    /// As the switch outside sends it back.
    Vepa,
    /// Others on the same link.
    Bridge,
    /// The link is this guest's alone.
    Passthru,
    /// Only listed senders.
    Source,
}

/// What concerns tap interfaces alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Tap {
    /// Packets go through the host's kernel (vhost-net) and not through the hypervisor.
    pub vhost: bool,
}

/// What concerns user interfaces alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct User {
    /// Who makes the network.
    pub backend: UserBackend,
}

/// Who makes the network of a user interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum UserBackend {
    /// QEMU itself; passt for cloud-hypervisor.
    #[default]
    Auto,
    /// QEMU itself.
    Qemu,
    /// An installed passt.
    Passt,
}

/// A port forwarded between host and guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Forward {
    /// Whose connections are forwarded: `host`, those to the host's port go to the guest; `guest`, the other way.
    #[serde(default)]
    pub from: ForwardFrom,
    /// Which protocol.
    #[serde(default)]
    pub proto: ForwardProto,
    /// The host's end.
    pub host: HostEnd,
    /// The guest's end.
    pub guest: GuestEnd,
}

/// Whose connections are forwarded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ForwardFrom {
    /// Those to a port of the host go to the guest.
    #[default]
    Host,
    /// Those of the guest to an address in its network go to the host.
    Guest,
}

/// Protocol of a forwarded port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ForwardProto {
    /// TCP
    #[default]
    Tcp,
    /// UDP
    Udp,
}

/// The host's end of a forwarded port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HostEnd {
    /// IPv4 address of the host. Default: all of them, or 127.0.0.1 when connections of the guest are forwarded.
    #[serde(default)]
    pub address: String,
    /// The port.
    #[schemars(range(min = 1))]
    pub port: u16,
}

/// The guest's end of a forwarded port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GuestEnd {
    /// IPv4 address in the guest's network. Default: the guest's own.
    #[serde(default)]
    pub address: String,
    /// The port.
    #[schemars(range(min = 1))]
    pub port: u16,
}

/// Sockets between host and guest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Vsock {
    /// The guest's address, 3 or more; setting it makes the device.
    #[schemars(range(min = 3))]
    pub cid: Option<u32>,
}
