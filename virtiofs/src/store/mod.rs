// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The file systems that can be served.
