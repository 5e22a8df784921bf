// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a device is made of.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::pool::Pool;
use crate::dax::{self, Mode};
use crate::server;

/// The name by which a guest mounts the share (`mount -t virtiofs TAG DIR`): 1 to 36 bytes, none
/// of them NUL.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Tag(String);

impl Tag {
    /// Longest tag in bytes; the size of the field in the device's configuration.
    pub const MAX: usize = 36;

    /// Checks a tag.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn new(tag: impl Into<String>) -> Result<Tag, OptionsError> {
        let tag = tag.into();
        if tag.is_empty() || tag.len() > Tag::MAX || tag.bytes().any(|byte| byte == 0) {
            return Err(OptionsError::Tag(tag));
        }
        Ok(Tag(tag))
    }

    /// The tag itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = OptionsError;

    fn from_str(tag: &str) -> Result<Tag, OptionsError> {
        Tag::new(tag)
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a [`Device`](super::Device) presents itself.
#[derive(Clone, Debug)]
pub struct DeviceOptions {
    /// Served in the device's configuration for front-ends that read it there (crosvm, libkrun,
    /// cloud-hypervisor's `--generic-vhost-user`, QEMU's test device). With `None` no
    /// configuration is offered and the front-end is told the tag on its own command line.
    pub tag: Option<Tag>,
    /// Request queues beside the high-priority one, each with a thread; 1 to
    /// [`MAX_REQUEST_QUEUES`](DeviceOptions::MAX_REQUEST_QUEUES).
    pub request_queues: u16,
    /// Longest ring that a front-end may ask for; a power of two, at most 32768.
    pub queue_size: u16,
    /// What the FUSE server offers.
    pub server: server::Options,
    /// Threads for requests that wait for a disk. Devices of one process should share a pool.
    pub pool: Pool,
    /// How long a queue's thread looks for the next request before it sleeps, while requests
    /// follow each other that quickly. Zero, the default, is never: it spares the guest its kick
    /// and the server a wake-up, and where guests do not ask that quickly it only takes processors.
    /// A thread that finds itself in the guest's way leaves it alone for a while.
    pub poll: Duration,
    /// A DAX window, for front-ends that have room for one in their guests' address space (crosvm,
    /// QEMU's test device).
    pub dax: Option<DaxOptions>,
}

/// A device's DAX window. Which files clients use it for, [`server::Options::dax_min`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DaxOptions {
    /// How files get into it.
    pub mode: Mode,
    /// Its size in bytes; a power of two, at least 2 MiB. A guest pays 1/64 of it for its
    /// bookkeeping.
    pub size: u64,
}

impl DaxOptions {
    /// What a guest on a NixOS store seldom fills.
    pub const DEFAULT_SIZE: u64 = 512 << 20;
    /// Beyond it guests have no room for it among their addresses.
    pub const MAX_SIZE: u64 = 64 << 30;
}

impl Default for DaxOptions {
    fn default() -> DaxOptions {
        DaxOptions {
            mode: Mode::Auto,
            size: DaxOptions::DEFAULT_SIZE,
        }
    }
}

impl DeviceOptions {
    /// Most request queues a device can have.
    pub const MAX_REQUEST_QUEUES: u16 = 64;
    /// Longest ring that virtio knows.
    pub const MAX_QUEUE_SIZE: u16 = 32768;

    /// Checks the numbers.
    ///
    /// # Errors
    /// Names the first that is out of range.
    pub fn validate(&self) -> Result<(), OptionsError> {
        if !(1..=Self::MAX_REQUEST_QUEUES).contains(&self.request_queues) {
            return Err(OptionsError::RequestQueues(self.request_queues));
        }
        if !self.queue_size.is_power_of_two() {
            return Err(OptionsError::QueueSize(self.queue_size));
        }
        if let Some(dax) = self.dax
            && (!dax::is_window_size(dax.size) || dax.size > DaxOptions::MAX_SIZE)
        {
            return Err(OptionsError::Window(dax.size));
        }
        Ok(())
    }

    /// Vrings of the device: the high-priority queue and the request queues.
    pub(super) fn vrings(&self) -> usize {
        1 + usize::from(self.request_queues)
    }

    /// How log lines and threads call this device.
    pub(super) fn name(&self) -> &str {
        self.tag.as_ref().map_or("virtiofs", Tag::as_str)
    }
}

impl Default for DeviceOptions {
    fn default() -> DeviceOptions {
        DeviceOptions {
            tag: None,
            request_queues: 1,
            // Linux asks for at most queue size minus 4 pages in one READ, so that 1024 carries
            // the 256 pages of 1 MiB, whatever the front-end then makes of it.
            queue_size: 1024,
            server: server::Options::default(),
            pool: Pool::default(),
            poll: Duration::ZERO,
            dax: None,
        }
    }
}

/// Why a device cannot be made of these options.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OptionsError {
    /// No tag, or one that is too long or holds a NUL.
    Tag(String),
    /// Number of request queues out of range.
    RequestQueues(u16),
    /// Queue size out of range.
    QueueSize(u16),
    /// Size of the DAX window.
    Window(u64),
}

impl fmt::Display for OptionsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OptionsError::Tag(tag) => {
                write!(
                    f,
                    "a tag has 1 to {} bytes and no NUL, unlike {tag:?}",
                    Tag::MAX
                )
            }
            OptionsError::RequestQueues(count) => write!(
                f,
                "a device has 1 to {} request queues, not {count}",
                DeviceOptions::MAX_REQUEST_QUEUES
            ),
            OptionsError::QueueSize(size) => write!(
                f,
                "a queue size is a power of two up to {}, not {size}",
                DeviceOptions::MAX_QUEUE_SIZE
            ),
            OptionsError::Window(size) => write!(
                f,
                "a DAX window has a power of two from 2 MiB to {} GiB, not {size} bytes",
                DaxOptions::MAX_SIZE >> 30
            ),
        }
    }
}

impl std::error::Error for OptionsError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_fit_the_configuration() {
        for good in ["a", "nix-store", &"x".repeat(36), "ünïcode /"] {
            assert_eq!(Tag::new(good).unwrap().as_str(), good);
        }
        for bad in ["", &"x".repeat(37), "a\0b", "\0", &"ü".repeat(19)] {
            let error = bad.parse::<Tag>().unwrap_err();
            assert!(error.to_string().contains("1 to 36 bytes"), "{error}");
        }
    }

    #[test]
    fn numbers_are_checked() {
        let with = |request_queues, queue_size| {
            DeviceOptions {
                request_queues,
                queue_size,
                ..DeviceOptions::default()
            }
            .validate()
        };
        assert_eq!(DeviceOptions::default().validate(), Ok(()));
        assert_eq!(with(1, 1), Ok(()));
        assert_eq!(with(64, 32768), Ok(()));
        assert_eq!(with(0, 1024), Err(OptionsError::RequestQueues(0)));
        assert_eq!(with(65, 1024), Err(OptionsError::RequestQueues(65)));
        for size in [0, 3, 1000, 65535] {
            assert_eq!(with(1, size), Err(OptionsError::QueueSize(size)));
        }
        let with_window = |size| {
            let mode = Mode::Auto;
            DeviceOptions {
                dax: Some(DaxOptions { mode, size }),
                ..DeviceOptions::default()
            }
            .validate()
        };
        assert_eq!(with_window(2 << 20), Ok(()));
        assert_eq!(with_window(64 << 30), Ok(()));
        for size in [0, 1 << 20, 3 << 20, 128 << 30, u64::MAX] {
            assert_eq!(with_window(size), Err(OptionsError::Window(size)));
        }
    }
}
