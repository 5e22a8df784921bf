// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Capabilities: none, but for root serving a plain tree, where files of others are to be read.

use caps::{CapSet, Capability, CapsHashSet};

use crate::failure::{Failure, Outcome};

/// Keeps those of `keep` that the process has, for good.
pub(crate) fn keep_only(keep: &[Capability]) -> Outcome<()> {
    let failed =
        |e: caps::errors::CapsError| Failure::new(format!("cannot drop capabilities: {e}"));
    let have = caps::read(None, CapSet::Permitted).map_err(failed)?;
    // Ambient and bounding sets first: the latter takes a capability that then goes too.
    // Kernels without ambient capabilities have none to clear.
    let _ = caps::clear(None, CapSet::Ambient);
    if have.contains(&Capability::CAP_SETPCAP) {
        for cap in caps::all() {
            // Unknown to this kernel: not there to be dropped.
            let _ = caps::drop(None, CapSet::Bounding, cap);
        }
    }
    let kept: CapsHashSet = keep
        .iter()
        .copied()
        .filter(|cap| have.contains(cap))
        .collect();
    caps::set(None, CapSet::Effective, &kept).map_err(failed)?;
    caps::set(None, CapSet::Permitted, &kept).map_err(failed)?;
    caps::set(None, CapSet::Inheritable, &CapsHashSet::new()).map_err(failed)
}
