// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Running the binary.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::RawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::LazyLock;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use tempfile::TempDir;

pub(crate) const WAITING: &str = "Waiting for vhost-user socket connection";
const TIMEOUT: Duration = Duration::from_secs(20);

/// A directory with a small store in `store` and room for sockets.
pub(crate) struct Place(TempDir);

impl Place {
    pub(crate) fn new() -> Place {
        let dir = tempfile::tempdir().unwrap();
        // Other users shall get in.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
        for letter in ['a', 'b', 'c'] {
            let path = dir
                .path()
                .join(format!("store/0c5b8vw40d1178xlpddw65q9gf1h218{letter}-x"));
            fs::create_dir_all(path.join("bin")).unwrap();
            fs::write(path.join("bin/run"), format!("#!/bin/sh\necho {letter}\n")).unwrap();
        }
        fs::create_dir(dir.path().join("plain")).unwrap();
        fs::write(dir.path().join("plain/file"), "content\n").unwrap();
        Place(dir)
    }

    pub(crate) fn dir(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir().join(name)
    }

    /// Puts the binary here, where other users get at it.
    pub(crate) fn add_binary(&self) {
        // By a process of its own: a copy open for writing here would be inherited for a moment by
        // whatever another test starts, and could not be run.
        let binary = env!("CARGO_BIN_EXE_rofs-serve");
        let status = Command::new("cp")
            .arg(binary)
            .arg(self.path("rofs-serve"))
            .status();
        assert!(status.unwrap().success());
    }

    /// What lies here, but for what [`new`](Place::new) made.
    pub(crate) fn left_behind(&self) -> Vec<String> {
        let names = fs::read_dir(self.dir()).unwrap();
        names
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| !["store", "plain", "rofs-serve"].contains(&name.as_str()))
            .collect()
    }

    pub(crate) fn command<I: AsRef<str>>(&self, args: impl IntoIterator<Item = I>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rofs-serve"));
        command.args(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        command.current_dir(self.dir());
        command.env_remove("RUST_LOG").env_remove("NOTIFY_SOCKET");
        command
    }

    /// Runs a command line, split at blanks.
    pub(crate) fn start(&self, line: &str) -> Running {
        Running::spawn(&mut self.command(line.split_whitespace()))
    }

    /// The one sentence with which the command line is refused.
    pub(crate) fn refused(&self, line: &str) -> String {
        self.refused_args(line.split_whitespace())
    }

    pub(crate) fn refused_args<I: AsRef<str>>(&self, args: impl IntoIterator<Item = I>) -> String {
        let before = self.left_behind();
        let mut command = self.command(args);
        let said = ended(&mut command);
        assert_eq!(self.left_behind(), before, "left behind after: {said}");
        said
    }
}

/// Runs a command that must be refused.
pub(crate) fn ended(command: &mut Command) -> String {
    let mut running = Running::spawn(command);
    let status = running.wait();
    let said = running.rest().join("\n");
    assert_eq!(status.code(), Some(2), "{said}");
    let sentences: Vec<&str> = said
        .lines()
        .filter(|line| line.starts_with("rofs-serve: "))
        .collect();
    assert_eq!(sentences.len(), 1, "{said}");
    sentences[0].trim_start_matches("rofs-serve: ").to_owned()
}

