// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a real Linux feels of it: time in the guest, and the requests that its kernel sends.
//!
//! In each round one guest is booted with a share for each kind of work and each server, every one
//! with a fresh server process behind it. They have their turns: mounted, the work done for the
//! first time, and again; unmounted.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, missing_docs)]

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use rofs_benches::measure::median;
use rofs_benches::report::{Report, Row, filter, is_test};
use rofs_benches::socket::cpu;
use rofs_benches::socket::server::{Kind, Server};
use rofs_benches::tree::{PATH_ENTRIES, Tree, kept};
use rofs_tests::linux::{Guest, Kernel, Shell, guest_check, pages, vm};
use rofs_tests::relay::{Relay, Seen};

/// The servers, and the path of the work in the share.
const AT: &str = "/mnt/share";
/// Failing lookups of a program start, and directories they are spread over.
const MISSES: usize = 500;
const LIBRARY_PATHS: usize = 25;
/// Seconds in which a guest with KVM must have come up.
const KVM_PATIENCE: &str = "20";

/// How large everything is.
struct Size {
    entries: usize,
    small: usize,
    /// MiB.
    big: u64,
    /// MiB of the guest's memory: so much that nothing is dropped for want of it.
    memory: u32,
}

const FULL: Size = Size {
    entries: 100_000,
    small: 20_000,
    big: 1024,
    memory: 2048,
};
const TEST: Size = Size {
    entries: 1000,
    small: 100,
    big: 4,
    memory: 256,
};

/// Something to do.
#[derive(Clone)]
struct Work {
    title: String,
    /// For `guest-check`.
    command: String,
    /// Names of the root that it uses.
    paths: usize,
}

fn works(tree: &Tree, size: &Size) -> Vec<Work> {
    let own = format!("{AT}/{}", tree.paths[tree.paths.len() - 1]);
    let libraries: Vec<String> = tree.paths[..LIBRARY_PATHS.min(tree.paths.len() - 1)]
        .iter()
        .map(|path| format!("{AT}/{path}/dir-1"))
        .collect();
    let all = tree.paths.len();
    let work = |title: String, command: String, paths: usize| Work {
        title,
        command,
        paths,
    };
    vec![
        work("find".to_owned(), format!("find {AT}"), all),
        work("find with stat".to_owned(), format!("stat {AT}"), all),
        work(
            format!("program start, {MISSES} failing lookups"),
            format!("start {own}/bin/program {MISSES} {}", libraries.join(" ")),
            libraries.len() + 1,
        ),
        work(
            format!("{} small files", size.small),
            format!("small {own}/small"),
            1,
        ),
        work(
            format!("{} MiB sequentially", size.big),
            format!("sequential {own}/big"),
            1,
        ),
    ]
}

/// One share of a guest.
struct Share {
    kind: Kind,
    work: usize,
    tag: String,
    server: Server,
    relay: Relay,
}

/// What came of doing something once.
#[derive(Clone, Copy)]
struct Done {
    millis: f64,
    seen: Seen,
    server_millis: f64,
}

fn shares(kinds: &[Kind], works: &[Work], tree: &Tree) -> Vec<Share> {
    let mut shares = Vec::new();
    for (number, work) in works.iter().enumerate() {
        let polling_shows = work.title.starts_with("program start");
        let kinds = kinds
            .iter()
            .filter(|kind| **kind != Kind::OursPolling || polling_shows);
        for kind in kinds {
            let tag = format!("share-{}", shares.len());
            let server = Server::with_tag(*kind, &tree.root, 1, &tag);
            let relay = Relay::start(server.socket());
            shares.push(Share {
                kind: *kind,
                work: number,
                tag,
                server,
                relay,
            });
        }
    }
    shares
}

fn boot(kernel: Kernel, shares: &[Share], memory: u32) -> Shell {
    let mut guest = Guest::bare(kernel).args(["--no-mount", "--mem", &memory.to_string()]);
    for share in shares {
        let socket = share.relay.socket().display();
        guest = guest.args(["--share", &format!("{socket}:{}", share.tag)]);
    }
    guest.shell()
}

/// Has the guest do something.
fn perform(shell: &mut Shell, share: &Share, command: &str) -> Done {
    let pid = share.server.pid();
    let before = (share.relay.seen(), cpu::spent(pid));
    let said = shell.run(&format!("guest-check {command}"));
    let (seen, spent) = (share.relay.seen(), cpu::spent(pid));
    assert!(!said.contains("panicked"), "guest-check {command}: {said}");
    let micros: f64 = said
        .split_once(' ')
        .and_then(|(micros, _)| micros.parse().ok())
        .unwrap();
    Done {
        millis: micros / 1e3,
        seen: seen.since(before.0),
        server_millis: spent.saturating_sub(before.1).as_secs_f64() * 1e3,
    }
}

fn must(shell: &mut Shell, line: &str) {
    let said = shell.run(&format!("{line} && echo well"));
    assert!(said.ends_with("well"), "{line}: {said}");
}

