// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a guest in QEMU gains: on the device that has windows with and without one, and on the
//! usual device.

use std::fs;
use std::path::Path;

use rofs_benches::ours::OURS;
use rofs_benches::report::{Report, Row, is_test};
use rofs_benches::socket::server::Server;
use rofs_tests::linux::{Guest, Kernel, Shell};

use crate::{PATH, SIZES, Store};

/// A server's options, and the device.
struct Subject {
    name: &'static str,
    device: &'static str,
    dax: bool,
}

const SUBJECTS: [Subject; 3] = [
    Subject {
        name: OURS,
        device: "test",
        dax: true,
    },
    Subject {
        name: "READ, same device",
        device: "test",
        dax: false,
    },
    Subject {
        name: "READ, usual device",
        device: "fs",
        dax: false,
    },
];

impl Subject {
    fn options(&self) -> Vec<&'static str> {
        let mut options = vec!["--tag", "store", "--queues", "1"];
        if self.dax {
            // Small files, too: what size pays is to be seen.
            options.extend(["--dax", "auto", "--window", "512M", "--dax-min", "4K"]);
        }
        options
    }

    fn guest(&self, server: &Server) -> Guest {
        Guest::new(Kernel::Qemu, server.socket()).args(["--device", self.device])
    }
}

/// How long the guest's programs take, and what they take of its memory.
pub(crate) fn times(report: &mut Report, store: &Store) {
    let mut rows: Vec<(String, String, &str)> = [
        ("range", "first 2 MiB touched", "ns"),
        ("first", "first touch, per page", "ns"),
        ("cached", "page cache grows by", "bytes"),
        ("second", "second touch, per page", "ns"),
        ("random", "random touch, hot", "ns"),
        ("dropped", "random touch, caches dropped", "ns"),
        ("exec-first", "a program, first run", "ns"),
        ("exec", "a program, later runs", "ns"),
    ]
    .map(|(key, what, unit)| (key.to_owned(), format!("guest, {what}"), unit))
    .into();
    rows.extend(SIZES.map(|kib| {
        let what = format!("guest, first use of a file of {kib} KiB");
        (format!("use-{kib}"), what, "ns")
    }));
    let of = |name: &str| format!("/nix/store/{PATH}/{name}");
    let mut script = String::new();
    for kib in SIZES {
        script += &format!(
            "echo -n use-{kib}' '; guest-check use {}*\n",
            of(&format!("{kib}-"))
        );
    }
    script += &format!(
        "guest-check touch {} {} 2>/dev/null",
        of("large"),
        of("program")
    );

    let rounds = if is_test() { 1 } else { 3 };
    let mut found: Vec<Vec<Vec<f64>>> = vec![vec![Vec::new(); rows.len()]; SUBJECTS.len()];
    // In turns: what else the machine does, it does to all.
    for _ in 0..rounds {
        for (subject, found) in SUBJECTS.iter().zip(&mut found) {
            let server = Server::with_options(store.dir.path(), &subject.options());
            let text = subject.guest(&server).run(&script).0;
            for (values, (key, ..)) in found.iter_mut().zip(&rows) {
                let value = text
                    .lines()
                    .filter_map(|line| line.trim().split_once(' '))
                    .find(|(name, _)| name == key)
                    .and_then(|(_, value)| value.parse().ok())
                    .unwrap_or_else(|| panic!("no {key} in {text}"));
                values.push(value);
            }
        }
    }
    for (index, (_, what, unit)) in rows.into_iter().enumerate() {
        for (subject, found) in SUBJECTS.iter().zip(&found) {
            let mut values = found[index].clone();
            values.sort_by(f64::total_cmp);
            let mut row = Row::new(&what, subject.name, unit, values[values.len() / 2]);
            if unit == "bytes" {
                row = row.with("of", store.size as f64);
            }
            report.add(row);
        }
    }
}

/// How many READs and SETUPMAPPINGs the large file and the program take, by the server's own word.
/// Not timed: it has much to say.
pub(crate) fn requests(report: &mut Report, store: &Store) {
    let file = format!("/nix/store/{PATH}/large");
    let script =
        format!("cat {file} >/dev/null; guest-check map {file}; /nix/store/{PATH}/program");
    let script = format!("{{ {script}; }} >/dev/null 2>&1; true");
    for subject in &SUBJECTS[..2] {
        let log = tempfile::NamedTempFile::new().unwrap();
        let options = [&subject.options()[..], &["--log-level", "trace"]].concat();
        let server = Server::logging(store.dir.path(), &options, log.path());
        subject.guest(&server).run(&script);
        drop(server);
        let log = fs::read_to_string(log.path()).unwrap();
        let count = |opcode: &str| log.matches(&format!("Some({opcode}) node ")).count() as f64;
        let what = "guest, READ requests for mapped files";
        let row = Row::new(what, subject.name, "requests", count("Read"));
        report.add(row.with("mappings", count("SetupMapping")));
    }
}

/// What the host pays when 1, 4 and 8 guests have read all of one file: by how much their VMMs have
/// grown (each page counted once for all that have it), and the file in the host's own cache.
pub(crate) fn memory(report: &mut Report, store: &Store) {
    let counts: &[usize] = if is_test() { &[1] } else { &[1, 4, 8] };
    let most = counts[counts.len() - 1];
    let read =
        format!("cat /nix/store/{PATH}/large | md5sum; guest-check map /nix/store/{PATH}/large");
    let names = [
        "rofs-serve, QEMU",
        "READ, same device",
        "READ, usual device",
    ];
    let all = if is_test() { 1 } else { names.len() };
    for (subject, name) in SUBJECTS.iter().zip(names).take(all) {
        let mut running: Vec<(Server, Shell)> = Vec::new();
        let mut grown = 0.0;
        for number in 1..=most {
            let server = Server::with_options(store.dir.path(), &subject.options());
            let mut shell = subject.guest(&server).args(["--mem", "512"]).shell();
            // What the programs themselves take is not what is asked for.
            shell.run("md5sum /bin/guest-check; guest-check map /bin/guest-check");
            let vmm = vmm_of(server.socket());
            let before = memory_of(vmm);
            shell.run(&read);
            grown += memory_of(vmm) - before;
            running.push((server, shell));
            if counts.contains(&number) {
                let what = format!("host memory, {number} guests of one file");
                let memory = 1.0 + grown / store.size as f64;
                report.add(Row::new(&what, name, "x the file", memory));
            }
        }
        // The guests first: their servers end with them.
        for (server, shell) in running {
            drop(shell);
            drop(server);
        }
    }
}

/// The QEMU that is connected to a socket.
fn vmm_of(socket: &Path) -> u32 {
    let socket = socket.to_str().unwrap();
    let processes = fs::read_dir("/proc").unwrap();
    let pids = processes.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    let is_vmm = |pid: &u32| {
        let program = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        program.starts_with("qemu") && String::from_utf8_lossy(&line).contains(socket)
    };
    pids.into_iter().find(is_vmm).unwrap()
}

/// Its part of the memory it has mapped, in bytes.
fn memory_of(pid: u32) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let line = text.lines().find(|line| line.starts_with("Pss:")).unwrap();
    let kib: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib * 1024.0
}
