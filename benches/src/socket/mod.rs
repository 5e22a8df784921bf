// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Servers in processes of their own, spoken to over vhost-user.

pub mod cpu;
pub mod null;
pub mod pace;
pub mod ring;
pub mod server;
pub mod walk;
