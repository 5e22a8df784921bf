// SPDX-License-Identifier: Apache-2.0 OR MIT
//! File pages into a DAX window.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| virtiofs_fuzz::mapping::run(data));
