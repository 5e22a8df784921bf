// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the server takes of its host: descriptors, memory, time to start, processor time at rest.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rofs_tests::frontend::{FrontEnd, Vmm};
use rofs_tests::fuse::{Client, ROOT};
use rofs_tests::share::{eventually, listens, rofs_serve};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// A server in a process of its own, without sandbox, so that it is one process.
struct Server {
    child: Child,
    dir: TempDir,
}

impl Server {
    /// Serves `store` on the sockets `0` to `clients - 1`.
    fn start(store: &Path, clients: usize) -> Server {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new(rofs_serve());
        command.args(["--sandbox", "none", "--keep"]);
        for client in 0..clients {
            command
                .arg("--socket-path")
                .arg(dir.path().join(client.to_string()));
            command.arg("--shared-dir").arg(store);
            command.args(["--layout", "nix", "--queues", "1"]);
        }
        let child = command.stderr(Stdio::null()).spawn().unwrap();
        let server = Server { child, dir };
        let all_listen = || {
            // Not tried: a connection would be a client.
            (0..clients).all(|client| listens(&server.socket(client)))
        };
        assert!(eventually(all_listen), "it does not listen");
        server
    }

    fn socket(&self, client: usize) -> PathBuf {
        self.dir.path().join(client.to_string())
    }

    fn proc(&self, name: &str) -> PathBuf {
        Path::new("/proc")
            .join(self.child.id().to_string())
            .join(name)
    }

    /// But for those that the tests themselves were started with, and pass on.
    fn descriptors(&self) -> usize {
        fs::read_dir(self.proc("fd")).unwrap().count() - passed_on()
    }

    /// Bytes of memory that are the process's own.
    fn memory(&self) -> usize {
        let status = fs::read_to_string(self.proc("status")).unwrap();
        let line = status.lines().find(|line| line.starts_with("RssAnon:"));
        let kib = line.unwrap().split_whitespace().nth(1).unwrap();
        kib.parse::<usize>().unwrap() * 1024
    }

    /// Clock ticks that all threads have run, and how often they were switched.
    fn activity(&self) -> (u64, u64) {
        let mut sum = (0, 0);
        for task in fs::read_dir(self.proc("task")).unwrap() {
            let task = task.unwrap().path();
            let stat = fs::read_to_string(task.join("stat")).unwrap();
            let fields: Vec<&str> = stat
                .rsplit_once(')')
                .unwrap()
                .1
                .split_whitespace()
                .collect();
            // utime and stime, proc_pid_stat(5), counted from the state.
            sum.0 += fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
            let status = fs::read_to_string(task.join("status")).unwrap();
            let switches = status.lines().filter(|line| line.contains("ctxt_switches"));
            sum.1 += switches
                .map(|line| line.rsplit('\t').next().unwrap().parse::<u64>().unwrap())
                .sum::<u64>();
        }
        sum
    }
}

/// Descriptors of this process that its children have, too, beside the standard streams.
fn passed_on() -> usize {
    const CLOEXEC: u32 = 0o200_0000;
    let stays = |info: &Path| {
        let text = fs::read_to_string(info).ok()?;
        let flags = text.lines().find_map(|line| line.strip_prefix("flags:"))?;
        Some(u32::from_str_radix(flags.trim(), 8).unwrap() & CLOEXEC == 0)
    };
    let infos = fs::read_dir("/proc/self/fdinfo").unwrap();
    let passed_on = infos.filter_map(|info| stays(&info.unwrap().path()));
    passed_on.filter(|passed_on| *passed_on).count() - 3
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        let _ = kill_process(pid, Signal::TERM);
        let _ = self.child.wait();
    }
}

/// The name of store path number `number`.
fn path_name(number: usize) -> String {
    format!("{number:032}-package")
}

/// Gives a directory the mode and the time that Nix gives it. What is in it is final with it.
fn settle(dir: &Path) {
    fs::set_permissions(dir, fs::Permissions::from_mode(0o555)).unwrap();
    let one = Timespec {
        tv_sec: 1,
        tv_nsec: 0,
    };
    let times = Timestamps {
        last_access: one,
        last_modification: one,
    };
    utimensat(CWD, dir, &times, AtFlags::empty()).unwrap();
}

/// A store of so many paths with so many files each.
fn store(paths: usize, files: usize) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for path in 0..paths {
        let top = dir.path().join(path_name(path));
        fs::create_dir(&top).unwrap();
        for file in 0..files {
            fs::File::create(top.join(format!("file-{file:05}"))).unwrap();
        }
        settle(&top);
    }
    dir
}

