// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The first process of a guest: it does what `/guest.json` of the initrd says, in the order of
//! [`GuestConfig`]'s fields, and then runs one command or becomes the init of a system.
//!
//! It never ends without a word: what fails is said on the console and to the host, with what to
//! do about it, and then the guest powers off.

mod console;
mod disks;
mod failure;
mod files;
mod grow;
mod modules;
mod mounts;
mod network;
mod power;
mod registration;
mod root;
mod signals;
mod superblock;
mod supervisor;

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process;

use rofs_guest::agent::Problem;
use rofs_guest::config::{CONFIG_PATH, GuestConfig, Mount, PowerOff, Then};

use crate::failure::{Context, Failure};
use crate::supervisor::{Channel, Supervisor};

fn main() {
    if !rustix::process::getpid().is_init() {
        eprintln!(
            "rofs-init is the first process of a guest that rofs-vm starts; it does nothing elsewhere"
        );
        process::exit(2);
    }
    let started_us = supervisor::boot_time_us();
    let power_off = match prepare() {
        Ok(config) => {
            let power_off = config.power_off;
            let mut problems = Vec::new();
            if let Err(failure) = boot(&config, started_us, &mut problems) {
                console::say(&failure.to_string());
                problems.push(Problem {
                    text: failure.to_string(),
                    fatal: true,
                });
                supervisor::tell_last(config.agent.as_ref(), problems);
            }
            power_off
        }
        Err(failure) => {
            console::say(&failure.to_string());
            PowerOff::default()
        }
    };
    power::end(power_off)
}

/// What is needed to be told what to do.
fn prepare() -> Result<GuestConfig, Failure> {
    mounts::early()?;
    console::open()?;
    let text = fs::read(CONFIG_PATH).context(|| format!("reading {CONFIG_PATH} of the initrd"))?;
    serde_json::from_slice(&text).map_err(|e| {
        Failure::new(format!(
            "{CONFIG_PATH} of the initrd: {e}; the initrd and its init are of different versions of rofs-vm"
        ))
    })
}

/// Everything else. Returns when the guest is to end.
fn boot(config: &GuestConfig, started_us: u64, problems: &mut Vec<Problem>) -> Result<(), Failure> {
    let mut warn = |text: String| {
        console::say(&text);
        problems.push(Problem { text, fatal: false });
    };
    if let Err(e) = rustix::system::sethostname(config.hostname.as_bytes()) {
        warn(format!(
            "the host name '{}' was not taken: {e}",
            config.hostname
        ));
    }
    modules::load(&config.modules)?;
    let registration = registration::open();
    let is_root = |mount: &&Mount| mount.at == Path::new("/");
    root::enter(config.mounts.iter().find(is_root))?;
    mounts::standard(matches!(config.then, Then::Run(_)))?;
    for mount in config.mounts.iter().filter(|mount| !is_root(mount)) {
        mounts::mount(mount)?;
    }
    if let Some(overlay) = &config.store_overlay {
        mounts::store_overlay(overlay)?;
    }
    files::make(&config.files)?;
    network::up(&config.interfaces, &config.dns)?;
    if let (Some(program), Some(registration)) = (&config.nix_store, registration)
        && let Err(failure) = registration::load(program, registration)
    {
        warn(failure.to_string());
    }

    let channel = match &config.agent {
        None => None,
        Some(device) => match Channel::open(device) {
            Ok(channel) => Some(channel),
            Err(failure) if supervisor::needs_channel(&config.then) => return Err(failure),
            Err(failure) => {
                warn(failure.to_string());
                None
            }
        },
    };
    let problems = std::mem::take(problems);
    match &config.then {
        Then::Run(command) => {
            power::keep_ctrl_alt_del();
            let signals =
                signals::Signals::new(&[libc::SIGCHLD, libc::SIGINT, libc::SIGTERM, libc::SIGPWR])
                    .context(|| "blocking signals".into())?;
            let supervisor = supervisor::fork(|| {
                Supervisor::new(channel, started_us, problems, config.stop_seconds)
                    .and_then(|supervisor| supervisor.run(Some(command)))
            })?;
            power::reap_until(supervisor, &signals);
            Ok(())
        }
        Then::Switch { argv } => {
            if channel.is_some() {
                supervisor::fork(|| {
                    supervisor::wait_for_system();
                    Supervisor::new(channel, started_us, problems, config.stop_seconds)
                        .and_then(|supervisor| supervisor.run(None))
                })?;
            }
            let Some((program, arguments)) = argv.split_first() else {
                return Err(Failure::new("there is no init to switch to".into()));
            };
            let e = process::Command::new(program)
                .args(arguments)
                .env_clear()
                .exec();
            Err(Failure::new(format!(
                "the system's init {program} does not start: {e}; is it in the share, and is everything it needs?"
            )))
        }
    }
}
