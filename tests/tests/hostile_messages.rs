// SPDX-License-Identifier: Apache-2.0 OR MIT
//! vhost-user messages that no front-end sends. Each ends its connection, with one sentence of
//! why, or is refused; the next client and other shares are served as if nothing had been.

// Tables of small closures.
#![allow(clippy::semicolon_if_nothing_returned)]

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};

use rofs_tests::channel::{NEED_REPLY, REPLY, VERSION, request::*, vring_state, words};
use rofs_tests::frontend::{FrontEnd, Vmm, mem_table};
use rofs_tests::fuse::{Client, ROOT};
use rofs_tests::guest::{Guest, LOW_END, Region};
use rofs_tests::memfs::MemFs;
use rofs_tests::share::Share;

/// What becomes of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It is ended because of the message.
    Ended,
    /// It is ended, and nobody is to blame: the front-end went away.
    Gone,
    /// It goes on.
    GoesOn,
}
use Fate::*;

/// Sends a message to a device that runs.
type Send = fn(&FrontEnd);

fn send(front: &FrontEnd, request: u32, body: &[u8]) {
    front.channel.send(request, 0, body, &[]).unwrap();
}

fn send_fds(front: &FrontEnd, request: u32, body: &[u8], fds: &[BorrowedFd<'_>]) {
    front.channel.send(request, 0, body, fds).unwrap();
}

fn header(front: &FrontEnd, request: u32, flags: u32, size: u32) {
    let bytes = [request, flags, size].map(u32::to_ne_bytes).concat();
    front.channel.raw(&bytes, &[]).unwrap();
}

fn address(front: &FrontEnd, flags: u32, table: u64, used: u64, available: u64) {
    let body = [vring_state(1, flags), words(&[table, used, available, 0])].concat();
    send(front, SET_VRING_ADDR, &body);
}

fn table(front: &FrontEnd, regions: &[Region], fds: usize) {
    let fds = vec![front.guest.file().as_fd(); fds];
    send_fds(front, SET_MEM_TABLE, &mem_table(regions), &fds);
}

fn add(front: &FrontEnd, region: Region, fds: usize) {
    let fds = vec![front.guest.file().as_fd(); fds];
    send_fds(
        front,
        ADD_MEM_REG,
        &[words(&[0]), region.bytes()].concat(),
        &fds,
    );
}

fn config(front: &FrontEnd, offset: u32, size: u32, flags: u32, payload: usize) {
    let body = [offset, size, flags].map(u32::to_ne_bytes).concat();
    send(front, GET_CONFIG, &[body, vec![0; payload]].concat());
}

/// A configuration read that is answered with no bytes.
fn no_config(front: &FrontEnd, offset: u32, size: u32) {
    config(front, offset, size, 0, size as usize);
    assert_eq!(front.channel.reply(GET_CONFIG).unwrap().len(), 12);
}

fn kick(front: &FrontEnd, value: u64, fds: &[BorrowedFd<'_>]) {
    send_fds(front, SET_VRING_KICK, &words(&[value]), fds);
}

const PAGE: u64 = 4096;

fn region(guest: u64, size: u64, user: u64, offset: u64) -> Region {
    Region {
        guest,
        size,
        user,
        offset,
    }
}

const MESSAGES: &[(&str, Fate, Send)] = &[
    ("a message number 0", Ended, |front| send(front, 0, &[])),
    ("a message number 999", Ended, |front| send(front, 999, &[])),
    ("the last message number", Ended, |front| {
        send(front, u32::MAX, &[])
    }),
    ("version 0", Ended, |front| {
        header(front, GET_FEATURES, 0, 0)
    }),
    ("version 2", Ended, |front| {
        header(front, GET_FEATURES, 2, 0)
    }),
    ("flags that nobody knows", Ended, |front| {
        header(front, GET_FEATURES, VERSION | 0xfff0, 0)
    }),
    ("a reply to nothing", Ended, |front| {
        header(front, GET_FEATURES, VERSION | REPLY, 0)
    }),
    ("4097 bytes", Ended, |front| {
        header(front, GET_FEATURES, VERSION, 4097)
    }),
    ("4 GiB", Ended, |front| {
        header(front, GET_FEATURES, VERSION, u32::MAX)
    }),
    ("noise", Ended, |front| {
        front.channel.raw(&[0xa5; 300], &[]).unwrap()
    }),
    ("half a header", Gone, |front| {
        front.channel.raw(&[1, 0, 0, 0, 1], &[]).unwrap();
        front
            .channel
            .stream()
            .shutdown(std::net::Shutdown::Write)
            .unwrap();
    }),
    ("half a body", Ended, |front| {
        header(front, SET_FEATURES, VERSION, 8);
        front.channel.raw(&[0; 3], &[]).unwrap();
        front
            .channel
            .stream()
            .shutdown(std::net::Shutdown::Write)
            .unwrap();
    }),
    ("too short a body", Ended, |front| {
        send(front, SET_FEATURES, &[0; 4])
    }),
    ("too long a body", Ended, |front| {
        send(front, SET_FEATURES, &[0; 12])
    }),
    ("a body where none may be", Ended, |front| {
        send(front, SET_OWNER, &[0; 8])
    }),
    ("no body", Ended, |front| send(front, SET_VRING_NUM, &[])),
    ("a descriptor where none may be", Ended, |front| {
        send_fds(
            front,
            SET_FEATURES,
            &words(&[0]),
            &[front.guest.file().as_fd()],
        );
    }),
    ("forty descriptors", Ended, |front| {
        let fds = [front.guest.file().as_fd(); 40];
        send_fds(front, SET_MEM_TABLE, &mem_table(&Guest::REGIONS), &fds);
        front
            .channel
            .stream()
            .shutdown(std::net::Shutdown::Write)
            .unwrap();
    }),
    ("features that were not offered", Ended, |front| {
        send(front, SET_FEATURES, &words(&[front.features | 1 << 34]));
    }),
    ("all features", Ended, |front| {
        send(front, SET_FEATURES, &words(&[u64::MAX]))
    }),
    ("protocol features that were not offered", Ended, |front| {
        send(
            front,
            SET_PROTOCOL_FEATURES,
            &words(&[front.protocol | 1 << 22]),
        );
    }),
    ("a ring of 0", Ended, |front| {
        send(front, SET_VRING_NUM, &vring_state(1, 0))
    }),
    ("a ring of 3", Ended, |front| {
        send(front, SET_VRING_NUM, &vring_state(1, 3))
    }),
    ("a ring of 2048, which is too long", Ended, |front| {
        send(front, SET_VRING_NUM, &vring_state(1, 2048));
    }),
    ("a ring of 65535", Ended, |front| {
        send(front, SET_VRING_NUM, &vring_state(1, 65535))
    }),
    ("a ring of 65536", Ended, |front| {
        send(front, SET_VRING_NUM, &vring_state(1, 65536))
    }),
    ("a ring of 2^32-1", Ended, |front| {
        send(front, SET_VRING_NUM, &vring_state(1, u32::MAX))
    }),
    ("no such queue", Ended, |front| {
        send(front, SET_VRING_NUM, &vring_state(3, 128))
    }),
    ("no such queue by far", Ended, |front| {
        send(front, SET_VRING_NUM, &vring_state(u32::MAX, 128));
    }),
    ("a base of 65536", Ended, |front| {
        send(front, SET_VRING_BASE, &vring_state(1, 65536))
    }),
    ("a base that no ring has", GoesOn, |front| {
        send(front, SET_VRING_BASE, &vring_state(1, 40_000));
    }),
    ("the base of no queue", Ended, |front| {
        send(front, GET_VRING_BASE, &vring_state(77, 0))
    }),
    ("rings in no memory", Ended, |front| {
        address(front, 0, PAGE, PAGE, PAGE)
    }),
    ("rings at the end of all addresses", Ended, |front| {
        address(front, 0, !15, !3, !1);
    }),
    ("rings with a tail out of memory", GoesOn, |front| {
        let end = Guest::user(LOW_END - 16);
        address(front, 0, end, end, end);
    }),
    ("rings askew", Ended, |front| {
        let at = Guest::user(0);
        address(front, 0, at + 8, at, at);
    }),
    ("flags of a ring that nobody knows", Ended, |front| {
        let at = Guest::user(0);
        address(front, 0xfe, at, at, at);
    }),
    ("enabled twice over", Ended, |front| {
        send(front, SET_VRING_ENABLE, &vring_state(1, 2))
    }),
    ("no queue enabled", Ended, |front| {
        send(front, SET_VRING_ENABLE, &vring_state(9, 1))
    }),
    ("a kick without its descriptor", Ended, |front| {
        kick(front, 1, &[])
    }),
    ("a kick with one too many", Ended, |front| {
        kick(
            front,
            1,
            &[front.queues[1].kick.as_fd(), front.queues[1].kick.as_fd()],
        );
    }),
    ("a kick with one that it denies", Ended, |front| {
        kick(front, 0x101, &[front.queues[1].kick.as_fd()]);
    }),
    ("a kick without descriptor, for polling", GoesOn, |front| {
        kick(front, 0x101, &[])
    }),
    ("a kick for no queue", Ended, |front| {
        kick(front, 200, &[front.queues[1].kick.as_fd()])
    }),
    ("a kick that is always there", Ended, |front| {
        kick(front, 1, &[File::open("/dev/zero").unwrap().as_fd()]);
    }),
    ("a kick that is a file", Ended, |front| {
        kick(front, 1, &[front.guest.file().as_fd()])
    }),
    ("a kick that is a directory", Ended, |front| {
        kick(front, 1, &[File::open("/").unwrap().as_fd()]);
    }),
    ("a kick that is a socket that hung up", GoesOn, |front| {
        let (socket, _) = std::os::unix::net::UnixStream::pair().unwrap();
        kick(front, 1, &[socket.as_fd()]);
    }),
    ("a call that is a file", Ended, |front| {
        send_fds(
            front,
            SET_VRING_CALL,
            &words(&[1]),
            &[front.guest.file().as_fd()],
        );
    }),
    ("no memory", Ended, |front| table(front, &[], 0)),
    ("memory without descriptors", Ended, |front| {
        table(front, &Guest::REGIONS, 0)
    }),
    ("memory with too few descriptors", Ended, |front| {
        table(front, &Guest::REGIONS, 2)
    }),
    ("memory with too many descriptors", Ended, |front| {
        table(front, &Guest::REGIONS, 4)
    }),
    ("33 regions", Ended, |front| {
        table(front, &[Guest::REGIONS[0]; 33], 32)
    }),
    ("fewer regions than it says", Ended, |front| {
        let mut body = mem_table(&Guest::REGIONS);
        body[0] = 8;
        send_fds(
            front,
            SET_MEM_TABLE,
            &body,
            &[front.guest.file().as_fd(); 8],
        );
    }),
    ("memory that overlaps", Ended, |front| {
        table(
            front,
            &[region(0, 2 * PAGE, 0, 0), region(PAGE, PAGE, 1 << 20, 0)],
            2,
        );
    }),
    ("empty memory", Ended, |front| {
        table(front, &[region(0, 0, 0, 0)], 1)
    }),
    ("guest addresses that overflow", Ended, |front| {
        table(front, &[region(u64::MAX - PAGE + 1, 2 * PAGE, 0, 0)], 1);
    }),
    ("user addresses that overflow", Ended, |front| {
        table(front, &[region(0, 2 * PAGE, u64::MAX - PAGE + 1, 0)], 1);
    }),
    ("offsets that overflow", Ended, |front| {
        table(front, &[region(0, PAGE, 0, u64::MAX - 100)], 1);
    }),
    ("memory behind the end of its file", Ended, |front| {
        table(front, &[region(0, 1 << 40, 0, 0)], 1);
    }),
    ("memory without boundaries", Ended, |front| {
        table(front, &[region(0, u64::MAX, 0, 0)], 1)
    }),
    ("memory from the middle of a page", Ended, |front| {
        table(front, &[region(0, PAGE, 0, 100)], 1);
    }),
    ("memory that is a directory", Ended, |front| {
        let body = mem_table(&[region(0, PAGE, 0, 0)]);
        send_fds(
            front,
            SET_MEM_TABLE,
            &body,
            &[File::open("/").unwrap().as_fd()],
        );
    }),
    ("a region without descriptor", Ended, |front| {
        add(front, region(1 << 40, PAGE, 0, 0), 0)
    }),
    ("a region with two", Ended, |front| {
        add(front, region(1 << 40, PAGE, 0, 0), 2)
    }),
    ("a region over another", Ended, |front| {
        add(front, region(0, PAGE, 0, 0), 1)
    }),
    ("a region whose user address overflows", Ended, |front| {
        add(front, region(1 << 40, PAGE, u64::MAX, 0), 1);
    }),
    ("a region whose guest address overflows", Ended, |front| {
        add(front, region(u64::MAX, PAGE, 0, 0), 1);
    }),
    ("a region without size", Ended, |front| {
        add(front, region(1 << 40, 0, 0, 0), 1)
    }),
    ("a region behind its file", Ended, |front| {
        add(front, region(1 << 40, 1 << 41, 0, 0), 1)
    }),
    ("a region removed that never was", Ended, |front| {
        let body = [words(&[0]), region(1 << 40, PAGE, 0, 0).bytes()].concat();
        send(front, REM_MEM_REG, &body);
    }),
    ("half a region removed", Ended, |front| {
        let body = [words(&[0]), region(0, PAGE, 0, 0).bytes()].concat();
        send(front, REM_MEM_REG, &body);
    }),
    ("all memory removed under the rings", GoesOn, |front| {
        for region in Guest::REGIONS {
            send(front, REM_MEM_REG, &[words(&[0]), region.bytes()].concat());
        }
    }),
    ("no configuration", Ended, |front| config(front, 0, 0, 0, 0)),
    ("configuration behind its end", GoesOn, |front| {
        no_config(front, 256, 1)
    }),
    ("more configuration than there is", GoesOn, |front| {
        no_config(front, 0, 257)
    }),
    ("configuration out of bounds", Ended, |front| {
        config(front, u32::MAX, 4, 0, 4)
    }),
    ("configuration far out", Ended, |front| {
        config(front, 4096, 4, 0, 4)
    }),
    ("configuration that lies about its length", Ended, |front| {
        config(front, 0, 40, 0, 4)
    }),
    ("configuration with unknown flags", Ended, |front| {
        config(front, 0, 4, 0xf0, 4)
    }),
    ("half a request for configuration", Ended, |front| {
        send(front, GET_CONFIG, &[0; 5])
    }),
    ("configuration written", GoesOn, |front| {
        let body = [0u32, 4, 1].map(u32::to_ne_bytes).concat();
        send(front, SET_CONFIG, &[body, vec![0xff; 4]].concat());
        assert_eq!(&front.config(0, 3), b"mes");
    }),
    ("RESET_DEVICE, not offered", Ended, |front| {
        send(front, RESET_DEVICE, &[])
    }),
    ("SET_STATUS, not offered", Ended, |front| {
        send(front, SET_STATUS, &words(&[0]))
    }),
    ("GET_INFLIGHT_FD, not offered", Ended, |front| {
        send(front, GET_INFLIGHT_FD, &words(&[1, 1, 1]));
    }),
    ("GET_SHMEM_CONFIG, not offered", Ended, |front| {
        send(front, GET_SHMEM_CONFIG, &[])
    }),
    ("GET_SHARED_OBJECT, not offered", Ended, |front| {
        send(front, GET_SHARED_OBJECT, &[7; 16])
    }),
    ("SET_LOG_BASE, not offered", Ended, |front| {
        send_fds(
            front,
            SET_LOG_BASE,
            &words(&[PAGE, 0]),
            &[front.guest.file().as_fd()],
        );
    }),
    ("SET_BACKEND_REQ_FD, not offered", Ended, |front| {
        send_fds(
            front,
            SET_BACKEND_REQ_FD,
            &[],
            &[front.channel.stream().as_fd()],
        );
    }),
    ("GPU_SET_SOCKET", Ended, |front| {
        send_fds(
            front,
            GPU_SET_SOCKET,
            &[],
            &[front.channel.stream().as_fd()],
        );
    }),
    ("SET_DEVICE_STATE_FD, not offered", GoesOn, |front| {
        let fd = front.guest.file().as_fd();
        send_fds(front, SET_DEVICE_STATE_FD, &vring_state(0, 0), &[fd]);
        assert_eq!(
            front.channel.reply(SET_DEVICE_STATE_FD).unwrap(),
            words(&[0x101])
        );
    }),
    ("CHECK_DEVICE_STATE, not offered", GoesOn, |front| {
        assert_eq!(
            front.channel.ask(CHECK_DEVICE_STATE, &[]).unwrap(),
            words(&[1])
        );
    }),
    ("owned twice", GoesOn, |front| send(front, SET_OWNER, &[])),
    ("given back twice", GoesOn, |front| {
        send(front, RESET_OWNER, &[]);
        send(front, RESET_OWNER, &[]);
    }),
    ("started without having been set up", GoesOn, |front| {
        send(front, GET_VRING_BASE, &vring_state(1, 0));
        front.channel.reply(GET_VRING_BASE).unwrap();
        send(front, GET_VRING_BASE, &vring_state(1, 0));
        front.channel.reply(GET_VRING_BASE).unwrap();
        front.set_event(SET_VRING_KICK, 1);
    }),
];

#[test]
fn messages() {
    let witness = Share::with_tag(MemFs::sample(), "witness", 1);
    let mut other = FrontEnd::start(witness.socket(), Vmm::Crosvm, 1);
    let mut well_behaved = Client::new(&mut other, 1);
    well_behaved.init();
    let share = Share::with_tag(MemFs::sample(), "messages", 2);
    for (name, fate, send) in MESSAGES {
        let mut front = FrontEnd::start(share.socket(), Vmm::QemuTestDevice, 2);
        Client::new(&mut front, 1).init();
        send(&front);
        if *fate == GoesOn {
            front.settle();
            drop(front);
            assert!(share.ended().is_ok(), "{name}");
        } else {
            front.channel.wait_for_end();
            let ended = share.ended();
            assert_eq!(ended.is_err(), *fate == Ended, "{name}: {ended:?}");
            if let Err(error) = ended {
                assert!(error.is_client_fault(), "{name}: {error}");
                assert!(!error.to_string().contains('\n'), "{name}: {error}");
            }
        }
        assert!(
            well_behaved.getattr(ROOT).is_ok(),
            "{name}: the other share"
        );
        let mut front = FrontEnd::start(share.socket(), Vmm::QemuTestDevice, 2);
        assert!(
            Client::new(&mut front, 2).getattr(ROOT).is_ok(),
            "{name}: the next client"
        );
        drop(front);
        assert!(share.ended().is_ok(), "{name}");
    }
}

#[test]
fn messages_before_their_time() {
    // To a device that knows of no memory, features or queues yet.
    let share = Share::with_tag(MemFs::sample(), "mes, early", 2);
    for (name, _, send) in MESSAGES {
        let front = FrontEnd::greet(share.socket(), Vmm::QemuTestDevice, 2);
        if name.starts_with("all memory removed") {
            continue;
        }
        send(&front);
        drop(front);
        let _ = share.ended();
    }
    let mut front = FrontEnd::start(share.socket(), Vmm::QemuTestDevice, 2);
    assert!(Client::new(&mut front, 1).getattr(ROOT).is_ok());
}

#[test]
fn a_refusal_is_acknowledged_before_the_end() {
    let share = Share::with_tag(MemFs::sample(), "refused", 1);
    let front = FrontEnd::start(share.socket(), Vmm::Alioth, 1);
    front
        .channel
        .send(SET_VRING_NUM, NEED_REPLY, &vring_state(1, 3), &[])
        .unwrap();
    assert_eq!(front.channel.reply(SET_VRING_NUM).unwrap(), words(&[1]));
    front.channel.wait_for_end();
    let error = share.ended().unwrap_err().to_string();
    assert!(error.contains("a ring of 3"), "{error}");
}
