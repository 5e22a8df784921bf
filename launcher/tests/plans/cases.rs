// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Descriptions, one for each feature, and the machines they are planned for.

use launcher::check::check;
use launcher::description::{Description, Document, Hypervisor};
use launcher::host::{Host, Kvm};
use launcher::plan::Plan;
use launcher::refusal::Refusal;
use launcher::system::Boot;

use crate::host::{self, nixos};

/// A description and where it runs.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) text: String,
    /// What the machine is not, which otherwise has everything.
    pub(crate) lacks: fn(&mut Host),
}

pub(crate) fn nothing(_: &mut Host) {}

fn no_kvm(host: &mut Host) {
    host.kvm = Kvm::Unusable("this machine has no /dev/kvm".to_owned());
}

fn no_gl(host: &mut Host) {
    host.desktop.render_node = None;
}

fn old_passt(host: &mut Host) {
    if let Some(passt) = &mut host.tools.passt {
        passt.vhost_user = false;
    }
}

fn no_io_uring(host: &mut Host) {
    host.io_uring = false;
}

impl Case {
    /// The description, checked by itself.
    pub(crate) fn description(&self) -> Description {
        let document = Document::parse(format!("/vm/{}.toml", self.name).into(), self.text.clone())
            .unwrap_or_else(|mistakes| panic!("{}: {mistakes}", self.name));
        check(document, None)
            .unwrap_or_else(|mistakes| panic!("{}: {mistakes}", self.name))
            .description
    }

    pub(crate) fn host(&self) -> Host {
        let mut host = host::host();
        (self.lacks)(&mut host);
        host
    }

    pub(crate) fn boot(&self, description: &Description, host: &Host) -> Boot {
        if description.system.is_some() {
            return nixos(self.name.contains("guest-module"));
        }
        let mut boot = host::kernel(host);
        boot.initrd.clone_from(&description.initrd);
        if let Some(kernel) = &description.kernel {
            boot.kernel.clone_from(kernel);
        }
        boot
    }

    pub(crate) fn plan(&self) -> Result<Plan, Vec<Refusal>> {
        let (description, host) = (self.description(), self.host());
        let boot = self.boot(&description, &host);
        Plan::new(&description, &host, &boot)
    }
}

fn example(name: &'static str, text: &str) -> Case {
    Case {
        name,
        text: text.to_owned(),
        lacks: nothing,
    }
}

const RUN: &str = "run = [\"uname\", \"-a\"]\n";
const NIXOS: &str = "system = \"result\"\n[[shares]]\ntag = \"store\"\nsource = \"/nix/store\"\nmountPoint = \"/nix/.ro-store\"\nproto = \"virtiofs\"\n";

fn run(name: &'static str, text: &str) -> Case {
    Case {
        name,
        text: format!("{RUN}{text}"),
        lacks: nothing,
    }
}

fn lacking(mut case: Case, lacks: fn(&mut Host)) -> Case {
    case.lacks = lacks;
    case
}

/// The examples that come with the launcher.
pub(crate) fn examples() -> Vec<Case> {
    macro_rules! file {
        ($name:literal) => {
            example(
                concat!("example-", $name),
                include_str!(concat!("../../examples/", $name, ".toml")),
            )
        };
    }
    vec![
        file!("starter"),
        file!("1-minimal"),
        file!("2-root-volume"),
        file!("3-writable-store"),
        file!("4-sound"),
        file!("5-network"),
        file!("complete"),
        lacking(
            example(
                "example-complete-without-gl",
                include_str!("../../examples/complete.toml"),
            ),
            |host| {
                no_gl(host);
                no_kvm(host);
            },
        ),
    ]
}

