// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The network interfaces of this machine.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// `IFF_MULTI_QUEUE` of linux/if_tun.h.
const MULTI_QUEUE: u32 = 0x100;

/// A network interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostInterface {
    /// Its number; a macvtap's device is `/dev/tapNUMBER`.
    pub index: u32,
    /// For tap interfaces: whether it has several queues.
    pub tap: Option<bool>,
    /// Whether it is a bridge.
    pub bridge: bool,
    /// The device of a macvtap.
    pub macvtap: Option<PathBuf>,
}

/// What the kernel lists; nothing where there is no sysfs.
pub(super) fn interfaces() -> BTreeMap<String, HostInterface> {
    let Ok(entries) = fs::read_dir("/sys/class/net") else {
        return BTreeMap::new();
    };
    entries
        .flatten()
        .filter_map(|entry| Some((entry.file_name().into_string().ok()?, look(&entry.path()))))
        .collect()
}

fn look(dir: &Path) -> HostInterface {
    let read = |file: &str| fs::read_to_string(dir.join(file)).ok();
    let index = read("ifindex")
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(0);
    HostInterface {
        index,
        tap: read("tun_flags").and_then(|text| multi_queue(&text)),
        bridge: dir.join("bridge").is_dir(),
        macvtap: dir
            .join("macvtap")
            .is_dir()
            .then(|| PathBuf::from(format!("/dev/tap{index}"))),
    }
}

fn multi_queue(tun_flags: &str) -> Option<bool> {
    let flags = u32::from_str_radix(tun_flags.trim().strip_prefix("0x")?, 16).ok()?;
    Some(flags & MULTI_QUEUE != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queues_of_a_tap() {
        assert_eq!(multi_queue("0x1102\n"), Some(true));
        assert_eq!(multi_queue("0x1002\n"), Some(false));
        assert_eq!(multi_queue("tap"), None);
    }
}
