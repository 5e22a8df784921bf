// SPDX-License-Identifier: Apache-2.0 OR MIT
//! One connection: the front-end's messages, carried out.
//!
//! `vhost`'s `BackendReqHandler` reads and checks messages and sends the replies. Any error
//! returned from here ends the connection; if the front-end asked for an acknowledgement it gets a
//! negative one before.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use vhost::VhostUserMemoryRegionBase;
use vhost::vhost_user::message::{
    VhostTransferStateDirection, VhostTransferStatePhase, VhostUserConfigFlags, VhostUserInflight,
    VhostUserLog, VhostUserMemoryRegion, VhostUserProtocolFeatures, VhostUserShMemConfig,
    VhostUserSharedMsg, VhostUserSingleMemoryRegion, VhostUserVringAddrFlags, VhostUserVringState,
};
use vhost::vhost_user::{Backend, Error, GpuBackend, Result, VhostUserBackendReqHandlerMut};
use virtio_queue::{Queue, QueueT};

use super::config::Config;
use super::features::{self, EVENT_IDX, FEATURES, PROTOCOL_FEATURES};
use super::limit::Limit;
use super::memory::{MAX_SLOTS, MemoryTable};
use super::options::{DaxOptions, DeviceOptions};
use super::ring::{Ring, Shared};
use super::shmem::Shmem;
use crate::dax::{Auto, DaxWindow};
use crate::fs::ReadFs;
use crate::server::Server;

/// The state of one connection.
pub(super) struct Session<F> {
    memory: MemoryTable,
    rings: Vec<Ring<F>>,
    config: Option<Config>,
    window: Option<Window>,
}

/// The DAX window, and the front-end that maps into it.
struct Window {
    size: u64,
    shmem: Arc<Shmem>,
    /// The socket for requests, from the message that is being handled.
    socket: Option<OwnedFd>,
    /// The front-end knows how to map.
    agreed: bool,
}

impl<F: ReadFs + 'static> Session<F> {
    pub(super) fn new(
        server: Arc<Server<F>>,
        options: &DeviceOptions,
        limit: Arc<Limit>,
    ) -> io::Result<Session<F>> {
        let memory = MemoryTable::new();
        let mut dax: Option<Arc<dyn DaxWindow>> = None;
        let mut window = None;
        if let Some(DaxOptions { mode, size }) = options.dax {
            let shmem = Arc::new(Shmem::new()?);
            dax = Some(Arc::new(Auto::new(mode, size, Arc::clone(&shmem) as _)?));
            window = Some(Window {
                size,
                shmem,
                socket: None,
                agreed: false,
            });
        }
        let shared = Arc::new(Shared {
            server,
            memory: memory.memory().clone(),
            window: dax,
            lane: options.pool.lane(),
            poll: options.poll,
            name: options.name().to_owned(),
            limit,
        });
        let rings = (0..options.vrings())
            .map(|index| Ring::new(index, options.queue_size, Arc::clone(&shared)))
            .collect::<io::Result<_>>()?;
        let config = options
            .tag
            .as_ref()
            .map(|tag| Config::new(tag, options.request_queues));
        Ok(Session {
            memory,
            rings,
            config,
            window,
        })
    }

    /// Stops every ring and waits for their threads.
    pub(super) fn shut_down(&mut self) {
        self.set_running(false);
        for ring in &self.rings {
            ring.request_stop();
        }
        self.rings.clear();
    }

    fn ring(&mut self, index: u32) -> Result<&mut Ring<F>> {
        let count = self.rings.len();
        usize::try_from(index)
            .ok()
            .and_then(|index| self.rings.get_mut(index))
            .ok_or_else(|| refused(format!("queue {index} of a device that has {count}")))
    }

    /// The message that comes next brings this socket for requests.
    pub(super) fn expect_socket(&mut self, socket: OwnedFd) {
        if let Some(window) = &mut self.window {
            window.socket = Some(socket);
        }
    }

    /// Before rings stop, and when they run.
    fn set_running(&self, running: bool) {
        if let Some(window) = &self.window {
            window.shmem.set_running(running);
        }
    }

    fn table_came(&self) {
        if let Some(window) = &self.window {
            window.shmem.table_came();
        }
    }

    fn protocol_features(&self) -> VhostUserProtocolFeatures {
        features::protocol(self.config.is_some(), self.window.is_some())
    }

    fn enable_all(&mut self, enabled: bool) -> Result<()> {
        self.rings
            .iter_mut()
            .try_for_each(|ring| ring.enable(enabled))
            .map_err(failed)
    }
}

