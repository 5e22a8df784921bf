// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Machines begin and end, by themselves and by force, and leave nothing.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::Place;
use crate::shell::skipped;
use crate::world::{
    Machine, at_nix, busybox, eventually, example, install_virtiofsd, one_program, script,
    store_path, systems, text,
};

/// A `rofs-vm run` that has printed something.
struct Running {
    child: Child,
    stdout: BufReader<std::process::ChildStdout>,
}

impl Running {
    /// Runs it until its output has a line with `words`.
    fn until(machine: &Machine<'_>, words: &str) -> Running {
        let mut child = machine
            .run()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut seen = String::new();
        while !seen.contains(words) {
            let mut line = Vec::new();
            if stdout.read_until(b'\n', &mut line).unwrap() == 0 {
                let output = child.wait_with_output().unwrap();
                panic!("it ended: {seen}{}{}", text(&output.stderr), machine.log());
            }
            seen += &text(&line);
        }
        Running { child, stdout }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Its end, and what it said of it.
    fn end(mut self) -> (ExitStatus, String) {
        // Nobody waits for a reader.
        let reader = thread::spawn(move || {
            let mut rest = Vec::new();
            let _ = self.stdout.read_to_end(&mut rest);
        });
        let output = self.child.wait_with_output().unwrap();
        reader.join().unwrap();
        (output.status, text(&output.stderr))
    }
}

/// What `status --json` says under a name.
fn status(machine: &Machine<'_>, name: &str, key: &str) -> i32 {
    let output = machine.rofs_vm(&["status", "--json", name]).output();
    let output = text(&output.unwrap().stdout);
    let line = output.lines().find(|line| line.contains(key)).unwrap();
    let number: String = line.chars().filter(char::is_ascii_digit).collect();
    number.parse().unwrap()
}

fn kill(pid: i32) {
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

/// Nothing of the machines is left but what is kept: images and logs.
fn assert_gone(place: &Place) {
    eventually("no process is left", || place.processes().is_empty());
    let run: Vec<PathBuf> = place
        .left()
        .into_iter()
        .filter(|path| path.starts_with(place.path().join("run")))
        .collect();
    assert_eq!(run, Vec::<PathBuf>::new());
}

/// Nor is one of these processes, which need not have anything of the machines in their arguments.
fn assert_all_gone(place: &Place, pids: &[i32]) {
    let lives = |pid: &i32| Path::new(&format!("/proc/{pid}")).exists();
    eventually("all processes are gone", || !pids.iter().any(lives));
    assert_gone(place);
}

/// An initrd whose init minds nothing, and a machine with it.
fn deaf(place: &Place) -> String {
    let init = place.path().join("deaf-init");
    let said = "#!/bin/busybox sh\nmount -t devtmpfs dev /dev\nexec >/dev/console 2>&1\necho I mind nothing.\nwhile :; do sleep 1000; done\n";
    fs::write(&init, said).unwrap();
    let _ = Command::new("chmod").arg("755").arg(&init).status();
    let initrd = place.path().join("deaf.initrd");
    let made = Command::new(script("make-initrd"))
        .arg(&initrd)
        .arg(format!("{}=/init", init.display()))
        .status();
    assert!(made.unwrap().success());
    format!(
        "kernel = \"{}\"\ninitrd = \"{}\"\nmem = 256\nstopTimeout = 2\n",
        crate::harness::kernel().canonicalize().unwrap().display(),
        initrd.display()
    )
}

#[test]
fn guests_ctrl_c_powers_down() {
    let place = Place::new();
    let machine = Machine::new(&place, "front", &example("1-minimal"));
    // The console is here; what is typed arrives there.
    let mut running = Running::until(&machine, "Enter 'help'");
    let stdin = running.child.stdin.as_mut().unwrap();
    std::io::Write::write_all(stdin, b"echo $((6 * 7)) typed\n").unwrap();
    let mut seen = String::new();
    while !seen.contains("42 typed") {
        assert!(running.stdout.read_line(&mut seen).unwrap() > 0, "{seen}");
    }
    running.signal(Signal::INT);
    let (status, said) = running.end();
    assert_eq!(status.code(), Some(0), "{said}");
    assert!(said.contains("powering down; Ctrl-C again"), "{said}");
    assert_gone(&place);
}

#[test]
fn guests_that_mind_nothing_are_killed() {
    let place = Place::new();
    let machine = Machine::new(&place, "deaf", &deaf(&place));
    // By a second Ctrl-C ...
    let running = Running::until(&machine, "I mind nothing.");
    running.signal(Signal::INT);
    thread::sleep(Duration::from_millis(300));
    running.signal(Signal::INT);
    let (status, said) = running.end();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("deaf: killed, as asked"), "{said}");
    assert_gone(&place);

    // ... or when the time to power down is over ...
    machine.start();
    let begin = Instant::now();
    let output = machine.rofs_vm(&["stop", "deaf"]).output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains(
            "deaf: the guest did not power down within 2 seconds (stopTimeout) and was killed"
        ),
        "{said}"
    );
    assert!(begin.elapsed() >= Duration::from_secs(2));
    assert_gone(&place);

