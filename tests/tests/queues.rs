// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Queues: several, started and stopped, in batches; several devices and connections.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rofs_tests::channel::{PATIENCE, request, words};
use rofs_tests::driver::{Buffer, Driver};
use rofs_tests::frontend::{FrontEnd, Vmm, mem_table};
use rofs_tests::fuse::{Client, OUT_HEADER, ROOT, message, opcode};
use rofs_tests::guest::{Guest, HIGH, LOW_END, SEAM};
use rofs_tests::memfs::{HELLO, MemFs};
use rofs_tests::share::{Share, eventually, has_thread};
use virtiofs::vhost::{Device, DeviceOptions};

use crate::handshake::use_the_file_system;

/// Long enough for something that shall not happen to have happened.
const A_WHILE: Duration = Duration::from_millis(100);

/// Offers `count` GETATTRs of the root, without telling.
fn submit_getattrs(guest: &Guest, driver: &mut Driver, at: u64, count: usize) {
    guest.write(at, &message(opcode::GETATTR, ROOT, 7, &[0; 16]));
    for number in 0..count as u64 {
        driver.submit(&[
            Buffer {
                at,
                len: 56,
                write: false,
            },
            Buffer {
                at: at + 128 + 128 * number,
                len: 120,
                write: true,
            },
        ]);
    }
}

#[test]
fn a_batch_costs_one_signal() {
    for vmm in [Vmm::Qemu, Vmm::Crosvm] {
        let share = Share::with_tag(MemFs::sample(), "batch", 1);
        let mut front = FrontEnd::start(share.socket(), vmm, 1);
        Client::new(&mut front, 1).init();
        let guest = front.guest.clone();
        let at = guest.allocate(1 << 16);
        let driver = &mut front.queues[1];
        driver.count_signals();
        driver.signals = 0;
        let mut done = 0;
        for _ in 0..20 {
            let before = driver.offered();
            driver.want_signal(1);
            submit_getattrs(&guest, driver, at, 50);
            driver.kick_if_wanted(before);
            for _ in 0..50 {
                let used = driver.wait_used(PATIENCE).unwrap();
                assert_eq!(used.len as usize, OUT_HEADER + 104);
                driver.release(used.id as u16, 2);
                done += 1;
            }
        }
        assert_eq!(done, 1000);
        driver.count_signals();
        // A driver that looks all the time asks for some itself; one for each request it is not.
        assert!(
            driver.signals < 300,
            "{vmm:?}: {} signals for 1000 requests",
            driver.signals
        );
    }
}

#[test]
fn the_event_index_silences_the_device() {
    let share = Share::with_tag(MemFs::sample(), "silent", 1);
    let mut front = FrontEnd::start(share.socket(), Vmm::Qemu, 1);
    Client::new(&mut front, 1).init();
    let guest = front.guest.clone();
    let at = guest.allocate(1 << 16);
    let driver = &mut front.queues[1];
    driver.count_signals();
    driver.signals = 0;
    // Of 30 requests the driver wants to hear of the 25th only.
    driver.want_signal(25);
    submit_getattrs(&guest, driver, at, 20);
    driver.kick();
    assert!(!driver.wait_signal(A_WHILE), "a signal that nobody wanted");
    submit_getattrs(&guest, driver, at + (1 << 15), 10);
    driver.kick();
    assert!(driver.wait_signal(PATIENCE));
    assert_eq!(driver.signals, 1);
}

#[test]
fn queues_work_side_by_side() {
    let share = Share::with_tag(MemFs::sample(), "side", 8);
    let mut front = FrontEnd::start(share.socket(), Vmm::Qemu, 8);
    Client::new(&mut front, 1).init();
    let guest = front.guest.clone();
    let places: Vec<u64> = (0..8).map(|_| guest.allocate(1 << 14)).collect();
    let (_, requests) = front.queues.split_first_mut().unwrap();
    std::thread::scope(|scope| {
        for (driver, at) in requests.iter_mut().zip(places) {
            let guest = &guest;
            scope.spawn(move || {
                for _ in 0..200 {
                    let before = driver.offered();
                    submit_getattrs(guest, driver, at, 10);
                    driver.kick_if_wanted(before);
                    for _ in 0..10 {
                        let used = driver.wait_used(PATIENCE).unwrap();
                        assert_eq!(used.len, 120);
                        driver.release(used.id as u16, 2);
                    }
                }
            });
        }
    });
}

