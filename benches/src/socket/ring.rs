// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A VMM and the driver in its guest, with rings that cost as little as they can.
#![allow(unsafe_code)] // the guest's memory as a pointer

use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use rofs_tests::frontend::{FrontEnd, Vmm, feature};
use rofs_tests::fuse::{message, opcode};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use vm_memory::{GuestAddress, GuestMemoryBackend};

use crate::guest::{Guest, Slot};
use crate::socket::cpu;
use crate::socket::server::{Kind, Server};

/// Memory for each queue.
const ROOM: u64 = 40 << 20;
/// Nobody waits longer for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Flags of INIT that matter here.
const READDIRPLUS_AUTO: u64 = 1 << 14;

/// One queue.
#[derive(Debug)]
pub struct Ring {
    /// Its memory.
    pub guest: Guest,
    kick: OwnedFd,
    call: OwnedFd,
}

impl Ring {
    /// Tells the server of what was offered since `before`, if it wants to be told.
    pub fn kick_if_wanted(&self, before: u16) {
        if self.guest.wants_kick(before) {
            rustix::io::write(&self.kick, &1u64.to_ne_bytes()).unwrap();
        }
    }
}

/// A client with running queues, and its server.
#[derive(Debug)]
pub struct Session {
    /// The request queues.
    pub rings: Vec<Ring>,
    /// Whether the client shall guess when READDIRPLUS is worth it.
    pub readdirplus_auto: bool,
    /// Requests put by [`call`](Session::call) so far.
    pub requests: u64,
    /// The server's process.
    pub pid: u32,
    _front: FrontEnd,
    /// If it is this session's own. Last: it ends when its client is gone.
    server: Option<Server>,
}

/// What came of a load.
#[derive(Clone, Debug)]
pub struct Load {
    /// Requests answered in a second.
    pub rate: f64,
    /// Microseconds from offering a request to finding its answer: the middle one, and the one
    /// that 1 in 100 is slower than.
    pub p50: f64,
    /// See there.
    pub p99: f64,
    /// Microseconds of the server's processor time for each request.
    pub cpu: f64,
}

impl Session {
    /// Starts a server of its own and connects to it.
    pub fn start(kind: Kind, root: &Path, queues: usize) -> Session {
        let server = Server::start(kind, root, queues);
        let mut session = Session::connect(server.socket(), server.pid(), queues);
        session.server = Some(server);
        session
    }

    /// Connects to a server as a VMM does, and says INIT as Linux does.
    pub fn connect(socket: &Path, pid: u32, queues: usize) -> Session {
        let mut front = FrontEnd::start(socket, Vmm::CloudHypervisor, queues);
        let needed = feature::EVENT_IDX | feature::INDIRECT;
        assert_eq!(front.features & needed, needed, "{}", socket.display());
        let base = front.guest.get_host_address(GuestAddress(0)).unwrap();
        let rings = front
            .queues
            .drain(1..)
            .map(|driver| {
                let from = front.guest.allocate(ROOM) as usize;
                let parts = [driver.table, driver.available, driver.used].map(|at| at as usize);
                // SAFETY: the memory lives as long as the front-end, which the session keeps; the
                // driver that the ring was made by is dropped.
                let guest = unsafe {
                    Guest::with_ring(base, from..from + ROOM as usize, parts, driver.size)
                };
                Ring {
                    guest,
                    kick: driver.kick,
                    call: driver.call,
                }
            })
            .collect();
        let mut session = Session {
            rings,
            readdirplus_auto: false,
            requests: 0,
            pid,
            _front: front,
            server: None,
        };
        let mut body = Vec::new();
        for word in [7, 41, 128 << 10, 0x73ff_fffb] {
            body.extend(u32::to_le_bytes(word));
        }
        body.resize(64, 0);
        let slot = session.prepare(0, opcode::INIT, 0, &body, Some(64));
        session.call(slot);
        assert_eq!(session.rings[0].guest.error(slot), 0, "INIT");
        let flags = session.rings[0].guest.reply_u64(slot, 8) >> 32;
        session.readdirplus_auto = flags & READDIRPLUS_AUTO != 0;
        session.requests = 0;
        session
    }

    /// Prepares a request on a queue.
    pub fn prepare(
        &mut self,
        ring: usize,
        opcode: u32,
        node: u64,
        body: &[u8],
        room: Option<usize>,
    ) -> Slot {
        let paged = matches!(opcode, opcode::READ | opcode::READDIR | opcode::READDIRPLUS);
        let request = message(opcode, node, 1000, body);
        self.rings[ring].guest.prepare(&request, room, paged)
    }

    /// Puts one request on the first queue and sleeps until it is answered. Returns the used
    /// length.
    pub fn call(&mut self, slot: Slot) -> u32 {
        self.requests += 1;
        let ring = &mut self.rings[0];
        let before = ring.guest.offered();
        ring.guest.offer(slot);
        ring.kick_if_wanted(before);
        loop {
            if let Some((number, used)) = ring.guest.take_used() {
                assert_eq!(number, slot.number());
                return used;
            }
            if ring.guest.arm() {
                wait(std::slice::from_ref(ring));
            }
        }
    }