/// A process of ours, and what it says on standard error.
pub(crate) struct Running {
    pub(crate) child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Running {
    pub(crate) fn spawn(command: &mut Command) -> Running {
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (send, lines) = channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    break;
                }
            }
        });
        Running {
            child,
            lines,
            seen: Vec::new(),
        }
    }

    /// Waits until it says something with `text` in it.
    pub(crate) fn says(&mut self, text: &str) -> &str {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            match self
                .lines
                .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            {
                Ok(line) => {
                    self.seen.push(line);
                    if self.seen.last().unwrap().contains(text) {
                        return self.seen.last().unwrap();
                    }
                }
                Err(e) => panic!("{e:?}, without {text:?}:\n{}", self.seen.join("\n")),
            }
        }
    }

    /// Waits until it says so, if it has not yet.
    pub(crate) fn has_said(&mut self, text: &str) {
        if !self.seen.iter().any(|line| line.contains(text)) {
            self.says(text);
        }
    }

    pub(crate) fn waits(mut self) -> Running {
        self.says(WAITING);
        self
    }

    pub(crate) fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap()
    }

    /// The process that serves: the child of ours, or ours.
    pub(crate) fn server(&self) -> i32 {
        let path = format!("/proc/{0}/task/{0}/children", self.pid());
        let children = fs::read_to_string(path).unwrap();
        children
            .split_whitespace()
            .next()
            .map_or(self.pid(), |pid| pid.parse().unwrap())
    }

    pub(crate) fn signal(&self, signal: i32) {
        kill(self.pid(), signal);
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            if Instant::now() > deadline {
                let _ = self.child.kill();
                panic!("does not end:\n{}", self.rest().join("\n"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends it with SIGTERM, which must be a success.
    pub(crate) fn stop(mut self) -> String {
        self.signal(libc::SIGTERM);
        let status = self.wait();
        let said = self.rest().join("\n");
        assert_eq!(status.code(), Some(0), "{said}");
        said
    }

    /// All it said.
    pub(crate) fn rest(&mut self) -> Vec<String> {
        loop {
            match self.lines.recv_timeout(Duration::from_secs(5)) {
                Ok(line) => self.seen.push(line),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    return self.seen.clone();
                }
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A test failed. Kindly first, so that no mount stays.
        for _ in 0..200 {
            match self.child.try_wait() {
                Ok(None) => {}
                _ => return,
            }
            // SAFETY: a plain system call; the process is ours and not yet waited for.
            unsafe { libc::kill(self.pid(), libc::SIGTERM) };
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn kill(pid: i32, signal: i32) {
    // SAFETY: a plain system call; the process is one this test started.
    assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether these tests run with CAP_SYS_ADMIN.
pub(crate) fn may_mount() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let set = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .unwrap();
    u64::from_str_radix(set.trim(), 16).unwrap() & 1 << 21 != 0
}

/// Whether this machine lets the binary make its namespaces.
pub(crate) fn namespaces() -> bool {
    static WORK: LazyLock<bool> = LazyLock::new(|| {
        let place = Place::new();
        let running = place.start("--socket-path s --shared-dir store --layout nix");
        loop {
            match running.lines.recv_timeout(TIMEOUT) {
                Ok(line) if line.contains(WAITING) => return true,
                Ok(line) if line.contains("--sandbox namespace: ") => return false,
                Ok(_) => {}
                Err(e) => panic!("{e:?}"),
            }
        }
    });
    *WORK
}

/// `--sandbox none` where nothing else works.
pub(crate) fn sandbox_arg() -> &'static str {
    if namespaces() { "" } else { " --sandbox none" }
}

/// Gives `fd` to the command, there called `number`.
pub(crate) fn pass(command: &mut Command, fd: RawFd, number: RawFd) {
    let give = move || {
        if fd == number {
            // SAFETY: a plain system call.
            unsafe { libc::fcntl(fd, libc::F_SETFD, 0) };
        } else {
            // SAFETY: a plain system call, in a process that is about to become another program.
            unsafe { libc::dup2(fd, number) };
        }
        Ok(())
    };
    // SAFETY: between fork and exec `give` makes only system calls.
    unsafe { command.pre_exec(give) };
}

/// Asks a vhost-user back-end for its features: it is alive, and may do what that takes.
pub(crate) fn ask_features(stream: &mut UnixStream) -> u64 {
    let request: Vec<u8> = [1_u32, 1, 0]
        .iter()
        .flat_map(|word| word.to_ne_bytes())
        .collect();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream.write_all(&request).unwrap();
    let mut reply = [0_u8; 20];
    stream.read_exact(&mut reply).unwrap();
    u64::from_ne_bytes(reply[12..].try_into().unwrap())
}
