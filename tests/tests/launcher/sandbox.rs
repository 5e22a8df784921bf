// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `rofs-vm sandbox`: a command's output, input and end are as if it ran here.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::{Place, busybox, kernel, store, store_path, vm_dir};
use crate::shell::skipped;

/// `rofs-vm sandbox` on the tests' store.
fn sandbox(place: &Place) -> Command {
    let mut command = place.rofs_vm();
    command
        .args(["sandbox", "--vcpu=1", "--mem=384"])
        .arg("--store")
        .arg(store());
    command
}

fn shell(place: &Place, script: &str) -> Command {
    let mut command = sandbox(place);
    command.args(["--", &busybox(), "sh", "-c", script]);
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What the launcher says itself is not the command's.
fn errors(output: &Output) -> String {
    let said = text(&output.stderr);
    said.lines()
        .filter(|line| !line.starts_with("rofs-vm: warning: "))
        .map(|line| format!("{line}\n"))
        .collect()
}

#[test]
fn guests_output_errors_and_status_are_handed_back() {
    let place = Place::new();
    let output = shell(&place, "echo out; echo err >&2; exit 7")
        .output()
        .unwrap();
    assert_eq!(text(&output.stdout), "out\n");
    assert_eq!(errors(&output), "err\n");
    assert_eq!(output.status.code(), Some(7));
    place.assert_clean();
}

#[test]
fn guests_signals_are_statuses() {
    let place = Place::new();
    let output = shell(&place, "kill -SEGV $$").output().unwrap();
    assert_eq!(
        (output.status.code(), errors(&output)),
        (Some(139), String::new())
    );
    place.assert_clean();
}

#[test]
fn guests_block_no_signals() {
    let place = Place::new();
    let script = "grep -E 'Sig(Blk|Ign)' /proc/self/status; sh -c 'kill $$; echo alive'; echo $?";
    let output = shell(&place, script).output().unwrap();
    assert_eq!(
        text(&output.stdout),
        "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n143\n"
    );
    place.assert_clean();
}

#[test]
fn guests_take_and_give_ten_megabytes() {
    let place = Place::new();
    let mut state = 1_u64;
    let data: Vec<u8> = std::iter::repeat_with(|| {
        // xorshift: nothing in it repeats.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    })
    .take(10 << 17)
    .flatten()
    .collect();
    let mut child = shell(&place, "cat; echo done >&2")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let sent = data.clone();
    let writer = thread::spawn(move || stdin.write_all(&sent));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert_eq!(output.stdout.len(), data.len());
    assert!(output.stdout == data, "the output is not the input");
    assert_eq!(errors(&output), "done\n");
    assert!(output.status.success());
    place.assert_clean();
}

#[test]
fn guests_see_the_store_and_little_else() {
    let place = Place::new();
    let shared = place.path().join("shared");
    fs::create_dir(&shared).unwrap();
    fs::write(
        shared.join("script"),
        "#!/bin/sh\necho script $0 $VARIABLE; pwd\n",
    )
    .unwrap();
    fs::set_permissions(shared.join("script"), fs::Permissions::from_mode(0o755)).unwrap();
    let script = format!(
        "cat {hello}/share/hello 2>/dev/null; ls -d {hello}; \
         touch /nix/store/x || echo read-only; touch /x && echo writable; \
         ls /nix/store | grep -c .; hostname; touch {shared}/y || echo share is read-only; \
         ls /; {shared}/script",
        hello = store_path("hello"),
        shared = shared.display(),
    );
    let output = sandbox(&place)
        .arg("--share")
        .arg(&shared)
        .args(["--env", "VARIABLE=value", "--cwd", "/etc"])
        .args(["--", &busybox(), "sh", "-c", &script])
        .output()
        .unwrap();
    let out = text(&output.stdout);
    let lines: Vec<&str> = out.lines().collect();
    assert!(output.status.success(), "{out}{}", errors(&output));
    assert!(lines.contains(&store_path("hello").as_str()), "{out}");
    for line in [
        "read-only",
        "writable",
        "sandbox",
        "share is read-only",
        "/etc",
    ] {
        assert!(lines.contains(&line), "{line} is missing in {out}");
    }
    assert!(
        out.contains(&format!("script {}/script value", shared.display())),
        "{out}"
    );
    // Nothing of this machine.
    assert!(
        !lines.contains(&"home") && !lines.contains(&"boot"),
        "{out}"
    );
    assert!(!shared.join("y").exists());
    fs::remove_dir_all(&shared).unwrap();
    place.assert_clean();
}

#[test]
fn guests_commands_that_do_not_start_are_said() {
    let place = Place::new();
    let shared = place.path().join("shared");
    fs::create_dir(&shared).unwrap();
    fs::write(shared.join("script"), "#!/nowhere/sh\n").unwrap();
    fs::set_permissions(shared.join("script"), fs::Permissions::from_mode(0o755)).unwrap();
    let output = sandbox(&place)
        .arg("--share")
        .arg(&shared)
        .arg("--")
        .arg(shared.join("script"))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(127), "{}", errors(&output));
    assert!(
        errors(&output).contains("the interpreter or loader that it names is not in the guest")
    );
    place.assert_clean();
}

#[test]
fn guests_end_with_ctrl_c_and_with_their_time() {
    let place = Place::new();
    let mut child = shell(&place, "echo begun; sleep 1000")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert_eq!(line, "begun\n");
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let begin = Instant::now();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(begin.elapsed() < Duration::from_secs(60));
    place.assert_clean();

    let mut late = sandbox(&place);
    late.args([
        "--timeout=25",
        "--",
        &busybox(),
        "sh",
        "-c",
        "trap '' INT TERM; sleep 1000",
    ]);
    let mut child = late.stderr(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(124), "{said}");
    assert!(said.contains("after 25 seconds (--timeout)"), "{said}");
    place.assert_clean();
}

#[test]
fn guests_leave_nothing_when_the_launcher_is_killed() {
    let place = Place::new();
    let mut child = shell(&place, "echo begun; sleep 1000")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert_eq!(line, "begun\n");
    child.kill().unwrap();
    child.wait().unwrap();
    let begin = Instant::now();
    while !(place.left().is_empty() && place.processes().is_empty()) {
        assert!(
            begin.elapsed() < Duration::from_secs(20),
            "{:?} {:?}",
            place.left(),
            place.processes()
        );
        thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn guests_have_a_terminal_where_there_is_one() {
    let place = Place::new();
    let inner = shell(&place, "tty; stty size; test -t 2 && echo all");
    let words: Vec<String> = std::iter::once(inner.get_program())
        .chain(inner.get_args())
        .map(|word| format!("'{}'", word.to_str().unwrap()))
        .collect();
    // script(1) makes the terminal. Its input has no end: that would be typed.
    let mut script = Command::new("script")
        .args([
            "-qec",
            &format!("stty rows 33 cols 99; {}", words.join(" ")),
            "/dev/null",
        ])
        .envs(
            inner
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let stdin = script.stdin.take();
    let output = script.wait_with_output().unwrap();
    drop(stdin);
    let out = text(&output.stdout);
    for line in ["/dev/pts/0", "33 99", "all"] {
        assert!(
            // What was shown while it booted is wiped out, on the same line.
            out.lines()
                .any(|found| found.rsplit("\u{1b}[2K").next() == Some(line)),
            "{line} is missing in {out}"
        );
    }
    place.assert_clean();
}

#[test]
fn what_cannot_be_run_is_said_in_one_sentence() {
    let place = Place::new();
    let fails = |arguments: &[&str]| {
        let output = sandbox(&place).args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", errors(&output));
        errors(&output)
    };
    let missing = fails(&["--", "/nix/store/none/bin/program"]);
    assert_eq!(
        missing,
        "rofs-vm: /nix/store/none/bin/program: no such command, neither on PATH nor as a path\n"
    );
    let elsewhere = fails(&["--", "/bin/sh"]);
    assert!(
        elsewhere.contains("/bin/sh is not in the Nix store"),
        "{elsewhere}"
    );
    let kernel = fails(&["--kernel", "/nowhere/vmlinuz", "--", &busybox()]);
    assert!(
        kernel.contains("/nowhere/vmlinuz: No such file"),
        "{kernel}"
    );
    let modules = fails(&["--modules", "/nowhere", "--", &busybox()]);
    assert!(modules.contains("/nowhere has no modules.dep"), "{modules}");
    let share = fails(&["--share", "/nowhere:rw", "--", &busybox()]);
    assert!(share.contains("--share /nowhere: No such file"), "{share}");
    place.assert_clean();
}

#[test]
fn guests_whose_kernel_lacks_something_are_refused() {
    let place = Place::new();
    // As of another kernel, which has nothing at all.
    let modules = place.path().join("modules");
    fs::create_dir(&modules).unwrap();
    fs::write(modules.join("modules.dep"), "").unwrap();
    let output = sandbox(&place)
        .arg("--modules")
        .arg(&modules)
        .args(["--", &busybox(), "true"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = errors(&output);
    assert!(
        said.contains("the guest's kernel has no module virtio_pci"),
        "{said}"
    );
    fs::remove_dir_all(&modules).unwrap();

    // Of another release: the kernel refuses what is loaded into it.
    let mut releases = fs::read_dir(vm_dir().join("modules"))
        .unwrap()
        .flatten()
        .map(|entry| entry.path());
    let other = releases.find(|dir| dir.join("virtiofs.ko").exists());
    let Some(other) = other else {
        return skipped("no modules of another kernel here; .ci/provision gets those of linux.uml");
    };
    fs::create_dir(&modules).unwrap();
    let names = "virtio_pci.ko:\nvirtio_console.ko:\nfuse.ko:\nvirtiofs.ko: fuse.ko\n";
    fs::write(modules.join("modules.dep"), names).unwrap();
    for module in ["fuse", "virtiofs", "virtio_pci", "virtio_console"] {
        let from = other.join(format!("{module}.ko"));
        let from = if from.exists() {
            from
        } else {
            other.join("fuse.ko")
        };
        fs::copy(from, modules.join(format!("{module}.ko"))).unwrap();
    }
    let output = sandbox(&place)
        .arg("--modules")
        .arg(&modules)
        .args(["--", &busybox(), "true"])
        .output()
        .unwrap();
    let said = errors(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("the kernel does not take the module virtio_pci.ko"),
        "{said}"
    );
    fs::remove_dir_all(&modules).unwrap();
    place.assert_clean();
}

#[test]
fn guests_twenty_in_a_row() {
    let place = Place::new();
    assert!(kernel().exists());
    let mut times = Vec::new();
    for i in 0..20 {
        let begin = Instant::now();
        let output = shell(&place, &format!("echo {i}")).output().unwrap();
        times.push(begin.elapsed());
        assert_eq!(
            (text(&output.stdout), errors(&output)),
            (format!("{i}\n"), String::new())
        );
        assert!(output.status.success());
        place.assert_clean();
    }
    times.sort();
    let seconds: Vec<String> = times
        .iter()
        .map(|time| format!("{:.2}", time.as_secs_f64()))
        .collect();
    println!(
        "20 sandboxes by software emulation, seconds each: {}",
        seconds.join(" ")
    );
}