    /// Sleeps until one of the first so many queues has an answer to take.
    pub fn sleep(&mut self, queues: usize) {
        let rings = &mut self.rings[..queues];
        if rings.iter_mut().all(|ring| ring.guest.arm()) {
            wait(rings);
        }
    }

    /// Opens a file if the server wants that. Returns its node again, and the handle.
    pub fn open(&mut self, slot: Slot, node: u64) -> (u64, u64) {
        self.rings[0].guest.set_node(slot, node);
        self.call(slot);
        let guest = &self.rings[0].guest;
        match guest.error(slot) {
            0 => (node, guest.reply_u64(slot, 0)),
            _ => (node, 0), // it need not be opened
        }
    }

    /// A slot for [`open`](Session::open).
    pub fn open_slot(&mut self) -> Slot {
        self.prepare(0, opcode::OPEN, 1, &[0; 8], Some(16))
    }

    /// LOOKUP, which must find something.
    pub fn lookup(&mut self, slot: Slot, parent: u64, name: &[u8]) -> u64 {
        let request = message(opcode::LOOKUP, parent, 1000, &[name, b"\0"].concat());
        self.rings[0].guest.refill(slot, &request);
        self.call(slot);
        let guest = &self.rings[0].guest;
        assert_eq!(guest.error(slot), 0, "LOOKUP {}", name.escape_ascii());
        guest.reply_u64(slot, 0)
    }

    /// A slot for [`lookup`](Session::lookup).
    pub fn lookup_slot(&mut self) -> Slot {
        self.prepare(0, opcode::LOOKUP, 1, &[b'x'; 256], Some(128))
    }

    /// Keeps all these requests in flight, each put again as soon as it is answered, for so long.
    /// `sleep`: wait for interrupts as a guest does, instead of polling.
    pub fn load(&mut self, slots: &[Vec<Slot>], long: Duration, sleep: bool) -> Load {
        let mut latencies: Vec<f64> = Vec::with_capacity(1 << 20);
        let cpu_before = cpu::spent(self.pid);
        let start = Instant::now();
        let mut now = start;
        let mut flying = 0;
        let mut since: Vec<Vec<Instant>> = Vec::new();
        for (ring, slots) in self.rings.iter_mut().zip(slots) {
            let before = ring.guest.offered();
            let top = slots.iter().map(|slot| slot.number()).max().unwrap_or(0);
            since.push(vec![now; usize::from(top) + 1]);
            for slot in slots {
                ring.guest.offer(*slot);
                flying += 1;
            }
            ring.kick_if_wanted(before);
        }
        let by_number: Vec<Vec<Option<Slot>>> = slots.iter().map(|slots| index(slots)).collect();
        let mut answered = 0u64;
        while flying > 0 {
            let mut progress = false;
            let over = now - start >= long;
            for (which, ring) in self.rings.iter_mut().enumerate().take(slots.len()) {
                let before = ring.guest.offered();
                while let Some((number, _)) = ring.guest.take_used() {
                    let number = usize::from(number);
                    if !progress {
                        now = Instant::now();
                        progress = true;
                    }
                    latencies.push((now - since[which][number]).as_nanos() as f64 / 1e3);
                    answered += 1;
                    match by_number[which][number] {
                        Some(slot) if !over => {
                            since[which][number] = now;
                            ring.guest.offer(slot);
                        }
                        _ => flying -= 1,
                    }
                }
                if ring.guest.offered() != before {
                    ring.kick_if_wanted(before);
                }
            }
            if !progress {
                let idle = !sleep || self.rings.iter_mut().all(|ring| ring.guest.arm());
                if sleep && idle && flying > 0 {
                    wait(&self.rings);
                }
                now = Instant::now();
            }
        }
        let took = start.elapsed().as_secs_f64();
        let cpu = cpu::spent(self.pid).saturating_sub(cpu_before);
        latencies.sort_by(f64::total_cmp);
        let at = |part: f64| latencies[(latencies.len() as f64 * part) as usize];
        Load {
            rate: answered as f64 / took,
            p50: at(0.5),
            p99: at(0.99),
            cpu: cpu.as_nanos() as f64 / 1e3 / answered as f64,
        }
    }
}

fn index(slots: &[Slot]) -> Vec<Option<Slot>> {
    let top = slots.iter().map(|slot| slot.number()).max().unwrap_or(0);
    let mut by_number = vec![None; usize::from(top) + 1];
    for slot in slots {
        by_number[usize::from(slot.number())] = Some(*slot);
    }
    by_number
}

/// Sleeps until a device rings.
fn wait(rings: &[Ring]) {
    let mut fds: Vec<PollFd<'_>> = rings
        .iter()
        .map(|ring| PollFd::new(&ring.call, PollFlags::IN))
        .collect();
    let patience = Timespec::try_from(PATIENCE).unwrap();
    let ready = poll(&mut fds, Some(&patience)).unwrap();
    assert!(ready > 0, "the server does not answer");
    for ring in rings {
        let _ = rustix::io::read(&ring.call, &mut [0; 8]);
    }
}