    // ... or at once.
    machine.start();
    let output = machine.rofs_vm(&["stop", "--kill", "deaf"]).output();
    assert!(output.unwrap().status.success());
    assert_gone(&place);
}

#[test]
fn guests_run_once_and_have_their_images_for_themselves() {
    let place = Place::new();
    let one = one_program("sleep 1000")
        + "[[volumes]]\nimage = \"../shared.img\"\nmountPoint = \"/data\"\nsize = 32\n";
    let first = Machine::new(&place, "first", &one);
    let second = Machine::new(&place, "second", &one);
    first.start();

    let output = first.try_start();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("first is running already (process "),
        "{said}"
    );
    assert!(said.contains("`rofs-vm stop first` ends it"), "{said}");
    let output = first.run().output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("first is running already"));

    let output = second.try_start();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("shared.img: in use by another virtual machine (process "),
        "{said}"
    );
    assert!(!second.runtime_dir().exists());

    // The first is as it was.
    let list = first.rofs_vm(&["list"]).output().unwrap();
    let list = text(&list.stdout);
    assert_eq!(list.lines().count(), 2, "{list}");
    assert!(list.contains("first"), "{list}");
    let status = text(&first.rofs_vm(&["status", "first"]).output().unwrap().stdout);
    for words in [
        "running",
        "volume",
        "shared.img, 32 MiB",
        "exec         yes",
    ] {
        assert!(status.contains(words), "{words} is not in {status}");
    }
    let output = first.exec(&[
        &busybox(),
        "sh",
        "-c",
        "cat; echo out; echo err >&2; exit 3",
    ]);
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(
        (text(&output.stdout), text(&output.stderr)),
        ("out\n".into(), "err\n".into())
    );
    let output = first.exec(&["nothing-like-it"]);
    assert_eq!(output.status.code(), Some(127));
    assert!(text(&output.stderr).contains("the guest has no nothing-like-it in its PATH"));
    first.stop();
    assert_gone(&place);

    second.start();
    second.stop();
    let output = second.rofs_vm(&["stop", "second"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("second is not running; `rofs-vm list` shows what is"));
    assert_gone(&place);
}

