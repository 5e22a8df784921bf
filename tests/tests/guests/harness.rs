// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Stores, servers and guests.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

/// The folder `tests/vm`.
fn vm(script: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("vm")
        .join(script)
}

/// Runs a program to its end; what it printed, or a failed test.
pub(crate) fn output(command: &mut Command) -> String {
    let output = command.stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The binary under test, built beside this one.
pub(crate) fn rofs_serve() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let path = tests.parent().unwrap().parent().unwrap().join("rofs-serve");
    assert!(
        path.exists(),
        "{path:?} is missing: build it with `cargo build --bins`"
    );
    path
}

/// The static program that looks at trees.
pub(crate) fn guest_check() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        output(&mut Command::new(vm("build-guest-check")))
            .trim_end()
            .into()
    })
}

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
    dir: tempfile::TempDir,
}

impl Server {
    /// With the defaults, sandbox and seccomp filter included.
    pub(crate) fn start(store: &Store, args: &[&str]) -> Server {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new(rofs_serve());
        command
            .arg("--socket-path")
            .arg(dir.path().join("socket"))
            .arg("--shared-dir")
            .arg(store.root())
            .args(["--tag", "store"])
            .args(args);
        let child = start(&mut command, "Waiting for vhost-user socket connection");
        Server { child, dir }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join("socket")
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
        let child = start(&mut command, "ounted");
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

/// Starts a server and waits for a line on its stderr.
fn start(command: &mut Command, line: &str) -> Child {
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut said = String::new();
    while !said.contains(line) {
        let n = stderr.read_line(&mut said).unwrap();
        assert_ne!(n, 0, "{command:?} ended: {said}");
    }
    std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::stderr()));
    child
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

/// Which Linux.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kernel {
    Qemu,
    Uml,
}

/// How a guest is to be run.
pub(crate) struct Guest {
    command: Command,
    out: tempfile::NamedTempFile,
}

impl Guest {
    pub(crate) fn new(kernel: Kernel, server: &Server) -> Guest {
        let script = match kernel {
            Kernel::Qemu => "run-qemu",
            Kernel::Uml => "run-uml",
        };
        let out = tempfile::NamedTempFile::new().unwrap();
        let mut command = Command::new(vm(script));
        command.arg(server.socket()).arg("--out").arg(out.path());
        command
            .arg("--file")
            .arg(format!("{}=/bin/guest-check", guest_check().display()));
        Guest { command, out }
    }

    /// Runs a shell text in it to the end. What it wrote to the console, and to /dev/rofs-out.
    pub(crate) fn run(mut self, script: &str) -> (String, String) {
        self.command.args(["--timeout", "900", "--sh", script]);
        let console = output(&mut self.command);
        let (_, console) = console.split_once("ROFS-BEGIN").unwrap();
        let (console, _) = console.split_once("\nROFS-EXIT").unwrap();
        let out = std::fs::read_to_string(self.out.path()).unwrap();
        (console.replace('\r', ""), out)
    }

    /// Starts a shell in it that takes one line after the other.
    pub(crate) fn shell(mut self) -> Shell {
        self.command.args(["--timeout", "300"]);
        self.command.args([
            "--sh",
            "while read -r line; do eval \"$line\"; echo; echo DONE; done",
        ]);
        // Its own process group, so that all of it can be ended at once.
        self.command
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = self.command.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stdout.split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).replace('\r', "");
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let stdin = child.stdin.take().unwrap();
        let shell = Shell {
            child,
            stdin,
            lines,
        };
        while shell.next_line() != "ROFS-BEGIN" {}
        shell
    }
}

/// A shell in a running guest.
pub(crate) struct Shell {
    child: Child,
    stdin: ChildStdin,
    lines: Receiver<String>,
}

impl Shell {
    fn next_line(&self) -> String {
        self.lines
            .recv_timeout(Duration::from_secs(60))
            .expect("the guest has gone silent")
    }

    /// Runs one line and returns what it printed.
    pub(crate) fn run(&mut self, line: &str) -> String {
        writeln!(self.stdin, "{line}").unwrap();
        let mut printed = Vec::new();
        loop {
            match self.next_line() {
                line if line == "DONE" => break,
                line => printed.push(line),
            }
        }
        printed.join("\n").trim_end().to_owned()
    }

    /// Whether a line's exit status is 0.
    pub(crate) fn succeeds(&mut self, line: &str) -> bool {
        self.run(&format!("{{ {line}; }} >/dev/null 2>&1; echo status $?"))
            .ends_with("status 0")
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // The loop ends, and with it the guest.
        let _ = writeln!(self.stdin, "break");
        let end = Instant::now() + Duration::from_secs(20);
        while Instant::now() < end {
            if let Ok(Some(_)) = self.child.try_wait() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        // Not KILL: `timeout` passes TERM on to the guest, which may be in a session of its own.
        let group = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::TERM);
        let _ = self.child.wait();
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
