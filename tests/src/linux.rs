// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Real guests: Linux in QEMU and User-Mode Linux, by the scripts of `tests/vm`.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

/// After this long without a line a guest hangs. A machine with other work to do is slow, not silent.
const SILENCE: Duration = Duration::from_secs(300);

/// A script of the folder `tests/vm`.
pub fn vm(script: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("vm")
        .join(script)
}

/// Runs a program to its end; what it printed, or a failed test.
pub fn output(command: &mut Command) -> String {
    let output = command.stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", output.status);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The static program that looks at trees.
pub fn guest_check() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        output(&mut Command::new(vm("build-guest-check")))
            .trim_end()
            .into()
    })
}

/// Which Linux.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// Debian's kernel for clouds, in QEMU; in software emulation.
    Qemu,
    /// The same with KVM.
    Kvm,
    /// User-Mode Linux.
    Uml,
}

/// How a guest is to be run.
#[derive(Debug)]
pub struct Guest {
    command: Command,
    out: tempfile::NamedTempFile,
    vmm: Vec<String>,
}

impl Guest {
    /// With the store that is served at `socket`, mounted at /nix/store.
    pub fn new(kernel: Kernel, socket: impl AsRef<Path>) -> Guest {
        let mut guest = Guest::bare(kernel);
        guest.command.args(["--share"]);
        let mut share = socket.as_ref().as_os_str().to_owned();
        share.push(":store:/nix/store");
        guest.command.arg(share);
        guest
    }

    /// With nothing.
    pub fn bare(kernel: Kernel) -> Guest {
        let script = match kernel {
            Kernel::Qemu | Kernel::Kvm => "run-qemu",
            Kernel::Uml => "run-uml",
        };
        let out = tempfile::NamedTempFile::new().unwrap();
        let mut command = Command::new(vm(script));
        if kernel == Kernel::Kvm {
            command.env("ROFS_KVM", "1");
        }
        command.arg("--out").arg(out.path());
        command
            .arg("--file")
            .arg(format!("{}=/bin/guest-check", guest_check().display()));
        let vmm = Vec::new();
        Guest { command, out, vmm }
    }

    /// More options of the scripts.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Guest {
        self.command.args(args);
        self
    }

    /// More arguments for the VMM itself.
    #[must_use]
    pub fn vmm(mut self, arguments: &[&str]) -> Guest {
        self.vmm.extend(arguments.iter().map(ToString::to_string));
        self
    }

    /// The arguments for QEMU or linux.uml, which come after all options.
    fn finish(&mut self) {
        if !self.vmm.is_empty() {
            self.command.arg("--").args(&self.vmm);
        }
    }

    /// Runs a shell text in it to the end. What it wrote to the console, and to /dev/rofs-out.
    pub fn run(mut self, script: &str) -> (String, String) {
        self.command.args(["--timeout", "1800", "--sh", script]);
        self.finish();
        let console = output(&mut self.command);
        let (_, console) = console.split_once("ROFS-BEGIN").unwrap();
        let (console, _) = console.split_once("\nROFS-EXIT").unwrap();
        let out = std::fs::read_to_string(self.out.path()).unwrap();
        (console.replace('\r', ""), out)
    }

    /// Starts a shell in it that takes one line after the other.
    pub fn shell(mut self) -> Shell {
        self.command.args(["--timeout", "1800"]);
        self.command.args([
            "--sh",
            "while read -r line; do eval \"$line\"; echo; echo DONE; done",
        ]);
        self.finish();
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
        shell.wait_for_boot();
        shell
    }
}

/// A shell in a running guest.
#[derive(Debug)]
pub struct Shell {
    child: Child,
    stdin: ChildStdin,
    lines: Receiver<String>,
}

impl Shell {
    fn next_line(&self) -> String {
        self.lines
            .recv_timeout(SILENCE)
            .expect("the guest has gone silent")
    }

    fn wait_for_boot(&self) {
        while self.next_line() != "ROFS-BEGIN" {}
    }

    /// Has the guest start again. (QEMU does not by itself: `-action reboot=reset`.)
    pub fn reboot(&mut self) {
        writeln!(self.stdin, "reboot -f").unwrap();
        self.wait_for_boot();
    }

    /// Runs one line and returns what it printed.
    pub fn run(&mut self, line: &str) -> String {
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
    pub fn succeeds(&mut self, line: &str) -> bool {
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

/// How many bytes of a listing Linux asks for at a time.
pub const LISTING: usize = 4096;

/// With how many requests everything below `dir` can be listed, attributes included: for each
/// directory its pages of READDIRPLUS, of which the last is empty.
pub fn pages(dir: &Path) -> u64 {
    // `.` and `..` are listed, too.
    let entry = |name: usize| 128 + (24 + name).next_multiple_of(8);
    let mut directories = vec![dir.to_owned()];
    let mut pages = 0;
    while let Some(dir) = directories.pop() {
        let (mut full, mut used) = (0, entry(1) + entry(2));
        for found in std::fs::read_dir(&dir).unwrap() {
            let found = found.unwrap();
            if found.file_name() == ".links" {
                continue; // not served
            }
            let size = entry(found.file_name().len());
            if used + size > LISTING {
                full += 1;
                used = 0;
            }
            used += size;
            if found.file_type().unwrap().is_dir() {
                directories.push(found.path());
            }
        }
        pages += full + 2;
    }
    pages
}
