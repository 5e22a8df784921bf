// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Records the seeds: mounts both trees on this host and the store in a guest, does to them what
//! programs do, and keeps what the kernels ask meanwhile. `README.md` tells how to run it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::error::Error;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use fuse_backend_rs::transport::FuseSession;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{AtFlags, CWD, OFlags, SeekFrom, StatxFlags, XattrFlags};
use rustix::io::Errno;
use virtiofs::vhost::{Device, DeviceOptions, Tag, fuzzing};
use virtiofs_fuzz::chain::as_linux_would;
use virtiofs_fuzz::request::Control;
use virtiofs_fuzz::wire;
use virtiofs_fuzz::world::{Content, Nodes, Tree, world};
use vm_memory::VolatileSlice;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Requests of one kind from one tree that are kept on their own.
const OF_ONE_KIND: usize = 5;
/// Requests in a row that are kept together, and how often.
const IN_A_ROW: usize = 24;
const ROWS: usize = 6;
/// Requests in one input of `chain`.
const IN_A_RING: usize = 8;

/// What programs do. Much of it fails, and shall.
const SCRIPT: &str = r#"
ls -laR . ; find . -printf '%p %s %m %l\n' ; stat -f . ; df .
find . -type f ! -name fifo -exec cat {} + ; find . -type l -exec readlink {} \;
for tool in $(find . -name tool -o -name alias); do "$tool"; done
big=$(find . -name big | head -n 1)
dd if="$big" bs=1 count=10 skip=70000 ; dd if="$big" iflag=direct bs=4096 count=2 ; tail -c 5 "$big"
ls ./absent ./many/absent "./$(printf 'n%.0s' $(seq 255))" ; test -w "$big" ; cmp "$big" "$big"
touch new ; echo x > new ; echo x >> "$big" ; true > "$big" ; mkdir new ; rmdir many ; rm -f "$big" ; ln "$big" hard
ln -s x soft ; mv "$big" moved ; mv -n "$big" moved ; chmod 600 "$big" ; chown 1 "$big" ; truncate -s 1 "$big"
mknod pipe p ; fallocate -l 10 "$big" ; flock "$big" true ; sync -f . ; sync "$big" ; ls many > /dev/null
"#;

/// The same tree under an overlay, where writing works.
const OVERLAY: &str = r#"
cd "$MERGED" || exit
ls -R . > /dev/null ; top=$(find . -name bin | head -n 1)/..
echo changed >> "$top/share/doc/README" ; cat "$top/share/doc/README"
mv "$top/lib/empty" "$top/lib/renamed" ; rm -rf "$top/a" ; mkdir "$top/a" ; cp "$top/lib/big" "$top/copy"
chmod 700 "$top/bin/tool" ; "$top/bin/tool" ; ln -s x "$top/soft" ; ls -la "$top" "$top/lib"
"#;

fn main() -> Result<()> {
    let seeds = PathBuf::from(
        std::env::args_os()
            .nth(1)
            .ok_or("usage: record DIRECTORY")?,
    );
    for tree in [&world().store, &world().plain] {
        let requests = record(tree)?;
        let config = if tree.nix { 2 } else { 3 | 2 << 2 };
        keep(
            &seeds,
            if tree.nix { "nix" } else { "plain" },
            config,
            &requests,
        )?;
    }
    let requests = record_guest(&world().store)?;
    keep(&seeds, "guest", 2, &requests)
}

/// What User-Mode Linux asks over vhost-user.
fn record_guest(tree: &'static Tree) -> Result<Vec<Vec<u8>>> {
    let dir = tempfile::tempdir()?;
    let socket = dir.path().join("socket");
    let listener = UnixListener::bind(&socket)?;
    let server = tree.server(2);
    let mut nodes = Nodes::new(tree);
    let index: HashMap<u64, usize> = (0..tree.places.len())
        .map(|i| (nodes.id(&**server.fs(), i), i))
        .collect();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&seen);
    fuzzing::look_on(Box::new(move |request| {
        let mut seed = request.to_vec();
        wire::map_nodes(&mut seed, |id| {
            index.get(&id).map_or(id, |i| wire::stand_in_for(*i))
        });
        if let Ok(mut seen) = keep.lock() {
            seen.push(seed);
        }
    }));
    let options = DeviceOptions {
        tag: Some(Tag::new("store")?),
        ..DeviceOptions::default()
    };
    let device = Device::new(Arc::clone(server.fs()), options)?;
    let serving = thread::spawn(move || device.serve_next(&listener).map_err(|e| e.to_string()));
    let run = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vm/run-uml");
    // The guest's shell is busybox: what it does not know fails, and shall.
    let status = Command::new(run)
        .arg(&socket)
        .args(["--opts", "rw", "--sh"])
        .arg(format!(
            "cd /nix/store; exec >/dev/null 2>&1 </dev/null\n{SCRIPT}\nexit 0"
        ))
        .stdout(std::process::Stdio::null())
        .status()?;
    if !status.success() {
        return Err(
            format!("the guest ended with {status}; `.ci/provision` gets what it needs").into(),
        );
    }
    serving.join().map_err(|_| "the device panicked")??;
    let requests = seen.lock().map_err(|_| "the onlooker panicked")?.clone();
    Ok(requests)
}

