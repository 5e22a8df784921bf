// SPDX-License-Identifier: Apache-2.0 OR MIT
//! From nothing to a command's output in a throw-away machine, and where the time goes.
//!
//! The same guest is booted on our share, on virtiofsd and on 9p, one after the other in each
//! round, from within this process; and the program itself is run.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]
#![allow(unsafe_code)] // a variable for ourselves

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use launcher::agent::Said;
use launcher::execution::{self, Options, Report as Progress};
use launcher::plan::{FdSource, InheritedFd, Plan, ProcessPlan, Readiness, ShareServer};
use launcher::sandbox::Sandbox;
use rofs_benches::measure::median;
use rofs_benches::report::{Report, Row, is_test};
use rofs_benches::socket::cpu;
use rofs_guest::config::Source;
use rofs_tests::linux::vm;
use rustix::fs::{FlockOperation, flock};

const ROUNDS: usize = 20;
const OURS: &str = "rofs";
const VIRTIOFSD: &str = "virtiofsd";
const NINEP: &str = "9p";

/// The parts of a boot, in their order.
const PARTS: [&str; 6] = [
    "launcher ms",
    "hypervisor ms",
    "kernel ms",
    "init ms",
    "command ms",
    "end ms",
];

struct Quiet;

impl Progress for Quiet {
    fn step(&self, _: &str) {}
    fn done(&self) {}
    fn say(&self, _: &str) {}
}

/// One boot.
struct Boot {
    parts: [f64; 6],
    /// From nothing to the output.
    output: f64,
    /// Processor time of the share's server.
    server: Option<f64>,
}

/// What the tests' guests boot from.
struct Guest {
    dir: PathBuf,
    store: PathBuf,
    shell: String,
}

impl Guest {
    fn new() -> Option<Guest> {
        let dir = std::env::var_os("ROFS_VM_DIR").map_or_else(
            || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/vm"),
            PathBuf::from,
        );
        if !dir.join("desktop/lib/modules").exists() || !dir.join("sid").exists() {
            let text = "benches: NO GUESTS HERE: run .ci/provision";
            eprintln!("{0}\n{text}\n{0}", "!".repeat(text.len()));
            return None;
        }
        let store = dir.join("store-launcher");
        let lock = File::create(dir.join("store-launcher.lock")).unwrap();
        flock(&lock, FlockOperation::LockExclusive).unwrap();
        let mut make = Command::new(vm("make-store"));
        let made = make.arg(&store).arg("200").stdout(Stdio::null()).status();
        assert!(made.unwrap().success());
        let paths = fs::read_to_string(store.join("paths")).unwrap();
        let busybox = paths
            .lines()
            .find_map(|line| line.strip_prefix("busybox "))
            .unwrap();
        let shell = format!("{}/bin/busybox", busybox.trim());
        Some(Guest { dir, store, shell })
    }

    /// Debian's ordinary one: that for clouds has no 9p.
    fn kernel(&self) -> PathBuf {
        let unpacked = self.dir.join("desktop/vmlinux");
        if unpacked.exists() {
            unpacked
        } else {
            self.dir.join("desktop/vmlinuz")
        }
    }

    fn plan(&self, subject: &str) -> Plan {
        let sandbox = Sandbox {
            command: [&self.shell, "echo", "here"].map(Into::into).to_vec(),
            store: Some(self.store.clone()),
            all: true,
            closure: Vec::new(),
            shares: Vec::new(),
            mem: 384,
            vcpu: 1,
            net: false,
            kernel: Some(self.kernel()),
            modules: None,
            env: Vec::new(),
            cwd: None,
            timeout: None,
            terminal: None,
        };
        let mut plan = sandbox.plan().unwrap();
        match subject {
            VIRTIOFSD => on_virtiofsd(&mut plan),
            NINEP => on_9p(&mut plan),
            _ => {}
        }
        plan
    }
}

