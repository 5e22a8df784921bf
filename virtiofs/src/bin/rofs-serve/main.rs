// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `rofs-serve`: serves stores to virtual machines.
fn main() {}
