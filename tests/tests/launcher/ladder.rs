// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The example files, each on a NixOS-like system.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use crate::harness::{Place, vm_dir};
use crate::world::{
    Machine, at_nix, eventually, example, install_virtiofsd, store_path, systems, text,
};

/// Names and attributes of everything in the store, and contents of all but the largest files.
const STORE: &str = "cd /nix/store; \
    all() { find . -path ./.links -prune -o ! -name . \"$@\" -print0 | sort -z; }; \
    all | xargs -0 stat -c '%F %a %Y %n' | md5sum; \
    all -type f -size -4096k | xargs -0 md5sum | md5sum; \
    all -type l | xargs -0 -n 1 readlink | md5sum";

/// What the host sees of its store.
fn on_host(script: &str) -> String {
    let bin = format!("{}/bin", store_path("busybox"));
    let mut command = Command::new(format!("{bin}/sh"));
    command.args(["-c", &format!("export PATH={bin}; {script}")]);
    let output = at_nix(systems(), &command).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

/// What lies in the host's store, and when its database was changed.
fn untouched() -> (Vec<String>, std::time::SystemTime) {
    let store = fs::read_dir(systems().join("nix/store")).unwrap();
    let mut names: Vec<String> = store
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let database = systems().join("nix/var/nix/db/db.sqlite");
    (names, fs::metadata(database).unwrap().modified().unwrap())
}

#[test]
fn guests_1_a_system_on_the_hosts_store() {
    let place = Place::new();
    let machine = Machine::new(&place, "minimal", &example("1-minimal"));
    machine.start();
    // Its programs are there when it is up.
    let output = machine.exec(&["nproc"]);
    assert_eq!(text(&output.stdout), "1\n", "{}", text(&output.stderr));
    assert_eq!(machine.shell(STORE), on_host(STORE));
    assert_eq!(
        machine
            .shell("hostname; cat /run/current-system/nixos-version; readlink /run/current-system"),
        format!("minimal\n25.11{}\n", store_path("plain"))
    );
    assert!(
        machine
            .shell("cat /proc/cmdline")
            .contains("test.param=from-the-system")
    );
    assert_eq!(
        machine.shell("touch /nix/store/x 2>/dev/null || echo read-only; touch /forgotten"),
        "read-only\n"
    );
    machine.stop();

    machine.start();
    assert_eq!(
        machine.shell("[ -e /forgotten ] || echo nothing"),
        "nothing\n"
    );
    machine.stop();
}

#[test]
fn guests_2_a_root_volume_keeps() {
    let place = Place::new();
    let machine = Machine::new(&place, "kept", &example("2-root-volume"));
    machine.start();
    machine.shell("echo kept >/kept; mkdir -p /home/me; echo 1 >/home/me/file");
    machine.stop();
    let image = machine.state_dir().join("root-overlay.img");
    assert_eq!(fs::metadata(&image).unwrap().len(), 8192 << 20);
    assert_eq!(
        fs::metadata(&image).unwrap().permissions().mode() & 0o777,
        0o600
    );

    machine.start();
    let seen = machine
        .shell("cat /kept /home/me/file; grep ' / ' /proc/mounts; dmesg | grep -i recover || true");
    assert!(seen.starts_with("kept\n1\n/dev/vda / ext4 rw"), "{seen}");
    // It was left clean.
    assert_eq!(seen.lines().count(), 3, "{seen}");
    machine.stop();
}

/// Builds a path inside that refers to another one.
const BUILD: &str = "cd /root; nix-build --expr '
    let busybox = builtins.storePath (dirOf (dirOf (builtins.readFile /root/sh)));
    in derivation {
        name = \"made-inside\"; system = builtins.currentSystem;
        builder = \"${busybox}/bin/sh\"; args = [ \"-c\" \"echo ${busybox} >$out\" ];
    }'";

#[test]
fn guests_3_what_is_built_inside_stays_inside() {
    let place = Place::new();
    let before = untouched();
    let machine = Machine::new(&place, "writable", &example("3-writable-store"));
    machine.start();
    // Nix knows the closure that the guest has, and checks it.
    let system = store_path("plain");
    let known = machine.shell("nix-store -q --requisites /run/current-system/ | sort; nix-store --check-validity /run/current-system/ && echo valid");
    let requisites = format!("nix-store -q --requisites {system} | sort; echo valid");
    let mut nix = Command::new("sh");
    nix.args(["-c", &requisites]);
    assert_eq!(
        known,
        text(&at_nix(systems(), &nix).output().unwrap().stdout)
    );
    let references = machine.shell("nix-store -q --references /run/current-system/");
    for name in ["nix", "busybox"] {
        assert!(references.contains(&store_path(name)), "{references}");
    }
    machine.shell(&format!("nix-store --verify-path {}", store_path("nix")));

    machine.shell("printf %s \"$(realpath /bin/sh | sed 's,/busybox$,/sh,')\" >/root/sh");
    let made = machine.shell(BUILD);
    let made = made.trim();
    assert!(
        made.starts_with("/nix/store/") && made.ends_with("-made-inside"),
        "{made}"
    );
    let name = made.trim_start_matches("/nix/store/");
    let check = format!(
        "nix-store --check-validity {made}; nix-store -q --references {made}; cat {made}; \
         ls /nix/.rw-store/store/{name}; [ -e /nix/.ro-store/{name} ] || echo not below"
    );
    let busybox = store_path("busybox");
    let expected = format!("{busybox}\n{busybox}\n/nix/.rw-store/store/{name}\nnot below\n");
    assert_eq!(machine.shell(&check), expected);
    machine.stop();
    assert_eq!(untouched(), before);

    machine.start();
    assert_eq!(machine.shell(&check), expected);
    // It is a root that was made inside.
    machine.shell(&format!("nix-store --gc >/dev/null 2>&1; cat {made}"));
    machine.stop();
    assert_eq!(untouched(), before);
}

#[test]
fn guests_4_and_5_have_a_sound_card_and_a_network() {
    let place = Place::new();
    let sound = Machine::new(&place, "sound", &example("4-sound"));
    let network = Machine::new(&place, "network", &example("5-network"));
    sound.start();
    let classes = "cat /sys/bus/pci/devices/*/class";
    assert!(sound.shell(classes).contains("0x0403"));
    sound.stop();

    network.start();
    assert!(network.shell(classes).contains("0x0200"));
    assert_eq!(
        network.shell("cat /sys/class/net/eth0/address; ip -4 -o address show dev eth0 | sed 's/.*inet //; s/ .*//'"),
        "02:00:00:01:01:01\n10.0.2.15/24\n"
    );
    network.stop();
}

#[test]
fn guests_the_complete_example_and_its_folder() {
    let place = Place::new();
    let folder = place.path().join("folder");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("from-the-host"), "hello, guest\n").unwrap();
    install_virtiofsd(&place);
    let description =
        example("complete").replace("/home/worker\"", &format!("{}\"", folder.display()));
    let machine = Machine::new(&place, "desktop", &description);
    machine.start();
    assert_eq!(
        machine.shell("cd /home/worker/Share; cat from-the-host; echo 'hello, host' >from-the-guest; mkdir sub; mv from-the-host sub; grep -o 'Share virtiofs rw' /proc/mounts; sync"),
        "hello, guest\nShare virtiofs rw\n"
    );
    assert_eq!(
        fs::read_to_string(folder.join("from-the-guest")).unwrap(),
        "hello, host\n"
    );
    assert!(folder.join("sub/from-the-host").exists());
    // The other way round, while it runs.
    fs::write(folder.join("sub/later"), "later\n").unwrap();
    assert_eq!(
        machine.shell("cat /home/worker/Share/sub/later; touch /kept; nproc"),
        "later\n2\n"
    );
    machine.stop();
    fs::remove_file(folder.join("from-the-guest")).unwrap();

    // By QEMU's own 9p, the root volume as it was.
    let (store, share) = description.split_once("tag = \"share\"").unwrap();
    let share = share.replacen("proto = \"virtiofs\"", "proto = \"9p\"", 1);
    // The kernel of the tests' system has no 9p, so it takes another one.
    let desktop = vm_dir().join("desktop").canonicalize().unwrap();
    let modules = fs::read_dir(desktop.join("lib/modules")).unwrap().next();
    let other_kernel = format!(
        "kernel = \"{}\"\nmodules = \"{}\"\n",
        desktop.join("vmlinux").display(),
        modules.unwrap().unwrap().path().display()
    );
    machine.describe(&format!("{other_kernel}{store}tag = \"share\"{share}"));
    machine.start();
    let seen = machine.shell("cd /home/worker/Share; cat sub/later; echo 9p >from-the-guest; ls /kept; grep Share /proc/mounts");
    assert!(
        seen.starts_with("later\n/kept\nshare /home/worker/Share 9p rw"),
        "{seen}"
    );
    assert_eq!(
        fs::read_to_string(folder.join("from-the-guest")).unwrap(),
        "9p\n"
    );
    machine.stop();
}