/// The same machine, whose share virtiofsd serves.
fn on_virtiofsd(plan: &mut Plan) {
    let share = &mut plan.shares[0];
    let args = [
        "/usr/libexec/virtiofsd",
        "--fd=3",
        "--cache=always",
        "--sandbox=none",
        "--shared-dir",
        share.source.to_str().unwrap(),
    ];
    share.server = ShareServer::Process(ProcessPlan {
        name: VIRTIOFSD.to_owned(),
        program: vm("in-sid"),
        args: args.map(str::to_owned).to_vec(),
        env: [].into(),
        fds: vec![InheritedFd {
            number: 3,
            source: FdSource::Listener(share.socket.clone()),
        }],
        sockets: vec![share.socket.clone()],
        ready: Readiness::Started,
    });
}

/// The same machine, whose share QEMU serves.
fn on_9p(plan: &mut Plan) {
    let share = plan.shares.remove(0);
    for arg in &mut plan.hypervisor.args {
        if arg.starts_with("socket,id=fs0,") {
            *arg = format!(
                "local,id=fs0,path={},security_model=none,readonly=on",
                share.source.display()
            );
        } else if arg.starts_with("vhost-user-fs-pci,") {
            *arg = format!("virtio-9p-pci,fsdev=fs0,mount_tag={}", share.tag);
        }
    }
    let at = plan
        .hypervisor
        .args
        .iter()
        .position(|arg| arg.starts_with("local,id=fs0,"));
    plan.hypervisor.args[at.unwrap() - 1] = "-fsdev".to_owned();
    let initrd = plan.initrd.as_mut().unwrap();
    for mount in &mut initrd.guest.mounts {
        if let Source::Virtiofs { tag } = &mount.source {
            mount.source = Source::NineP { tag: tag.clone() };
        }
    }
    let modules = &mut initrd.modules.as_mut().unwrap().needed;
    modules.retain(|module| module != "virtiofs");
    modules.extend(["9pnet_virtio", "9p"].map(str::to_owned));
}

