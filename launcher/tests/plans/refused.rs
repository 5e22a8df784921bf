// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a machine lacks is said before the hypervisor dies of it, with what works instead.

use launcher::host::{Host, Kvm, SoundServer, Version};
use launcher::plan::Plan;

use crate::cases::{Case, nothing};

/// The refusals of a description on a machine that lacks something.
fn refused(text: &str, lacks: fn(&mut Host)) -> Vec<(String, String)> {
    let case = Case {
        name: "refused",
        text: format!("run = [\"true\"]\n{text}"),
        lacks,
    };
    let refusals = case.plan().expect_err("it was planned");
    refusals
        .into_iter()
        .map(|refusal| (refusal.option.clone(), refusal.to_string()))
        .collect()
}

/// Checks that one option is refused, in these words.
#[track_caller]
fn says(text: &str, lacks: fn(&mut Host), option: &str, words: &[&str]) {
    let refusals = refused(text, lacks);
    assert_eq!(refusals.len(), 1, "{refusals:#?}");
    assert_eq!(refusals[0].0, option);
    for word in words {
        assert!(
            refusals[0].1.contains(word),
            "no `{word}` in: {}",
            refusals[0].1
        );
    }
}

#[test]
fn sound_without_a_server() {
    let silent = |host: &mut Host| {
        let why =
            "PipeWire does not answer at /run/user/1000/pipewire-0: No such file or directory";
        host.desktop.sound = Some(SoundServer::Unreachable(why.to_owned()));
    };
    says(
        "sound.enable = true",
        silent,
        "sound.backend",
        &["PipeWire does not answer", "`sound.backend = \"none\"`"],
    );
    // A silent card needs nobody.
    let case = Case {
        name: "silent",
        text: "run = [\"true\"]\nsound = { enable = true, backend = \"none\" }".to_owned(),
        lacks: silent,
    };
    assert!(case.plan().is_ok());
}

#[test]
fn sound_that_qemu_was_built_without() {
    let poor = |host: &mut Host| {
        let qemu = host.tools.qemu.as_mut().expect("QEMU");
        qemu.features
            .as_mut()
            .expect("features")
            .audio
            .remove("pipewire");
    };
    says(
        "sound.enable = true",
        poor,
        "sound.backend",
        &["built without pipewire", "qemu-system-gui"],
    );
}

#[test]
fn a_window_without_a_desktop() {
    let text = "graphics.enable = true";
    says(
        text,
        |host| host.desktop.windows = false,
        "graphics.backend",
        &["DISPLAY", "\"headless\""],
    );
}

#[test]
fn opengl_without_a_render_node() {
    let blind = |host: &mut Host| host.desktop.render_node = None;
    says(
        "graphics = { enable = true, gl = true }",
        blind,
        "graphics.gl",
        &["/dev/dri/renderD"],
    );
    says(
        "graphics = { enable = true, vulkan = \"venus\" }",
        blind,
        "graphics.vulkan",
        &["`render`"],
    );
}

#[test]
fn dax_with_an_old_qemu() {
    let old =
        |host: &mut Host| host.tools.qemu.as_mut().expect("QEMU").version = Some(Version(10, 0));
    let text = "[[shares]]\ntag = \"s\"\nsource = \"/s\"\nmountPoint = \"/s\"\nproto = \"virtiofs\"\nreadOnly = true\ndax = true";
    says(text, old, "shares[0].dax", &["QEMU 11.1", "is 10.0"]);
}

#[test]
fn programs_that_are_not_installed() {
    let bare = |host: &mut Host| host.tools = launcher::host::Tools::default();
    says(
        "",
        bare,
        "hypervisor",
        &["qemu is not installed", "qemu-system-x86"],
    );
    says(
        "[[shares]]\ntag = \"s\"\nsource = \"/s\"\nmountPoint = \"/s\"\nproto = \"virtiofs\"",
        |host| host.tools.virtiofsd = None,
        "shares[0].readOnly",
        &["install virtiofsd", "`proto = \"9p\"`", "`readOnly = true`"],
    );
    says(
        "[[interfaces]]\ntype = \"user\"\nid = \"n\"\nuser.backend = \"passt\"",
        |host| host.tools.passt = None,
        "interfaces[0].user.backend",
        &["install passt", "`user.backend = \"qemu\"`"],
    );
    says(
        "[[interfaces]]\ntype = \"bridge\"\nid = \"n\"\nbridge = \"br0\"",
        |host| host.tools.bridge_helper = None,
        "interfaces[0].type",
        &["qemu-bridge-helper", "`type = \"tap\"`"],
    );
    says(
        "hypervisor = \"cloud-hypervisor\"\nsound.enable = true",
        |host| host.tools.vhost_device_sound = None,
        "sound.enable",
        &["vhost-device-sound", "`hypervisor = \"qemu\"`"],
    );
}

