// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Forwarded ports, for people.

use crate::description::{Forward, ForwardFrom, ForwardProto};

/// From where to where: `tcp 127.0.0.1:2222 to 22`, or `tcp 10.0.2.100:80 of the guest to 8080`.
pub(super) fn ports(forward: &Forward) -> String {
    let proto = match forward.proto {
        ForwardProto::Tcp => "tcp",
        ForwardProto::Udp => "udp",
    };
    let (host, guest) = (
        end(&forward.host.address, forward.host.port),
        end(&forward.guest.address, forward.guest.port),
    );
    match forward.from {
        ForwardFrom::Host => format!("{proto} {host} to {guest}"),
        ForwardFrom::Guest => format!("{proto} {guest} of the guest to {host}"),
    }
}

fn end(address: &str, port: u16) -> String {
    match address {
        "" => port.to_string(),
        address => format!("{address}:{port}"),
    }
}