#[test]
fn a_device_may_have_65_queues() {
    let share = Share::with_tag(MemFs::sample(), "wide", 64);
    let mut front = FrontEnd::start(share.socket(), Vmm::Qemu, 64);
    Client::new(&mut front, 1).init();
    for queue in [1, 32, 63, 64] {
        assert!(Client::new(&mut front, queue).getattr(ROOT).is_ok());
    }
}

#[test]
fn queues_stop_and_start_again() {
    for vmm in [Vmm::Qemu, Vmm::CloudHypervisor, Vmm::Alioth, Vmm::Libkrun] {
        let share = Share::with_tag(MemFs::sample(), "stopgo", 1);
        let mut front = FrontEnd::start(share.socket(), vmm, 1);
        use_the_file_system(&mut front, 1);
        for _ in 0..5 {
            // A snapshot or the like: the ring goes on where it was.
            let next = front.queues[1].offered();
            front.enable(1, false);
            assert_eq!(front.stop_queue(1), next);
            front.settle();
            assert!(!has_thread("vq1 stopgo") || vmm != Vmm::Qemu);
            front.start_queue(1, next);
            front.enable(1, true);
            let mut client = Client::new(&mut front, 1);
            assert!(client.getattr(ROOT).is_ok());

            // A reboot: everything begins at zero.
            front.enable(1, false);
            front.stop_queue(1);
            front.queues[1].reset();
            front.start_queue(1, 0);
            front.enable(1, true);
            let mut client = Client::new(&mut front, 1);
            client.init();
            assert!(client.getattr(ROOT).is_ok());
        }
    }
}

#[test]
fn libkrun_reboots_by_disabling_alone() {
    let share = Share::with_tag(MemFs::sample(), "krun", 1);
    let mut front = FrontEnd::start(share.socket(), Vmm::Libkrun, 1);
    for _ in 0..3 {
        use_the_file_system(&mut front, 1);
        for index in 0..2 {
            front.enable(index, false);
        }
        front.settle();
        for queue in &mut front.queues {
            queue.reset();
        }
        for index in 0..2 {
            front.start_queue(index, 0);
            front.enable(index, true);
        }
    }
}

#[test]
fn a_disabled_queue_is_not_served_and_loses_nothing() {
    let share = Share::with_tag(MemFs::sample(), "pause", 1);
    let mut front = FrontEnd::start(share.socket(), Vmm::Qemu, 1);
    Client::new(&mut front, 1).init();
    let guest = front.guest.clone();
    let at = guest.allocate(1 << 14);
    front.enable(1, false);
    front.settle();
    let driver = &mut front.queues[1];
    submit_getattrs(&guest, driver, at, 3);
    driver.kick();
    assert_eq!(driver.wait_used(A_WHILE), None);
    front.enable(1, true);
    for _ in 0..3 {
        assert_eq!(front.queues[1].wait_used(PATIENCE).unwrap().len, 120);
    }
}

#[test]
fn a_request_is_seen_even_if_its_kick_came_before_the_start() {
    let share = Share::with_tag(MemFs::sample(), "early", 1);
    let mut front = FrontEnd::start(share.socket(), Vmm::Qemu, 1);
    Client::new(&mut front, 1).init();
    let guest = front.guest.clone();
    let at = guest.allocate(1 << 14);
    let next = front.stop_queue(1);
    submit_getattrs(&guest, &mut front.queues[1], at, 1);
    // Nobody kicks at all.
    front.start_queue(1, next);
    assert_eq!(front.queues[1].wait_used(PATIENCE).unwrap().len, 120);
}

