// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `rofs-vm sandbox`

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use launcher::agent::terminal_size;
use launcher::execution::OnStderr;
use launcher::sandbox::{Sandbox, SandboxShare};

use crate::failure::Failure;

/// Runs one command in a throw-away VM on this machine's store
///
/// The VM sees the Nix store, read-only, and nothing else of this machine; what the command writes
/// elsewhere is gone with it. Its output, and its exit status, are this command's.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Memory in MiB
    #[arg(long, value_name = "MIB", default_value_t = 1024)]
    mem: u32,
    /// Processors [default: 2, or 1 where this machine has no more]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    vcpu: Option<u32>,
    /// Give it a network: it reaches what this machine reaches, and nothing reaches it
    #[arg(long)]
    net: bool,
    /// Show it a directory at the same place, which it may not change (`:ro`, the default) or may (`:rw`)
    #[arg(long = "share", value_name = "DIR[:ro|:rw]", value_parser = share)]
    shares: Vec<SandboxShare>,
    /// Take this kernel [default: $ROFS_KERNEL, or the one of this machine]
    #[arg(long, value_name = "FILE")]
    kernel: Option<PathBuf>,
    /// Take this directory of kernel modules, as /lib/modules/RELEASE [default: the one that belongs to the kernel]
    #[arg(long, value_name = "DIR")]
    modules: Option<PathBuf>,
    /// Take another store than this machine's: one of a chroot, with the store in DIR/nix/store
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// Show it this store path and what it references, beside what the command needs
    #[arg(long, value_name = "PATH", conflicts_with = "all")]
    closure: Vec<PathBuf>,
    /// Show it all of the store
    #[arg(long)]
    all: bool,
    /// Set a variable; without `=`, as it is here
    #[arg(short, long = "env", value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// Start in this directory of the VM [default: the current one if a --share shows it, otherwise /]
    #[arg(long, value_name = "DIR")]
    cwd: Option<PathBuf>,
    /// End it after so many seconds, with exit status 124
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    timeout: Option<u64>,
    /// Three streams even on a terminal; otherwise the command gets a terminal when this has one
    #[arg(short = 'T', long)]
    no_tty: bool,
    /// The command and its arguments: a program on PATH that comes from the store, or a store path
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

pub(crate) fn run(args: Args) -> Result<ExitCode, Failure> {
    let two =
        || std::thread::available_parallelism().map_or(1, |n| if n.get() > 1 { 2 } else { 1 });
    let sandbox = Sandbox {
        command: args.command,
        store: args.store,
        all: args.all,
        closure: args.closure,
        shares: args.shares,
        mem: args.mem,
        vcpu: args.vcpu.unwrap_or_else(two),
        net: args.net,
        kernel: args.kernel,
        modules: args.modules,
        env: args.env.into_iter().filter_map(variable).collect(),
        cwd: args.cwd,
        timeout: args.timeout.map(Duration::from_secs),
        terminal: (!args.no_tty).then(terminal_size).flatten(),
    };
    match sandbox.run(&OnStderr::default()) {
        Ok(status) => Ok(ExitCode::from(status)),
        Err(e) if e.is_input() => Err(Failure::Input(e.to_string())),
        Err(e) => Err(Failure::run(e)),
    }
}

/// `NAME=VALUE`; of `NAME` alone the value here, if there is one.
pub(crate) fn variable(word: String) -> Option<(String, String)> {
    match word.split_once('=') {
        Some((name, value)) => Some((name.to_owned(), value.to_owned())),
        None => Some((word.clone(), std::env::var(word).ok()?)),
    }
}

fn share(word: &str) -> Result<SandboxShare, String> {
    let (dir, writable) = match word.rsplit_once(':') {
        Some((dir, "ro")) => (dir, false),
        Some((dir, "rw")) => (dir, true),
        _ => (word, false),
    };
    let dir = std::path::absolute(dir).map_err(|e| e.to_string())?;
    Ok(SandboxShare { dir, writable })
}
