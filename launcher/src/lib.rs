// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Runs microVMs from one declarative file. Nothing is here yet; see `README.md`.