#[test]
fn stopping_under_load_loses_and_repeats_nothing() {
    let fs = MemFs::sample();
    let share = Share::with_tag(fs.clone(), "load", 1);
    let mut front = FrontEnd::start(share.socket(), Vmm::Qemu, 1);
    Client::new(&mut front, 1).init();
    let guest = front.guest.clone();
    let at = guest.allocate(4096);
    // A FORGET counts, so that one that is done twice shows.
    guest.write(at, &message(opcode::FORGET, 2, 7, &1u64.to_le_bytes()));
    let mut sent = 0u64;
    let mut seen = 0;
    for round in 0..200 {
        for _ in 0..50 {
            front.queues[1].submit(&[Buffer {
                at,
                len: 48,
                write: false,
            }]);
            sent += 1;
        }
        front.queues[1].kick();
        if round % 2 == 0 {
            front.enable(1, false);
            front.enable(1, true);
        } else {
            let next = front.stop_queue(1);
            let used: u16 = guest.get(front.queues[1].used + 2);
            assert_eq!(used, next, "something was begun and not ended");
            front.start_queue(1, next);
        }
        while seen < sent {
            let used = front.queues[1]
                .wait_used(PATIENCE)
                .expect("a request was lost");
            front.queues[1].release(used.id as u16, 1);
            seen += 1;
        }
    }
    front.settle();
    assert_eq!(fs.forgotten(), sent);
}

#[test]
fn the_call_descriptor_is_exchanged_while_the_queue_runs() {
    let share = Share::with_tag(MemFs::sample(), "mask", 1);
    let mut front = FrontEnd::start(share.socket(), Vmm::Qemu, 1);
    Client::new(&mut front, 1).init();
    // User-Mode Linux hands over a pipe; the write end is ours to close.
    let (reader, writer) = std::io::pipe().unwrap();
    let (reader, writer) = (OwnedFd::from(reader), OwnedFd::from(writer));
    for round in 0..3 {
        let fd = writer.as_fd();
        front
            .channel
            .tell(request::SET_VRING_CALL, &words(&[1]), &[fd]);
        let mut event = [0; 8];
        assert_eq!(rustix::io::read(&reader, &mut event), Ok(8), "used at once");
        let guest = front.guest.clone();
        let at = guest.allocate(1 << 14);
        front.queues[1].want_signal(1);
        submit_getattrs(&guest, &mut front.queues[1], at, 1);
        front.queues[1].kick();
        assert_eq!(
            rustix::io::read(&reader, &mut event),
            Ok(8),
            "round {round}"
        );
        assert_eq!(event, 1u64.to_ne_bytes());
        assert!(front.queues[1].try_used().is_some());

        front.set_event(request::SET_VRING_CALL, 1);
        front.settle();
        assert!(Client::new(&mut front, 1).getattr(ROOT).is_ok());
    }
    // No descriptor at all: the driver polls.
    front
        .channel
        .tell(request::SET_VRING_CALL, &words(&[0x101]), &[]);
    front.settle();
    let driver = &mut front.queues[1];
    driver.count_signals();
    let guest = front.guest.clone();
    let at = guest.allocate(1 << 14);
    submit_getattrs(&guest, driver, at, 1);
    driver.kick();
    assert!(eventually(|| driver.try_used().is_some()));
    assert!(!driver.count_signals());
}

#[test]
fn requests_may_lie_across_regions_and_in_high_memory() {
    let share = Share::with_tag(MemFs::sample(), "seam", 1);
    let mut front = FrontEnd::start(share.socket(), Vmm::Qemu, 1);
    Client::new(&mut front, 1).init();
    let guest = front.guest.clone();
    for (request, reply) in [
        (SEAM - 20, HIGH),
        (HIGH + 4096, SEAM - 100),
        (LOW_END - 56, SEAM - 16),
        (SEAM - 55, SEAM + 1000),
    ] {
        guest.write(request, &message(opcode::GETATTR, ROOT, 7, &[0; 16]));
        let driver = &mut front.queues[1];
        driver.submit(&[
            Buffer {
                at: request,
                len: 56,
                write: false,
            },
            Buffer {
                at: reply,
                len: 120,
                write: true,
            },
        ]);
        driver.kick();
        assert_eq!(driver.wait_used(PATIENCE).unwrap().len, 120);
        assert_eq!(guest.get::<u32>(reply), 120);
        assert_eq!(guest.get::<u64>(reply + 8), 7);
    }
}

