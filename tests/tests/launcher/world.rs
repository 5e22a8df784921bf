// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Machines that are described by a file, in a world where `/nix` is a store with NixOS-like systems.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};

use crate::harness::{Place, kernel, vm_dir};

/// How long anything may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A root with the store and the systems of `make-system`, which all tests share and none changes.
pub(crate) fn systems() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let dir = vm_dir().join("store-systems");
        // Another process may be making it.
        let lock = File::create(vm_dir().join("store-systems.lock")).unwrap();
        flock(&lock, FlockOperation::LockExclusive).unwrap();
        let made = Command::new(script("make-system")).arg(&dir).output();
        let made = made.unwrap();
        assert!(made.status.success(), "make-system: {}", text(&made.stderr));
        dir.canonicalize().unwrap()
    })
}

/// A file of `tests/vm`.
pub(crate) fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vm").join(name)
}

/// The store path that `make-system` made under this name.
pub(crate) fn store_path(name: &str) -> String {
    let paths = fs::read_to_string(systems().join("paths")).unwrap();
    let mut found = paths.lines().filter_map(|line| line.split_once(' '));
    found.find(|(is, _)| *is == name).unwrap().1.to_owned()
}

/// The shell of the guests.
pub(crate) fn busybox() -> String {
    format!("{}/bin/busybox", store_path("busybox"))
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A command that finds the store in `root` at `/nix`. It is one process, to which signals go.
pub(crate) fn at_nix(root: &Path, command: &Command) -> Command {
    let _ = fs::create_dir("/nix");
    let mut within = Command::new("unshare");
    within.args(["-m", "sh", "-c"]);
    within.arg("mount --bind \"$0/nix\" /nix && exec \"$@\"");
    within.arg(root).arg(command.get_program());
    within.args(command.get_args());
    for (name, value) in command.get_envs() {
        within.env(name, value.unwrap());
    }
    within
}

/// A machine with a file of its own. It is ended when this is dropped.
pub(crate) struct Machine<'a> {
    place: &'a Place,
    store: PathBuf,
    name: String,
}

impl<'a> Machine<'a> {
    /// Writes the description. `result` beside it leads to the system `plain`.
    pub(crate) fn new(place: &'a Place, name: &str, description: &str) -> Machine<'a> {
        let machine = Machine {
            place,
            store: systems().to_owned(),
            name: name.to_owned(),
        };
        let result = place.path().join("result");
        if result.symlink_metadata().is_err() {
            std::os::unix::fs::symlink(store_path("plain"), result).unwrap();
        }
        machine.describe(description);
        machine
    }

    /// Describes it anew.
    pub(crate) fn describe(&self, description: &str) {
        fs::write(self.file(), description).unwrap();
    }

    /// Takes another store.
    pub(crate) fn on(mut self, store: &Path) -> Machine<'a> {
        store.clone_into(&mut self.store);
        self
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.place.path().join(format!("{}.toml", self.name))
    }

    pub(crate) fn rofs_vm(&self, args: &[&str]) -> Command {
        let mut command = self.place.rofs_vm();
        command.args(args);
        let bin = self.place.path().join("bin");
        if bin.exists() {
            let path = std::env::var("PATH").unwrap();
            command.env("PATH", format!("{}:{path}", bin.display()));
        }
        let mut command = at_nix(&self.store, &command);
        command.stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self) -> Command {
        self.rofs_vm(&["run", self.file().to_str().unwrap()])
    }

    /// Tries to start it.
    pub(crate) fn try_start(&self) -> Output {
        let file = self.file();
        let output = self.rofs_vm(&["start", file.to_str().unwrap()]).output();
        output.unwrap()
    }

    pub(crate) fn start(&self) {
        let output = self.try_start();
        let said = text(&output.stderr);
        assert!(output.status.success(), "{said}{}", self.log());
        let out = text(&output.stdout);
        let is = format!("{} is running (process ", self.name);
        assert!(out.starts_with(&is), "{out}");
    }

