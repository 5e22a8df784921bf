// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What has to be there before the hypervisor starts.

use std::cell::RefCell;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use nixdb::GcRoot;

use super::guard::Guard;
use super::inbox::{Event, Inbox, Wanted};
use super::start::{start, wait_ready};
use super::{Report, RunError, gc_roots, notify};
use crate::initrd;
use crate::nix::Store;
use crate::plan::{FdSource, Plan, ProcessPlan, ShareServer};
use crate::process::Process;
use crate::share::Shares;
use crate::state::SOCKET;
use crate::volume::{Volume, Watch};

/// Everything that lives as long as the hypervisor. Dropped in this order.
#[derive(Debug)]
pub(super) struct Prepared {
    /// Other programs.
    pub(super) helpers: Vec<Process>,
    _shares: Shares,
    _volumes: Vec<Volume>,
    _roots: Vec<GcRoot>,
}

/// Tells the guard of everything that will be in the machine's directory, or elsewhere for it.
pub(super) fn announce(plan: &Plan, guard: &Guard) {
    let dir = &plan.runtime_dir;
    guard.directory(dir);
    if let Some(console) = &plan.console
        && console.log.path().starts_with(dir)
    {
        guard.file(console.log.path());
    }
    guard.file(&dir.join(SOCKET));
    if let Some(initrd) = &plan.initrd {
        guard.file(&initrd.path);
    }
    for share in &plan.shares {
        guard.file(&share.socket);
    }
    for process in processes(plan) {
        for socket in &process.sockets {
            guard.file(socket);
        }
        for fd in &process.fds {
            if let FdSource::Listener(socket) = &fd.source {
                guard.file(socket);
            }
        }
    }
}

/// All programs of a plan.
pub(super) fn processes(plan: &Plan) -> impl Iterator<Item = &ProcessPlan> {
    let servers = plan.shares.iter().filter_map(|share| match &share.server {
        ShareServer::Process(process) => Some(process),
        ShareServer::InProcess { .. } => None,
    });
    servers.chain(&plan.helpers).chain([&plan.hypervisor])
}

/// Prepares a plan up to the hypervisor.
pub(super) fn prepare(
    plan: &Plan,
    guard: &Guard,
    inbox: &mut Inbox,
    report: &dyn Report,
) -> Result<Prepared, RunError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&plan.state_dir)
        .map_err(RunError::io(format!("make {}", plan.state_dir.display())))?;
    let store = Store::of(plan);
    let roots = plan.runtime_dir.join("gcroots");
    let roots = gc_roots::hold(&plan.gc_roots, &store, &roots, guard, report);

    let mut volumes = Vec::new();
    for volume in &plan.volumes {
        let watch = Watching {
            inbox: RefCell::new(&mut *inbox),
            guard,
            report,
        };
        volumes.push(Volume::prepare(volume, &watch)?);
    }
    if let Some(plan) = &plan.initrd {
        let registration = plan
            .registration
            .as_ref()
            .map(|closure| store.registration(closure))
            .transpose()
            .map_err(|e| RunError::Io {
                what: "tell the guest which store paths it has".to_owned(),
                why: io::Error::other(e),
            })?;
        initrd::write(plan, registration.as_deref().map(str::as_bytes))?;
    }
    let events = inbox.sender();
    let lost = move |why| _ = events.send(Event::ShareLost(why));
    let shares = Shares::serve(&plan.shares, lost)?;
    let mut helpers = Vec::new();
    for helper in processes(plan).take_while(|process| !std::ptr::eq(*process, &plan.hypervisor)) {
        step(report, &format!("waiting for {}", helper.name));
        let mut process = start(helper, guard, inbox)?;
        wait_ready(helper, &mut process, inbox)?;
        helpers.push(process);
    }
    report.done();
    Ok(Prepared {
        helpers,
        _shares: shares,
        _volumes: volumes,
        _roots: roots,
    })
}

pub(super) fn step(report: &dyn Report, what: &str) {
    report.step(what);
    notify::status(what);
}

/// What volumes ask and tell.
struct Watching<'a> {
    inbox: RefCell<&'a mut Inbox>,
    guard: &'a Guard,
    report: &'a dyn Report,
}

impl Watch for Watching<'_> {
    fn step(&self, what: &str) {
        step(self.report, what);
    }

    fn warn(&self, what: &str) {
        self.report.say(&format!("warning: {what}"));
    }

    fn unfinished(&self, file: &Path) {
        self.guard.file(file);
    }

    fn cancelled(&self) -> bool {
        self.inbox.borrow_mut().wanted() != Wanted::Nothing
    }
}
