// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A VMM with one virtio-fs device: connects, shakes hands as one of the real ones does, and
//! starts the queues.

use std::os::fd::AsFd;
use std::path::Path;

use rustix::event::{EventfdFlags, eventfd};

use crate::channel::{Channel, request, vring_state, words};
use crate::driver::Driver;
use crate::guest::{Guest, Region};

/// Virtio feature bits.
#[allow(missing_docs)]
pub mod feature {
    pub const INDIRECT: u64 = 1 << 28;
    pub const EVENT_IDX: u64 = 1 << 29;
    pub const PROTOCOL: u64 = 1 << 30;
    pub const VERSION_1: u64 = 1 << 32;
}

/// vhost-user protocol feature bits.
#[allow(missing_docs)]
pub mod protocol {
    pub const MQ: u64 = 1 << 0;
    pub const LOG_SHMFD: u64 = 1 << 1;
    pub const REPLY_ACK: u64 = 1 << 3;
    pub const BACKEND_REQ: u64 = 1 << 5;
    pub const CONFIG: u64 = 1 << 9;
    pub const INFLIGHT_SHMFD: u64 = 1 << 12;
    pub const RESET_DEVICE: u64 = 1 << 13;
    pub const CONFIGURE_MEM_SLOTS: u64 = 1 << 15;
    pub const DEVICE_STATE: u64 = 1 << 19;
    pub const SHMEM: u64 = 1 << 22;
}

/// Which real front-end to behave like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Vmm {
    Qemu,
    QemuTestDevice,
    CloudHypervisor,
    CloudHypervisorGeneric,
    Crosvm,
    Stratovirt,
    Libkrun,
    Alioth,
    UserModeLinux,
}

impl Vmm {
    /// All of them.
    pub const ALL: [Vmm; 9] = [
        Vmm::Qemu,
        Vmm::QemuTestDevice,
        Vmm::CloudHypervisor,
        Vmm::CloudHypervisorGeneric,
        Vmm::Crosvm,
        Vmm::Stratovirt,
        Vmm::Libkrun,
        Vmm::Alioth,
        Vmm::UserModeLinux,
    ];

    /// Whether it takes the device's configuration from the back-end.
    pub fn wants_config(self) -> bool {
        use Vmm::*;
        matches!(
            self,
            QemuTestDevice | CloudHypervisorGeneric | Crosvm | Libkrun | UserModeLinux
        )
    }

    /// The protocol features that it knows; `None` if it does not ask at all.
    fn protocol(self) -> Option<u64> {
        use protocol::*;
        let known = match self {
            Vmm::Qemu => 0x6f_fdff,
            Vmm::QemuTestDevice => 0x6f_ffff,
            Vmm::CloudHypervisor => {
                MQ | LOG_SHMFD | REPLY_ACK | INFLIGHT_SHMFD | CONFIGURE_MEM_SLOTS | DEVICE_STATE
            }
            Vmm::CloudHypervisorGeneric => {
                MQ | LOG_SHMFD
                    | REPLY_ACK
                    | INFLIGHT_SHMFD
                    | CONFIGURE_MEM_SLOTS
                    | DEVICE_STATE
                    | BACKEND_REQ
                    | CONFIG
            }
            Vmm::Crosvm => CONFIG | MQ | BACKEND_REQ | DEVICE_STATE | SHMEM | REPLY_ACK,
            Vmm::Stratovirt => return None,
            Vmm::Libkrun => CONFIG | MQ,
            Vmm::Alioth => MQ | REPLY_ACK | CONFIGURE_MEM_SLOTS,
            Vmm::UserModeLinux => REPLY_ACK | BACKEND_REQ | CONFIG,
        };
        Some(known)
    }

    /// The virtio features that the device may have, by its leave.
    fn virtio(self) -> u64 {
        match self {
            Vmm::Crosvm => !feature::INDIRECT,
            Vmm::Stratovirt => !feature::PROTOCOL,
            _ => !0,
        }
    }
}

/// What was agreed on, and the queues.
#[derive(Debug)]
#[allow(missing_docs)]
pub struct FrontEnd {
    pub vmm: Vmm,
    pub channel: Channel,
    pub guest: Guest,
    pub queues: Vec<Driver>,
    pub features: u64,
    pub protocol: u64,
}

