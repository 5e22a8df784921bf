// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Network interfaces, by netlink (`include/uapi/linux/rtnetlink.h`).

use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;

use rofs_guest::config::Interface;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType};

use crate::disks::{read_line, wait_for};
use crate::failure::{Context, Failure};

const NLMSG_ERROR: u16 = 2;
const RTM_NEWLINK: u16 = 16;
const RTM_NEWADDR: u16 = 20;
const RTM_NEWROUTE: u16 = 24;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_REPLACE: u16 = 0x100;
const NLM_F_CREATE: u16 = 0x400;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
/// Of addresses: not to be tested for being another's, which takes a second.
const IFA_F_NODAD: u8 = 2;
const RT_TABLE_MAIN: u8 = 254;
const RTPROT_BOOT: u8 = 3;
const RTN_UNICAST: u8 = 1;
const IFF_UP: u32 = 1;

/// Brings the loopback interface and the others up, and writes `/etc/resolv.conf`.
pub(crate) fn up(interfaces: &[Interface], dns: &[IpAddr]) -> Result<(), Failure> {
    let socket = rustix::net::socket(AddressFamily::NETLINK, SocketType::RAW, None)
        .context(|| "opening a netlink socket: has the kernel networking?".into())?;
    link_up(&socket, index_of("lo")?).context(|| "bringing the loopback interface up".into())?;
    for interface in interfaces {
        let mac = &interface.mac;
        let name = wait_for(|| name_of(mac)).ok_or_else(|| {
            Failure::new(format!(
                "no network interface with the address {mac} appeared; is the module virtio_net in the kernel's module directory?"
            ))
        })?;
        let index = index_of(&name)?;
        link_up(&socket, index).context(|| format!("bringing {name} up"))?;
        for (address, prefix) in &interface.addresses {
            new_address(&socket, index, *address, *prefix)
                .context(|| format!("giving {name} the address {address}/{prefix}"))?;
        }
        for gateway in &interface.gateways {
            new_default_route(&socket, index, *gateway)
                .context(|| format!("routing by {gateway} of {name}"))?;
        }
    }
    if dns.is_empty() {
        return Ok(());
    }
    let text: String = dns
        .iter()
        .map(|server| format!("nameserver {server}\n"))
        .collect();
    fs::create_dir_all("/etc")
        .and_then(|()| fs::write("/etc/resolv.conf", text))
        .context(|| "writing /etc/resolv.conf".into())
}

fn name_of(mac: &str) -> Option<String> {
    fs::read_dir("/sys/class/net")
        .ok()?
        .flatten()
        .find_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let found = read_line(&format!("/sys/class/net/{name}/address")).ok()?;
            found.eq_ignore_ascii_case(mac).then_some(name)
        })
}

fn index_of(name: &str) -> Result<u32, Failure> {
    let path = format!("/sys/class/net/{name}/ifindex");
    read_line(&path)?
        .parse()
        .map_err(|e| Failure::new(format!("{path} makes no sense: {e}")))
}

fn link_up(socket: &OwnedFd, index: u32) -> io::Result<()> {
    // struct ifinfomsg: family, padding, type, index, flags, which flags change.
    let mut body = vec![0; 4];
    body.extend(index.to_ne_bytes());
    body.extend(IFF_UP.to_ne_bytes());
    body.extend(IFF_UP.to_ne_bytes());
    request(socket, RTM_NEWLINK, 0, &body)
}

fn new_address(socket: &OwnedFd, index: u32, address: IpAddr, prefix: u8) -> io::Result<()> {
    // struct ifaddrmsg: family, length of prefix, flags, scope, index.
    let mut body = vec![family(address), prefix, IFA_F_NODAD, 0];
    body.extend(index.to_ne_bytes());
    attribute(&mut body, IFA_LOCAL, &octets(address));
    attribute(&mut body, IFA_ADDRESS, &octets(address));
    request(socket, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, &body)
}

fn new_default_route(socket: &OwnedFd, index: u32, gateway: IpAddr) -> io::Result<()> {
    // struct rtmsg: family, lengths of prefixes, tos, table, protocol, scope, type, flags.
    let mut body = vec![
        family(gateway),
        0,
        0,
        0,
        RT_TABLE_MAIN,
        RTPROT_BOOT,
        0,
        RTN_UNICAST,
    ];
    body.extend(0_u32.to_ne_bytes());
    attribute(&mut body, RTA_GATEWAY, &octets(gateway));
    attribute(&mut body, RTA_OIF, &index.to_ne_bytes());
    request(socket, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, &body)
}

fn family(address: IpAddr) -> u8 {
    let family = if address.is_ipv4() {
        AddressFamily::INET
    } else {
        AddressFamily::INET6
    };
    u8::try_from(family.as_raw()).unwrap_or_default()
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// Appends a struct rtattr with its value; those here are all multiples of four bytes.
fn attribute(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    let length = u16::try_from(value.len() + 4).unwrap_or(4);
    body.extend(length.to_ne_bytes());
    body.extend(kind.to_ne_bytes());
    body.extend(value);
}

/// Sends one message and waits for its acknowledgement.
fn request(socket: &OwnedFd, kind: u16, flags: u16, body: &[u8]) -> io::Result<()> {
    // struct nlmsghdr: length, type, flags, sequence number, sender.
    let length = u32::try_from(body.len() + 16).unwrap_or_default();
    let mut message = length.to_ne_bytes().to_vec();
    message.extend(kind.to_ne_bytes());
    message.extend((NLM_F_REQUEST | NLM_F_ACK | flags).to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);
    rustix::net::send(socket, &message, SendFlags::empty())?;
    let mut answer = [0_u8; 4096];
    let (n, _) = rustix::net::recv(socket, &mut answer, RecvFlags::empty())?;
    // nlmsghdr, then the number of the error, negative.
    match answer.get(..n.min(20)) {
        Some(
            &[
                _,
                _,
                _,
                _,
                t0,
                t1,
                _,
                _,
                _,
                _,
                _,
                _,
                _,
                _,
                _,
                _,
                e0,
                e1,
                e2,
                e3,
            ],
        ) if u16::from_ne_bytes([t0, t1]) == NLMSG_ERROR => {
            match i32::from_ne_bytes([e0, e1, e2, e3]) {
                0 => Ok(()),
                e => Err(io::Error::from_raw_os_error(e.wrapping_neg())),
            }
        }
        _ => Err(io::Error::other("the kernel's answer is none")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attribute_counts_its_own_header() {
        let mut body = Vec::new();
        attribute(&mut body, RTA_GATEWAY, &octets(IpAddr::from([10, 0, 2, 2])));
        assert_eq!(body.len(), 8);
        assert_eq!(body[..2], 8_u16.to_ne_bytes());
        assert_eq!(body[4..], [10, 0, 2, 2]);
    }
}
