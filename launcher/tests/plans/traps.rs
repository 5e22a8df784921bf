// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Traps of hypervisors, each of which has cost somebody a day. Where it is not a test below, the
//! list says who looks after it.
//!
//! | trap | looked after by |
//! | --- | --- |
//! | a vhost-user device without shared memory starts, and breaks later | [`memory_is_shared_exactly_when_a_device_needs_it`], and for cloud-hypervisor `grammar` |
//! | memory added later is private | the same |
//! | short rings split large requests | [`rings_are_long`], `grammar` |
//! | QEMU does not start with `reconnect` on a vhost-user socket | [`sockets_are_not_reconnected`] |
//! | QEMU connects once: the socket has to be there before | [`every_socket_has_somebody_behind_it`] |
//! | the DAX device wants the server's configuration, and all queues counted | [`the_dax_device_is_complete`] |
//! | QEMU segfaults when the server unmaps after a reset | [`a_reset_ends_the_machine`] |
//! | more queues than the network has: the guest waits for ever | [`queues_have_somebody_behind_them`] |
//! | a tap made for one queue cannot be opened twice | the same |
//! | `-sandbox` forbids the helper for bridges | [`the_sandbox_is_on_unless_a_helper_needs_privileges`] |
//! | an image whose format is guessed | [`formats_are_said`], `grammar` |
//! | a processor model of KVM on the emulator | [`the_processor_fits_what_runs_it`] |
//! | in software emulation the small machine has no timer that Linux starts | the same |
//! | in software emulation on a busy host Linux takes the timer for broken | the same |
//! | `egl-headless` or GL without a render node ends QEMU | [`nothing_is_drawn_without_a_render_node`], `refused` |
//! | PipeWire unreachable ends QEMU | `refused` |
//! | the small machine hangs with 2048 MiB | `launcher::check`, whose messages `tests/mistakes` pins |
//! | virtio-mem on the small machine, a filled balloon with QEMU, 9p, bridges, screens with cloud-hypervisor | `launcher::hypervisor::supports` |
//! | cloud-hypervisor: `mergeable` with `shared`, more queues than processors, commas in paths, an option twice | `grammar`, `refused` |
//! | unix sockets of more than 107 bytes, command lines of more than 2047 | `refused` |
//! | commas in QEMU's option lists | `golden` (volumes, firmware-tables), `accepted` |
//! | io_uring forbidden | `golden` (volumes-without-io-uring) |
//! | boot ROMs of network cards | [`network_cards_have_no_boot_rom`] |
//! | the order of disks is not promised | [`disks_are_found_by_their_serial_numbers`] |

use launcher::plan::{AgentChannel, Plan};
use rofs_guest::config::{Disk, Source};

use crate::cases::{Case, all, for_qemu};

fn qemu_plans() -> Vec<(Case, Plan)> {
    let plan = |case: Case| {
        let plan = case.plan().expect("a plan");
        (case, plan)
    };
    for_qemu().into_iter().map(plan).collect()
}

/// The values of an option.
fn values<'a>(plan: &'a Plan, option: &str) -> Vec<&'a str> {
    let args = &plan.hypervisor.args;
    args.iter()
        .zip(&args[1..])
        .filter(|(name, _)| *name == option)
        .map(|(_, value)| value.as_str())
        .collect()
}

fn devices<'a>(plan: &'a Plan, name: &str) -> Vec<&'a str> {
    values(plan, "-device")
        .into_iter()
        .filter(|device| device.split(',').next() == Some(name))
        .collect()
}

