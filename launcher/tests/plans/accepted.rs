// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Real QEMUs accept every argument of every plan: each machine is started with its processors
//! stopped, its shares served, its sockets bound. A mistake in the name of a device, a property, an
//! option or a value ends QEMU at once.
//!
//! What a test machine lacks (a graphics card, a sound server, a desktop, a tap device) is taken
//! from the command line, and its names are compared with those that QEMU says it knows.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::Path;

use launcher::description::Cache;
use launcher::plan::{Plan, Readiness, ShareKind, SharePlan, ShareServer};
use launcher::share::Shares;

use crate::cases::{Case, for_qemu};
use crate::qemu::{Qemu, Running, vm_dir};

#[test]
fn by_the_installed_qemu() {
    // Of versions before 11.1 a DAX window is not asked: `refused`.
    accepts(&Qemu::installed(), |case| case.name != "share-dax");
}

#[test]
fn by_the_newest_qemu() {
    if let Some(qemu) = Qemu::of_sid() {
        accepts(&qemu, |_| true);
    }
}

/// The test itself: QEMU does not accept just anything.
#[test]
fn wrong_arguments_are_noticed() {
    let qemu = Qemu::installed();
    let case = for_qemu()
        .into_iter()
        .find(|case| case.name == "volumes")
        .expect("a case");
    for (right, wrong) in [
        ("serial=", "serail="),
        ("virtio-blk-pci", "virtio-block-pci"),
        ("discard=unmap", "discard=umap"),
    ] {
        let prepared = Prepared::new(&case);
        let args: Vec<String> = prepared
            .args
            .iter()
            .map(|arg| arg.replace(right, wrong))
            .collect();
        let started = qemu.start(&args, &prepared.plan.control.socket, prepared.dir.path());
        assert!(started.is_err(), "{wrong} is accepted");
    }
}

fn accepts(qemu: &Qemu, wanted: fn(&Case) -> bool) {
    let mut refused = Vec::new();
    for case in for_qemu().into_iter().filter(wanted) {
        let prepared = Prepared::new(&case);
        let control = &prepared.plan.control.socket;
        let mut running = match qemu.start(&prepared.args, control, prepared.dir.path()) {
            Ok(running) => running,
            Err(why) => {
                refused.push(format!("{}: {why}{}", case.name, prepared.args.join(" ")));
                continue;
            }
        };
        for part in &prepared.replaced {
            if let Err(why) = part.check(&mut running) {
                refused.push(format!("{}: {why}", case.name));
            }
        }
        let said = complaints(&running.quit());
        if !said.is_empty() {
            refused.push(format!("{}: it says {said}", case.name));
        }
    }
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}

/// What QEMU complained about, but for what has nothing to do with its arguments.
fn complaints(said: &str) -> String {
    let harmless = [
        // The share that stands in for a network.
        "Failed to read msg header",
        // SPICE, when it ends.
        "VD_INTERFACE_REMOVING unsupported",
    ];
    let lines = said
        .lines()
        .filter(|line| !harmless.iter().any(|known| line.contains(known)));
    lines.collect::<Vec<_>>().join("\n")
}

/// A plan whose files and sockets are there.
struct Prepared {
    plan: Plan,
    args: Vec<String>,
    replaced: Vec<Replaced>,
    dir: tempfile::TempDir,
    _shares: Shares,
    _sockets: Vec<UnixListener>,
}

impl Prepared {
    fn new(case: &Case) -> Prepared {
        let dir = tempfile::Builder::new()
            .prefix("rofs")
            .tempdir()
            .expect("a directory");
        let path = dir.path();
        let tree = path.join("tree");
        fs::create_dir(&tree).expect("a directory");
        for file in ["key,1", "initrd", "c.img", "store.erofs"] {
            fs::write(path.join(file), [0; 4096]).expect("a file");
        }
        fs::write(path.join("a,b.qcow2"), empty_qcow2()).expect("an image");
        let plan = plan(case, path, &tree);
        fs::create_dir_all(&plan.runtime_dir).expect("a directory");
        fs::create_dir_all(&plan.state_dir).expect("a directory");
        fs::write(plan.runtime_dir.join("initrd"), [0; 4096]).expect("an initrd");
        for volume in plan.volumes.iter().filter(|volume| volume.create) {
            let image = fs::File::create(&volume.image).expect("an image");
            image.set_len(1 << 20).expect("its size");
        }
        let (served, sockets) = backends(&plan, &tree);
        let shares = Shares::serve(&served, |why| eprintln!("{why}")).expect("shares");
        let (args, replaced) = replace(&plan.hypervisor.args);
        Prepared {
            plan,
            args,
            replaced,
            dir,
            _shares: shares,
            _sockets: sockets,
        }
    }
}

