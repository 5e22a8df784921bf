// SPDX-License-Identifier: Apache-2.0 OR MIT
//! overlayfs with the share as its lower layer, as a writable store has it.

use super::harness::{Guest, Kernel, Mount, Server, Store};
use std::process::Command;

/// Prints `ok` for each thing that works; stops at the first that does not.
fn script(lower: &str, hello: &str, dir: &str) -> String {
    let hello = hello.trim_start_matches("/nix/store/");
    format!(
        r#"set -e
        step() {{ echo "ok $1"; }}
        lower={lower} dir={dir} hello={hello}
        mkdir -p $dir && mount -t tmpfs tmpfs $dir && mkdir $dir/upper $dir/work $dir/merged
        overlay() {{ mount -t overlay overlay -o lowerdir=$lower,upperdir=$dir/upper,workdir=$dir/work $dir/merged; }}
        overlay; cd $dir/merged; step mount
        test "$(ls | wc -l)" = "$(ls $lower | wc -l)"; step list
        echo new >file; mkdir directory; echo x >directory/x; test "$(cat file)" = new; step write
        chmod u+w $hello/share; echo more >>$hello/share/greeting
        test "$(cat $hello/share/greeting)" = "Hello from the store.
more"; test "$(cat $lower/$hello/share/greeting)" = "Hello from the store."; step copy-up
        chmod 777 $hello/bin/hello; test -w $hello/bin/hello; step chmod
        mv $hello/share/greeting $hello/share/renamed; test ! -e $hello/share/greeting
        test -e $hello/share/renamed; step rename
        chmod u+w $hello/bin; rm $hello/bin/hello; test ! -e $hello/bin/hello
        test "$(ls $hello/bin)" = ""; test -e $lower/$hello/bin/hello; step whiteout
        rm -r $hello; test ! -e $hello; mkdir $hello; test "$(ls $hello)" = ""; step opaque
        cd /; umount $dir/merged; overlay; cd $dir/merged; step remount
        test "$(cat file)" = new; test "$(cat directory/x)" = x; test "$(ls $hello)" = ""; step kept
        test "$(cat $lower/$hello/share/greeting)" = "Hello from the store."
        cd /; umount $dir/merged; umount $dir; step unmount"#
    )
}

const STEPS: &str = "ok mount
ok list
ok write
ok copy-up
ok chmod
ok rename
ok whiteout
ok opaque
ok remount
ok kept
ok unmount";

fn overlay_in(kernel: Kernel) {
    let store = Store::own(&[]);
    let server = Server::start(&store, &[]);
    let script = script("/nix/store", &store.path("hello"), "/tmp/overlay");
    let (console, _) = Guest::new(kernel, &server).run(&script);
    assert_eq!(console.trim(), STEPS);
}

#[test]
fn qemu_stacks_an_overlay() {
    overlay_in(Kernel::Qemu);
}

#[test]
fn uml_stacks_an_overlay() {
    overlay_in(Kernel::Uml);
}

#[test]
fn this_host_stacks_an_overlay() {
    let store = Store::own(&[]);
    let mount = Mount::start(&store);
    let dir = tempfile::tempdir().unwrap();
    let lower = mount.path().to_str().unwrap();
    let script = script(lower, &store.path("hello"), dir.path().to_str().unwrap());
    // Mounts of its own, so that a failure leaves none behind.
    let output = Command::new("unshare")
        .args(["-m", "sh", "-c", &script])
        .output()
        .unwrap();
    let (said, error) = (String::from_utf8_lossy(&output.stdout), output.stderr);
    assert_eq!(said.trim(), STEPS, "{}", String::from_utf8_lossy(&error));
}