#[test]
fn interfaces_that_do_not_exist() {
    let tap = "[[interfaces]]\ntype = \"tap\"\nid = \"none\"";
    says(
        tap,
        nothing,
        "interfaces[0].id",
        &["no tap interface none", "ip tuntap add none mode tap"],
    );
    let macvtap = "[[interfaces]]\ntype = \"macvtap\"\nid = \"none\"\nmacvtap = { link = \"eth0\", mode = \"bridge\" }";
    says(
        macvtap,
        nothing,
        "interfaces[0].id",
        &["ip link add link eth0 name none address 02:"],
    );
    let bridge = "[[interfaces]]\ntype = \"bridge\"\nid = \"n\"\nbridge = \"none\"";
    says(bridge, nothing, "interfaces[0].bridge", &["no bridge none"]);
}

#[test]
fn devices_of_the_kernel() {
    says(
        "vsock.cid = 3",
        |host| host.vhost_vsock = false,
        "vsock.cid",
        &["modprobe vhost_vsock"],
    );
    let text = "[[interfaces]]\ntype = \"tap\"\nid = \"tap0\"\ntap.vhost = true";
    says(
        text,
        |host| host.vhost_net = false,
        "interfaces[0].tap.vhost",
        &["modprobe vhost_net"],
    );
    let dead =
        |host: &mut Host| host.kvm = Kvm::Unusable("this machine has no /dev/kvm".to_owned());
    says(
        "hypervisor = \"cloud-hypervisor\"",
        dead,
        "hypervisor",
        &["no /dev/kvm", "`hypervisor = \"qemu\"`"],
    );
}

#[test]
fn ports_that_the_network_cannot_forward() {
    let user = |rest: &str| format!("[[interfaces]]\ntype = \"user\"\nid = \"n\"\n{rest}");
    let elsewhere = user(
        "[[forwardPorts]]\nfrom = \"guest\"\nhost.port = 53\nguest = { port = 53, address = \"192.0.2.1\" }",
    );
    says(
        &elsewhere,
        nothing,
        "forwardPorts[0].guest.address",
        &["10.0.2.0/24"],
    );
    let passt = user(
        "user.backend = \"passt\"\n[[forwardPorts]]\nfrom = \"guest\"\nhost.port = 80\nguest = { port = 8080, address = \"10.0.2.2\" }",
    );
    says(
        &passt,
        nothing,
        "forwardPorts[0].from",
        &["`user.backend = \"qemu\"`"],
    );
}

#[test]
fn sockets_with_long_paths() {
    let deep =
        |host: &mut Host| host.directories.runtime = format!("/run/{}", "d".repeat(90)).into();
    says("", deep, "name", &["107", "XDG_RUNTIME_DIR"]);
}

#[test]
fn a_command_line_that_the_kernel_would_cut() {
    let text = format!("kernelParams = [\"a={}\"]", "x".repeat(2048));
    says(&text, nothing, "kernelParams", &["2047"]);
}

#[test]
fn commas_with_cloud_hypervisor() {
    let text =
        "hypervisor = \"cloud-hypervisor\"\n[[volumes]]\nimage = \"/a,b\"\nautoCreate = false";
    says(
        text,
        nothing,
        "volumes[0].image",
        &["`,` cannot be written"],
    );
}

#[test]
fn everything_is_said_at_once() {
    let text = "sound.enable = true\nvsock.cid = 3\n[[interfaces]]\ntype = \"tap\"\nid = \"none\"";
    let poor = |host: &mut Host| {
        host.vhost_vsock = false;
        host.desktop.sound = None;
    };
    assert_eq!(refused(text, poor).len(), 3);
}

#[test]
fn software_is_slow_and_it_is_said() {
    let warnings = |lacks: fn(&mut Host)| -> Plan {
        Case {
            name: "slow",
            text: "run = [\"true\"]".to_owned(),
            lacks,
        }
        .plan()
        .expect("a plan")
    };
    assert!(warnings(nothing).warnings.is_empty());
    let slow = warnings(|host| host.kvm = Kvm::Unusable("no luck".to_owned()));
    assert!(
        slow.warnings[0].contains("many times slower: no luck"),
        "{:?}",
        slow.warnings
    );
}
