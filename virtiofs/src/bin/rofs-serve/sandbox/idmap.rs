// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which users and groups of the host exist in the sandbox's user namespace.

use std::fs;
use std::process::Command;

use rustix::process::{Pid, getegid, geteuid};

use crate::failure::{Failure, Outcome, fail};

/// A range of ids. `:0:100000:65536:` maps 0 to 65535 inside to 100000 and up on the host; the
/// first character is the separator, whatever it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IdMap {
    inside: u32,
    host: u32,
    count: u32,
}

impl IdMap {
    pub(crate) fn parse(flag: &str, text: &str) -> Outcome<IdMap> {
        let map = || {
            let separator = text.chars().next().filter(|c| !c.is_ascii_digit())?;
            let inner = text.strip_prefix(separator)?.strip_suffix(separator)?;
            let mut numbers = inner.split(separator).map(|n| n.parse::<u32>().ok());
            let map = IdMap {
                inside: numbers.next()??,
                host: numbers.next()??,
                count: numbers.next()??,
            };
            let fits = map.inside.checked_add(map.count).is_some()
                && map.host.checked_add(map.count).is_some();
            (numbers.next().is_none() && fits && map.count > 0).then_some(map)
        };
        map().ok_or_else(|| {
            Failure::new(format!(
                "{flag} {text}: expected :INSIDE:HOST:COUNT:, like :0:100000:65536:"
            ))
        })
    }
}

/// Fills the maps of `child`'s new user namespace. Without any asked for, the caller is itself
/// inside, which needs no privilege and no helper.
pub(crate) fn write(child: Pid, uids: &[IdMap], gids: &[IdMap]) -> Outcome<()> {
    let proc = format!("/proc/{}", child.as_raw_nonzero());
    if gids.is_empty() {
        // An unprivileged process may map groups only once it gave up setgroups(2).
        put(&format!("{proc}/setgroups"), "deny")?;
        let gid = getegid().as_raw();
        put(&format!("{proc}/gid_map"), &format!("{gid} {gid} 1\n"))?;
    } else {
        helper("--gid-map", "newgidmap", &proc, child, gids)?;
    }
    if uids.is_empty() {
        let uid = geteuid().as_raw();
        put(&format!("{proc}/uid_map"), &format!("{uid} {uid} 1\n"))
    } else {
        helper("--uid-map", "newuidmap", &proc, child, uids)
    }
}

fn put(path: &str, text: &str) -> Outcome<()> {
    fs::write(path, text).map_err(|e| {
        Failure::new(format!(
            "--sandbox namespace: this system does not let an ordinary user set up a user \
             namespace ({path}: {e}); allow it, or use --sandbox none"
        ))
    })
}

fn helper(flag: &str, program: &str, proc: &str, child: Pid, maps: &[IdMap]) -> Outcome<()> {
    if geteuid().is_root() {
        let text: String = maps
            .iter()
            .map(|m| format!("{} {} {}\n", m.inside, m.host, m.count))
            .collect();
        let file = if program == "newuidmap" {
            "uid_map"
        } else {
            "gid_map"
        };
        return fs::write(format!("{proc}/{file}"), text)
            .map_err(|e| Failure::new(format!("{flag}: the kernel refuses these ranges: {e}")));
    }
    let numbers = maps
        .iter()
        .flat_map(|m| [m.inside, m.host, m.count])
        .map(|n| n.to_string());
    let output = Command::new(program)
        .arg(child.as_raw_nonzero().to_string())
        .args(numbers)
        .output()
        .map_err(|e| {
            Failure::new(format!(
                "{flag}: cannot run {program}: {e}; install it (package uidmap)"
            ))
        })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        fail!(
            "{flag}: {} (see /etc/subuid and /etc/subgid)",
            said.trim().replace('\n', "; ")
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_character_separates() {
        let map = IdMap {
            inside: 0,
            host: 100_000,
            count: 65536,
        };
        for good in [":0:100000:65536:", "/0/100000/65536/", "x0x100000x65536x"] {
            assert_eq!(IdMap::parse("--uid-map", good), Ok(map));
        }
        for bad in [
            "",
            ":",
            "0:1:2",
            ":0:1:",
            ":0:1:2",
            ":0:1:2:3:",
            ":a:b:c:",
            ":0:1:0:",
            ":0:4294967295:2:",
        ] {
            assert!(IdMap::parse("--uid-map", bad).is_err(), "{bad}");
        }
    }
}
