// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `rofs-serve`: read-only shares for virtual machines, in virtiofsd's place.
//!
//! Options become a checked [`config::Config`]; everything that can be refused is refused before
//! anything is served; then a server process is locked in ([`sandbox`]) while this one stays
//! outside to tidy up ([`supervise`]).

mod args;
mod closure;
mod compat;
mod config;
mod doors;
mod failure;
mod file;
mod group;
mod listen;
mod logging;
mod notify;
mod pidfile;
mod rlimit;
mod roots;
mod sandbox;
mod serve;
mod server;
mod shares;
mod signals;
mod supervise;

use std::io::Write;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

use crate::args::{Args, SandboxArg};
use crate::config::Config;
use crate::doors::Doors;
use crate::failure::{Failure, Outcome};

/// As virtiofsd prints them. What cannot be done yet is not claimed.
const CAPABILITIES: &str =
    "{\n  \"type\": \"fs\",\n  \"features\": [\n    \"separate-options\"\n  ]\n}";

/// It did not start.
const REFUSED: u8 = 2;

fn main() -> ExitCode {
    match run() {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            tell(&failure);
            ExitCode::from(REFUSED)
        }
    }
}

/// On standard error. If that is closed, the exit status must do.
fn tell(failure: &Failure) {
    let _ = writeln!(std::io::stderr(), "rofs-serve: {failure}");
}

fn run() -> Outcome<u8> {
    let matches = match Args::command().try_get_matches() {
        Ok(matches) => matches,
        Err(e) if !e.use_stderr() => {
            // --help or --version; if nobody wants to read it, that is no failure.
            let _ = e.print();
            return Ok(0);
        }
        Err(e) => return Err(in_one_sentence(&e)),
    };
    let args = Args::from_arg_matches(&matches).map_err(|e| in_one_sentence(&e))?;
    if args.process.print_capabilities {
        let written = writeln!(std::io::stdout(), "{CAPABILITIES}");
        return written
            .map(|()| 0)
            .map_err(|e| Failure::new(format!("--print-capabilities: cannot print: {e}")));
    }
    let config = Config::new(&args, &matches, &notify::sockets()?)?;
    start(config)
}

fn start(config: Config) -> Outcome<u8> {
    logging::start(config.log, config.syslog)?;
    for option in &config.not_done {
        log::warn!("{option}: accepted, but not done; see `rofs-serve --help`");
    }
    for option in &config.moot {
        log::debug!("{option}: nothing to do");
    }
    let blocked = [&signals::STOP[..], &[libc::SIGCHLD]].concat();
    signals::block(&blocked).map_err(|e| Failure::new(format!("cannot block signals: {e}")))?;
    virtiofs::vhost::outlive_cut_off_memory()
        .map_err(|e| Failure::new(format!("cannot handle signals: {e}")))?;
    sandbox::check(&config)?;
    let doors = Doors::open(&config)?;
    rlimit::apply(config.rlimit_nofile);
    // A mount is undone by what the server may no longer do, so somebody stays outside for that.
    // And for reading what the server cannot see.
    if config.sandbox == SandboxArg::None && !config.mounts() && !doors.lists.any() {
        server::alone(&config, doors)
    } else {
        supervise::run(&config, doors)
    }
}

/// clap explains in paragraphs.
fn in_one_sentence(e: &clap::Error) -> Failure {
    let text = e.to_string();
    let told = text.split("\n\nUsage:").next().unwrap_or(&text);
    let told = told
        .split("\n\nFor more information")
        .next()
        .unwrap_or(told);
    let sentence = told
        .trim_start_matches("error: ")
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join("; ");
    Failure::new(format!("{sentence}; see `rofs-serve --help`"))
}