/// Requests of a whole session, in order.
fn record(tree: &'static Tree) -> Result<Vec<Vec<u8>>> {
    let dir = tempfile::tempdir()?;
    let mountpoint = dir.path().join("mnt");
    fs::create_dir(&mountpoint)?;
    // Writable, because the kernel itself would refuse all else.
    let mut session = FuseSession::new(&mountpoint, "rofs", "rofs", false)?;
    session.mount()?;
    let channel = session.clone_fuse_file()?;
    rustix::fs::fcntl_setfl(&channel, OFlags::NONBLOCK)?;
    let done = AtomicBool::new(false);
    let bufsize = session.bufsize();
    let requests = thread::scope(|scope| {
        let server = scope.spawn(|| serve(tree, &channel, bufsize, &done));
        let used = use_it(tree, &mountpoint, dir.path());
        let unmounted = rustix::mount::unmount(&mountpoint, rustix::mount::UnmountFlags::DETACH);
        done.store(true, Ordering::Relaxed);
        let requests = server.join().map_err(|_| "the server panicked")??;
        used?;
        unmounted?;
        Ok::<_, Box<dyn Error>>(requests)
    })?;
    Ok(requests)
}

fn serve(
    tree: &'static Tree,
    channel: &File,
    bufsize: usize,
    done: &AtomicBool,
) -> std::result::Result<Vec<Vec<u8>>, Errno> {
    let server = tree.server(if tree.nix { 2 } else { 2 | 2 << 2 });
    let mut nodes = Nodes::new(tree);
    // Ids are the same wherever they are asked for.
    let index: HashMap<u64, usize> = (0..tree.places.len())
        .map(|i| (nodes.id(&**server.fs(), i), i))
        .collect();
    let (mut request, mut reply) = (vec![0; bufsize], vec![0; bufsize + 4096]);
    let mut requests = Vec::new();
    loop {
        let patience = Timespec {
            tv_sec: 0,
            tv_nsec: 200_000_000,
        };
        let mut polled = [PollFd::from_borrowed_fd(channel.as_fd(), PollFlags::IN)];
        if poll(&mut polled, Some(&patience))? == 0 {
            if done.load(Ordering::Relaxed) {
                return Ok(requests);
            }
            continue;
        }
        let len = match rustix::io::read(channel, &mut request) {
            Ok(len) => len,
            Err(Errno::AGAIN | Errno::INTR | Errno::NOENT) => continue,
            Err(Errno::NODEV) => return Ok(requests),
            Err(error) => return Err(error),
        };
        let mut seed = request[..len].to_vec();
        wire::map_nodes(&mut seed, |id| {
            index.get(&id).map_or(id, |i| wire::stand_in_for(*i))
        });
        requests.push(seed);
        let readable = [VolatileSlice::from(&mut request[..len])];
        let writable = [VolatileSlice::from(&mut reply[..])];
        let used = server.handle(&readable, &writable, None) as usize;
        if used > 0 {
            let _ = rustix::io::write(channel, &reply[..used]);
        }
    }
}

fn shell(script: &str, dir: &Path, merged: &Path) -> Result<()> {
    Command::new("sh")
        .args(["-c", script])
        .current_dir(dir)
        .env("MERGED", merged)
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .status()?;
    Ok(())
}

fn use_it(tree: &Tree, dir: &Path, scratch: &Path) -> Result<()> {
    shell(SCRIPT, dir, dir)?;
    call(tree, dir);
    // Everything anew, after the kernel has forgotten it.
    let _ = fs::write("/proc/sys/vm/drop_caches", "2");
    shell("find . | tail -n 1", dir, dir)?;

    let [upper, work, merged] = ["upper", "work", "merged"].map(|name| scratch.join(name));
    for dir in [&upper, &work, &merged] {
        fs::create_dir(dir)?;
    }
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        dir.display(),
        upper.display(),
        work.display()
    );
    let status = Command::new("mount")
        .args(["-t", "overlay", "overlay", "-o", &options])
        .arg(&merged)
        .status()?;
    if status.success() {
        shell(OVERLAY, scratch, &merged)?;
        let _ = Command::new("umount").arg(&merged).status();
    } else {
        eprintln!("no overlay here; the seeds will do without");
    }
    Ok(())
}

