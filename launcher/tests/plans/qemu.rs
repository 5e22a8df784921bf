// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Real QEMUs: the installed one, and the newest one, which `.ci/provision` fetches from Debian sid.

use std::collections::BTreeSet;
use std::env;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use launcher::control::Qmp;
use serde_json::{Value, json};

/// How long a QEMU may take to start, on a busy machine.
const START: Duration = Duration::from_secs(60);

/// How to start one.
pub(crate) struct Qemu {
    command: Vec<PathBuf>,
}

/// Where `.ci/provision` puts kernels and the QEMU of sid.
pub(crate) fn vm_dir() -> PathBuf {
    env::var_os("ROFS_VM_DIR").map_or_else(|| repository().join("target/vm"), PathBuf::from)
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the repository")
        .to_owned()
}

impl Qemu {
    /// The one on `PATH`.
    pub(crate) fn installed() -> Qemu {
        let program = launcher::process::on_path("qemu-system-x86_64")
            .expect("no QEMU on PATH: run .ci/provision");
        Qemu {
            command: vec![program],
        }
    }

    /// The one of Debian sid. Only outside CI may it be missing.
    pub(crate) fn of_sid() -> Option<Qemu> {
        if !vm_dir().join("sid/usr/bin/qemu-system-x86_64").exists() {
            let message = format!(
                "no QEMU of Debian sid in {}: run .ci/provision",
                vm_dir().display()
            );
            assert!(env::var_os("CI").is_none(), "{message}");
            // Not by `eprintln!`, which a test that does not fail keeps to itself.
            let _ = writeln!(io::stderr(), "SKIPPED: {message}");
            return None;
        }
        Some(Qemu {
            command: vec![
                repository().join("tests/vm/in-sid"),
                "qemu-system-x86_64".into(),
            ],
        })
    }

    /// Starts it with these arguments, its processors stopped, and talks to it at `control`.
    ///
    /// # Errors
    /// What it said when it ended by itself.
    pub(crate) fn start(
        &self,
        args: &[String],
        control: &Path,
        dir: &Path,
    ) -> Result<Running, String> {
        let errors = dir.join("stderr");
        let mut child = Command::new(&self.command[0])
            .args(&self.command[1..])
            .args(args)
            .arg("-S")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&errors).expect("a file for messages"))
            .spawn()
            .expect("QEMU cannot be started");
        let deadline = Instant::now() + START;
        loop {
            if let Some(status) = child.try_wait().expect("a child") {
                return Err(format!(
                    "{status}: {}",
                    fs::read_to_string(&errors).unwrap_or_default()
                ));
            }
            if let Ok(qmp) = Qmp::connect(control, Duration::from_secs(5)) {
                return Ok(Running { child, qmp, errors });
            }
            if Instant::now() > deadline {
                let _ = child.kill();
                return Err(format!(
                    "it says nothing: {}",
                    fs::read_to_string(&errors).unwrap_or_default()
                ));
            }
            thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A QEMU that runs.
pub(crate) struct Running {
    child: Child,
    pub(crate) qmp: Qmp,
    errors: PathBuf,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Running {
    /// Ends it. Gives back what it complained about.
    pub(crate) fn quit(mut self) -> String {
        self.qmp.execute("quit", None).expect("quit");
        let status = self.child.wait().expect("a child");
        let said = fs::read_to_string(&self.errors).unwrap_or_default();
        assert!(status.success(), "{status}: {said}");
        said
    }

    /// The properties of a device.
    pub(crate) fn properties(&mut self, device: &str) -> BTreeSet<String> {
        let answer = self.qmp.execute(
            "device-list-properties",
            Some(json!({ "typename": device })),
        );
        names(&answer.unwrap_or_else(|e| panic!("{device}: {e}")))
    }

    /// The parameters of an option of its command line.
    pub(crate) fn parameters(&mut self, option: &str) -> BTreeSet<String> {
        let answer = self.qmp.execute(
            "query-command-line-options",
            Some(json!({ "option": option })),
        );
        let answer = answer.unwrap_or_else(|e| panic!("-{option}: {e}"));
        names(&answer[0]["parameters"])
    }

    /// The members of one variant of a command's argument or answer.
    pub(crate) fn members(&mut self, command: &str, variant: &str) -> BTreeSet<String> {
        let schema = self
            .qmp
            .execute("query-qmp-schema", None)
            .expect("the schema");
        let schema = schema.as_array().expect("a list");
        let find = |name: &Value| {
            schema
                .iter()
                .find(|one| one["name"] == *name)
                .expect("a known type")
        };
        let entry = find(&json!(command));
        // The argument's type, or that of the answer, which may be a list.
        let of = ["arg-type", "ret-type"]
            .iter()
            .map(|side| find(&entry[side]))
            .map(|of| {
                if of["element-type"].is_null() {
                    of
                } else {
                    find(&of["element-type"])
                }
            })
            .find(|of| of["variants"].is_array())
            .unwrap_or_else(|| panic!("{command} has no variants"));
        let mut members = names(&of["members"]);
        let variants = of["variants"].as_array().expect("a list");
        let variant = variants
            .iter()
            .find(|one| one["case"] == variant)
            .unwrap_or_else(|| panic!("no {variant}"));
        members.extend(names(&find(&variant["type"])["members"]));
        members
    }
}

fn names(list: &Value) -> BTreeSet<String> {
    let list = list.as_array().unwrap_or_else(|| panic!("no list: {list}"));
    list.iter()
        .filter_map(|one| Some(one["name"].as_str()?.to_owned()))
        .collect()
}
