// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Serving on this host through `/dev/fuse`.
