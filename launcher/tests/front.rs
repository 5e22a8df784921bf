// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `rofs-vm check`, `schema` and `init`, as programs.
#![allow(clippy::expect_used)] // a test fails by it

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use expect_test::expect;

fn rofs_vm(folder: &Path, args: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_rofs-vm"))
        .args(args)
        .current_dir(folder)
        .env("XDG_RUNTIME_DIR", folder)
        .env("XDG_STATE_HOME", folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("rofs-vm");
    let mut stdin = child.stdin.take().expect("a pipe");
    // It may have ended without reading.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().expect("its output")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

#[test]
fn check_explains() {
    let dir = tempfile::tempdir().expect("a directory");
    let complete = include_str!("../examples/complete.toml");
    fs::write(dir.path().join("desktop.toml"), complete).expect("a file");
    let checked = rofs_vm(dir.path(), &["check", "--elsewhere", "desktop.toml"], "");
    assert_eq!(
        (checked.status.code(), text(&checked.stderr)),
        (Some(0), "")
    );
    let folder = dir.path().display().to_string();
    expect![[r#"
        desktop
          machine   QEMU's machine microvm (q35 without KVM): 4 CPUs, 4096 MiB, with a balloon
          boots     the NixOS system DIR/result
          share     /nix/store at /nix/.ro-store, read-only ("ro-store", virtiofs)
          share     /home/worker at /home/worker/Share, writable ("share", virtiofs, by virtiofsd)
          volume    root-overlay.img at /; made if it is not there: 8192 MiB, ext4
          store     what is written goes to /nix/.rw-store, kept on a volume
          network   a network of its own, with this machine as its gateway; the guest is 02:00:00:01:01:01
          screen    a window
          sound     through PipeWire
          clipboard shared with this desktop
    "#]].assert_eq(&text(&checked.stdout).replace(&folder, "DIR"));
}

#[test]
fn bad_input_ends_with_2_and_leaves_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("vm.toml"), "vcpus = 4\n").expect("a file");
    let cases: [&[&str]; 8] = [
        &["check", "vm.toml"],
        &["check", "--elsewhere", "vm.toml"],
        &["check", "gone.toml"],
        &["run", "vm.toml"],
        &["start", "vm.toml"],
        &["command", "vm.toml"],
        &["frobnicate"],
        &[],
    ];
    for args in cases {
        let output = rofs_vm(dir.path(), args, "");
        assert_eq!(output.status.code(), Some(2), "{args:?} {output:?}");
        assert!(
            !output.stderr.is_empty() && output.stdout.is_empty(),
            "{args:?}"
        );
        assert!(!text(&output.stderr).contains("panicked"), "{args:?}");
    }
    let left = fs::read_dir(dir.path()).expect("a directory").count();
    assert_eq!(left, 1, "only the file is there");
}

#[test]
fn mistakes_go_to_the_standard_error_without_colours_in_a_pipe() {
    let dir = tempfile::tempdir().expect("a directory");
    let output = rofs_vm(
        dir.path(),
        &["check", "--elsewhere", "-"],
        "run = [\"true\"]\nvcpus = 4\n",
    );
    assert_eq!(output.status.code(), Some(2));
    expect![[r#"
        error: vcpus: there is no such option
         --> <stdin>:2:1
          |
        2 | vcpus = 4
          | ^^^^^
          |
          = help: write `vcpu`
    "#]]
    .assert_eq(text(&output.stderr));
}

#[test]
fn the_standard_input_can_be_json() {
    let dir = tempfile::tempdir().expect("a directory");
    let output = rofs_vm(
        dir.path(),
        &["check", "--elsewhere", "-"],
        "{\"run\": [\"true\"]}",
    );
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(text(&output.stdout).starts_with("vm\n"), "{output:?}");
}

#[test]
fn init_writes_a_file_that_has_no_mistakes_once() {
    let dir = tempfile::tempdir().expect("a directory");
    let first = rofs_vm(dir.path(), &["init"], "");
    assert_eq!(first.status.code(), Some(0), "{first:?}");
    let checked = rofs_vm(dir.path(), &["check", "--elsewhere", "vm.toml"], "");
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");

    fs::write(dir.path().join("vm.toml"), "mine").expect("a file");
    let second = rofs_vm(dir.path(), &["init"], "");
    assert_eq!(second.status.code(), Some(2), "{second:?}");
    assert_eq!(
        fs::read_to_string(dir.path().join("vm.toml")).expect("a file"),
        "mine"
    );

    let printed = rofs_vm(dir.path(), &["init", "-"], "");
    assert_eq!(text(&printed.stdout), launcher::starter::STARTER);
    let nowhere = rofs_vm(dir.path(), &["init", "gone/vm.toml"], "");
    assert_eq!(nowhere.status.code(), Some(1), "{nowhere:?}");
}

#[test]
fn schema_prints_json() {
    let dir = tempfile::tempdir().expect("a directory");
    let output = rofs_vm(dir.path(), &["schema"], "");
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(&schema, launcher::schema::schema());
}