#[test]
fn guests_a_system_that_mounts_for_itself() {
    let place = Place::new();
    let description =
        example("1-minimal").replace("\"result\"", &format!("\"{}\"", store_path("own")));
    let machine = Machine::new(&place, "own", &description);
    machine.start();
    // There is no agent; its shell is on the console.
    let mut console = machine.rofs_vm(&["console", "own"]);
    let mut console = console
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = console.stdin.take().unwrap();
    let mut stdout = console.stdout.take().unwrap();
    eventually("the system is up", || {
        machine.log().contains("Enter 'help'")
    });
    stdin.write_all(b"echo $((6 * 7)) typed; mount\n").unwrap();
    let mut seen = Vec::new();
    while !text(&seen).contains("ro-store on /nix/store type virtiofs (ro") {
        let mut piece = [0; 1024];
        let n = stdout.read(&mut piece).unwrap();
        assert!(n > 0, "{}", text(&seen));
        seen.extend(&piece[..n]);
    }
    assert!(text(&seen).contains("42 typed"), "{}", text(&seen));
    drop(stdin);
    let output = machine.exec(&["true"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stderr).contains("guestInit = true"),
        "{}",
        text(&output.stderr)
    );
    let log = machine.log();
    assert!(!log.contains("rofs-init"), "{log}");
    // Without input the console still shows what comes, to the end of the machine.
    assert_eq!(console.try_wait().unwrap(), None);
    machine.stop();
    assert!(console.wait().unwrap().success());
    let mut rest = Vec::new();
    stdout.read_to_end(&mut rest).unwrap();
    let rest = text(&rest);
    assert!(rest.contains("acpid: PWRF"), "{rest}");
    let log = machine.log();
    assert!(log.contains("acpid: PWRF"), "{log}");
}