#[test]
fn memory_comes_and_goes_while_queues_run() {
    let share = Share::with_tag(MemFs::sample(), "hotplug", 1);
    let mut front = FrontEnd::start(share.socket(), Vmm::Alioth, 1);
    let high = [words(&[0]), Guest::REGIONS[2].bytes()].concat();
    for _ in 0..5 {
        use_the_file_system(&mut front, 1);
        front.channel.tell(request::REM_MEM_REG, &high, &[]);
        use_the_file_system(&mut front, 1);
        let guest = front.guest.clone();
        front
            .channel
            .tell(request::ADD_MEM_REG, &high, &[guest.file().as_fd()]);
    }
    let guest = front.guest.clone();
    let fds = [guest.file().as_fd(); 3];
    front
        .channel
        .tell(request::SET_MEM_TABLE, &mem_table(&Guest::REGIONS), &fds);
    use_the_file_system(&mut front, 1);
}

#[test]
fn clients_come_and_go() {
    let fs = MemFs::sample();
    let share = Share::with_tag(fs.clone(), "goes", 1);
    for round in 0..20u64 {
        let resets = fs.resets();
        let vmm = Vmm::ALL[round as usize % Vmm::ALL.len()];
        let mut front = FrontEnd::start(share.socket(), vmm, 1);
        use_the_file_system(&mut front, 1);
        drop(front);
        assert!(share.ended().is_ok());
        assert_eq!(
            fs.resets(),
            resets + 2,
            "one at INIT, one when the client went"
        );
        assert!(!has_thread("vq1 goes"), "a thread outlived its connection");
    }
    // And one that says nothing at all.
    drop(std::os::unix::net::UnixStream::connect(share.socket()).unwrap());
    assert!(share.ended().is_ok());
}

#[test]
fn two_devices_know_nothing_of_each_other() {
    let one = Share::with_tag(MemFs::sample(), "one", 1);
    let mut two = Share::with_tag(MemFs::sample(), "two", 2);
    let mut first = FrontEnd::start(one.socket(), Vmm::Qemu, 1);
    let mut second = FrontEnd::start(two.socket(), Vmm::Qemu, 2);
    use_the_file_system(&mut first, 1);
    use_the_file_system(&mut second, 2);
    two.stop();
    second.channel.wait_for_end();
    use_the_file_system(&mut first, 1);
}

#[test]
fn a_device_stops_with_and_without_clients() {
    let mut idle = Share::with_tag(MemFs::sample(), "idle", 1);
    idle.stop();

    let mut busy = Share::with_tag(MemFs::sample(), "busy", 1);
    let mut front = FrontEnd::start(busy.socket(), Vmm::Qemu, 1);
    use_the_file_system(&mut front, 1);
    // Half a message, so that the device is in the middle of reading.
    front.channel.raw(&[1, 0, 0], &[]).unwrap();
    busy.stop();
    front.channel.wait_for_end();
    assert!(busy.ended().is_ok());
}

#[test]
fn a_connected_socket_is_served() {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    let device = Device::new(MemFs::sample(), DeviceOptions::default()).unwrap();
    std::thread::scope(|scope| {
        let served = scope.spawn(|| device.serve_stream(theirs));
        let channel = rofs_tests::channel::Channel::new(ours);
        assert_eq!(channel.number(request::GET_FEATURES), 0x1_7000_0000);
        drop(channel);
        assert!(served.join().unwrap().is_ok());
    });
    device.stop_handle().stop();
    let (_ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    assert!(
        device.serve_stream(theirs).is_ok(),
        "a stopped device serves nobody"
    );
}

#[test]
fn small_queues_work() {
    let share = Share::with_tag(MemFs::sample(), "small", 1);
    let mut front = FrontEnd::greet(share.socket(), Vmm::Qemu, 1);
    let guest = front.guest.clone();
    front.queues[1] = Driver::new(&guest, 4);
    front.activate();
    let mut client = Client::new(&mut front, 1);
    client.init();
    for _ in 0..100 {
        assert_eq!(client.read(2, 0, 4096).unwrap(), HELLO);
    }
}
