// SPDX-License-Identifier: Apache-2.0 OR MIT
//! From a description to a plan: every choice is made here, or in the modules named after its
//! subject.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::guest::{self, Facts};
use super::network::Planner;
use super::{
    ClosurePlan, InitrdPlan, Plan, Sockets, boot, modules, ports, screen, shares, sockets, sound,
    volumes,
};
use crate::description::{Accel, Description, Hypervisor as Kind};
use crate::host::{Host, Kvm};
use crate::hypervisor::{self, Accelerator, Machine, supports};
use crate::refusal::Refusal;
use crate::system::Boot;

/// The name of a machine whose description has none.
const UNNAMED: &str = "vm";

impl Plan {
    /// Plans how to run a description on a host. Looks at nothing but its arguments.
    ///
    /// # Errors
    /// All that cannot be done as described, with what can be done instead.
    pub fn new(description: &Description, host: &Host, boot: &Boot) -> Result<Plan, Vec<Refusal>> {
        let name = description
            .name
            .clone()
            .unwrap_or_else(|| UNNAMED.to_owned());
        let runtime_dir = host.directories.runtime_of(&name);
        let state_dir = host.directories.state_of(&name);
        let sockets = Sockets::new(runtime_dir.clone(), state_dir.clone());
        let hypervisor = hypervisor::of(description.hypervisor);
        let mut refusals = supports::refusals(description);
        refusals.extend(hypervisor.refusals(description, host));
        refusals.extend(sound::refusal(description, host));
        refusals.extend(sockets::too_long("name", &sockets.control()));
        let mut warnings = Vec::new();
        let accel = accelerator(description, host, &mut warnings);
        warnings.extend(hypervisor.warnings(description, accel));
        let program = hypervisor.program(host).unwrap_or_else(|install| {
            let what = format!("{} is not installed", hypervisor.name());
            refusals.push(Refusal::new("hypervisor", what, install));
            PathBuf::new()
        });

        let guest_init = boot.guest_init(description);
        let closure = closure(description, boot);
        let visible = closure.as_ref().filter(|_| !description.closure.is_empty());
        let volumes = volumes::volumes(description, &state_dir);
        let shares = shares::shares(description, host, &sockets, visible, &mut refusals);
        let planner = Planner {
            description,
            host,
            hypervisor,
            sockets: &sockets,
            name: &name,
        };
        let network = planner.network(&mut refusals);
        let sound_helper = hypervisor
            .wants_sound_helper()
            .then(|| sound::helper(description, host, &sockets))
            .flatten();
        let command_line = boot::command_line(description, boot, guest_init, accel);
        refusals.extend(boot::too_long(&command_line));

        let initrd_path = runtime_dir.join("initrd");
        let machine = Machine {
            description,
            host,
            name: name.clone(),
            accel,
            kernel: boot.kernel.clone(),
            initrd: if guest_init {
                Some(initrd_path.clone())
            } else {
                boot.initrd.clone()
            },
            cmdline: command_line,
            disks: volumes::disks(description, &volumes),
            fs: shares.devices,
            ninep: shares.ninep,
            nics: network.nics,
            sound_socket: sound_helper.as_ref().map(|_| sockets.sound()),
            agent: guest_init,
            sockets,
        };
        let (channel, device) = hypervisor.agent(&machine);
        let registers = guest_init && registers(description, boot, closure.as_ref(), &mut warnings);
        let initrd = guest_init.then(|| InitrdPlan {
            path: initrd_path,
            guest: guest::config(Facts {
                description,
                boot,
                name: &name,
                agent: device,
                power_off: hypervisor.power_off(&machine),
                registers,
            }),
            modules: boot
                .modules
                .as_deref()
                .map(|dir| modules::modules(description, dir)),
            registration: closure.clone().filter(|_| registers),
        });
        if guest_init && boot.modules.is_none() {
            warnings.push(format!("modules: none were found for {}; it has to have virtio, virtiofs and what else is used built in", boot.kernel.display()));
        }
        if !refusals.is_empty() {
            return Err(refusals);
        }
        Ok(Plan {
            warnings,
            gc_roots: gc_roots(description, boot, closure.as_ref()),
            volumes,
            initrd,
            shares: shares.plans,
            helpers: network.helpers.into_iter().chain(sound_helper).collect(),
            hypervisor: hypervisor.process(&machine, program),
            control: hypervisor.control(&machine),
            console: hypervisor.console(&machine),
            agent: guest_init.then_some(channel),
            viewer: screen::viewer(description, &machine.sockets),
            ports: description.forward_ports.iter().map(ports::ports).collect(),
            stop_timeout: Duration::from_secs(description.stop_timeout.into()),
            name,
            runtime_dir,
            state_dir,
        })
    }
}

/// What runs the guest, decided once and for all: a processor model fits only one of them.
fn accelerator(description: &Description, host: &Host, warnings: &mut Vec<String>) -> Accelerator {
    let wanted = match (description.accel, host.accel) {
        (Accel::Auto, Some(by_environment)) => by_environment,
        (wanted, _) => wanted,
    };
    // cloud-hypervisor has nothing else.
    if description.hypervisor == Kind::CloudHypervisor {
        return Accelerator::Kvm;
    }
    match (wanted, &host.kvm) {
        (Accel::Auto, Kvm::Unusable(why)) => {
            warnings.push(format!(
                "accel: the guest is emulated in software, which is many times slower: {why}"
            ));
            Accelerator::Tcg
        }
        (Accel::Tcg, _) => {
            warnings.push(
                "accel: the guest is emulated in software, which is many times slower".to_owned(),
            );
            Accelerator::Tcg
        }
        _ => Accelerator::Kvm,
    }
}

/// The paths of the store that make up the guest.
fn closure(description: &Description, boot: &Boot) -> Option<ClosurePlan> {
    let system = boot.system.iter().map(|system| system.path.clone());
    let roots: Vec<PathBuf> = description.closure.iter().cloned().chain(system).collect();
    (!roots.is_empty()).then_some(ClosurePlan { roots })
}

fn registers(
    description: &Description,
    boot: &Boot,
    closure: Option<&ClosurePlan>,
    warnings: &mut Vec<String>,
) -> bool {
    if description.register_closure == Some(false) || closure.is_none() {
        return false;
    }
    let lacks = if boot.nix_store.is_none() {
        "neither `system` nor a path of `closure` has a nix-store to load the registration with"
    } else if description.writable_store_overlay.is_none() {
        // It makes `.links` there, whatever it is asked for.
        "Nix opens its database only where it can write to the store: set `writableStoreOverlay`"
    } else {
        return true;
    };
    if description.register_closure == Some(true) {
        warnings.push(format!("registerClosure: {lacks}"));
    }
    false
}

/// What the garbage collector must leave while the guest runs.
fn gc_roots(description: &Description, boot: &Boot, closure: Option<&ClosurePlan>) -> Vec<PathBuf> {
    let files = [
        Some(&boot.kernel),
        boot.initrd.as_ref(),
        boot.modules.as_ref(),
        description.store_disk.as_ref(),
    ];
    let files = files
        .into_iter()
        .flatten()
        .filter_map(|file| store_path(file));
    let mut roots: Vec<PathBuf> = closure
        .iter()
        .flat_map(|closure| closure.roots.iter().cloned())
        .chain(files)
        .collect();
    roots.sort();
    roots.dedup();
    roots
}

/// The path of the store that a file is in.
fn store_path(file: &Path) -> Option<PathBuf> {
    let store = Path::new("/nix/store");
    let name = file.strip_prefix(store).ok()?.components().next()?;
    Some(store.join(name))
}