/// What is hard to say in shell.
fn call(tree: &Tree, dir: &Path) {
    let big = tree
        .places
        .iter()
        .find(|place| matches!(&place.content, Content::File(c) if c.len() > 4096));
    let Some(big) = big else { return };
    let path = big.path.iter().fold(dir.to_owned(), |path, name| {
        path.join(String::from_utf8_lossy(name).as_ref())
    });
    let _ = rustix::fs::statx(CWD, &path, AtFlags::STATX_FORCE_SYNC, StatxFlags::ALL);
    let mut buffer = [0u8; 256];
    let _ = rustix::fs::listxattr(&path, &mut buffer);
    let _ = rustix::fs::getxattr(&path, "user.x", &mut buffer);
    let _ = rustix::fs::setxattr(&path, "user.x", b"1", XattrFlags::empty());
    let _ = rustix::fs::removexattr(&path, "user.x");
    let _ = rustix::fs::rename(&path, dir.join("moved"));
    let _ = rustix::fs::renameat_with(
        CWD,
        &path,
        CWD,
        dir.join("moved"),
        rustix::fs::RenameFlags::EXCHANGE,
    );
    let _ = rustix::fs::open(dir, OFlags::TMPFILE | OFlags::WRONLY, 0o600.into());
    let Ok(file) = File::open(&path) else { return };
    let _ = rustix::fs::seek(&file, SeekFrom::Data(10));
    let _ = rustix::fs::seek(&file, SeekFrom::Hole(10));
    let _ = rustix::fs::ioctl_getflags(&file);
    let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::WillNeed);
    let mut polled = [PollFd::new(&file, PollFlags::IN)];
    let _ = poll(
        &mut polled,
        Some(&Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        }),
    );
    let _ = rustix::fs::fcntl_lock(&file, rustix::fs::FlockOperation::NonBlockingLockShared);
    let _ = rustix::fs::copy_file_range(&file, None, &file, None, 10);
}

/// The request without what is different each time.
fn normal(request: &[u8], unique: u64) -> Vec<u8> {
    let mut request = request.to_vec();
    wire::put(&mut request, 8, &unique.to_le_bytes());
    wire::put(&mut request, 24, &[0; 12]); // uid, gid, pid
    request
}

/// Room that the kernel would leave for the reply.
fn room(request: &[u8]) -> u16 {
    let room = match wire::u32_at(request, 4) {
        // READ, READDIR, READDIRPLUS
        Some(15 | 28 | 44) => wire::u32_at(request, wire::IN_HEADER + 16)
            .unwrap_or(0)
            .min(0xf00),
        Some(5) => 4096,
        Some(wire::FORGET | wire::BATCH_FORGET) => return 0,
        _ => 160,
    };
    u16::try_from(room).unwrap_or(0) + 16
}

fn keep(seeds: &Path, name: &str, config: u8, requests: &[Vec<u8>]) -> Result<()> {
    let add = |input: &mut Vec<u8>, request: &[u8]| -> Result<()> {
        let len = u16::try_from(request.len())?;
        Control {
            flags: 0,
            cut: 0,
            room: room(request),
            len,
        }
        .write(request, input);
        Ok(())
    };
    let mut distinct = HashSet::new();
    let mut kinds: BTreeMap<u32, Vec<Vec<u8>>> = BTreeMap::new();
    for request in requests.iter().filter(|request| request.len() < 2048) {
        let request = normal(request, 0x1122_3344);
        let opcode = wire::u32_at(&request, 4).unwrap_or(0);
        let kept = kinds.entry(opcode).or_default();
        if kept.len() < OF_ONE_KIND && distinct.insert(request.clone()) {
            kept.push(request);
        }
    }
    println!(
        "{name}: {} requests of kinds {:?}",
        requests.len(),
        kinds.keys()
    );
    for (opcode, kept) in &kinds {
        for (number, request) in kept.iter().enumerate() {
            let mut input = vec![config];
            add(&mut input, request)?;
            fs::write(
                seeds.join(format!("request/{name}-{opcode:02}-{number}")),
                input,
            )?;
        }
    }
    let short: Vec<_> = requests
        .iter()
        .filter(|request| request.len() < 512)
        .collect();
    let step = (short.len() / ROWS).max(1);
    for (number, row) in short.chunks(step).take(ROWS).enumerate() {
        let mut input = vec![config];
        for (unique, request) in (1..).zip(row.iter().take(IN_A_ROW)) {
            add(&mut input, &normal(request, unique))?;
        }
        fs::write(seeds.join(format!("request/{name}-row-{number}")), input)?;
    }

    // The same again as a driver would offer it: one of each kind alone, and rings full of them.
    let one_of_each: Vec<_> = kinds
        .values()
        .filter_map(|kept| kept.first().cloned())
        .collect();
    let all: Vec<_> = kinds
        .into_values()
        .flatten()
        .filter(|r| r.len() <= 0x400)
        .collect();
    let batches = one_of_each.chunks(1).chain(all.chunks(IN_A_RING));
    for (number, batch) in batches.enumerate() {
        // 32 descriptors: the smallest ring that holds them.
        let mut input = vec![config, 5 | if number % 4 < 2 { 8 } else { 0 }];
        for (slot, request) in (0..).zip(batch) {
            for op in as_linux_would(request, room(request), slot, number % 2 == 0) {
                op.write(&mut input);
            }
        }
        fs::write(seeds.join(format!("chain/{name}-{number:02}")), input)?;
    }
    Ok(())
}
