// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Networks: a guest's address, what it reaches, and who reaches it.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::Place;
use crate::shell::{PATIENCE, Shell, description, path_with, skipped};

/// A server on this machine's loopback that has one page, for as long as the process lives.
fn serve(page: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut asked = [0; 512];
            let read = stream.read(&mut asked).unwrap_or(0);
            if asked[..read].starts_with(b"GET /page") {
                let _ = write!(stream, "HTTP/1.0 200 OK\r\n\r\n{page}\n");
            }
        }
    });
    port
}

/// A port that nobody listens at.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// What a page has that the guest serves at a port of this machine.
fn fetch(address: Ipv4Addr, port: u16) -> std::io::Result<String> {
    let address = SocketAddr::from((address, port));
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(10))?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut page = String::new();
    stream.read_to_string(&mut page)?;
    Ok(page)
}

fn fetch_soon(port: u16) -> String {
    let begin = Instant::now();
    loop {
        let page = fetch(Ipv4Addr::LOCALHOST, port);
        match page {
            Ok(page) if page.contains("from the guest") => return page,
            other if begin.elapsed() > PATIENCE => panic!("the forwarded port gives {other:?}"),
            _ => thread::sleep(Duration::from_millis(200)),
        }
    }
}

/// The guest's end of what is tested of every network.
const SERVE: &str = "mkdir -p /tmp/www; echo from the guest >/tmp/www/index.html; \
     httpd -p 8080 -h /tmp/www && echo serving";

fn get(address: &str, port: u16) -> String {
    // The input stays open until the answer is there.
    format!("(printf 'GET /page HTTP/1.0\\r\\n\\r\\n'; sleep 2) | nc -w 20 {address} {port}")
}

/// Address, the way to the host, and a port forwarded to the guest alone.
fn check(shell: &mut Shell, page: u16, forwarded: u16) {
    let addresses = shell.ask("ip -o -4 addr show eth0; ip route; cat /etc/resolv.conf");
    for part in [
        "inet 10.0.2.15/24",
        "default via 10.0.2.2",
        "nameserver 10.0.2.3",
    ] {
        assert!(addresses.contains(part), "{part} is missing in {addresses}");
    }
    let answer = shell.ask(&get("10.0.2.2", page));
    assert!(answer.contains("from the host"), "{answer}");
    assert_eq!(shell.ask(SERVE), "serving");
    fetch_soon(forwarded);
    let elsewhere = fetch(Ipv4Addr::new(127, 0, 0, 2), forwarded);
    assert!(elsewhere.is_err(), "{elsewhere:?}");
}

fn user(backend: &str, forwarded: u16, more: &str) -> String {
    description(&format!(
        r#"
[[interfaces]]
type = "user"
id = "net"
user.backend = "{backend}"
[[forwardPorts]]
host.address = "127.0.0.1"
host.port = {forwarded}
guest.port = 8080
{more}"#
    ))
}

/// Of QEMU, with forwarded ports both ways. This guest's kernel has drivers neither for its sound
/// card nor for its screen, and comes up all the same; the screen is on a SPICE socket.
#[test]
fn guests_network_of_qemu() {
    let place = Place::new();
    let (page, forwarded) = (serve("from the host"), free_port());
    let more = format!(
        r#"
[[forwardPorts]]
from = "guest"
guest.address = "10.0.2.100"
guest.port = 80
host.port = {page}
[graphics]
enable = true
backend = "spice"
socket = "screen.sock"
[sound]
enable = true
backend = "none"
[clipboard]
enable = true
"#
    );
    let text = user("auto", forwarded, &more);
    let mut shell = Shell::boot(&place, "qemu-net", &text, &HashMap::new());
    check(&mut shell, page, forwarded);
    let relayed = shell.ask(&get("10.0.2.100", 80));
    assert!(relayed.contains("from the host"), "{relayed}");
    assert_eq!(shell.ask("test -e /dev/snd || echo no sound"), "no sound");
    let ports = shell.ask("cat /sys/class/virtio-ports/*/name");
    assert!(ports.contains("com.redhat.spice.0"), "{ports}");
    speaks_spice(&shell);
    let (status, said) = shell.end();
    assert!(status.success(), "{said}");
    fs::remove_file(place.path().join("state/rofs-vm/qemu-net/console.log")).unwrap();
    fs::remove_dir(place.path().join("state/rofs-vm/qemu-net")).unwrap();
    place.assert_clean();
}

/// The first message of each side (spice-protocol, spice/protocol.h).
fn speaks_spice(shell: &Shell) {
    let mut viewer = shell.connect("screen.sock");
    let mut hello = Vec::from(b"REDQ");
    // Version 2.2, and the length of what follows: connection, channel 1 (main) number 0, no
    // capabilities, and where they would be.
    for number in [2_u32, 2, 18, 0] {
        hello.extend(number.to_le_bytes());
    }
    hello.extend([1, 0]);
    for number in [0_u32, 0, 18] {
        hello.extend(number.to_le_bytes());
    }
    viewer.write_all(&hello).unwrap();
    let mut answer = [0; 4];
    viewer.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"REDQ");
}

/// Of passt, by its own protocol: with the one installed, whichever it is.
#[test]
fn guests_network_of_passt() {
    passt("passt-net", None);
}

