// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Runs microVMs from one declarative file; `README.md` tells which module does what.

pub mod agent;
pub mod check;
pub mod control;
pub mod description;
pub mod execution;
pub mod host;
pub mod hypervisor;
pub mod initrd;
pub mod mistakes;
pub mod nix;
pub mod plan;
pub mod process;
pub mod refusal;
pub mod sandbox;
pub mod schema;
pub mod share;
pub mod starter;
pub mod state;
pub mod system;
pub mod units;
pub mod volume;