#[test]
fn guests_whose_programs_are_killed_end_with_a_word() {
    let place = Place::new();
    let description =
        one_program("echo up; sleep 1000").replace("[[shares]]", "[[shares]]\nprocess = true");
    let machine = Machine::new(&place, "hurt", &description);

    let all_gone = |pids: &[i32]| assert_all_gone(&place, pids);

    let running = Running::until(&machine, "up");
    let all = below(status(&machine, "hurt", "\"pid\""));
    assert!(!named(&all, "rofs-serve").is_empty());
    kill(status(&machine, "hurt", "hypervisorPid"));
    let (code, said) = running.end();
    assert_eq!(code.code(), Some(1), "{said}");
    assert!(said.contains("hurt: qemu was killed"), "{said}");
    all_gone(&all);

    let running = Running::until(&machine, "up");
    let all = below(status(&machine, "hurt", "\"pid\""));
    for server in named(&all, "rofs-serve") {
        kill(server);
    }
    let (code, said) = running.end();
    assert_eq!(code.code(), Some(1), "{said}");
    assert!(
        said.contains("hurt: ") && said.contains("was killed"),
        "{said}"
    );
    all_gone(&all);

    // The launcher itself: who clears up says so.
    let running = Running::until(&machine, "up");
    let all = below(status(&machine, "hurt", "\"pid\""));
    running.signal(Signal::KILL);
    let (code, said) = running.end();
    assert_eq!(code.code(), None);
    assert!(
        said.contains("hurt: its supervisor was killed; the virtual machine has been ended"),
        "{said}"
    );
    all_gone(&all);

    // And it starts again.
    let running = Running::until(&machine, "up");
    running.signal(Signal::TERM);
    let (code, said) = running.end();
    assert_eq!(code.code(), Some(143), "{said}");
    assert_gone(&place);
}

#[test]
fn guests_whose_read_write_share_is_killed_end_with_a_word() {
    let place = Place::new();
    let folder = place.path().join("folder");
    fs::create_dir(&folder).unwrap();
    install_virtiofsd(&place);
    let share = format!(
        "[[shares]]\ntag = \"home\"\nsource = \"{}\"\nmountPoint = \"/home\"\nproto = \"virtiofs\"\nreadOnly = false\n",
        folder.display()
    );
    let description = one_program("touch /home/mine; sync; echo up; sleep 1000") + &share;
    let machine = Machine::new(&place, "folder", &description);
    let running = Running::until(&machine, "up");
    assert!(folder.join("mine").exists());
    let all = below(status(&machine, "folder", "\"pid\""));
    let servers = named(&all, "virtiofsd");
    assert!(!servers.is_empty());
    for server in servers {
        kill(server);
    }
    let (code, said) = running.end();
    assert_eq!(code.code(), Some(1), "{said}");
    let says = ["folder: ", "virtiofsd", "home", "was killed"];
    assert!(says.iter().all(|words| said.contains(words)), "{said}");
    assert_all_gone(&place, &all);
}

/// The processes below one, which need not have anything of it in their arguments.
fn below(pid: i32) -> Vec<i32> {
    let of = |entry: fs::DirEntry| -> Option<(i32, i32)> {
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        let parent = stat.rsplit(')').next()?.split_whitespace().nth(1)?;
        Some((
            entry.file_name().to_str()?.parse().ok()?,
            parent.parse().ok()?,
        ))
    };
    let all: Vec<(i32, i32)> = fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(of)
        .collect();
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(
            all.iter()
                .filter(|(_, is)| *is == parent)
                .map(|(pid, _)| *pid),
        );
        next += 1;
    }
    found.split_off(1)
}

/// Those of some processes whose program has this name.
fn named(pids: &[i32], name: &str) -> Vec<i32> {
    let is = |pid: &&i32| {
        fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| {
            text(&line)
                .split('\0')
                .next()
                .is_some_and(|first| first.ends_with(name))
        })
    };
    pids.iter().filter(is).copied().collect()
}

