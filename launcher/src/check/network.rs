// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Network interfaces.

use std::net::IpAddr;

use super::findings::{Findings, repeated};
use crate::description::{Description, Interface, InterfaceType};

/// IFNAMSIZ, without the final NUL.
const LONGEST_NAME: usize = 15;

pub(super) fn check(description: &Description, findings: &mut Findings<'_>) {
    let interfaces = &description.interfaces;
    for (index, first, id) in repeated(interfaces, |interface| Some(interface.id.clone())) {
        let what = format!("{id:?} is the id of interfaces[{first}] already");
        findings.wrong(
            &format!("interfaces[{index}].id"),
            what,
            "give each interface an id of its own",
        );
    }
    for (index, first, mac) in repeated(interfaces, |interface| {
        Some(interface.mac.as_ref()?.to_lowercase())
    }) {
        let what = format!("{mac} is the address of interfaces[{first}] already");
        findings.wrong(
            &format!("interfaces[{index}].mac"),
            what,
            "write another one, or leave it out",
        );
    }
    for (index, interface) in interfaces.iter().enumerate() {
        let option = |name: &str| format!("interfaces[{index}].{name}");
        id(&interface.id, &option("id"), findings);
        if let Some(given) = &interface.mac {
            mac(given, &option("mac"), findings);
        }
        for_kind(interface, &option, findings);
        address(interface, &option, findings);
    }
}

fn id(id: &str, option: &str, findings: &mut Findings<'_>) {
    if id.len() > LONGEST_NAME {
        let what = format!(
            "{id:?} has {} bytes, and names of interfaces at most {LONGEST_NAME}",
            id.len()
        );
        findings.wrong(
            option,
            what,
            format!(
                "write a shorter one, as {:?}",
                &id[..id.floor_char_boundary(LONGEST_NAME)]
            ),
        );
    } else if !id.starts_with(|char: char| char.is_ascii_alphanumeric())
        || !id
            .chars()
            .all(|char| char.is_ascii_alphanumeric() || "-_.".contains(char))
    {
        let what = format!("{id:?} cannot be the name of an interface");
        findings.wrong(
            option,
            what,
            "write letters, digits and hyphens, as \"vm-net\"",
        );
    }
}

fn mac(mac: &str, option: &str, findings: &mut Findings<'_>) {
    let bytes: Option<Vec<u8>> = mac.split(':').map(byte).collect();
    let instead = "write six bytes as 02:00:00:01:01:01, or leave it out: one is made";
    match bytes.as_deref() {
        Some([0, 0, 0, 0, 0, 0]) => findings.wrong(option, "this is no address at all", instead),
        Some([first, _, _, _, _, _]) if first & 1 == 1 => {
            let what = format!(
                "{mac} is an address of a group (its first byte is odd), not of an interface"
            );
            findings.wrong(
                option,
                what,
                format!("write {:02x}{}", first & !1, &mac[2..]),
            );
        }
        Some([_, _, _, _, _, _]) => {}
        _ => findings.wrong(option, format!("{mac:?} is not a MAC address"), instead),
    }
}

fn byte(text: &str) -> Option<u8> {
    let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    digits.then(|| u8::from_str_radix(text, 16).ok()).flatten()
}

fn for_kind(interface: &Interface, option: &impl Fn(&str) -> String, findings: &mut Findings<'_>) {
    match (interface.kind, &interface.bridge) {
        (InterfaceType::Bridge, None) => {
            let instead = "write `bridge = \"br0\"`, the name of a bridge on this machine";
            findings.wrong(&option("bridge"), "nothing says to which bridge", instead);
        }
        (InterfaceType::Bridge, Some(bridge)) => id(bridge, &option("bridge"), findings),
        (_, Some(_)) => {
            let what = "only an interface of type `bridge` is attached to a bridge";
            findings.wrong(
                &option("bridge"),
                what,
                "write `type = \"bridge\"`, or leave `bridge` out",
            );
        }
        (_, None) => {}
    }
    if interface.tap.vhost && interface.kind != InterfaceType::Tap {
        findings.odd(
            &option("tap.vhost"),
            "this is no tap interface",
            "leave it out",
        );
    }
}

fn address(interface: &Interface, option: &impl Fn(&str) -> String, findings: &mut Findings<'_>) {
    let goes_along = [
        ("gateway", interface.gateway.is_some()),
        ("dns", !interface.dns.is_empty()),
    ];
    let Some(address) = &interface.address else {
        for (name, given) in goes_along {
            if given && !findings.is_broken(&option("address")) {
                let instead = "write `address`, too, as \"192.0.2.2/24\"";
                findings.wrong(&option(name), "the interface has no address", instead);
            }
        }
        return;
    };
    let parsed = address.split_once('/').and_then(|(ip, prefix)| {
        let ip: IpAddr = ip.parse().ok()?;
        let prefix: u8 = prefix.parse().ok()?;
        (prefix <= if ip.is_ipv4() { 32 } else { 128 }).then_some(ip)
    });
    match (parsed, interface.gateway) {
        (None, _) => {
            let what = format!("{address:?} is not an address with the length of its network");
            findings.wrong(
                &option("address"),
                what,
                "write one, as \"192.0.2.2/24\" or \"2001:db8::2/64\"",
            );
        }
        (Some(ip), Some(gateway)) if ip.is_ipv4() != gateway.is_ipv4() => {
            let what = format!("{gateway} and the address {address} are of different kinds");
            findings.wrong(
                &option("gateway"),
                what,
                "write both as IPv4 or both as IPv6",
            );
        }
        _ => {}
    }
}
