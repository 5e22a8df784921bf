// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the fuzzers share: the trees they serve, and how their inputs are written.

pub mod chain;
pub mod mapping;
pub mod request;
pub mod wire;
pub mod world;
