// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Descriptor chains, by way of a ring.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| virtiofs_fuzz::chain::run(data));