/// The front-end asked for what cannot be.
fn refused(why: String) -> Error {
    Error::ReqHandlerError(io::Error::other(why))
}

fn failed(error: io::Error) -> Error {
    Error::ReqHandlerError(error)
}

/// A message that belongs to a feature that was not offered.
fn unsupported<T>() -> Result<T> {
    Err(Error::InvalidOperation(
        "it belongs to a feature that was not offered",
    ))
}

impl<F: ReadFs + 'static> VhostUserBackendReqHandlerMut for Session<F> {
    fn set_owner(&mut self) -> Result<()> {
        Ok(())
    }

    fn reset_owner(&mut self) -> Result<()> {
        self.set_running(false);
        for ring in &mut self.rings {
            ring.stop().map_err(failed)?;
        }
        self.enable_all(false)
    }

    fn get_features(&mut self) -> Result<u64> {
        Ok(FEATURES)
    }

    fn set_features(&mut self, features: u64) -> Result<()> {
        if features & !FEATURES != 0 {
            return Err(refused(format!("features {features:#x} of {FEATURES:#x}")));
        }
        for ring in &mut self.rings {
            let event_idx = features & EVENT_IDX != 0;
            ring.configure(|queue| {
                queue.set_event_idx(event_idx);
                Ok(())
            })
            .map_err(failed)?;
        }
        if features & PROTOCOL_FEATURES == 0 {
            // Such a front-end does not know of enabling.
            self.enable_all(true)?;
        }
        Ok(())
    }

    fn get_protocol_features(&mut self) -> Result<VhostUserProtocolFeatures> {
        Ok(self.protocol_features())
    }

    fn set_protocol_features(&mut self, features: u64) -> Result<()> {
        let offered = self.protocol_features().bits();
        if features & !offered != 0 {
            return Err(refused(format!(
                "protocol features {features:#x} of {offered:#x}"
            )));
        }
        if let Some(window) = &mut self.window {
            window.agreed = features & features::SHMEM.bits() == features::SHMEM.bits();
        }
        Ok(())
    }

    fn get_queue_num(&mut self) -> Result<u64> {
        Ok(self.rings.len() as u64)
    }

    fn get_max_mem_slots(&mut self) -> Result<u64> {
        Ok(MAX_SLOTS as u64)
    }

    fn set_mem_table(
        &mut self,
        regions: &[VhostUserMemoryRegion],
        files: Vec<File>,
        _postcopy: Option<bool>,
    ) -> Result<Option<Vec<VhostUserMemoryRegionBase>>> {
        self.memory.set(regions, files).map_err(failed)?;
        self.table_came();
        Ok(None)
    }

    fn add_mem_region(
        &mut self,
        region: &VhostUserSingleMemoryRegion,
        file: File,
        _postcopy: Option<bool>,
    ) -> Result<Option<VhostUserMemoryRegionBase>> {
        self.memory.add(region, file).map_err(failed)?;
        self.table_came();
        Ok(None)
    }

    fn remove_mem_region(&mut self, region: &VhostUserSingleMemoryRegion) -> Result<()> {
        self.memory.remove(region).map_err(failed)
    }

    fn set_vring_num(&mut self, index: u32, num: u32) -> Result<()> {
        let change = |queue: &mut Queue| {
            let max = queue.max_size();
            u16::try_from(num)
                .map_err(|_| virtio_queue::Error::InvalidSize)
                .and_then(|num| queue.try_set_size(num))
                .map_err(|_| io::Error::other(format!("a ring of {num}: no power of two to {max}")))
        };
        self.ring(index)?.configure(change).map_err(failed)
    }

    fn set_vring_addr(
        &mut self,
        index: u32,
        _flags: VhostUserVringAddrFlags,
        descriptor: u64,
        used: u64,
        available: u64,
        _log: u64,
    ) -> Result<()> {
        let memory = &self.memory;
        let translate = |address| {
            memory.translate(address).ok_or_else(|| {
                refused(format!(
                    "a part of queue {index} at {address:#x}, where no memory is"
                ))
            })
        };
        let addresses = [
            translate(descriptor)?,
            translate(available)?,
            translate(used)?,
        ];
        self.ring(index)?.set_addresses(addresses).map_err(failed)
    }

    fn set_vring_base(&mut self, index: u32, base: u32) -> Result<()> {
        let base =
            u16::try_from(base).map_err(|_| refused(format!("an available index of {base}")))?;
        let change = |queue: &mut Queue| {
            queue.set_next_avail(base);
            Ok(())
        };
        self.ring(index)?.configure(change).map_err(failed)
    }

    fn get_vring_base(&mut self, index: u32) -> Result<VhostUserVringState> {
        self.set_running(false);
        let next = self.ring(index)?.stop().map_err(failed)?;
        Ok(VhostUserVringState::new(index, u32::from(next)))
    }

    fn set_vring_kick(&mut self, index: u8, fd: Option<File>) -> Result<()> {
        self.ring(u32::from(index))?.start(fd).map_err(failed)
    }

    fn set_vring_call(&mut self, index: u8, fd: Option<File>) -> Result<()> {
        self.ring(u32::from(index))?.set_call(fd).map_err(failed)
    }

    fn set_vring_err(&mut self, index: u8, _fd: Option<File>) -> Result<()> {
        // Errors go to the log; the descriptor is not worth keeping.
        self.ring(u32::from(index)).map(|_| ())
    }

    fn set_vring_enable(&mut self, index: u32, enable: bool) -> Result<()> {
        if !enable {
            self.set_running(false);
        }
        self.ring(index)?.enable(enable).map_err(failed)?;
        if enable {
            self.set_running(true);
        }
        Ok(())
    }

    fn get_config(&mut self, offset: u32, size: u32, _: VhostUserConfigFlags) -> Result<Vec<u8>> {
        self.config
            .as_ref()
            .and_then(|config| config.read(offset, size))
            .ok_or_else(|| refused(format!("{size} bytes of configuration at {offset}")))
    }

    fn set_config(&mut self, offset: u32, buf: &[u8], _: VhostUserConfigFlags) -> Result<()> {
        // A guest can cause this message, so it is no reason to end the connection.
        log::debug!(
            "the guest writes {} bytes of configuration at {offset}",
            buf.len()
        );
        Ok(())
    }

    fn reset_device(&mut self) -> Result<()> {
        unsupported()
    }

    fn set_gpu_socket(&mut self, _: GpuBackend) -> Result<()> {
        unsupported()
    }

    fn get_shared_object(&mut self, _: VhostUserSharedMsg) -> Result<File> {
        unsupported()
    }

    fn get_inflight_fd(&mut self, _: &VhostUserInflight) -> Result<(VhostUserInflight, File)> {
        unsupported()
    }

    fn set_inflight_fd(&mut self, _: &VhostUserInflight, _: File) -> Result<()> {
        unsupported()
    }

    fn set_device_state_fd(
        &mut self,
        _: VhostTransferStateDirection,
        _: VhostTransferStatePhase,
        _: File,
    ) -> Result<Option<File>> {
        unsupported()
    }

    fn check_device_state(&mut self) -> Result<()> {
        unsupported()
    }

    fn set_backend_req_fd(&mut self, _: Backend) {
        if let Some(window) = &mut self.window {
            let socket = window.socket.take().filter(|_| window.agreed);
            window.shmem.connect(socket);
        }
    }

    fn get_shmem_config(&mut self) -> Result<VhostUserShMemConfig> {
        let Some(window) = &self.window else {
            return unsupported();
        };
        window.shmem.asked();
        Ok(VhostUserShMemConfig::new(1, &[window.size]))
    }

    fn set_log_base(&mut self, _: &VhostUserLog, _: File) -> Result<()> {
        unsupported()
    }
}