/// One description for each feature of QEMU.
pub(crate) fn qemu() -> Vec<Case> {
    let user = |rest: &str| format!("[[interfaces]]\ntype = \"user\"\nid = \"net\"\n{rest}\n");
    let share = |rest: &str| {
        format!("[[shares]]\ntag = \"s\"\nsource = \"/srv\"\nmountPoint = \"/srv\"\n{rest}\n")
    };
    let volume = |rest: &str| format!("[[volumes]]\nimage = \"v.img\"\n{rest}\n");
    vec![
        run("run", ""),
        lacking(run("run-in-software", ""), no_kvm),
        run("run-q35", "qemu.machine = \"q35\"\naccel = \"tcg\"\n"),
        run("run-with-environment", "workingDirectory = \"/srv\"\nenvironment.A = \"b c\"\n"),
        run("cpu-memory", "vcpu = 3\nmem = 1000\ncpu = \"qemu64\"\nhugepageMem = true\n"),
        run("hotplug", "qemu.machine = \"q35\"\nhotplugMem = 512\nhotpluggedMem = 128\n"),
        run("hotplug-shared", &format!("qemu.machine = \"q35\"\nhotplugMem = 512\n{}", share("proto = \"virtiofs\"\nreadOnly = true"))),
        run("balloon", "balloon = true\n"),
        run("balloon-held", "balloon = true\ndeflateOnOOM = false\n"),
        run("firmware-tables", "qemu.machine = \"q35\"\nmachineId = \"a67472e5-570e-5c8a-b18c-ae3c77701050\"\ncredentialFiles.KEY = \"/run/secrets/key,1\"\n"),
        run("extra-args", "qemu.extraArgs = [\"-d\", \"guest_errors\"]\nqemu.machineOpts = { acpi = \"on\", pcie = \"on\" }\n"),
        run("no-serial-console", "qemu.serialConsole = false\n"),
        run("volumes", &[
            volume("size = 64\nserial = \"data\"\ndirect = true\nmountPoint = \"/data\""),
            "[[volumes]]\nimage = \"/images/a,b.qcow2\"\nimageType = \"qcow2\"\nautoCreate = false\n".to_owned(),
            "[[volumes]]\nimage = \"/images/c.img\"\nreadOnly = true\nautoCreate = false\nfsType = \"xfs\"\nmountPoint = \"/c\"\n".to_owned(),
        ].concat()),
        lacking(run("volumes-without-io-uring", &volume("size = 64\nlabel = \"x\"")), no_io_uring),
        run("store-image", "storeOnDisk = true\nstoreDisk = \"/images/store.erofs\"\nwritableStoreOverlay = \"/nix/.rw-store\"\n"),
        run("share", &format!("vcpu = 2\n{}", share("proto = \"virtiofs\"\nreadOnly = true\ncache = \"always\""))),
        run("share-process", &share("proto = \"virtiofs\"\nreadOnly = true\nprocess = true")),
        run("share-dax", &format!("vcpu = 2\n{}", share("proto = \"virtiofs\"\nreadOnly = true\ndax = true\ndaxWindow = 256"))),
        run("share-writable", &share("proto = \"virtiofs\"\nextraArgs = [\"--announce-submounts\"]")),
        run("share-9p", &share("securityModel = \"mapped\"")),
        example("closure", &format!("closure = [\"{}\"]\n{NIXOS}", host::SYSTEM)),
        example("guest-module", NIXOS),
        example("overlay-in-its-own-volume", &format!("writableStoreOverlay = \"/nix/.rw-store\"\n{NIXOS}[[volumes]]\nimage = \"rw\"\nsize = 512\nmountPoint = \"/nix/.rw-store\"\n")),
        example("kernel-and-initrd", "kernel = \"/boot/bzImage\"\ninitrd = \"/boot/initrd\"\nkernelParams = [\"root=/dev/vda\"]\n"),
        run("user", &format!("{}[[forwardPorts]]\nhost.port = 2222\nguest.port = 22\n[[forwardPorts]]\nproto = \"udp\"\nhost = {{ address = \"127.0.0.1\", port = 5353 }}\nguest = {{ address = \"10.0.2.15\", port = 53 }}\n", user(""))),
        run("user-relay", &format!("{}[[forwardPorts]]\nfrom = \"guest\"\nhost.port = 8080\nguest = {{ address = \"10.0.2.100\", port = 80 }}\n[[forwardPorts]]\nfrom = \"guest\"\nhost.port = 8081\nguest = {{ address = \"10.0.2.2\", port = 8081 }}\n", user(""))),
        run("user-twice", &format!("{}[[interfaces]]\ntype = \"user\"\nid = \"second\"\n", user("mac = \"02:00:00:00:00:01\""))),
        run("passt", &format!("{}[[forwardPorts]]\nhost.port = 2222\nguest.port = 22\n", user("user.backend = \"passt\""))),
        lacking(run("passt-old", &user("user.backend = \"passt\"")), old_passt),
        run("tap", "vcpu = 2\n[[interfaces]]\ntype = \"tap\"\nid = \"tap0\"\naddress = \"192.0.2.2/24\"\ngateway = \"192.0.2.1\"\ndns = [\"192.0.2.1\"]\n"),
        run("tap-queues", "vcpu = 2\n[[interfaces]]\ntype = \"tap\"\nid = \"tapmq\"\ntap.vhost = true\n"),
        run("macvtap", "[[interfaces]]\ntype = \"macvtap\"\nid = \"macvtap0\"\nmacvtap = { link = \"eth0\", mode = \"bridge\" }\n"),
        run("macvtap-queues", "vcpu = 2\n[[interfaces]]\ntype = \"macvtap\"\nid = \"macvtap0\"\nmacvtap = { link = \"eth0\", mode = \"bridge\" }\n"),
        run("bridge", "[[interfaces]]\ntype = \"bridge\"\nid = \"net\"\nbridge = \"br0\"\n"),
        run("vsock", "vsock.cid = 42\n"),
        lacking(run("window", "graphics.enable = true\n"), no_gl),
        run("window-gl", "graphics.enable = true\n"),
        run("window-vulkan", "graphics = { enable = true, vulkan = \"venus\", hostmem = \"1G\" }\nqemu.machine = \"q35\"\n"),
        lacking(run("headless", "graphics = { enable = true, backend = \"headless\" }\nqemu.machine = \"q35\"\n"), no_gl),
        run("headless-gl", "graphics = { enable = true, backend = \"headless\" }\n"),
        lacking(run("spice", "graphics = { enable = true, backend = \"spice\", socket = \"screen\" }\nclipboard.enable = true\n"), no_gl),
        run("spice-gl", "graphics = { enable = true, backend = \"spice\" }\n"),
        lacking(run("vnc", "graphics = { enable = true, backend = \"vnc\" }\nclipboard.enable = true\n"), no_gl),
        run("vnc-gl", "graphics = { enable = true, backend = \"vnc\" }\n"),
        run("sound", "sound.enable = true\n"),
        run("sound-microphone", "sound = { enable = true, microphone = true, backend = \"pulseaudio\" }\n"),
        run("sound-virtio", "sound = { enable = true, card = \"virtio\", backend = \"alsa\" }\n"),
        run("sound-silent", "sound = { enable = true, card = \"virtio\", microphone = true, backend = \"none\" }\nqemu.machine = \"q35\"\n"),
    ]
}