/// Each server's first and second time of each work, by work and server.
type Found = BTreeMap<(usize, &'static str), Vec<[Done; 2]>>;

/// One guest does everything; returns what it found and the version of its kernel.
fn round(
    kernel: Kernel,
    kinds: &[Kind],
    works: &[Work],
    tree: &Tree,
    size: &Size,
) -> (Found, String) {
    let shares = shares(kinds, works, tree);
    let mut shell = boot(kernel, &shares, size.memory);
    let release = shell.run("uname -r");
    must(&mut shell, &format!("mkdir -p {AT}"));
    let mut found = Found::new();
    for share in &shares {
        must(
            &mut shell,
            &format!("mount -t virtiofs {} {AT} -o ro", share.tag),
        );
        let Work { title, command, .. } = &works[share.work];
        let twice = [(); 2].map(|()| perform(&mut shell, share, command));
        must(
            &mut shell,
            &format!("umount {AT} && echo 3 >/proc/sys/vm/drop_caches"),
        );
        let [first, again] = twice.map(|done| format!("{:.1} ms, {:?}", done.millis, done.seen));
        println!("{}: {title}: {first}; again {again}", share.kind.name());
        let key = (share.work, share.kind.name());
        found.entry(key).or_default().push(twice);
    }
    (found, release)
}

fn name(kernel: Kernel) -> &'static str {
    match kernel {
        Kernel::Uml => "User-Mode Linux",
        Kernel::Qemu => "QEMU, emulated",
        Kernel::Kvm => "QEMU with KVM",
    }
}

fn measure(
    report: &mut Report,
    kernel: Kernel,
    rounds: usize,
    works: &[Work],
    tree: &Tree,
    size: &Size,
) {
    let part = filter().unwrap_or_default();
    let wanted = |work: &&Work| format!("{}: {}", name(kernel), work.title).contains(&part);
    let works: Vec<Work> = works.iter().filter(wanted).cloned().collect();
    if works.is_empty() {
        return;
    }
    let mut kinds = vec![Kind::Ours, Kind::OursPolling];
    if Kind::available().contains(&Kind::Virtiofsd) {
        kinds.extend([Kind::Virtiofsd, Kind::VirtiofsdAuto]);
    }
    let mut all = Found::new();
    let mut release = String::new();
    for _ in 0..rounds {
        let (found, kernel) = round(kernel, &kinds, &works, tree, size);
        release = kernel;
        for (key, mut times) in found {
            all.entry(key).or_default().append(&mut times);
        }
        // Another one is first in the next round.
        kinds.rotate_left(1);
    }
    println!("{}: Linux {release}", name(kernel));
    let pages = pages(&tree.root) as f64;
    for (number, work) in works.iter().enumerate() {
        for (again, which) in ["first", "again"].iter().enumerate() {
            let what = format!("{}: {}, {which}", name(kernel), work.title);
            for kind in [
                Kind::Ours,
                Kind::OursPolling,
                Kind::Virtiofsd,
                Kind::VirtiofsdAuto,
            ] {
                let Some(times) = all.get(&(number, kind.name())) else {
                    continue;
                };
                let middle = |of: fn(&Done) -> f64| {
                    median(
                        &times
                            .iter()
                            .map(|twice| of(&twice[again]))
                            .collect::<Vec<_>>(),
                    )
                };
                let row = Row::new(&what, kind.name(), "ms", middle(|done| done.millis))
                    .with("requests", middle(|done| done.seen.requests as f64))
                    .with("forgets", middle(|done| done.seen.forgets as f64))
                    .with("server ms", middle(|done| done.server_millis))
                    .with("paths", work.paths as f64)
                    .with("pages", pages);
                println!("{what}: {row:?}");
                report.add(row);
            }
        }
    }
}

/// Whether guests run here with KVM: some machines have it in name only.
fn kvm_works() -> bool {
    let works = std::path::Path::new("/dev/kvm").exists() && {
        let status = Command::new(vm("run-qemu"))
            .args(["--no-mount", "--timeout", KVM_PATIENCE, "--sh", "true"])
            .env("ROFS_KVM", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        status.is_ok_and(|status| status.success())
    };
    if !works {
        loudly("NO KVM HERE that boots Linux: the rows of a guest at full speed are missing");
    }
    works
}

fn loudly(text: &str) {
    let line = "!".repeat(text.len());
    eprintln!("{line}\nbenches: {text}\n{line}");
}

/// What is served lies in this host's caches from the start, for the first server as for the last.
fn warm_the_host(tree: &Tree) {
    let status = Command::new("sh")
        .args(["-c", "find . -type f -exec cat {} + >/dev/null"])
        .current_dir(&tree.root)
        .status();
    assert!(status.unwrap().success());
}

fn main() {
    let mut report = Report::new("guest");
    let size = if is_test() { TEST } else { FULL };
    if !vm("in-sid").exists()
        || !vm("../../target/vm/sid").exists() && std::env::var_os("ROFS_VM_DIR").is_none()
    {
        loudly("NO GUESTS HERE: run .ci/provision");
        return;
    }
    let tree = Tree::guest(&kept(), size.entries, size.small, size.big, guest_check()).unwrap();
    println!(
        "a store of about {} entries in {} paths",
        (tree.paths.len() - 1) * PATH_ENTRIES + size.small,
        tree.paths.len()
    );
    warm_the_host(&tree);
    let works = works(&tree, &size);
    let rounds = if is_test() { 1 } else { 3 };
    measure(&mut report, Kernel::Uml, rounds, &works, &tree, &size);
    if !is_test() {
        measure(&mut report, Kernel::Qemu, rounds, &works, &tree, &size);
        if kvm_works() {
            measure(&mut report, Kernel::Kvm, rounds, &works, &tree, &size);
        }
    }
    report.finish();
}
