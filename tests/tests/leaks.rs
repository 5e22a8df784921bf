// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Nothing is left of a connection.

use std::process::Command;
use std::time::{Duration, Instant};

use rofs_tests::frontend::{FrontEnd, Vmm};
use rofs_tests::memfs::MemFs;
use rofs_tests::share::Share;

use crate::handshake::use_the_file_system;

/// Descriptors, threads and mappings of this process.
fn held() -> (usize, usize, usize) {
    let count = |dir| std::fs::read_dir(dir).unwrap().count();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let guest = maps
        .lines()
        .filter(|line| line.contains("memfd:guest"))
        .count();
    (count("/proc/self/fd"), count("/proc/self/task"), guest)
}

/// The same when the device is waiting for the next client, and nothing changes any more.
fn held_at_rest() -> (usize, usize, usize) {
    let mut last = (held(), Instant::now());
    while last.1.elapsed() < Duration::from_millis(300) {
        std::thread::sleep(Duration::from_millis(5));
        let now = held();
        if now != last.0 {
            last = (now, Instant::now());
        }
    }
    last.0
}

/// Run by the test below in a process of its own, where no other test opens anything.
#[test]
#[ignore = "run by nothing_is_left_of_a_hundred_connections"]
fn alone() {
    let share = Share::with_tag(MemFs::sample(), "leaks", 4);
    let round = |vmm, end: u32| {
        let mut front = FrontEnd::start(share.socket(), vmm, 4);
        use_the_file_system(&mut front, 1);
        match end {
            0 => {}
            1 => {
                for index in 0..5 {
                    front.stop_queue(index);
                }
            }
            _ => {
                // Nonsense, for which the connection is ended.
                front.channel.send(999, 0, &[1, 2, 3], &[]).unwrap();
                front.channel.wait_for_end();
            }
        }
        drop(front);
        assert_eq!(share.ended().is_err(), end > 1);
    };
    let vmms = [Vmm::Qemu, Vmm::CloudHypervisor, Vmm::Alioth, Vmm::Crosvm];
    for (vmm, end) in vmms.into_iter().zip([0, 1, 2, 0]) {
        round(vmm, end);
    }
    let before = held_at_rest();
    for number in 0..100 {
        round(vmms[number % 4], number as u32 % 3);
    }
    assert_eq!(held_at_rest(), before, "descriptors, threads, mappings");
}

#[test]
fn nothing_is_left_of_a_hundred_connections() {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "leaks::alone", "--ignored", "--nocapture"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{output:?}"
    );
}
