// SPDX-License-Identifier: Apache-2.0 OR MIT

use std::process::Command;
use std::time::Duration;

use super::{Process, Start, describe};

fn shell(script: &str) -> Process {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]);
    Process::start(Start {
        name: "sh",
        command,
        fds: Vec::new(),
    })
    .unwrap()
}

const LONG: Duration = Duration::from_secs(20);

#[test]
fn status_and_last_words() {
    let mut process = shell(
        "for i in $(seq 100); do echo line $i >&2; done; printf 'the \\033[31mend' >&2; exit 3",
    );
    let status = process.wait(LONG).unwrap();
    assert_eq!(describe(status), "ended with status 3");
    let words = process.last_words();
    assert!(words.ends_with("line 99\nline 100\nthe [31mend"), "{words}");
    assert!(!words.contains("line 1\n"), "{words}");
}

#[test]
fn the_whole_group_is_killed() {
    // A grandchild that holds the pipe open, and ignores what it is asked.
    let mut process =
        shell("(trap '' TERM; sleep 1000) & echo $! >&2; trap '' TERM; wait; sleep 1000");
    let pid = loop {
        let words = process.last_words();
        if let Ok(pid) = words.trim().parse::<i32>() {
            break rustix::process::Pid::from_raw(pid).unwrap();
        }
    };
    rustix::process::test_kill_process(pid).unwrap();
    let status = process.end(Duration::from_millis(100)).unwrap();
    assert_eq!(describe(status), "was killed (SIGKILL)");
    for _ in 0..1000 {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat", pid = pid.as_raw_nonzero()));
        if stat.is_err() || stat.unwrap().contains(") Z ") {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("{pid:?} is still there");
}

#[test]
fn dies_with_the_thread_that_started_it() {
    let (send, receive) = std::sync::mpsc::channel();
    std::thread::spawn(move || send.send(shell("sleep 1000")).unwrap());
    let mut process = receive.recv().unwrap();
    assert_eq!(
        describe(process.wait(LONG).unwrap()),
        "was killed (SIGKILL)"
    );
}

#[test]
fn a_descriptor_under_its_number() {
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "echo hello >&9"]);
    let mut process = Process::start(Start {
        name: "sh",
        command,
        fds: vec![(writer, 9)],
    })
    .unwrap();
    assert!(process.wait(LONG).unwrap().success());
    // To the end: no copy of the writing side is left here.
    let text = std::io::read_to_string(std::fs::File::from(reader)).unwrap();
    assert_eq!(text, "hello\n");
}

#[test]
fn a_program_that_is_missing() {
    let error = Process::start(Start {
        name: "qemu",
        command: Command::new("/no/such/program"),
        fds: Vec::new(),
    })
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot start qemu (/no/such/program): No such file or directory (os error 2)"
    );
}
