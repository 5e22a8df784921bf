// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Starting, being found, ending.

use std::fs;
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::process::Command;
use std::time::Duration;

use crate::util::{Place, Running, WAITING, ask_features, namespaces, pass, sandbox_arg};

fn line() -> String {
    format!("--socket-path s --shared-dir store{}", sandbox_arg())
}

#[test]
fn signals_end_it_cleanly() {
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
        for sandbox in ["", " --sandbox none"] {
            let place = Place::new();
            let mut running = place.start(&format!("{}{sandbox}", line())).waits();
            let pid = fs::read_to_string(place.path("s.pid")).unwrap();
            assert_eq!(pid.trim(), running.pid().to_string());
            let mut stream = UnixStream::connect(place.path("s")).unwrap();
            ask_features(&mut stream);
            running.signal(signal);
            assert_eq!(running.wait().code(), Some(0));
            assert_eq!(place.left_behind(), Vec::<String>::new());
        }
    }
}

#[test]
fn keep_listens_again() {
    let place = Place::new();
    let mut running = place.start(&format!("{} --keep", line())).waits();
    for _ in 0..3 {
        let mut stream = UnixStream::connect(place.path("s")).unwrap();
        ask_features(&mut stream);
        drop(stream);
        running.says("Client disconnected");
        running.says(WAITING);
    }
    running.stop();
    assert_eq!(place.left_behind(), Vec::<String>::new());
}

#[test]
fn the_pid_file_is_locked() {
    let place = Place::new();
    let running = place.start(&line()).waits();
    let said = place.refused(&line());
    assert!(
        said.contains(&format!("in use by process {}", running.pid())),
        "{said}"
    );
    running.stop();
    place.start(&line()).waits().stop();
}

#[test]
fn what_a_killed_server_left_is_taken_over() {
    let place = Place::new();
    let mut running = place.start(&line()).waits();
    let server = running.server();
    running.signal(libc::SIGKILL);
    running.wait();
    // The process in the sandbox goes along.
    let gone = || !fs::exists(format!("/proc/{server}/root")).unwrap_or(false);
    for _ in 0..200 {
        if gone() {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(gone());
    assert!(place.path("s").exists() && place.path("s.pid").exists());
    place.start(&line()).waits().stop();
    assert_eq!(place.left_behind(), Vec::<String>::new());
}

#[test]
fn a_server_that_dies_leaves_nothing() {
    if !namespaces() {
        return;
    }
    let place = Place::new();
    let mut running = place.start(&line()).waits();
    crate::util::kill(running.server(), libc::SIGKILL);
    assert_eq!(running.wait().code(), Some(128 + libc::SIGKILL));
    assert_eq!(place.left_behind(), Vec::<String>::new());
}

#[test]
fn two_shares_in_one_process() {
    let place = Place::new();
    let line = format!(
        "--socket-path a --shared-dir store --tag one --socket-path b --shared-dir plain --tag two\
         {}",
        sandbox_arg()
    );
    let config = "[[share]]\nsocket-path = 'a'\nshared-dir = 'store'\n\
                  [[share]]\nsocket-path = 'b'\nshared-dir = 'plain'\n";
    fs::write(place.path("store/../c.toml"), config).unwrap();
    for line in [line, format!("--config c.toml{}", sandbox_arg())] {
        let mut running = place.start(&line).waits();
        let mut a = UnixStream::connect(place.path("a")).unwrap();
        let mut b = UnixStream::connect(place.path("b")).unwrap();
        ask_features(&mut a);
        ask_features(&mut b);
        drop(a);
        running.says("Client disconnected, shutting down");
        ask_features(&mut b);
        drop(b);
        assert_eq!(running.wait().code(), Some(0));
        assert_eq!(place.left_behind(), ["c.toml"]);
    }
}

#[test]
fn one_bad_client_of_two_shares() {
    let place = Place::new();
    let line = format!(
        "--socket-path a --shared-dir store --socket-path b --shared-dir store --keep{}",
        sandbox_arg()
    );
    let mut running = place.start(&line).waits();
    let mut bad = UnixStream::connect(place.path("a")).unwrap();
    std::io::Write::write_all(&mut bad, &[0xff; 4096]).unwrap();
    let mut good = UnixStream::connect(place.path("b")).unwrap();
    ask_features(&mut good);
    drop(bad);
    running.says("ERROR");
    let mut again = UnixStream::connect(place.path("a")).unwrap();
    ask_features(&mut again);
    ask_features(&mut good);
    running.stop();
}

#[test]
fn sockets_from_systemd() {
    let place = Place::new();
    let listener = UnixListener::bind(place.path("activated")).unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" \"$@\""]);
    command
        .arg(env!("CARGO_BIN_EXE_rofs-serve"))
        .current_dir(place.dir());
    let line = format!("--shared-dir store{}", sandbox_arg());
    command.args(line.split_whitespace());
    pass(&mut command, listener.as_raw_fd(), 3);
    let mut running = Running::spawn(&mut command).waits();
    drop(listener);
    let mut stream = UnixStream::connect(place.path("activated")).unwrap();
    ask_features(&mut stream);
    drop(stream);
    assert_eq!(running.wait().code(), Some(0));
    assert_eq!(place.left_behind(), ["activated"]);
}

#[test]
fn too_many_sockets_from_systemd() {
    let place = Place::new();
    let listener = UnixListener::bind(place.path("activated")).unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" \"$@\""]);
    command
        .arg(env!("CARGO_BIN_EXE_rofs-serve"))
        .current_dir(place.dir());
    command.args(["--shared-dir", "store", "--socket-path", "s"]);
    pass(&mut command, listener.as_raw_fd(), 3);
    let said = crate::util::ended(&mut command);
    assert!(said.contains("systemd passed 1 socket(s) more"), "{said}");
}

#[test]
fn news_for_systemd() {
    for sandbox in ["", " --sandbox none"] {
        let place = Place::new();
        let manager = UnixDatagram::bind(place.path("notify")).unwrap();
        manager
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let line = format!("{}{sandbox}", line());
        let mut command = place.command(line.split_whitespace());
        command.env("NOTIFY_SOCKET", place.path("notify"));
        let running = Running::spawn(&mut command);
        let hear = || {
            let mut buffer = [0; 100];
            let len = manager.recv(&mut buffer).unwrap();
            String::from_utf8_lossy(&buffer[..len]).trim().to_owned()
        };
        assert_eq!(hear(), "READY=1");
        UnixStream::connect(place.path("s")).unwrap();
        running.stop();
        assert_eq!(hear(), "STOPPING=1");
    }
}
