// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `rofs-vm status`

use std::fmt::Write;
use std::process::ExitCode;

use launcher::state::{Reply, Request, Status};

use crate::failure::{Failure, print};
use crate::named::connect;

/// Tells how a running VM is
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The VM
    name: String,
    /// As JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: Args) -> Result<ExitCode, Failure> {
    let mut client = connect(&args.name)?;
    match client.ask(&Request::Status).map_err(Failure::run)? {
        Reply::Status(status) if args.json => print(&json(&status)?),
        Reply::Status(status) => print(&text(&status)),
        other => Err(Failure::Run(format!("unexpected answer {other:?}"))),
    }
}

/// Pretty, with a newline.
pub(crate) fn json(value: &impl serde::Serialize) -> Result<String, Failure> {
    let mut text = serde_json::to_string_pretty(value).map_err(Failure::run)?;
    text.push('\n');
    Ok(text)
}

/// `3d 4h`, `2h 5m`, `7m 1s`, `9s`.
pub(crate) fn duration(secs: u64) -> String {
    let (d, h, m, s) = (secs / 86_400, secs / 3600 % 24, secs / 60 % 60, secs % 60);
    match (d, h, m) {
        (0, 0, 0) => format!("{s}s"),
        (0, 0, m) => format!("{m}m {s}s"),
        (0, h, m) => format!("{h}h {m}m"),
        (d, h, _) => format!("{d}d {h}h"),
    }
}

fn text(status: &Status) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: String| _ = writeln!(text, "{name:<12} {value}");
    line("name", status.name.clone());
    line("state", status.phase.as_str().to_owned());
    line("uptime", duration(status.uptime_secs));
    let hypervisor = status
        .hypervisor_pid
        .map(|pid| format!(", {} {pid}", status.hypervisor));
    line(
        "process",
        format!("{}{}", status.pid, hypervisor.unwrap_or_default()),
    );
    if let Some(mib) = status.memory_mib {
        line("memory", format!("{mib} MiB in use"));
    }
    for share in &status.shares {
        line(
            "share",
            format!("{} = {}", share.tag, share.source.display()),
        );
    }
    for volume in &status.volumes {
        let sizes = match (volume.size_mib, volume.used_mib) {
            (Some(size), Some(used)) => format!(", {size} MiB, {used} MiB used on this machine"),
            _ => String::new(),
        };
        line("volume", format!("{}{sizes}", volume.image.display()));
    }
    for port in &status.ports {
        line("port", port.clone());
    }
    if let Some(viewer) = &status.viewer {
        line("screen", viewer.clone());
    }
    line("exec", if status.agent { "yes" } else { "no" }.to_owned());
    if let Some(log) = &status.console_log {
        line("console log", log.display().to_string());
    }
    text
}
