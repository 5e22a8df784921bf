// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Forwarded ports.

use std::net::Ipv4Addr;

use super::findings::{Findings, repeated};
use crate::description::{Description, Forward, ForwardFrom, ForwardProto, InterfaceType};

pub(super) fn check(description: &Description, findings: &mut Findings<'_>) {
    let forwards = &description.forward_ports;
    let has_user = description
        .interfaces
        .iter()
        .any(|interface| interface.kind == InterfaceType::User);
    if !forwards.is_empty() && !has_user && !findings.is_broken("interfaces") {
        let what = "ports are forwarded by a network of type `user`, and there is none";
        let instead = "write an interface with `type = \"user\"` and `id = \"net\"`";
        findings.wrong("forwardPorts", what, instead);
    }
    for (index, first, (_, _, _, port)) in repeated(forwards, |forward| Some(listens(forward))) {
        let end = if forwards[index].from == ForwardFrom::Host {
            "host"
        } else {
            "guest"
        };
        let what = format!("port {port} is forwarded by forwardPorts[{first}] already");
        findings.wrong(
            &format!("forwardPorts[{index}].{end}.port"),
            what,
            "write another one",
        );
    }
    for (index, forward) in forwards.iter().enumerate() {
        let option = |name: &str| format!("forwardPorts[{index}].{name}");
        for (name, address) in [
            ("host.address", &forward.host.address),
            ("guest.address", &forward.guest.address),
        ] {
            if !address.is_empty() && address.parse::<Ipv4Addr>().is_err() {
                let what = format!("{address:?} is not an IPv4 address");
                findings.wrong(
                    &option(name),
                    what,
                    "write one, as \"127.0.0.1\", or leave it out",
                );
            }
        }
        if forward.from == ForwardFrom::Guest && forward.proto == ForwardProto::Udp {
            let what = "connections of the guest are forwarded with TCP only";
            findings.wrong(&option("proto"), what, "write `proto = \"tcp\"`");
        }
        if forward.from == ForwardFrom::Guest && forward.guest.address.is_empty() {
            let what = "nothing says to which address the guest will connect";
            findings.wrong(
                &option("guest.address"),
                what,
                "write one in the guest's network that is free, as \"10.0.2.100\"",
            );
        }
    }
}

/// Where connections arrive that are to be forwarded.
fn listens(forward: &Forward) -> (ForwardFrom, ForwardProto, String, u16) {
    let (address, port) = match forward.from {
        ForwardFrom::Host => (&forward.host.address, forward.host.port),
        ForwardFrom::Guest => (&forward.guest.address, forward.guest.port),
    };
    (forward.from, forward.proto, address.clone(), port)
}
