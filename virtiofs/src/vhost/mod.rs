// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The virtio-fs device over vhost-user.