/// Descriptors in each queue.
pub const QUEUE_SIZE: u16 = 128;

impl FrontEnd {
    /// Connects and does everything up to running queues.
    pub fn start(socket: &Path, vmm: Vmm, request_queues: usize) -> FrontEnd {
        let mut front = FrontEnd::greet(socket, vmm, request_queues);
        front.activate();
        front
    }

    /// Connects and does what a VMM does before its guest runs.
    pub fn greet(socket: &Path, vmm: Vmm, request_queues: usize) -> FrontEnd {
        let mut channel = Channel::connect(socket);
        let guest = Guest::new();
        let owns_first = matches!(
            vmm,
            Vmm::CloudHypervisor | Vmm::CloudHypervisorGeneric | Vmm::Crosvm | Vmm::UserModeLinux
        );
        if owns_first {
            channel.tell(request::SET_OWNER, &[], &[]);
        }
        let features = channel.number(request::GET_FEATURES) & vmm.virtio();
        assert_ne!(features & feature::VERSION_1, 0);

        let mut acked = 0;
        if let Some(known) = vmm.protocol() {
            acked = channel.number(request::GET_PROTOCOL_FEATURES) & known;
            // Alioth wants an acknowledgement of the very message that agrees on them.
            channel.acknowledge = vmm == Vmm::Alioth;
            channel.tell(request::SET_PROTOCOL_FEATURES, &words(&[acked]), &[]);
            channel.acknowledge = acked & protocol::REPLY_ACK != 0
                && matches!(
                    vmm,
                    Vmm::Alioth
                        | Vmm::CloudHypervisor
                        | Vmm::CloudHypervisorGeneric
                        | Vmm::UserModeLinux
                );
        }
        let vrings = 1 + request_queues as u64;
        if acked & protocol::MQ != 0 {
            assert_eq!(channel.number(request::GET_QUEUE_NUM), vrings);
        }
        let queues = (0..vrings)
            .map(|_| Driver::new(&guest, QUEUE_SIZE))
            .collect();
        let front = FrontEnd {
            vmm,
            channel,
            guest,
            queues,
            features,
            protocol: acked,
        };

        match vmm {
            Vmm::Qemu | Vmm::QemuTestDevice => {
                if acked & protocol::CONFIGURE_MEM_SLOTS != 0 {
                    assert_eq!(front.channel.number(request::GET_MAX_MEM_SLOTS), 509);
                }
                front.channel.tell(request::SET_OWNER, &[], &[]);
                front.channel.number(request::GET_FEATURES);
                for index in 0..vrings as u32 {
                    front.set_event(request::SET_VRING_CALL, index);
                    front.set_event(request::SET_VRING_ERR, index);
                }
            }
            Vmm::Alioth => {
                for index in 0..vrings as u32 {
                    front.set_event(request::SET_VRING_ERR, index);
                }
                front.channel.tell(request::SET_OWNER, &[], &[]);
            }
            Vmm::Libkrun => front.channel.tell(request::SET_OWNER, &[], &[]),
            _ => {}
        }
        front
    }

    /// Does what a VMM does when the guest's driver is ready.
    pub fn activate(&mut self) {
        let vmm = self.vmm;
        if vmm == Vmm::Stratovirt {
            self.channel.tell(request::SET_OWNER, &[], &[]);
        }
        let memory_first = vmm == Vmm::Libkrun;
        if memory_first {
            self.set_memory();
        }
        self.channel
            .tell(request::SET_FEATURES, &words(&[self.features]), &[]);
        if !memory_first {
            self.set_memory();
        }
        for index in 0..self.queues.len() {
            self.queues[index].event_idx = self.features & feature::EVENT_IDX != 0;
            self.queues[index].use_indirect = self.features & feature::INDIRECT != 0;
            self.start_queue(index as u32, 0);
        }
        if self.features & feature::PROTOCOL != 0 {
            for index in 0..self.queues.len() {
                self.enable(index as u32, true);
            }
        }
    }

    /// Shares the guest's memory, by the messages that were agreed on.
    pub fn set_memory(&self) {
        let fd = self.guest.file().as_fd();
        if self.protocol & protocol::CONFIGURE_MEM_SLOTS != 0 && self.vmm != Vmm::CloudHypervisor {
            for region in Guest::REGIONS {
                let body = [words(&[0]), region.bytes()].concat();
                self.channel.tell(request::ADD_MEM_REG, &body, &[fd]);
            }
        } else {
            self.channel.tell(
                request::SET_MEM_TABLE,
                &mem_table(&Guest::REGIONS),
                &[fd; 3],
            );
        }
    }

