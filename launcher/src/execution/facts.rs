// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is told of a running machine.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::time::Instant;

use crate::plan::Plan;
use crate::state::{Phase, Status, StatusShare, StatusVolume};

/// What a supervisor knows of its machine.
#[derive(Debug)]
pub(super) struct Facts {
    began: Instant,
    status: Status,
}

impl Facts {
    pub(super) fn new(plan: &Plan) -> Facts {
        let shares = plan.shares.iter().map(|share| StatusShare {
            tag: share.tag.clone(),
            source: share.source.clone(),
        });
        let volumes = plan.volumes.iter().map(|volume| StatusVolume {
            image: volume.image.clone(),
            size_mib: volume.size_mib,
            used_mib: None,
        });
        Facts {
            began: Instant::now(),
            status: Status {
                name: plan.name.clone(),
                phase: Phase::Starting,
                pid: std::process::id(),
                hypervisor: plan.hypervisor.name.clone(),
                hypervisor_pid: None,
                uptime_secs: 0,
                memory_mib: None,
                shares: shares.collect(),
                volumes: volumes.collect(),
                ports: plan.ports.clone(),
                viewer: plan.viewer.clone(),
                agent: false,
                console_log: plan.console.as_ref().map(|it| it.log.path().to_owned()),
            },
        }
    }

    pub(super) fn set_phase(&mut self, phase: Phase) {
        self.status.phase = phase;
    }

    pub(super) fn set_hypervisor(&mut self, pid: u32) {
        self.status.hypervisor_pid = Some(pid);
    }

    pub(super) fn set_agent(&mut self) {
        self.status.agent = true;
    }

    /// How it is now.
    pub(super) fn status(&self) -> Status {
        let mut status = self.status.clone();
        status.uptime_secs = self.began.elapsed().as_secs();
        status.memory_mib = status.hypervisor_pid.and_then(resident_mib);
        for volume in &mut status.volumes {
            if let Ok(meta) = fs::metadata(&volume.image) {
                volume.size_mib = Some(meta.len() >> 20);
                volume.used_mib = Some((meta.blocks() * 512) >> 20);
            }
        }
        status
    }
}

/// What a process has in memory, shared memory included: the guest's is that.
fn resident_mib(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib >> 10)
}