#[test]
fn guests_see_their_closure_and_nothing_else() {
    let place = Place::new();
    let script = format!(
        "ls /nix/store; ls -d {} {}; cat {}/share/greeting",
        store_path("files"),
        "/nix/store/00000000000000000000000000000000-nothing",
        store_path("hello")
    );
    let description = format!(
        "closure = [\"{}\"]\n{}",
        store_path("hello"),
        one_program(&script)
    );
    let machine = Machine::new(&place, "few", &description);
    let output = machine.run().output().unwrap();
    let name = |path: String| path.trim_start_matches("/nix/store/").to_owned();
    let mut names = [name(store_path("hello")), name(store_path("busybox"))];
    names.sort();
    let expected = format!("{}\n{}\nHello from the store.\n", names[0], names[1]);
    assert_eq!(text(&output.stdout), expected, "{}", text(&output.stderr));
    let said = text(&output.stderr);
    assert_eq!(
        said.matches("No such file or directory").count(),
        2,
        "{said}"
    );
    assert!(output.status.success());
    assert_gone(&place);
}

/// A copy of the store.
fn scratch_store(place: &Place) -> PathBuf {
    let root = place.path().join("root");
    fs::create_dir_all(root.join("nix")).unwrap();
    for (how, what) in [("-al", "nix/store"), ("-a", "nix/var")] {
        let copied = Command::new("cp")
            .arg(how)
            .args([systems().join(what), root.join(what)])
            .status();
        assert!(copied.unwrap().success());
    }
    root
}

/// What `store-op` prints.
fn store_op(root: &Path, args: &[&str]) -> String {
    let output = Command::new(script("store-op"))
        .arg(root)
        .args(args)
        .output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).trim().to_owned()
}

#[test]
fn guests_keep_their_closure_from_the_garbage_collector() {
    let place = Place::new();
    let root = scratch_store(&place);
    // Paths of which no other process has heard: Nix looks at all processes.
    let [held, other] = ["held", "other"].map(|name| {
        let file = place.path().join(name);
        fs::write(&file, format!("{name} {}", place.path().display())).unwrap();
        store_op(&root, &["add", file.to_str().unwrap()])
    });
    let description = format!(
        "closure = [\"{held}\", \"{}\"]\n{}",
        store_path("busybox"),
        one_program("sleep 1000")
    );
    let machine = Machine::new(&place, "holder", &description).on(&root);
    machine.start();
    let has = |path: &str| root.join(&path[1..]).exists();
    store_op(&root, &["gc"]);
    assert!(has(&held), "what the guest has was collected");
    assert!(!has(&other), "nothing was collected");
    let output = machine.exec(&[&busybox(), "cat", &held]);
    assert!(
        text(&output.stdout).starts_with("held "),
        "{}",
        text(&output.stderr)
    );
    machine.stop();
    assert_gone(&place);
    store_op(&root, &["gc"]);
    assert!(!has(&held), "what nobody uses any more is kept");
}

#[test]
fn units_are_as_systemd_wants_them() {
    let place = Place::new();
    let machine = Machine::new(&place, "unit", &example("1-minimal"));
    let file = machine.file();
    let file = file.to_str().unwrap();
    let config = place.path().join("config");
    let mut install = machine.rofs_vm(&["install", file]);
    let output = install.env("XDG_CONFIG_HOME", &config).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let user = config.join("systemd/user/rofs-vm-unit.service");
    let written = format!("Written: {}", user.display());
    assert!(
        text(&output.stdout).starts_with(&written),
        "{}",
        text(&output.stdout)
    );

    let output = machine
        .rofs_vm(&["install", "--system", "--print", file])
        .output()
        .unwrap();
    let system = place.path().join("rofs-vm-unit.service");
    fs::write(&system, &output.stdout).unwrap();
    for (manager, unit) in [("--user", &user), ("--system", &system)] {
        let mut verify = Command::new("systemd-analyze");
        verify.args(["verify", "--man=no", manager]).arg(unit);
        verify.env("XDG_RUNTIME_DIR", place.path().join("run"));
        let verified = match at_nix(systems(), &verify).output() {
            Ok(verified) => verified,
            Err(e) => return skipped(&format!("systemd-analyze does not run: {e}")),
        };
        let said = text(&verified.stderr);
        assert!(verified.status.success(), "{said}");
        assert!(!said.contains("rofs-vm-unit"), "{said}");
    }
}
