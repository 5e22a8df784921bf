// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A plan for people: what would be done, in order, as a script. What rofs-vm does by itself is a
//! comment in it.

use super::{
    ClosurePlan, FdSource, Plan, ProcessPlan, Readiness, SharePlan, ShareServer, VolumePlan, quote,
};

impl Plan {
    /// The commands that would be run, in their order, as a shell reads them.
    pub fn commands(&self) -> String {
        let mut lines: Vec<String> = Vec::new();
        lines.push(format!(
            "# directories: {} {}",
            self.runtime_dir.display(),
            self.state_dir.display()
        ));
        lines.extend(
            self.gc_roots
                .iter()
                .map(|path| format!("# not collected: {}", path.display())),
        );
        lines.extend(self.volumes.iter().map(volume));
        if let Some(initrd) = &self.initrd {
            lines.push(format!("# initrd: {}", initrd.path.display()));
        }
        for share in &self.shares {
            lines.extend(shared(share));
        }
        for helper in &self.helpers {
            lines.extend(process(helper));
        }
        lines.extend(process(&self.hypervisor));
        lines.extend(
            self.viewer
                .iter()
                .map(|viewer| format!("# to see its screen: {viewer}")),
        );
        lines.push(String::new());
        lines.join("\n")
    }
}

fn volume(volume: &VolumePlan) -> String {
    let size = volume
        .size_mib
        .map(|mib| format!(", {mib} MiB"))
        .unwrap_or_default();
    let how = match (volume.create, volume.read_only) {
        (true, _) => format!("made and grown as needed{size}, {}", volume.fs_type),
        (false, true) => "read-only".to_owned(),
        (false, false) => "as it is".to_owned(),
    };
    format!("# volume: {} ({how})", volume.image.display())
}

fn shared(share: &SharePlan) -> Vec<String> {
    let (source, socket) = (share.source.display(), share.socket.display());
    match &share.server {
        ShareServer::Process(plan) => process(plan),
        ShareServer::InProcess { closure, .. } => {
            let part = closure.as_ref().map(part).unwrap_or_default();
            vec![format!(
                "# share: {source}{part} at {socket}, served by rofs-vm itself"
            )]
        }
    }
}

fn part(closure: &ClosurePlan) -> String {
    let roots: Vec<String> = closure
        .roots
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    format!(" (only {} and what they reference)", roots.join(", "))
}

/// One option a line, with its value.
fn process(plan: &ProcessPlan) -> Vec<String> {
    let mut lines = Vec::new();
    for fd in &plan.fds {
        let source = match &fd.source {
            FdSource::Listener(socket) => format!("a socket that listens at {}", socket.display()),
            FdSource::Open(file) => file.display().to_string(),
        };
        lines.push(format!(
            "# {}: descriptor {} is {source}",
            plan.name, fd.number
        ));
    }
    let words: Vec<String> = plan
        .env
        .iter()
        .map(|(name, value)| format!("{name}={}", quote(value)))
        .chain([quote(&plan.program.display().to_string())])
        .collect();
    let mut text = words.join(" ");
    for arg in &plan.args {
        let separator = if arg.starts_with('-') {
            " \\\n    "
        } else {
            " "
        };
        text.push_str(separator);
        text.push_str(&quote(arg));
    }
    lines.push(text);
    if let Readiness::Socket(socket) = &plan.ready {
        lines.push(format!("# ready when there is {}", socket.display()));
    }
    lines
}