/// Many guests, one of which opens whatever there is and never lets go.
#[test]
fn descriptors_are_few_whatever_a_guest_does() {
    const GUESTS: usize = 16;
    let store = store(40, 30);
    let server = Server::start(store.path(), GUESTS);
    let mut guests: Vec<FrontEnd> = (0..GUESTS)
        .map(|guest| FrontEnd::start(&server.socket(guest), Vmm::Qemu, 1))
        .collect();
    for guest in &mut guests {
        Client::new(guest, 1).init();
    }
    // Listener, lock of the pid file and socket; and of each of two rings kick, call and wake-up.
    let connected = server.descriptors();
    println!("{connected} descriptors for {GUESTS} guests");
    assert!(
        connected <= 12 + 9 * GUESTS,
        "{connected} for {GUESTS} guests"
    );

    let mut client = Client::new(&mut guests[0], 1);
    let mut nodes = Vec::new();
    for path in 0..40 {
        let top = client.lookup(ROOT, path_name(path).as_bytes()).unwrap();
        for file in 0..30 {
            let name = format!("file-{file:05}");
            let node = client.lookup(top, name.as_bytes()).unwrap();
            client.read(node, 0, 4096).unwrap();
            client.readdir_from(top, 0, 4096).unwrap();
            nodes.push(node);
        }
    }
    let mut most = server.descriptors();
    for node in &nodes {
        client.forget(*node, u64::MAX);
        client.forget(*node, 1);
        client.read(*node, 0, 4096).unwrap();
        most = most.max(server.descriptors());
    }
    // Files, store paths, and what is being read ahead or opened at this very moment.
    assert!(
        most <= connected + 256 + 32 + 8,
        "{most}, of which {connected} for {GUESTS} guests"
    );
    for guest in guests {
        drop(guest);
    }
    let left = server.proc("fd");
    assert!(eventually(
        || fs::read_dir(&left).unwrap().count() <= 32 + 256 + 32 + 3 * GUESTS
    ));
}

/// Nothing of the store is looked at before somebody asks.
#[test]
fn a_large_store_is_ready_as_soon_as_a_small_one() {
    const READY: Duration = Duration::from_millis(50);
    let (small, large_store) = (store(10, 1), store(1000, 100));
    // The shortest of several: the machine may have other things to do.
    let ready = |store: &Path| {
        let start = |_| {
            let dir = tempfile::tempdir().unwrap();
            let socket = dir.path().join("socket");
            let begin = Instant::now();
            let mut child = Command::new(rofs_serve())
                .arg("--socket-path")
                .arg(&socket)
                .arg("--shared-dir")
                .arg(store)
                .args(["--sandbox", "none"])
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let stream = loop {
                match UnixStream::connect(&socket) {
                    Ok(stream) => break stream,
                    Err(_) if begin.elapsed() < Duration::from_secs(20) => {
                        std::thread::sleep(Duration::from_micros(200));
                    }
                    Err(error) => panic!("it never listens: {error}"),
                }
            };
            // And it answers: GET_FEATURES.
            let channel = rofs_tests::channel::Channel::new(stream);
            assert_ne!(channel.number(1), 0);
            let took = begin.elapsed();
            drop(channel);
            child.wait().unwrap();
            took
        };
        (0..7).map(start).min().unwrap()
    };
    let small = ready(small.path());
    let mut large = ready(large_store.path());
    // However large a store is. A busy machine gets a few more tries.
    for _ in 0..10 {
        if large > READY {
            std::thread::sleep(Duration::from_millis(500));
            large = large.min(ready(large_store.path()));
        }
    }
    println!("ready after {small:?} with 10 entries, {large:?} with 100,000");
    assert!(
        large < 2 * small + Duration::from_millis(20),
        "{large:?}, with a small store {small:?}"
    );
    assert!(large <= READY, "{large:?}");
}

#[test]
fn an_idle_server_does_nothing() {
    let store = store(10, 10);
    let server = Server::start(store.path(), 1);
    let mut guest = FrontEnd::start(&server.socket(0), Vmm::Qemu, 1);
    let mut client = Client::new(&mut guest, 1);
    client.init();
    for path in 0..10 {
        let top = client.lookup(ROOT, path_name(path).as_bytes()).unwrap();
        let file = client.lookup(top, b"file-00001").unwrap();
        client.read(file, 0, 4096).unwrap();
    }
    // Threads that wait for disks end some seconds after the last request.
    std::thread::sleep(Duration::from_secs(6));
    let before = server.activity();
    const SECONDS: u64 = 4;
    std::thread::sleep(Duration::from_secs(SECONDS));
    let after = server.activity();
    assert_eq!(after.0, before.0, "clock ticks in {SECONDS} s");
    let switches = after.1 - before.1;
    assert!(switches <= SECONDS, "{switches} wake-ups in {SECONDS} s");
}

/// Bytes by which the server grows when it has been told of so many store paths with 1,000 files
/// each, from outside: the allocator's share included.
fn index_of(paths: usize) -> usize {
    let store = store(paths, 1000);
    let server = Server::start(store.path(), 1);
    let mut guest = FrontEnd::start(&server.socket(0), Vmm::Qemu, 1);
    let mut client = Client::new(&mut guest, 1);
    client.init();
    // What the first requests make the process allocate once.
    client.lookup(ROOT, path_name(0).as_bytes()).unwrap();
    let before = server.memory();
    for path in 0..paths {
        let top = client.lookup(ROOT, path_name(path).as_bytes()).unwrap();
        client.lookup(top, b"file-00001").unwrap();
    }
    server.memory().saturating_sub(before)
}

#[test]
fn an_entry_takes_few_bytes() {
    const NAME: usize = "file-00000".len();
    let each = index_of(100) / 100_000;
    println!("{each} bytes an entry, {NAME} of them its name");
    assert!(each <= 96 + NAME, "{each} bytes an entry");
}

/// `cargo test -p rofs-tests --test tests -- --ignored a_million`
#[test]
#[ignore = "makes a million files"]
fn a_million_entries_fit_into_150_mib() {
    let mib = index_of(1000) >> 20;
    println!("a million entries take {mib} MiB");
    assert!(mib <= 150, "{mib} MiB");
}
