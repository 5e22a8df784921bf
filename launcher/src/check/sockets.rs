// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Whether the paths of sockets fit into a socket's address.

use std::path::Path;

use super::findings::Findings;
use crate::description::Description;
use crate::host::Host;

/// `sun_path` of `struct sockaddr_un`, without the final NUL.
const LONGEST: usize = 107;

pub(super) fn check(description: &Description, host: Option<&Host>, findings: &mut Findings<'_>) {
    let name = description.name.as_deref().unwrap_or("vm");
    let folder = host
        .map(|host| host.directories.runtime_of(name))
        .unwrap_or_default();
    let shares = description.shares.iter().enumerate();
    let shares = shares.filter_map(|(index, share)| {
        Some((format!("shares[{index}].socket"), share.socket.as_deref()?))
    });
    let screen = description
        .graphics
        .socket
        .as_deref()
        .map(|socket| ("graphics.socket".to_owned(), socket));
    let mut given = false;
    for (option, socket) in shares.chain(screen) {
        given |= one(&option, &folder.join(socket), findings);
    }
    // Ours have short names; only the directory can be too long for them.
    let ours = folder.join("virtiofs-00000000.sock");
    if !given && length(&ours) > LONGEST {
        let what = format!(
            "the VM's sockets in {} have paths of more than {LONGEST} bytes",
            folder.display()
        );
        findings.wrong(
            "name",
            what,
            "write a shorter `name`, or set XDG_RUNTIME_DIR to a shorter path",
        );
    }
}

fn one(option: &str, path: &Path, findings: &mut Findings<'_>) -> bool {
    let long = length(path) > LONGEST;
    if long {
        let what = format!(
            "the socket's path {} has {} bytes, and there is room for {LONGEST}",
            path.display(),
            length(path)
        );
        findings.wrong(
            option,
            what,
            "write a shorter one, or leave it out: one is chosen",
        );
    }
    long
}

fn length(path: &Path) -> usize {
    path.as_os_str().len()
}