/// Plans a case for this very machine.
fn plan(case: &Case, dir: &Path, tree: &Path) -> Plan {
    let here = |text: &str| dir.join(text).display().to_string();
    let port = TcpListener::bind("127.0.0.1:0")
        .and_then(|socket| socket.local_addr())
        .expect("a port")
        .port();
    let text = case
        .text
        .replace("/run/secrets/", &here(""))
        .replace("/images/", &here(""))
        .replace("/boot/initrd", &here("initrd"))
        .replace(
            "\"/srv\"\nmountPoint",
            &format!("\"{}\"\nmountPoint", tree.display()),
        )
        .replace("2222", &port.to_string())
        .replace("5353", &port.to_string());
    let case = Case {
        name: case.name,
        text,
        lacks: case.lacks,
    };
    let (description, mut host) = (case.description(), case.host());
    host.directories.runtime = dir.join("run");
    host.directories.state = dir.join("state");
    // What the sandbox allows is this machine's affair.
    host.io_uring = false;
    let mut boot = case.boot(&description, &host);
    boot.kernel = vm_dir().join("vmlinuz");
    assert!(
        boot.kernel.exists(),
        "no {}: run .ci/provision",
        boot.kernel.display()
    );
    boot.initrd = boot.initrd.map(|_| dir.join("initrd"));
    Plan::new(&description, &host, &boot)
        .unwrap_or_else(|refusals| panic!("{}: {refusals:#?}", case.name))
}

/// Who has to be there when QEMU starts: every share, whoever serves it in earnest, and whoever is
/// behind a network.
fn backends(plan: &Plan, tree: &Path) -> (Vec<SharePlan>, Vec<UnixListener>) {
    let serve = |tag: &str, socket: &Path, request_queues, dax| SharePlan {
        tag: tag.to_owned(),
        source: tree.to_owned(),
        socket: socket.to_owned(),
        server: ShareServer::InProcess {
            kind: ShareKind::Plain(Cache::Auto),
            request_queues,
            closure: None,
            dax,
        },
    };
    let share = |share: &SharePlan| {
        let (queues, dax) = match &share.server {
            ShareServer::InProcess {
                request_queues,
                dax,
                ..
            } => (*request_queues, dax.clone()),
            ShareServer::Process(_) => (1, None),
        };
        serve(&share.tag, &share.socket, queues, dax)
    };
    let mut served: Vec<SharePlan> = plan.shares.iter().map(share).collect();
    let mut listening = Vec::new();
    for helper in &plan.helpers {
        let Readiness::Socket(socket) = &helper.ready else {
            continue;
        };
        if helper.args.iter().any(|arg| arg == "--vhost-user") {
            // Any vhost-user device will do for QEMU's start.
            served.push(serve("net", socket, 1, None));
        } else {
            listening.push(UnixListener::bind(socket).expect("a socket"));
        }
    }
    (served, listening)
}

