// SPDX-License-Identifier: Apache-2.0 OR MIT
//! passt: a network without privileges, by a program of its own.

use std::collections::BTreeMap;
use std::path::Path;

use super::network::{UserNetwork, address};
use super::{ProcessPlan, Readiness};
use crate::description::{Forward, ForwardFrom, ForwardProto};
use crate::host::Passt;
use crate::refusal::Refusal;

/// The process that is the network `own`. Addresses are the same as in QEMU's network, so that a
/// guest does not notice which one it is in.
pub(super) fn process(
    passt: &Passt,
    socket: &Path,
    own: UserNetwork,
    forwards: &[Forward],
    root: bool,
    refusals: &mut Vec<Refusal>,
) -> ProcessPlan {
    let mut args: Vec<String> = ["--foreground", "--quiet", "--one-off"]
        .map(str::to_owned)
        .into();
    let mut option = |name: &str, value: String| args.extend([name.to_owned(), value]);
    option("--socket", socket.display().to_string());
    option("--address", own.guest().to_string());
    option("--netmask", UserNetwork::PREFIX.to_string());
    // It also leads to the host's loopback interface.
    option("--gateway", own.host().to_string());
    option("--dns-forward", own.dns().to_string());
    for (i, forward) in forwards.iter().enumerate() {
        match ports(forward, own) {
            Ok(None) => {}
            Ok(Some(spec)) => {
                let flag = match forward.proto {
                    ForwardProto::Tcp => "--tcp-ports",
                    ForwardProto::Udp => "--udp-ports",
                };
                option(flag, spec);
            }
            Err((part, what, instead)) => {
                refusals.push(Refusal::new(
                    format!("forwardPorts[{i}].{part}"),
                    what,
                    instead,
                ));
            }
        }
    }
    if root {
        // It would become `nobody`, who cannot make a socket in our directory. Inside it has a
        // user namespace of its own.
        option("--runas", "0".to_owned());
    }
    if passt.vhost_user {
        args.push("--vhost-user".to_owned());
    }
    ProcessPlan {
        name: "passt".to_owned(),
        program: passt.path.clone(),
        args,
        env: BTreeMap::new(),
        fds: Vec::new(),
        ready: Readiness::Socket(socket.to_owned()),
        sockets: vec![socket.to_owned(), socket.with_extension("sock.repair")],
    }
}

type Wrong = (&'static str, String, String);

/// A forwarded port in passt's words; `None` when it is forwarded anyway.
fn ports(forward: &Forward, own: UserNetwork) -> Result<Option<String>, Wrong> {
    let host = address(&forward.host.address);
    let guest = address(&forward.guest.address);
    match forward.from {
        ForwardFrom::Host => {
            if guest.is_some_and(|guest| guest != own.guest()) {
                let what = format!(
                    "passt forwards to the guest alone, which is {}",
                    own.guest()
                );
                return Err((
                    "guest.address",
                    what,
                    "leave `guest.address` out".to_owned(),
                ));
            }
            let at = host.map(|host| format!("{host}/")).unwrap_or_default();
            Ok(Some(format!(
                "{at}{}:{}",
                forward.host.port, forward.guest.port
            )))
        }
        ForwardFrom::Guest => {
            let loopback = host.is_none_or(|host| host.is_loopback());
            let gateway = guest.is_none_or(|guest| guest == own.host());
            if loopback && gateway && forward.host.port == forward.guest.port {
                return Ok(None);
            }
            let what = "with passt the guest finds the host's own ports at one address, by their own numbers".to_owned();
            let instead = format!(
                "`guest.address = \"{}\"` with equal ports and the host's loopback address, or `user.backend = \"qemu\"`",
                own.host()
            );
            Err(("from", what, instead))
        }
    }
}