/// As a vhost-user device: passt of Debian sid can be one.
#[test]
fn guests_network_of_passt_as_a_device() {
    let in_sid = Path::new(env!("CARGO_MANIFEST_DIR")).join("vm/in-sid");
    let newest = Command::new(&in_sid).args(["passt", "--help"]).output();
    let can = newest.is_ok_and(|output| {
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).contains("--vhost-user")
    });
    if !can {
        skipped("no passt of Debian sid that is a vhost-user device; .ci/provision gets one");
        return;
    }
    passt("passt-dev", Some(&in_sid));
}

fn passt(name: &str, in_sid: Option<&Path>) {
    let place = Place::new();
    let (page, forwarded) = (serve("from the host"), free_port());
    let mut variables = HashMap::new();
    if let Some(in_sid) = in_sid {
        let bin = place.path().join("bin");
        fs::create_dir(&bin).unwrap();
        let script = format!("#!/bin/sh\nexec '{}' passt \"$@\"\n", in_sid.display());
        fs::write(bin.join("passt"), script).unwrap();
        fs::set_permissions(bin.join("passt"), fs::Permissions::from_mode(0o755)).unwrap();
        variables.insert("PATH", path_with(&bin));
    }
    if let Some(why) = passt_cannot_run(&place, &variables) {
        skipped(&format!("passt does not run on this machine: {why}"));
        return;
    }
    let graphics = "[graphics]\nenable = true\nbackend = \"headless\"\n";
    let text = user("passt", forwarded, graphics);
    let mut shell = Shell::boot(&place, name, &text, &variables);
    check(&mut shell, page, forwarded);
    let (status, said) = shell.end();
    assert!(status.success(), "{said}");
    let arguments = place.path().join("state/rofs-vm").join(name);
    fs::remove_dir_all(arguments).unwrap();
    place.assert_clean();
}

/// Some machines do not let it make its namespaces; what it says then.
fn passt_cannot_run(place: &Place, variables: &HashMap<&str, OsString>) -> Option<String> {
    let socket = place.path().join("trial.sock");
    let mut command = Command::new("timeout");
    command
        .args([
            "--signal=KILL",
            "3",
            "passt",
            "--foreground",
            "--runas",
            "0",
        ])
        .arg("--socket")
        .arg(&socket)
        .envs(variables);
    let output = command.output().unwrap();
    let _ = fs::remove_file(&socket);
    // It waits for somebody to connect.
    let waited = output.status.code().is_none_or(|code| code == 137);
    (!waited).then(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

/// A tap device, in a network namespace of the test's own.
#[test]
fn guests_network_of_a_tap_device() {
    let place = Place::new();
    let prepare = "mount -t sysfs sysfs /sys && ip link set lo up && ip tuntap add tap0 mode tap && \
         ip addr add 192.0.2.1/24 dev tap0 && ip link set tap0 up";
    let unshared = |script: String| {
        let mut command = Command::new("unshare");
        command.args(["--net", "--mount", "sh", "-c", &script]);
        command
    };
    let trial = unshared(prepare.to_owned()).output().unwrap();
    if !trial.status.success() {
        let why = String::from_utf8_lossy(&trial.stderr).into_owned();
        skipped(&format!("no tap devices on this machine: {why}"));
        return;
    }
    let own = place.rofs_vm();
    let script = format!(
        "{prepare} && exec '{}' \"$@\"",
        own.get_program().to_str().unwrap()
    );
    let mut command = unshared(script);
    command.arg("rofs-vm").envs(
        own.get_envs()
            .filter_map(|(name, value)| Some((name, value?))),
    );
    let text = description(
        r#"
[[interfaces]]
type = "tap"
id = "tap0"
address = "192.0.2.2/24"
gateway = "192.0.2.1"
"#,
    );
    let mut shell = Shell::boot_by(command, &place, "tap-net", &text, &HashMap::new());
    let answer = shell.ask("ip -o -4 addr show eth0; ip route; ping -c 1 -W 20 192.0.2.1");
    for part in [
        "inet 192.0.2.2/24",
        "default via 192.0.2.1",
        "1 packets received",
    ] {
        assert!(answer.contains(part), "{part} is missing in {answer}");
    }
    let (status, said) = shell.end();
    assert!(status.success(), "{said}");
    fs::remove_dir_all(place.path().join("state/rofs-vm/tap-net")).unwrap();
    place.assert_clean();
}

/// Sockets between host and guest, where the host has a device for them; where it has none, that
/// is said before anything is started.
#[test]
fn guests_vsock_or_why_not() {
    let place = Place::new();
    let text = description("[vsock]\ncid = 4242\n");
    let mut shell = Shell::boot(&place, "vsock", &text, &HashMap::new());
    if Path::new("/dev/vhost-vsock").exists() {
        let found = shell.ask("ls /sys/bus/virtio/drivers/vmw_vsock_virtio_transport");
        assert!(found.contains("virtio"), "{found}");
        let (status, said) = shell.end();
        assert!(status.success(), "{said}");
        fs::remove_dir_all(place.path().join("state/rofs-vm/vsock")).unwrap();
    } else {
        skipped("no /dev/vhost-vsock on this machine: only the refusal is tested");
        let (status, said) = shell.end();
        assert_eq!(status.code(), Some(2), "{said}");
        let what = "vsock.cid: /dev/vhost-vsock cannot be opened on this machine";
        assert!(said.contains(what), "{said}");
    }
    place.assert_clean();
}
