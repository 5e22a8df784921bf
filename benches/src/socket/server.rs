// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Servers as processes.

use std::ffi::OsString;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::report::is_test;
use crate::tree::kept;

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `rofs-serve`, as it is installed.
    Ours,
    /// The same, which polls its queues for a while before it sleeps.
    OursPolling,
    /// `bench-null`, which shares its transport.
    Null,
    /// virtiofsd with `--cache always`.
    Virtiofsd,
    /// The same without file handles.
    VirtiofsdNever,
    /// virtiofsd with `--cache auto`, which is its default.
    VirtiofsdAuto,
}

/// Several times what a sleeping client takes from one answer to its next question.
const POLL: &str = "50";

/// The null server's name in tables.
pub const NULL: &str = "null server";
/// The name of virtiofsd in its default mode in tables.
pub const VIRTIOFSD: &str = "virtiofsd";

impl Kind {
    /// What it is called in tables.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Ours => crate::ours::OURS,
            Kind::OursPolling => "rofs --poll 50",
            Kind::Null => NULL,
            Kind::Virtiofsd => VIRTIOFSD,
            Kind::VirtiofsdNever => "virtiofsd never",
            Kind::VirtiofsdAuto => "virtiofsd auto",
        }
    }

    /// Those that are here.
    pub fn available() -> Vec<Kind> {
        let mut kinds = vec![Kind::Ours, Kind::Null];
        if virtiofsd().is_some() {
            kinds.extend([Kind::Virtiofsd, Kind::VirtiofsdNever]);
        } else {
            eprintln!(
                "{0}\nbenches: NO virtiofsd HERE: run .ci/provision\n{0}",
                "!".repeat(50)
            );
        }
        kinds
    }

    fn command(self, socket: &Path, root: &Path, queues: usize, tag: &str) -> Command {
        let mut command;
        match self {
            Kind::Ours | Kind::OursPolling => {
                command = Command::new(rofs_serve());
                command.args(["--sandbox", "none", "--queues", &queues.to_string()]);
                if self == Kind::OursPolling {
                    command.args(["--poll", POLL]);
                }
            }
            Kind::Null => {
                command = Command::new(beside_us("bench-null"));
                command.arg(socket).arg(queues.to_string());
                return command;
            }
            Kind::Virtiofsd | Kind::VirtiofsdNever | Kind::VirtiofsdAuto => {
                assert_eq!(queues, 1, "virtiofsd has one request queue");
                let [run, program] = virtiofsd().unwrap_or_default();
                command = Command::new(run);
                command.arg(program);
                let cache = if self == Kind::VirtiofsdAuto {
                    "auto"
                } else {
                    "always"
                };
                command.args(["--sandbox", "none", "--cache", cache]);
                if self == Kind::VirtiofsdNever {
                    command.arg("--inode-file-handles=never");
                }
            }
        }
        if !tag.is_empty() {
            command.args(["--tag", tag]);
        }
        command.arg("--socket-path").arg(socket);
        command.arg("--shared-dir").arg(root);
        command
    }
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The command that runs virtiofsd 1.14, if there is one.
fn virtiofsd() -> Option<[OsString; 2]> {
    let run = repository().join("tests/vm/in-sid");
    let program = "/usr/libexec/virtiofsd";
    let version = Command::new(&run)
        .args([program, "--version"])
        .stderr(Stdio::null())
        .output();
    let works = version.is_ok_and(|version| version.status.success());
    works.then(|| [run.into(), program.into()])
}

/// A program of this package, which cargo has put beside or above the benchmark.
fn beside_us(name: &str) -> PathBuf {
    let us = std::env::current_exe().unwrap();
    us.ancestors()
        .skip(1)
        .take(2)
        .map(|dir| dir.join(name))
        .find(|path| path.exists())
        .unwrap_or_else(|| panic!("{name} was not built"))
}

