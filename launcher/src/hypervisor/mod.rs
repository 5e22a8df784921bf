// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Hypervisors: what each can do, and the command line that makes it run a machine.
//!
//! One file or folder for each, with one implementation of [`Hypervisor`] in it. To add another
//! (crosvm, firecracker, kvmtool, stratovirt, alioth): a file here, a line in [`of`], a variant of
//! the description's `hypervisor`, and a column in the table of [`supports`].

mod args;
mod cloud_hypervisor;
mod machine;
mod qemu;
pub mod supports;

pub use cloud_hypervisor::CloudHypervisor;
pub use machine::{
    Accelerator, Disk, FsDevice, HostForward, Link, Machine, Nic, NinepShare, Relay,
};
pub use qemu::Qemu;
pub(crate) use qemu::machine_without_kvm;

use std::fmt::Debug;
use std::path::PathBuf;

use rofs_guest::config::{AgentDevice, PowerOff};

use crate::description::{self, Description};
use crate::host::Host;
use crate::plan::{AgentChannel, Console, Control, ProcessPlan};
use crate::refusal::Refusal;

/// One kind of hypervisor.
pub trait Hypervisor: Debug + Sync {
    /// Its name, as in the description.
    fn name(&self) -> &'static str;

    /// Its program on this machine, or how to get it.
    ///
    /// # Errors
    /// A sentence that says what to install.
    fn program(&self, host: &Host) -> Result<PathBuf, String>;

    /// What this very machine, or the program installed on it, keeps it from doing. What it can
    /// never do is in [`supports`].
    fn refusals(&self, description: &Description, host: &Host) -> Vec<Refusal>;

    /// What works, but not as somebody might expect; one sentence each.
    fn warnings(&self, description: &Description, accel: Accelerator) -> Vec<String>;

    /// Whether its own network without privileges is meant, and not passt's.
    fn has_user_network(&self) -> bool;

    /// Whether its sound card is a vhost-user device, served by a program of its own.
    fn wants_sound_helper(&self) -> bool;

    /// The process that runs a machine.
    fn process(&self, machine: &Machine<'_>, program: PathBuf) -> ProcessPlan;

    /// How to talk to that process.
    fn control(&self, machine: &Machine<'_>) -> Control;

    /// The guest's serial console.
    fn console(&self, machine: &Machine<'_>) -> Option<Console>;

    /// The channel to the agent: the host's end and the guest's.
    fn agent(&self, machine: &Machine<'_>) -> (AgentChannel, AgentDevice);

    /// How the guest's init should end it.
    fn power_off(&self, machine: &Machine<'_>) -> PowerOff;
}

/// The hypervisor of that name.
pub fn of(kind: description::Hypervisor) -> &'static dyn Hypervisor {
    match kind {
        description::Hypervisor::Qemu => &Qemu,
        description::Hypervisor::CloudHypervisor => &CloudHypervisor,
    }
}