#[test]
fn memory_is_shared_exactly_when_a_device_needs_it() {
    let mut both = [0, 0];
    for (case, plan) in qemu_plans() {
        let args = plan.hypervisor.args.join(" ");
        let needed = args.contains("vhost-user");
        both[usize::from(needed)] += 1;
        let backends = values(&plan, "-object");
        let shared = backends.iter().any(|backend| backend.contains("share=on"));
        assert_eq!(shared, needed, "{}", case.name);
        if needed {
            let memory = backends
                .iter()
                .filter(|backend| backend.starts_with("memory-backend-"));
            for backend in memory {
                assert!(
                    backend.starts_with("memory-backend-memfd") && backend.contains("share=on"),
                    "{}: {backend}",
                    case.name
                );
            }
            assert!(
                values(&plan, "-machine")[0].contains("memory-backend=mem"),
                "{}",
                case.name
            );
        }
    }
    assert!(both.iter().all(|count| *count > 0), "{both:?}");
}

#[test]
fn rings_are_long() {
    let mut seen = 0;
    for (case, plan) in qemu_plans() {
        for device in devices(&plan, "vhost-user-fs-pci") {
            assert!(
                device.ends_with("queue-size=1024"),
                "{}: {device}",
                case.name
            );
            seen += 1;
        }
    }
    assert!(seen > 0);
}

#[test]
fn sockets_are_not_reconnected() {
    for case in all() {
        let plan = case.plan().expect("a plan");
        assert!(
            !plan.hypervisor.args.join(" ").contains("reconnect"),
            "{}",
            case.name
        );
    }
}

#[test]
fn every_socket_has_somebody_behind_it() {
    for (case, plan) in qemu_plans() {
        let clients = values(&plan, "-chardev")
            .into_iter()
            .filter(|one| one.starts_with("socket,") && !one.contains("server=on"));
        let streams = values(&plan, "-netdev")
            .into_iter()
            .filter(|one| one.starts_with("stream,"));
        for client in clients.chain(streams) {
            let path = client
                .split("path=")
                .nth(1)
                .expect("a path")
                .split(',')
                .next()
                .expect("a path");
            let shares = plan
                .shares
                .iter()
                .map(|share| share.socket.display().to_string());
            let helpers = plan
                .helpers
                .iter()
                .flat_map(|helper| &helper.sockets)
                .map(|socket| socket.display().to_string());
            assert!(
                shares.chain(helpers).any(|socket| socket == path),
                "{}: nobody is at {path}",
                case.name
            );
        }
    }
}

#[test]
fn every_socket_is_cleaned_up() {
    for case in all() {
        let plan = case.plan().expect("a plan");
        let own = &plan.hypervisor.sockets;
        assert!(own.contains(&plan.control.socket), "{}", case.name);
        assert!(
            plan.console
                .iter()
                .all(|console| own.contains(&console.socket)),
            "{}",
            case.name
        );
        let agent = plan.agent.iter().all(|agent| match agent {
            AgentChannel::Unix(socket) | AgentChannel::Vsock { socket, .. } => own.contains(socket),
        });
        assert!(agent, "{}", case.name);
        assert!(
            own.iter()
                .all(|socket| socket.starts_with(&plan.runtime_dir)),
            "{}",
            case.name
        );
    }
}

#[test]
fn the_dax_device_is_complete() {
    let (_, plan) = qemu_plans()
        .into_iter()
        .find(|(case, _)| case.name == "share-dax")
        .expect("a case");
    let device = devices(&plan, "vhost-user-test-device-pci");
    // Two request queues and the one of high priority; 36 bytes of tag and 4 of queues.
    assert_eq!(
        device,
        [
            "vhost-user-test-device-pci,chardev=fs0,virtio-id=26,num_vqs=3,vq_size=1024,config_size=40"
        ]
    );
}

#[test]
fn a_reset_ends_the_machine() {
    for (case, plan) in qemu_plans() {
        assert!(
            plan.hypervisor.args.iter().any(|arg| arg == "-no-reboot"),
            "{}",
            case.name
        );
        assert!(
            values(&plan, "-append")[0].contains("panic=-1"),
            "{}",
            case.name
        );
    }
}