/// One description for each feature of cloud-hypervisor.
pub(crate) fn cloud_hypervisor() -> Vec<Case> {
    let ch = |name, text: &str| run(name, &format!("hypervisor = \"cloud-hypervisor\"\n{text}"));
    vec![
        ch("ch-run", ""),
        example(
            "ch-nixos",
            &format!(
                "hypervisor = \"cloud-hypervisor\"\nvcpu = 2\nballoon = true\n{NIXOS}[[volumes]]\nimage = \"root.img\"\nmountPoint = \"/\"\nsize = 1024\n"
            ),
        ),
        ch(
            "ch-memory",
            "mem = 1024\nhugepageMem = true\nhotplugMem = 512\nhotpluggedMem = 256\nballoon = true\ninitialBalloonMem = 128\ndeflateOnOOM = false\n",
        ),
        ch(
            "ch-disks",
            "vcpu = 2\n[[volumes]]\nimage = \"/images/a.qcow2\"\nimageType = \"qcow2\"\nautoCreate = false\nserial = \"a\"\ndirect = true\n[[volumes]]\nimage = \"/images/b.vhdx\"\nimageType = \"vhdx\"\nautoCreate = false\nreadOnly = true\n",
        ),
        ch(
            "ch-shares",
            "[[shares]]\ntag = \"a\"\nsource = \"/a\"\nmountPoint = \"/a\"\nproto = \"virtiofs\"\nreadOnly = true\n[[shares]]\ntag = \"b\"\nsource = \"/b\"\nmountPoint = \"/b\"\nproto = \"virtiofs\"\n",
        ),
        ch(
            "ch-passt",
            "[[interfaces]]\ntype = \"user\"\nid = \"net\"\n[[forwardPorts]]\nhost.port = 2222\nguest.port = 22\n",
        ),
        ch(
            "ch-taps",
            "vcpu = 2\n[[interfaces]]\ntype = \"tap\"\nid = \"tap0\"\n[[interfaces]]\ntype = \"tap\"\nid = \"tapmq\"\n[[interfaces]]\ntype = \"macvtap\"\nid = \"macvtap0\"\nmacvtap = { link = \"eth0\", mode = \"bridge\" }\n",
        ),
        ch("ch-vsock-sound", "vsock.cid = 42\nsound.enable = true\n"),
        ch(
            "ch-firmware-tables",
            "machineId = \"a67472e5-570e-5c8a-b18c-ae3c77701050\"\n[cloud-hypervisor]\nplatformOEMStrings = [\"io.systemd.credential:A=b\", \"c\"]\nextraArgs = [\"--watchdog\"]\n",
        ),
    ]
}

/// All of them.
pub(crate) fn all() -> Vec<Case> {
    examples()
        .into_iter()
        .chain(qemu())
        .chain(cloud_hypervisor())
        .collect()
}

/// Those that QEMU runs.
pub(crate) fn for_qemu() -> Vec<Case> {
    let cases = all().into_iter();
    cases
        .filter(|case| case.description().hypervisor == Hypervisor::Qemu)
        .collect()
}
