// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Requests, right into the server.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| virtiofs_fuzz::request::run(data));