/// Something of a command line that this machine cannot do.
enum Replaced {
    /// A device, and the properties given to it.
    Device(String, BTreeSet<String>),
    /// A variant of the argument or answer of a command of the machine protocol, and its members.
    Variant(&'static str, String, BTreeSet<String>),
    /// An option, and its parameters.
    Option(&'static str, BTreeSet<String>),
}

impl Replaced {
    fn check(&self, running: &mut Running) -> Result<(), String> {
        let (what, given, known) = match self {
            Replaced::Device(name, given) => (name.as_str(), given, running.properties(name)),
            Replaced::Variant(command, variant, given) => {
                (variant.as_str(), given, running.members(command, variant))
            }
            Replaced::Option(option, given) => (*option, given, running.parameters(option)),
        };
        let unknown: Vec<&String> = given.difference(&known).collect();
        if unknown.is_empty() {
            Ok(())
        } else {
            Err(format!("{what} has no {unknown:?}, but {known:?}"))
        }
    }
}

/// Takes out what this machine cannot do.
fn replace(args: &[String]) -> (Vec<String>, Vec<Replaced>) {
    let (mut kept, mut replaced) = (Vec::new(), Vec::new());
    let mut args = args.iter();
    while let Some(option) = args.next() {
        let takes_none =
            ["-nodefaults", "-no-user-config", "-no-reboot"].contains(&option.as_str());
        let Some(value) = (if takes_none { None } else { args.next() }) else {
            kept.push(option.clone());
            continue;
        };
        let name = value.split(',').next().unwrap_or_default().to_owned();
        let keys = keys(value);
        let instead = match (option.as_str(), name.as_str()) {
            // Without the processor's help the machine can be made just as well.
            ("-accel", "kvm") => Some("tcg".to_owned()),
            ("-cpu", "host") => {
                let flags = value
                    .split(',')
                    .skip(1)
                    .map(|flag| flag[1..].to_owned())
                    .collect();
                replaced.push(Replaced::Device("host-x86_64-cpu".to_owned(), flags));
                Some("max".to_owned())
            }
            ("-audiodev", driver) if driver != "none" => {
                replaced.push(Replaced::Variant("query-audiodevs", name, keys));
                Some("none,id=sound".to_owned())
            }
            ("-display", "gtk" | "egl-headless") => {
                replaced.push(Replaced::Variant("query-display-options", name, keys));
                Some("none".to_owned())
            }
            ("-spice", _) if value.contains("gl=on") => {
                replaced.push(Replaced::Option("spice", keys));
                value.split(",gl=on").next().map(str::to_owned)
            }
            ("-device", "virtio-vga-gl" | "virtio-gpu-gl-pci") => {
                replaced.push(Replaced::Device(name.clone(), keys));
                Some(name.replace("-gl", ""))
            }
            ("-device", "vhost-vsock-pci") => {
                replaced.push(Replaced::Device(name, keys));
                continue;
            }
            ("-netdev", "tap" | "bridge") => {
                replaced.push(Replaced::Variant("netdev_add", name, keys));
                let id = value
                    .split(',')
                    .find(|part| part.starts_with("id="))
                    .unwrap_or("id=net");
                Some(format!("user,{id}"))
            }
            ("-object", "memory-backend-memfd") if value.contains("hugetlb=on") => {
                replaced.push(Replaced::Variant("object-add", name, keys));
                Some(value.replace(",hugetlb=on", ""))
            }
            _ => None,
        };
        kept.push(option.clone());
        kept.push(instead.unwrap_or_else(|| value.clone()));
    }
    (kept, replaced)
}

fn keys(value: &str) -> BTreeSet<String> {
    value
        .split(',')
        .filter_map(|part| Some(part.split_once('=')?.0.to_owned()))
        .collect()
}

/// An image of a mebibyte with nothing in it (docs/interop/qcow2.rst of QEMU): a header, a table and
/// a block of reference counts, a table of tables.
fn empty_qcow2() -> Vec<u8> {
    const CLUSTER: usize = 1 << 16;
    let mut image = vec![0; 4 * CLUSTER];
    let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"QFI\xfb\0\0\0\x02");
    put(20, &16_u32.to_be_bytes()); // bits of a cluster
    put(24, &(1_u64 << 20).to_be_bytes()); // size
    put(36, &1_u32.to_be_bytes()); // entries of the table at
    put(40, &(3 * CLUSTER as u64).to_be_bytes());
    put(48, &(CLUSTER as u64).to_be_bytes()); // table of reference counts
    put(56, &1_u32.to_be_bytes()); // and its clusters
    put(CLUSTER, &(2 * CLUSTER as u64).to_be_bytes());
    for cluster in 0..4 {
        put(2 * CLUSTER + 2 * cluster, &1_u16.to_be_bytes());
    }
    image
}