/// `rofs-serve` of the sources as they are now; optimised, unless nothing is measured.
fn rofs_serve() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let (profile, dir) = if is_test() {
            ("dev", "debug")
        } else {
            ("release", "release")
        };
        let status = Command::new(cargo)
            .current_dir(repository())
            .args(["build", "--quiet", "--profile", profile])
            .args(["--package", "virtiofs", "--bin", "rofs-serve"])
            .status()
            .unwrap();
        assert!(status.success(), "rofs-serve cannot be built");
        let target = kept();
        target.parent().unwrap().join(dir).join("rofs-serve")
    })
}

/// A place for a socket. Short: the address of a socket has 108 bytes.
fn new_socket() -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("rofs-bench-{}-{number}", std::process::id()))
}

/// Whether somebody listens on a socket. Connecting would tell too, but the first client may be
/// the only one; and between bind(2) and listen(2) the socket is there already.
fn listens(socket: &Path) -> bool {
    const ACCEPTS: &str = "00010000";
    let sockets = std::fs::read_to_string("/proc/net/unix").unwrap_or_default();
    let path = socket.to_string_lossy();
    sockets.lines().any(|line| {
        let mut fields = line.split_whitespace();
        fields.nth(3) == Some(ACCEPTS) && fields.nth(3) == Some(&path)
    })
}

/// A running server; it ends with this.
#[derive(Debug)]
pub struct Server {
    child: Child,
    sockets: Vec<PathBuf>,
    /// How long it took until it listened.
    pub ready: Duration,
}

impl Server {
    /// Starts one and waits until it listens.
    pub fn start(kind: Kind, root: &Path, queues: usize) -> Server {
        Server::with_tag(kind, root, queues, "")
    }

    /// The same, which tells the VMM the tag.
    pub fn with_tag(kind: Kind, root: &Path, queues: usize, tag: &str) -> Server {
        let socket = new_socket();
        let command = kind.command(&socket, root, queues, tag);
        Server::listening(command, vec![socket])
    }

    /// One `rofs-serve` for so many machines, in its sandbox as by default.
    pub fn for_machines(root: &Path, machines: usize, queues: usize) -> Server {
        let sockets: Vec<PathBuf> = (0..machines).map(|_| new_socket()).collect();
        let mut command = Command::new(rofs_serve());
        for socket in &sockets {
            command.arg("--socket-path").arg(socket);
            command.arg("--shared-dir").arg(root);
            command.args(["--queues", &queues.to_string()]);
        }
        Server::listening(command, sockets)
    }

    /// `rofs-serve` with options of its own.
    pub fn with_options(root: &Path, options: &[&str]) -> Server {
        Server::logging(root, options, Path::new("/dev/null"))
    }

    /// The same, whose log goes to a file.
    pub fn logging(root: &Path, options: &[&str], log: &Path) -> Server {
        let socket = new_socket();
        let mut command = Command::new(rofs_serve());
        command.args(options).arg("--socket-path").arg(&socket);
        command.arg("--shared-dir").arg(root);
        command.stderr(File::create(log).unwrap());
        Server::spawn(command, vec![socket])
    }

    fn listening(mut command: Command, sockets: Vec<PathBuf>) -> Server {
        command.stderr(Stdio::null());
        Server::spawn(command, sockets)
    }

    fn spawn(mut command: Command, sockets: Vec<PathBuf>) -> Server {
        let start = Instant::now();
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut server = Server {
            child,
            sockets,
            ready: Duration::ZERO,
        };
        while !server.sockets.iter().all(|socket| listens(socket)) {
            assert!(
                start.elapsed() < Duration::from_secs(10),
                "{command:?} does not listen"
            );
            std::thread::sleep(Duration::from_micros(500));
        }
        server.ready = start.elapsed();
        server
    }

    /// Where it listens; the first of them, if there are several.
    pub fn socket(&self) -> &Path {
        &self.sockets[0]
    }

    /// Where it listens, for each machine.
    pub fn sockets(&self) -> &[PathBuf] {
        &self.sockets
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // All of them end with their client; if not, they are made to.
        let deadline = Instant::now() + Duration::from_secs(2);
        while Instant::now() < deadline {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        for socket in &self.sockets {
            let _ = std::fs::remove_file(socket);
            let mut pid_file = socket.clone().into_os_string();
            pid_file.push(".pid");
            let _ = std::fs::remove_file(pid_file);
        }
    }
}
