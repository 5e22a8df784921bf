// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Stores and servers. Guests are in `rofs_tests::linux`.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use rofs_tests::linux::vm;
pub(crate) use rofs_tests::linux::{Guest, Kernel, Shell, guest_check, output};
use rofs_tests::share::rofs_serve;

/// A store made by Nix.
pub(crate) struct Store {
    pub dir: PathBuf,
    /// Removed at the end, if it is a test's own.
    _own: Option<tempfile::TempDir>,
}

impl Store {
    /// The store of over 100,000 entries that all tests which change nothing share.
    pub(crate) fn large() -> Store {
        let root = std::env::var_os("ROFS_VM_DIR").map_or_else(
            || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/vm"),
            PathBuf::from,
        );
        static MADE: OnceLock<()> = OnceLock::new();
        let dir = root.join("store-120000");
        MADE.get_or_init(|| {
            output(Command::new(vm("make-store")).arg(&dir).arg("120000"));
        });
        Store { dir, _own: None }
    }

    /// A small one of the test's own.
    pub(crate) fn own(args: &[&str]) -> Store {
        let own = tempfile::tempdir().unwrap();
        let dir = own.path().join("store");
        output(Command::new(vm("make-store")).arg(&dir).args(args));
        Store {
            dir,
            _own: Some(own),
        }
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.dir.join("nix/store")
    }

    pub(crate) fn op(&self, args: &[&str]) -> String {
        output(Command::new(vm("store-op")).arg(&self.dir).args(args))
            .trim_end()
            .to_owned()
    }

    pub(crate) fn op_in_background(&self, args: &[&str]) -> Child {
        let mut command = Command::new(vm("store-op"));
        command
            .arg(&self.dir)
            .args(args)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// The path under /nix/store that `make-store` made under this name.
    pub(crate) fn path(&self, name: &str) -> String {
        self.op(&["path", name])
    }

    /// What `guest-check tree` says of it here.
    pub(crate) fn tree(&self) -> String {
        output(Command::new(guest_check()).arg("tree").arg(self.root()))
    }
}

/// A running `rofs-serve`.
pub(crate) struct Server {
    child: Child,
    _dir: tempfile::TempDir,
    socket: PathBuf,
    log: Log,
}

/// What a server has said so far.
pub(crate) type Log = Arc<Mutex<String>>;

impl Server {
    /// With the defaults, sandbox and seccomp filter included.
    pub(crate) fn start(store: &Store, args: &[&str]) -> Server {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("socket");
        let mut command = Command::new(rofs_serve());
        command
            .arg("--socket-path")
            .arg(&socket)
            .arg("--shared-dir")
            .arg(store.root())
            .args(["--tag", "store"])
            .args(args);
        let (child, log) = start(&mut command, "Waiting for vhost-user socket connection");
        Server {
            child,
            _dir: dir,
            socket,
            log,
        }
    }

    /// What it has said so far.
    pub(crate) fn log(&self) -> Log {
        Arc::clone(&self.log)
    }

    /// Ends it at once.
    pub(crate) fn kill(mut self) {
        // The supervisor takes the server with it.
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// How many descriptors it holds. (Not of the sandboxed process: with `--sandbox none`.)
    pub(crate) fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id()))
            .unwrap()
            .count()
    }

    /// Waits until it ends by itself, as it does when its client goes.
    pub(crate) fn wait(mut self) -> ExitStatus {
        wait(&mut self.child, Duration::from_secs(10))
    }
}

impl AsRef<Path> for Server {
    fn as_ref(&self) -> &Path {
        &self.socket
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A store mounted on this host by `rofs-serve --mount`.
pub(crate) struct Mount {
    child: Child,
    dir: tempfile::TempDir,
}

impl Mount {
    pub(crate) fn start(store: &Store) -> Mount {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new(rofs_serve());
        command
            .arg("--mount")
            .arg(dir.path())
            .arg("--shared-dir")
            .arg(store.root());
        let (child, _) = start(&mut command, "ounted");
        Mount { child, dir }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let status = wait(&mut self.child, Duration::from_secs(10));
        if !std::thread::panicking() {
            assert!(status.success(), "rofs-serve --mount ended with {status}");
        }
    }
}

/// Starts a server and waits for a line on its stderr. The rest is shown, but for traces.
fn start(command: &mut Command, line: &str) -> (Child, Log) {
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    while !said.contains(line) {
        let n = stderr.read_line(&mut said).unwrap();
        assert_ne!(n, 0, "{command:?} ended: {said}");
    }
    let log = Log::default();
    let kept = Arc::clone(&log);
    std::thread::spawn(move || {
        for line in stderr.lines().map_while(Result::ok) {
            if !line.contains("TRACE") {
                eprintln!("{line}");
            }
            let mut log = kept.lock().unwrap();
            log.push_str(&line);
            log.push('\n');
        }
    });
    (child, log)
}

fn wait(child: &mut Child, limit: Duration) -> ExitStatus {
    let end = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        assert!(Instant::now() < end, "it has not ended after {limit:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The first line in which two texts differ, or `None`.
pub(crate) fn difference(ours: &str, theirs: &str) -> Option<String> {
    let (mut a, mut b) = (ours.lines(), theirs.lines());
    loop {
        match (a.next(), b.next()) {
            (None, None) => return None,
            (a, b) if a == b => {}
            (a, b) => return Some(format!("{a:?}\nbut there\n{b:?}")),
        }
    }
}