    pub(crate) fn stop(&self) {
        let output = self.rofs_vm(&["stop", &self.name]).output().unwrap();
        let said = text(&output.stderr);
        assert!(output.status.success(), "{said}{}", self.log());
        assert!(!self.runtime_dir().exists());
        // Its supervisor has said so, and has yet to end itself.
        eventually("nothing runs", || self.place.processes().is_empty());
    }

    /// What a command prints in the guest, and how it ends.
    pub(crate) fn exec(&self, command: &[&str]) -> Output {
        let mut args = vec!["exec", &self.name, "--"];
        args.extend(command);
        self.rofs_vm(&args).output().unwrap()
    }

    /// What a script prints in a guest whose system is up; it must succeed.
    pub(crate) fn shell(&self, script: &str) -> String {
        let script = format!(
            "until [ -e /run/system-is-up ]; do {} sleep 0.1; done; set -e; {script}",
            busybox()
        );
        let output = self.exec(&[&busybox(), "sh", "-c", &script]);
        assert!(
            output.status.success(),
            "{script}: {}\n{}{}{}",
            output.status,
            text(&output.stdout),
            text(&output.stderr),
            self.log()
        );
        text(&output.stdout)
    }

    pub(crate) fn runtime_dir(&self) -> PathBuf {
        self.place.path().join("run/rofs-vm").join(&self.name)
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        self.place.path().join("state/rofs-vm").join(&self.name)
    }

    /// What it left to read.
    pub(crate) fn log(&self) -> String {
        ["supervisor.log", "console.log"]
            .map(|name| {
                let log = fs::read(self.state_dir().join(name)).unwrap_or_default();
                format!("\n--- {name}\n{}", text(&log))
            })
            .concat()
    }
}

impl Drop for Machine<'_> {
    fn drop(&mut self) {
        if self.runtime_dir().exists() {
            let _ = self.rofs_vm(&["stop", "--kill", &self.name]).output();
        }
    }
}

/// An example file, without the screen and the sound card, which are not here, and with less memory.
pub(crate) fn example(name: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../launcher/examples")
        .join(format!("{name}.toml"));
    let mut example = fs::read_to_string(file).unwrap();
    let mut replace = |what: &str, by: &str| example = example.replace(what, by);
    replace("mem = 2560", "mem = 512");
    replace("mem = 4096", "mem = 512");
    replace("vcpu = 4", "vcpu = 2");
    // A clipboard needs somebody who can see the screen.
    let backend = if example.contains("[clipboard]") {
        "vnc"
    } else {
        "headless"
    };
    let mut replace = |what: &str, by: &str| example = example.replace(what, by);
    replace(
        "[graphics]\nenable = true",
        &format!("[graphics]\nenable = true\nbackend = \"{backend}\""),
    );
    replace(
        "[sound]\nenable = true",
        "[sound]\nenable = true\nbackend = \"none\"",
    );
    example
}

/// One program with the store, on the kernel of the tests.
pub(crate) fn one_program(script: &str) -> String {
    format!(
        "run = [\"{}\", \"sh\", \"-c\", '''{script}''']\n\
         mem = 384\n\
         kernel = \"{}\"\n\
         [[shares]]\ntag = \"store\"\nsource = \"/nix/store\"\nmountPoint = \"/nix/store\"\n\
         proto = \"virtiofs\"\n",
        busybox(),
        kernel().canonicalize().unwrap().display(),
    )
}

/// Puts virtiofsd where the machines of this place look for programs.
pub(crate) fn install_virtiofsd(place: &Place) {
    let bin = place.path().join("bin");
    fs::create_dir(&bin).unwrap();
    // Debian sid's, with its own libraries.
    let virtiofsd = format!(
        "#!/bin/sh\nexec {} /usr/libexec/virtiofsd \"$@\"\n",
        script("in-sid").display()
    );
    fs::write(bin.join("virtiofsd"), virtiofsd).unwrap();
    fs::set_permissions(bin.join("virtiofsd"), fs::Permissions::from_mode(0o755)).unwrap();
}

/// Asks until the answer is yes.
pub(crate) fn eventually(what: &str, mut ask: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !ask() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        thread::sleep(Duration::from_millis(50));
    }
}