/// Processor time so far of the threads that serve a share here, or of virtiofsd.
fn served(subject: &str) -> Option<f64> {
    let tasks = || fs::read_dir("/proc/self/task").unwrap().flatten();
    let read = |path: PathBuf| fs::read_to_string(path).unwrap_or_default();
    let spent: Duration = match subject {
        OURS => tasks()
            .filter(|task| {
                let name = read(task.path().join("comm"));
                ["vq", "disk", "read ahead", "share"]
                    .iter()
                    .any(|known| name.starts_with(known))
            })
            .map(|task| {
                let times = read(task.path().join("schedstat"));
                let nanos = times.split(' ').next().and_then(|nanos| nanos.parse().ok());
                Duration::from_nanos(nanos.unwrap_or(0))
            })
            .sum(),
        VIRTIOFSD => tasks()
            .flat_map(|task| {
                let children = read(task.path().join("children"));
                let pids: Vec<u32> = children.split_whitespace().flat_map(str::parse).collect();
                pids
            })
            .filter(|pid| read(format!("/proc/{pid}/comm").into()).trim() == VIRTIOFSD)
            .map(cpu::spent)
            .sum(),
        _ => return None,
    };
    Some(millis(spent))
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn boot(guest: &Guest, subject: &'static str) -> Boot {
    let begin = Instant::now();
    let plan = guest.plan(subject);
    let (send, told) = mpsc::channel();
    let options = Options {
        report: &Quiet,
        console: false,
        signals: false,
        on_agent: Some(Box::new(move |agent, stopper| {
            let started = Instant::now();
            let session = agent.main().unwrap();
            thread::spawn(move || {
                let mut first = None;
                loop {
                    match session.next() {
                        Ok(Said::Output(_, data)) => {
                            first.get_or_insert_with(Instant::now);
                            session.consumed(launcher::agent::Stream::Stdout, data.len());
                        }
                        Ok(Said::Ended(_)) => break,
                        Err(e) => panic!("{subject}: {e}"),
                    }
                }
                let _ = send.send((
                    started,
                    agent.ready().unwrap(),
                    first.unwrap(),
                    served(subject),
                ));
                stopper.kill();
            });
        })),
    };
    // We end it ourselves, which is an error; if it ends without us, this tells why.
    let ended = execution::run(&plan, options);
    let end = Instant::now();
    let (started, ready, output, server) = told
        .recv()
        .unwrap_or_else(|_| panic!("{subject}: the guest did not come up: {ended:?}"));
    // The guest's clock began with its kernel.
    let kernel = ready.heard.checked_sub(ready.total).unwrap();
    let _ = fs::remove_dir_all(&plan.state_dir);
    Boot {
        parts: [
            started - begin,
            kernel.saturating_duration_since(started),
            ready.kernel,
            ready.total - ready.kernel,
            output - ready.heard,
            end - output,
        ]
        .map(millis),
        output: millis(output - begin),
        server,
    }
}

/// `rofs-vm` itself: to its first output, and to its end.
fn program(guest: &Guest, rofs_vm: &Path) -> [f64; 2] {
    let begin = Instant::now();
    let mut child = Command::new(rofs_vm)
        .args(["sandbox", "--vcpu=1", "--mem=384", "--store"])
        .arg(&guest.store)
        .arg("--kernel")
        .arg(guest.kernel())
        .args(["--", &guest.shell, "echo", "here"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut said = [0; 1];
    child
        .stdout
        .as_mut()
        .unwrap()
        .read_exact(&mut said)
        .unwrap();
    let output = begin.elapsed();
    assert!(child.wait().unwrap().success());
    [output, begin.elapsed()].map(millis)
}

fn rofs_vm() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let profile = if is_test() { "dev" } else { "release" };
    let built = Command::new(cargo)
        .current_dir(&root)
        .args([
            "build",
            "--quiet",
            "--package",
            "rofs-launcher",
            "--bin",
            "rofs-vm",
        ])
        .args(["--profile", profile])
        .status();
    assert!(built.unwrap().success(), "rofs-vm cannot be built");
    let dir = if is_test() { "debug" } else { "release" };
    root.join("target").join(dir).join("rofs-vm")
}

fn main() {
    if std::env::var_os("ROFS_ACCEL").is_none() {
        // Some machines have KVM in name only.
        // SAFETY: there is no other thread yet.
        unsafe { std::env::set_var("ROFS_ACCEL", "tcg") };
    }
    let mut report = Report::new("boot");
    let Some(guest) = Guest::new() else { return };
    let rounds = if is_test() { 1 } else { ROUNDS };
    let rofs_vm = rofs_vm();
    let subjects = [OURS, VIRTIOFSD, NINEP];
    let mut programs = Vec::new();
    let mut boots: [Vec<Boot>; 3] = Default::default();
    for round in 0..rounds {
        programs.push(program(&guest, &rofs_vm));
        for i in 0..subjects.len() {
            // Another one is first in each round.
            let i = (i + round) % subjects.len();
            boots[i].push(boot(&guest, subjects[i]));
        }
    }
    let middle = |values: Vec<f64>| median(&values);
    let to_output = middle(programs.iter().map(|times| times[0]).collect());
    let to_end = middle(programs.iter().map(|times| times[1]).collect());
    let what = "rofs-vm sandbox, from nothing to the output";
    let row = Row::new(what, OURS, "ms", to_output).with("to the end ms", to_end);
    println!("{what}: {row:?}");
    report.add(row);
    for (subject, boots) in subjects.iter().zip(&boots) {
        let what = "a guest, from nothing to the output";
        let output = middle(boots.iter().map(|boot| boot.output).collect());
        let mut row = Row::new(what, subject, "ms", output);
        for (i, part) in PARTS.iter().enumerate() {
            row = row.with(
                part,
                middle(boots.iter().map(|boot| boot.parts[i]).collect()),
            );
        }
        let server: Vec<f64> = boots.iter().filter_map(|boot| boot.server).collect();
        if !server.is_empty() {
            row = row.with("server ms", middle(server));
        }
        println!("{what}: {row:?}");
        report.add(row);
    }
    report.finish();
}
