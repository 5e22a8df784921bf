// SPDX-License-Identifier: Apache-2.0 OR MIT
//! From a sandbox to a plan.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process;

use rofs_guest::config::{Stdio, Then};

use super::store::{STORE, Store};
use super::{Sandbox, SandboxError, SandboxShare, root};
use crate::description::{Description, Interface, InterfaceType, Protocol, Share};
use crate::host::Host;
use crate::plan::Plan;
use crate::system::Boot;

/// The tag of the store.
const STORE_TAG: &str = "store";

/// Seconds that the command gets when it is asked to end.
const STOP_SECONDS: u32 = 10;

pub(super) fn plan(sandbox: &Sandbox) -> Result<Plan, SandboxError> {
    let given = sandbox.store.as_deref();
    let no_store = || SandboxError::NoStore(given.unwrap_or(Path::new(STORE)).to_owned());
    let store = Store::find(given).map_err(|_| no_store())?;
    if !store.dir.is_dir() {
        return Err(no_store());
    }
    let shares = checked_shares(&sandbox.shares)?;
    let search = env::var_os("PATH").unwrap_or_default();
    let (program, arguments) = sandbox
        .command
        .split_first()
        .ok_or_else(|| SandboxError::NoCommand(String::new()))?;
    let program = find(&store, program, &search, &shares)?;
    let mut run = vec![text(program.as_os_str())?];
    for argument in arguments {
        run.push(text(argument)?);
    }
    let own = Store::store_path(&program);

    let mut description = Description {
        name: Some(format!("sandbox-{}", process::id())),
        mem: sandbox.mem,
        vcpu: sandbox.vcpu,
        kernel: sandbox.kernel.clone(),
        modules: sandbox.modules.clone(),
        run,
        environment: environment(&store, &program, &search).into_iter().collect(),
        working_directory: sandbox.cwd.clone().or_else(|| here(&shares)),
        stop_timeout: STOP_SECONDS,
        ..Description::default()
    };
    description.environment.extend(sandbox.env.iter().cloned());
    description.shares.push(Share {
        read_only: true,
        proto: Protocol::Virtiofs,
        ..Share::new(STORE_TAG, &store.dir, STORE)
    });
    if !sandbox.all && store.has_database() {
        description.closure = own.iter().chain(&sandbox.closure).cloned().collect();
    }
    if sandbox.net {
        description
            .interfaces
            .push(Interface::new(InterfaceType::User, "net"));
    }

    let mut host = Host::gather(&description)?;
    // Its log goes with it.
    host.directories.state = host.directories.runtime.clone();
    for (i, share) in shares.iter().enumerate() {
        let ninep = share.writable && host.tools.virtiofsd.is_none();
        let described = Share {
            read_only: !share.writable,
            proto: if ninep {
                Protocol::NineP
            } else {
                Protocol::Virtiofs
            },
            ..Share::new(format!("share{i}"), &share.dir, &share.dir)
        };
        description.shares.push(described);
    }
    let boot = Boot::find(&description, &host).map_err(SandboxError::Refused)?;
    let mut plan = Plan::new(&description, &host, &boot).map_err(SandboxError::Refused)?;
    // Nothing of another store can be collected here, nor held.
    plan.gc_roots.retain(|path| store.real(path) == *path);
    if let Some(initrd) = &mut plan.initrd {
        initrd.guest.hostname = "sandbox".into();
        initrd.guest.files.extend(root::files(
            &store,
            own.as_ref().map(|_| &*program),
            &search,
        ));
        if let (Then::Run(command), Some(size)) = (&mut initrd.guest.then, sandbox.terminal) {
            command.stdio = Stdio::AgentTerminal(size);
        }
    }
    Ok(plan)
}

/// Where the guest has the program: in the store, or in a share.
fn find(
    store: &Store,
    program: &OsStr,
    search: &OsStr,
    shares: &[SandboxShare],
) -> Result<PathBuf, SandboxError> {
    let name = || SandboxError::NoCommand(program.display().to_string());
    let path = if program.as_encoded_bytes().contains(&b'/') {
        std::path::absolute(program).map_err(|_| name())?
    } else {
        store.on_path(program, search).ok_or_else(name)?
    };
    if let Some(inside) = store.inside(&path) {
        return Ok(inside);
    }
    let canonical = store.canonical(&path).ok_or_else(name)?;
    let shared = shares.iter().any(|share| canonical.starts_with(&share.dir));
    if shared {
        Ok(canonical)
    } else {
        Err(SandboxError::NotInStore(path))
    }
}

fn checked_shares(shares: &[SandboxShare]) -> Result<Vec<SandboxShare>, SandboxError> {
    shares
        .iter()
        .map(|share| {
            let failed = |why| SandboxError::Share {
                dir: share.dir.clone(),
                why,
            };
            let dir = fs::canonicalize(&share.dir).map_err(failed)?;
            fs::read_dir(&dir).map_err(failed)?;
            Ok(SandboxShare {
                dir,
                writable: share.writable,
            })
        })
        .collect()
}

/// This process's directory, if the guest sees it.
fn here(shares: &[SandboxShare]) -> Option<PathBuf> {
    let here = env::current_dir().ok()?;
    shares
        .iter()
        .any(|share| here.starts_with(&share.dir))
        .then_some(here)
}

/// The command's own directory and those of this machine's search path that are of the store.
fn environment(store: &Store, program: &Path, search: &OsStr) -> Vec<(String, String)> {
    let mut dirs: Vec<PathBuf> = Vec::new();
    let own = program.parent().map(Path::to_owned);
    let others = env::split_paths(search).filter_map(|dir| store.canonical(&dir));
    for dir in own
        .into_iter()
        .chain(others.filter(|dir| dir.starts_with(STORE)))
    {
        if !dirs.contains(&dir) {
            dirs.push(dir);
        }
    }
    dirs.extend(["/usr/bin".into(), "/bin".into()]);
    let path = env::join_paths(dirs)
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let term = env::var("TERM").unwrap_or_else(|_| "dumb".into());
    let fixed = [("HOME", "/root"), ("USER", "root"), ("LANG", "C.UTF-8")];
    let fixed = fixed.map(|(name, value)| (name.to_owned(), value.to_owned()));
    fixed
        .into_iter()
        .chain([("PATH".into(), path), ("TERM".into(), term)])
        .collect()
}

fn text(word: &OsStr) -> Result<String, SandboxError> {
    word.to_str()
        .map(str::to_owned)
        .ok_or_else(|| SandboxError::NotText(OsString::from(word)))
}
