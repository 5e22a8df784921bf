// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The server on somebody else's transport: `vhost-user-backend`'s daemon.
//!
//!     cargo run --example vhost_user_backend -- /tmp/store.sock /nix/store TAG
//!
//! [`Server::handle`] wants the memory of one request and says how much it wrote; who owns the queue
//! is the same to it. This is all that has to be written around it. `virtiofs::vhost::Device` does
//! more: a thread for each queue, reads that nobody waits for, DAX windows, broken guests.

use std::error::Error;
use std::io;
use std::path::Path;
use std::sync::Arc;

use vhost::vhost_user::{VhostUserProtocolFeatures, VhostUserVirtioFeatures};
use vhost_user_backend::{VhostUserBackend, VhostUserDaemon, VringRwLock, VringT};
use virtio_queue::QueueT;
use virtio_queue::desc::split::Descriptor;
use virtiofs::fs::ReadFs;
use virtiofs::server::{Options, Server};
use virtiofs::store::{NixOptions, NixStore, open_root};
use vm_memory::{
    GuestAddressSpace, GuestMemoryAtomic, GuestMemoryBackend, GuestMemoryMmap, VolatileSlice,
};
use vmm_sys_util::epoll::EventSet;
use vmm_sys_util::event::{
    EventConsumer, EventFlag, EventNotifier, new_event_consumer_and_notifier,
};

/// Queues for requests; before them comes the high-priority one.
const REQUEST_QUEUES: u8 = 1;
/// Length of a tag in the device's configuration.
const TAG: usize = 36;

type Memory = GuestMemoryAtomic<GuestMemoryMmap>;

struct Backend<F> {
    server: Server<F>,
    tag: String,
    memory: Memory,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    let [socket, dir, tag] = &args[..] else {
        return Err("usage: vhost_user_backend SOCKET STORE TAG".into());
    };
    let store = NixStore::new(open_root(Path::new(dir))?, NixOptions::default())?;
    serve(Path::new(socket), store, &tag.to_string_lossy())
}

/// Serves `fs` to one client, until it goes.
pub fn serve<F: ReadFs + 'static>(socket: &Path, fs: F, tag: &str) -> Result<(), Box<dyn Error>> {
    let memory = Memory::new(GuestMemoryMmap::new());
    let backend = Backend {
        server: Server::new(fs, Options::default()),
        tag: tag.to_owned(),
        memory: memory.clone(),
    };
    let mut daemon = VhostUserDaemon::new("virtiofs".to_owned(), Arc::new(backend), memory)
        .map_err(|error| error.to_string())?;
    daemon.serve(socket).map_err(|error| error.to_string())?;
    Ok(())
}

impl<F: ReadFs + 'static> VhostUserBackend for Backend<F> {
    type Bitmap = ();
    type Vring = VringRwLock;

    fn num_queues(&self) -> usize {
        1 + usize::from(REQUEST_QUEUES)
    }

    fn max_queue_size(&self) -> usize {
        1024
    }

    fn features(&self) -> u64 {
        // VIRTIO_F_VERSION_1, VIRTIO_F_INDIRECT_DESC
        1 << 32 | 1 << 28 | VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits()
    }

    fn protocol_features(&self) -> VhostUserProtocolFeatures {
        VhostUserProtocolFeatures::MQ | VhostUserProtocolFeatures::CONFIG
    }

    fn set_event_idx(&self, _enabled: bool) {}

    /// `struct virtio_fs_config`, with zeros behind it.
    fn get_config(&self, offset: u32, size: u32) -> Vec<u8> {
        let mut config = self.tag.as_bytes().to_vec();
        config.resize(TAG, 0);
        config.extend(u32::from(REQUEST_QUEUES).to_le_bytes());
        let skipped = config.into_iter().chain(std::iter::repeat(0));
        skipped.skip(offset as usize).take(size as usize).collect()
    }

    fn update_memory(&self, _memory: Memory) -> io::Result<()> {
        Ok(()) // it is the one that we have
    }

    /// Without it the daemon's thread would outlive its client.
    fn exit_event(&self, _thread: usize) -> Option<(EventConsumer, EventNotifier)> {
        new_event_consumer_and_notifier(EventFlag::CLOEXEC | EventFlag::NONBLOCK).ok()
    }

    fn handle_event(
        &self,
        queue: u16,
        _events: EventSet,
        vrings: &[VringRwLock],
        _thread: usize,
    ) -> io::Result<()> {
        // An error would end the daemon's thread, so what a guest does wrong is none.
        let Some(vring) = vrings.get(usize::from(queue)) else {
            return Ok(());
        };
        let memory = self.memory.memory();
        let mut vring = vring.get_mut();
        let mut any = false;
        while let Some(chain) = vring.get_queue_mut().pop_descriptor_chain(memory.clone()) {
            let head = chain.head_index();
            let readable = slices(&memory, chain.clone().readable());
            let writable = slices(&memory, chain.writable());
            let used = match (readable, writable) {
                (Some(readable), Some(writable)) => self.server.handle(&readable, &writable, None),
                _ => 0,
            };
            any |= vring.add_used(head, used).is_ok();
        }
        if any {
            vring.signal_used_queue()?;
        }
        Ok(())
    }
}

/// The memory that descriptors name, if there is such memory.
fn slices(
    memory: &GuestMemoryMmap,
    descriptors: impl Iterator<Item = Descriptor>,
) -> Option<Vec<VolatileSlice<'_>>> {
    let mut slices = Vec::new();
    for descriptor in descriptors {
        // One buffer may lie in several regions of memory.
        for slice in memory.get_slices(descriptor.addr(), descriptor.len() as usize) {
            slices.push(slice.ok()?);
        }
    }
    Some(slices)
}
