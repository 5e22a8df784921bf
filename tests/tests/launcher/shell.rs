// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `rofs-vm run FILE`, with a shell in the guest that a test talks to through standard streams.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rofs_tests::linux::guest_check;
use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{Place, busybox, store, vm_dir};

/// How long anything may take: boots are slow on busy machines.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// What `ask` ends its command's output with.
const END: &str = "--- end of output:";

/// A guest that runs a shell.
pub(crate) struct Shell {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    errors: Option<JoinHandle<String>>,
    /// Its directory of sockets.
    pub(crate) sockets: PathBuf,
}

/// The kernel which has screens and sound.
pub(crate) fn desktop_kernel() -> PathBuf {
    let dir = vm_dir().join("desktop");
    let unpacked = dir.join("vmlinux");
    if unpacked.exists() {
        unpacked
    } else {
        dir.join("vmlinuz")
    }
}

/// A description of a guest that runs a shell on the tests' store; `guest-check` is in `/check`.
pub(crate) fn description(more: &str) -> String {
    let (store, check) = (store().join("nix/store"), guest_check());
    let shell = busybox();
    let (bin, _) = shell.rsplit_once('/').unwrap();
    format!(
        r#"mem = 384
run = ["{shell}", "sh"]
environment.PATH = "{bin}:/check"
{more}
[[shares]]
tag = "store"
proto = "virtiofs"
readOnly = true
source = "{}"
mountPoint = "/nix/store"
[[shares]]
tag = "check"
proto = "virtiofs"
readOnly = true
source = "{}"
mountPoint = "/check"
"#,
        store.display(),
        check.parent().unwrap().display()
    )
}

/// Says that something is not tested. (What `eprintln!` prints is kept to itself by a test that
/// does not fail.)
pub(crate) fn skipped(why: &str) {
    let text = format!("SKIPPED: {why}");
    let line = "!".repeat(text.len().min(80));
    let _ = writeln!(std::io::stderr(), "{line}\n{text}\n{line}");
}

/// `PATH`, with a directory before all others.
pub(crate) fn path_with(dir: &Path) -> OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs: Vec<PathBuf> = std::iter::once(dir.to_owned())
        .chain(std::env::split_paths(&path))
        .collect();
    std::env::join_paths(dirs).unwrap()
}

impl Shell {
    /// Boots a machine of this name; of the variables, those that are empty are unset.
    pub(crate) fn boot(
        place: &Place,
        name: &str,
        text: &str,
        variables: &HashMap<&str, OsString>,
    ) -> Shell {
        Shell::boot_by(place.rofs_vm(), place, name, text, variables)
    }

    /// The same, where the command is not `rofs-vm` alone.
    pub(crate) fn boot_by(
        mut command: Command,
        place: &Place,
        name: &str,
        text: &str,
        variables: &HashMap<&str, OsString>,
    ) -> Shell {
        let file = place.path().join(format!("{name}.toml"));
        fs::write(&file, text).unwrap();
        for (variable, value) in variables {
            if value.is_empty() {
                command.env_remove(variable);
            } else {
                command.env(variable, value);
            }
        }
        let mut child = command
            .arg("run")
            .arg(&file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = mpsc::channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || {
            for line in stdout.lines() {
                let Ok(line) = line else { break };
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let mut stderr = child.stderr.take().unwrap();
        let errors = thread::spawn(move || {
            let mut said = Vec::new();
            let _ = stderr.read_to_end(&mut said);
            String::from_utf8_lossy(&said).into_owned()
        });
        Shell {
            stdin: child.stdin.take(),
            child,
            lines,
            errors: Some(errors),
            sockets: place.path().join("run/rofs-vm").join(name),
        }
    }

    /// Runs a command; its output, errors included.
    pub(crate) fn ask(&mut self, command: &str) -> String {
        // If it has ended, why is told below.
        let line = format!("{{ {command}\n}} 2>&1; echo; echo '{END}'\n");
        let _ = self.stdin.as_mut().unwrap().write_all(line.as_bytes());
        let mut output: Vec<String> = Vec::new();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) if line == END => break,
                Ok(line) => output.push(line),
                Err(e) => {
                    let said = self.kill();
                    panic!("{command}: {e} after {output:?}\n{said}");
                }
            }
        }
        output.join("\n").trim().to_owned()
    }

    /// Connects to one of its sockets.
    pub(crate) fn connect(&self, socket: &str) -> UnixStream {
        let stream = UnixStream::connect(self.sockets.join(socket)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Ends the shell; how `rofs-vm` ended, and what it said.
    pub(crate) fn end(mut self) -> (ExitStatus, String) {
        drop(self.stdin.take());
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status, self.errors.take().unwrap().join().unwrap());
            }
            thread::sleep(Duration::from_millis(20));
        }
        let said = self.kill();
        panic!("it does not end\n{said}");
    }

    /// What it said on its standard error, once it has ended.
    pub(crate) fn kill(&mut self) -> String {
        // So that it clears up.
        for _ in 0..2 {
            let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
            thread::sleep(Duration::from_millis(500));
        }
        let _ = self.child.wait();
        let errors = self.errors.take();
        errors.map_or_else(String::new, |thread| thread.join().unwrap_or_default())
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.kill();
        }
    }
}