#[test]
fn queues_have_somebody_behind_them() {
    let mut seen = 0;
    for (case, plan) in qemu_plans() {
        for (netdev, device) in values(&plan, "-netdev")
            .iter()
            .zip(devices(&plan, "virtio-net-pci"))
        {
            let several = netdev.contains("queues=") || netdev.contains("fds=");
            assert_eq!(
                device.contains("mq=on"),
                several,
                "{}: {netdev} {device}",
                case.name
            );
            seen += u32::from(several);
            assert!(
                !(netdev.contains("ifname=tap0") && several),
                "{}: tap0 has one queue",
                case.name
            );
        }
    }
    assert!(seen > 1);
}

#[test]
fn network_cards_have_no_boot_rom() {
    for (case, plan) in qemu_plans() {
        for device in devices(&plan, "virtio-net-pci") {
            assert!(device.ends_with(",romfile="), "{}: {device}", case.name);
        }
    }
}

#[test]
fn the_sandbox_is_on_unless_a_helper_needs_privileges() {
    for (case, plan) in qemu_plans() {
        let sandbox = values(&plan, "-sandbox");
        let bridge = values(&plan, "-netdev")
            .iter()
            .any(|netdev| netdev.starts_with("bridge"));
        assert_eq!(sandbox.is_empty(), bridge, "{}", case.name);
        for filter in sandbox {
            assert!(
                filter.starts_with("on,obsolete=deny"),
                "{}: {filter}",
                case.name
            );
            // They are started by fork, setsid and exec.
            let relays = values(&plan, "-netdev")
                .iter()
                .any(|netdev| netdev.contains("guestfwd="));
            let raises = !filter.contains("elevateprivileges=deny");
            assert_eq!(raises, relays, "{}: {filter}", case.name);
            assert!(
                !(relays && filter.contains("spawn=deny")),
                "{}: {filter}",
                case.name
            );
        }
    }
}

#[test]
fn formats_are_said() {
    for (case, plan) in qemu_plans() {
        assert!(values(&plan, "-drive").is_empty(), "{}", case.name);
        for image in values(&plan, "-blockdev") {
            assert!(
                ["driver=raw,", "driver=qcow2,"]
                    .iter()
                    .any(|format| image.starts_with(format)),
                "{image}"
            );
        }
    }
}

#[test]
fn the_processor_fits_what_runs_it() {
    let mut software = 0;
    for (case, plan) in qemu_plans() {
        let emulated = values(&plan, "-accel")[0].starts_with("tcg");
        let host_model = values(&plan, "-cpu")[0].starts_with("host");
        assert!(!(emulated && host_model), "{}", case.name);
        let machine = values(&plan, "-machine")[0];
        if emulated {
            assert!(machine.starts_with("q35"), "{}: {machine}", case.name);
            assert!(
                values(&plan, "-append")[0].contains("no_timer_check"),
                "{}",
                case.name
            );
            software += 1;
        }
    }
    assert!(software > 0);
}

#[test]
fn nothing_is_drawn_without_a_render_node() {
    let mut seen = 0;
    for (case, plan) in qemu_plans() {
        let node = case.host().desktop.render_node.is_some();
        let args = plan.hypervisor.args.join(" ");
        let gl = ["egl-headless", "gl=on", "-gl-pci", "virtio-vga-gl"]
            .iter()
            .any(|word| args.contains(word));
        assert!(node || !gl, "{}", case.name);
        seen += u32::from(!node && case.description().graphics.enable);
    }
    assert!(seen > 3);
}

#[test]
fn disks_are_found_by_their_serial_numbers() {
    for case in all() {
        let plan = case.plan().expect("a plan");
        let args = plan.hypervisor.args.join(" ");
        let mounts = plan.initrd.iter().flat_map(|initrd| &initrd.guest.mounts);
        for mount in mounts {
            if let Source::Disk {
                disk: Disk::Serial(serial),
                ..
            } = &mount.source
            {
                assert!(
                    args.contains(&format!("serial={serial}")),
                    "{}: {serial}",
                    case.name
                );
                assert!(serial.len() <= 20, "{serial}");
            }
        }
    }
}