    /// Sets a queue up, in the VMM's order.
    pub fn start_queue(&self, index: u32, base: u16) {
        let queue = &self.queues[index as usize];
        let size = || {
            let body = vring_state(index, u32::from(queue.size));
            self.channel.tell(request::SET_VRING_NUM, &body, &[]);
        };
        let base = || {
            let body = vring_state(index, u32::from(base));
            self.channel.tell(request::SET_VRING_BASE, &body, &[]);
        };
        let call = || self.set_event(request::SET_VRING_CALL, index);
        let kick = || self.set_event(request::SET_VRING_KICK, index);
        match self.vmm {
            Vmm::UserModeLinux => {
                call();
                size();
                base();
                self.set_address(index);
                kick();
            }
            Vmm::CloudHypervisor | Vmm::CloudHypervisorGeneric | Vmm::Crosvm | Vmm::Alioth => {
                size();
                self.set_address(index);
                base();
                call();
                kick();
            }
            _ => {
                size();
                base();
                self.set_address(index);
                kick();
                call();
            }
        }
    }

    /// `SET_VRING_ADDR` of a queue.
    pub fn set_address(&self, index: u32) {
        self.channel
            .tell(request::SET_VRING_ADDR, &self.address(index), &[]);
    }

    /// The body of `SET_VRING_ADDR`.
    pub fn address(&self, index: u32) -> Vec<u8> {
        let queue = &self.queues[index as usize];
        let parts = [queue.table, queue.used, queue.available].map(Guest::user);
        [vring_state(index, 0), words(&parts), words(&[0])].concat()
    }

    /// Hands over the descriptor for an event.
    pub fn set_event(&self, message: u32, index: u32) {
        let queue = &self.queues[index as usize];
        let error;
        let fd = match message {
            request::SET_VRING_KICK => queue.kick.as_fd(),
            request::SET_VRING_CALL => queue.call.as_fd(),
            _ => {
                error = eventfd(0, EventfdFlags::CLOEXEC).unwrap();
                error.as_fd()
            }
        };
        self.channel
            .tell(message, &words(&[u64::from(index)]), &[fd]);
    }

    /// `SET_VRING_ENABLE`.
    pub fn enable(&self, index: u32, enable: bool) {
        let body = vring_state(index, u32::from(enable));
        self.channel.tell(request::SET_VRING_ENABLE, &body, &[]);
    }

    /// `GET_VRING_BASE`: stops a queue and says where it stopped.
    pub fn stop_queue(&self, index: u32) -> u16 {
        let reply = self
            .channel
            .ask(request::GET_VRING_BASE, &vring_state(index, 0))
            .unwrap();
        assert_eq!(reply[..4], index.to_ne_bytes());
        u32::from_ne_bytes(reply[4..8].try_into().unwrap())
            .try_into()
            .unwrap()
    }

    /// `GET_CONFIG`; empty if the back-end refuses.
    pub fn config(&self, offset: u32, size: u32) -> Vec<u8> {
        let writable = u32::from(self.vmm == Vmm::Crosvm);
        let mut body: Vec<u8> = [offset, size, writable]
            .iter()
            .flat_map(|word| word.to_ne_bytes())
            .collect();
        body.resize(12 + size as usize, 0);
        let reply = self.channel.ask(request::GET_CONFIG, &body).unwrap();
        let word = |at: usize| u32::from_ne_bytes(reply[at..at + 4].try_into().unwrap());
        assert_eq!((word(0), word(8)), (offset, writable));
        assert_eq!(word(4) as usize, reply.len() - 12);
        reply[12..].to_vec()
    }

    /// Waits until the back-end has done everything asked before, for messages without reply.
    pub fn settle(&self) {
        self.channel.number(request::GET_FEATURES);
    }
}

/// The body of `SET_MEM_TABLE`.
pub fn mem_table(regions: &[Region]) -> Vec<u8> {
    let mut body = vring_state(regions.len() as u32, 0);
    body.extend(regions.iter().flat_map(Region::bytes));
    body
}
