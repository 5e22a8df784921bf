// SPDX-License-Identifier: Apache-2.0 OR MIT
//! DAX windows, as front-ends of several manners see them.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rofs_tests::frontend::{FrontEnd, Vmm};
use rofs_tests::fuse::{Client, MAP_ALIGNMENT, ROOT, opcode};
use rofs_tests::share::Share;
use rofs_tests::window::{Asked, Manner, Window};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use virtiofs::dax::Mode;
use virtiofs::store::{CachePolicy, NixOptions, NixStore, PlainOptions, PlainTree, open_root};
use virtiofs::vhost::{DaxOptions, DeviceOptions, Tag};

const RANGE: u64 = 2 << 20;
const PATH: &str = "0c0rrxjqxxlrm5dw7mnq9lfw5ah2dxcz-dax";
/// In `fuse_attr.flags`.
const ATTR_DAX: u32 = 2;

/// Contents in which every 8 bytes say where they are.
fn contents(len: usize, salt: u64) -> Vec<u8> {
    let words = (0..len as u64 / 8 + 1).flat_map(|word| (word * 8 + (salt << 48)).to_le_bytes());
    words.take(len).collect()
}

/// A finished store path: nothing in it can be written, all of it is of the second 1.
fn finish(path: &Path) {
    if path.is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            finish(&entry.unwrap().path());
        }
    }
    let mode = std::fs::metadata(path).unwrap().permissions().mode() & 0o111;
    std::fs::set_permissions(path, Permissions::from_mode(0o444 | mode)).unwrap();
    let second = Timespec {
        tv_sec: 1,
        tv_nsec: 0,
    };
    let times = Timestamps {
        last_access: second,
        last_modification: second,
    };
    utimensat(CWD, path, &times, AtFlags::empty()).unwrap();
}

const BIG: usize = 5 * (1 << 20) + 123;

fn store() -> (tempfile::TempDir, Arc<NixStore>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(PATH);
    std::fs::create_dir(&path).unwrap();
    for (name, len, salt) in [
        ("big", BIG, 1),
        ("other", BIG, 2),
        ("small", 5000, 3),
        ("even", 2 << 20, 4),
        ("library", 300 << 10, 5),
    ] {
        std::fs::write(path.join(name), contents(len, salt)).unwrap();
    }
    std::fs::set_permissions(path.join("library"), Permissions::from_mode(0o755)).unwrap();
    finish(&path);
    let store = NixStore::new(open_root(dir.path()).unwrap(), NixOptions::default()).unwrap();
    (dir, Arc::new(store))
}

fn options(mode: Mode, size: u64) -> DeviceOptions {
    DeviceOptions {
        tag: Some(Tag::new("dax").unwrap()),
        dax: Some(DaxOptions { mode, size }),
        ..DeviceOptions::default()
    }
}

/// A connected front-end with a window whose rings run.
fn start(share: &Share, manner: Manner) -> (FrontEnd, Window) {
    let mut front = FrontEnd::greet(share.socket(), Vmm::Crosvm, 1);
    let window = Window::attach(&front, manner);
    front.activate();
    (front, window)
}

fn find(client: &mut Client<'_>, name: &str) -> u64 {
    let dir = client.lookup(ROOT, PATH.as_bytes()).unwrap();
    client.lookup(dir, name.as_bytes()).unwrap()
}

/// `fuse_attr.flags` of a file.
fn flags(client: &mut Client<'_>, node: u64) -> u32 {
    let reply = client.call(opcode::GETATTR, node, &[0; 16], 104);
    assert_eq!(reply.error, 0);
    u32::from_le_bytes(reply.body[16 + 84..16 + 88].try_into().unwrap())
}

fn remove(client: &mut Client<'_>, ranges: &[(u64, u64)]) -> i32 {
    let mut body = (ranges.len() as u32).to_le_bytes().to_vec();
    for (moffset, len) in ranges {
        body.extend(moffset.to_le_bytes());
        body.extend(len.to_le_bytes());
    }
    -client.call(opcode::REMOVEMAPPING, ROOT, &body, 0).error
}

/// Maps files, replaces and removes them, and looks at every byte; whatever the window is.
fn use_the_window(client: &mut Client<'_>, window: &Window) {
    let (big, other) = (contents(BIG, 1), contents(BIG, 2));
    let node = find(client, "big");
    let end = BIG as u64;
    // In the place of the last, which ends in the middle, there is something else before.
    for (range, moffset) in [(0, 0), (0, 3 * RANGE), (1, RANGE), (2, 0)] {
        let from = range * RANGE;
        assert_eq!(client.setup_mapping(node, from, RANGE, moffset), 0);
        let there = RANGE.min(end - from) as usize;
        let expected = &big[from as usize..from as usize + there];
        assert!(window.read(moffset, there) == expected, "range {range}");
    }
    // Behind the end of the file there is nothing of an earlier one.
    let tail = end % RANGE;
    let rest = (tail.next_multiple_of(4096) - tail) as usize;
    assert!(window.read(tail, rest).iter().all(|byte| *byte == 0));

    // Another file in place of the first, and of a part of it.
    let second = find(client, "other");
    assert_eq!(client.setup_mapping(second, 2 * RANGE, RANGE, 3 * RANGE), 0);
    assert_eq!(client.setup_mapping(second, 0, 8192, RANGE + 4096), 0);
    let seen = window.read(RANGE, RANGE as usize);
    let from = RANGE as usize;
    assert!(seen[..4096] == big[from..from + 4096]);
    assert!(seen[4096..4096 + 8192] == other[..8192]);
    assert!(seen[12288..] == big[from + 12288..2 * from]);
    let there = (end - 2 * RANGE) as usize;
    assert!(window.read(3 * RANGE, there) == other[2 * from..]);

    // Removed in part, the rest stays.
    assert_eq!(
        remove(client, &[(RANGE, 4096), (RANGE + (1 << 20), 4096)]),
        0
    );
    let seen = window.read(RANGE, RANGE as usize);
    assert!(seen[..4096].iter().all(|byte| *byte == 0), "still there");
    assert!(seen[4096..4096 + 8192] == other[..8192]);
    assert!(seen[12288..1 << 20] == big[from + 12288..from + (1 << 20)]);

    // What cannot be.
    let size = window.size();
    for (foffset, len, moffset) in [
        (0, RANGE, size),
        (0, RANGE, size - 4096),
        (0, RANGE, u64::MAX - RANGE + 1),
        (0, RANGE, u64::MAX),
        (0, 0, 0),
        (0, 4095, 0),
        (0, RANGE, 5),
        (5, RANGE, 0),
        (0, u64::MAX, 0),
        (u64::MAX - 4095, RANGE, 0),
    ] {
        let error = client.setup_mapping(node, foffset, len, moffset);
        // Where the file ends before is another error.
        assert!(
            [libc::EINVAL, libc::EIO].contains(&error),
            "{foffset} {len} {moffset}: {error}"
        );
    }
    for foffset in [end.next_multiple_of(4096), 1 << 40] {
        assert_eq!(client.setup_mapping(node, foffset, RANGE, 0), libc::EIO);
    }
    let dir = client.lookup(ROOT, PATH.as_bytes()).unwrap();
    assert_eq!(client.setup_mapping(dir, 0, RANGE, 0), libc::EISDIR);
    assert_eq!(
        client.setup_mapping(0x1234_5678_9abc, 0, RANGE, 0),
        libc::ESTALE
    );
    for range in [
        (size, 4096),
        (0, 0),
        (1, 4096),
        (0, u64::MAX),
        (u64::MAX, 1),
    ] {
        assert_eq!(remove(client, &[range]), libc::EINVAL, "{range:?}");
    }
    // To be written to: not here.
    let mut body: Vec<u8> = Vec::new();
    for word in [u64::MAX, 0, RANGE, 1, 0] {
        body.extend(word.to_le_bytes());
    }
    let reply = client.call(opcode::SETUPMAPPING, node, &body, 0);
    assert_eq!(reply.error, -libc::EROFS);

    // What was right is still right.
    assert!(window.read(0, there) == big[2 * from..]);
    assert_eq!(remove(client, &[(0, size)]), 0);
}

#[test]
fn direct_maps_nothing_that_could_be_written_to() {
    let (_dir, store) = store();
    let share = Share::start(store, options(Mode::Auto, 8 << 20));
    let (mut front, window) = start(&share, Manner::ReadOnly);
    let mut client = Client::new(&mut front, 1);
    for _ in 0..3 {
        assert!(client.init_dax());
        use_the_window(&mut client, &window);
        assert_eq!(window.live(), 0);
    }
    let asked = window.asked();
    let (memory, files): (Vec<Asked>, Vec<Asked>) = asked.iter().partition(|asked| asked.memory);
    assert!(asked.iter().all(|asked| asked.accepted && !asked.writable));
    assert!(files.len() >= 12, "the files themselves are mapped");
    assert!(memory.len() >= 7, "and the ends of files");
    assert!(memory.iter().all(|asked| asked.len == 4096));
}

/// QEMU tells of the memory after each mapping, and is waited for; whoever does not is waited for
/// once.
#[test]
fn a_front_end_that_tells_of_no_memory_is_not_waited_for() {
    let (_dir, store) = store();
    let share = Share::start(store, options(Mode::Direct, 16 << 20));
    let (mut front, _window) = start(&share, Manner::ReadOnly);
    let mut client = Client::new(&mut front, 1);
    assert!(client.init_dax());
    let node = find(&mut client, "even");
    assert_eq!(client.setup_mapping(node, 0, RANGE, 0), 0);
    let begin = Instant::now();
    for _ in 0..20 {
        assert_eq!(client.setup_mapping(node, 0, RANGE, 0), 0);
    }
    let each = begin.elapsed() / 20;
    assert!(each < Duration::from_millis(25), "{each:?}");
}

#[test]
fn copies_are_mapped_once() {
    for (mode, manner, refused) in [
        (Mode::Auto, Manner::Writable, 1),
        (Mode::Copy, Manner::Writable, 0),
        (Mode::Copy, Manner::ReadOnly, 0),
    ] {
        let (_dir, store) = store();
        let share = Share::start(store, options(mode, 8 << 20));
        let (mut front, window) = start(&share, manner);
        let mut client = Client::new(&mut front, 1);
        assert!(client.init_dax());
        use_the_window(&mut client, &window);
        let asked = window.asked();
        assert_eq!(asked.len(), refused + 1, "{asked:?}");
        assert!(asked.iter().all(|asked| asked.memory));
        assert!(!asked[..refused].iter().any(|asked| asked.accepted));
        assert_eq!((window.live(), asked[refused].len), (1, 8 << 20));

        // A new start of the client: once more, and the client finds nothing of the time before.
        let node = find(&mut client, "big");
        assert_eq!(client.setup_mapping(node, 0, RANGE, 0), 0);
        assert!(client.init_dax());
        assert_eq!(window.asked().len(), refused + 2);
        assert!(window.read(0, 4096).iter().all(|byte| *byte == 0));
    }
}

/// With a front-end that maps everything writable, a guest can spoil its own copy and nothing else.
#[test]
fn a_guest_writes_into_its_copy_only() {
    let (dir, store) = store();
    let share = Share::start(store, options(Mode::Auto, 4 << 20));
    let (mut front, window) = start(&share, Manner::Writable);
    let mut client = Client::new(&mut front, 1);
    assert!(client.init_dax());
    let node = find(&mut client, "big");
    assert_eq!(client.setup_mapping(node, 0, RANGE, 0), 0);
    assert!(window.write(100, b"spoilt"));
    assert_eq!(window.read(100, 6), b"spoilt");
    let file = std::fs::read(dir.path().join(PATH).join("big")).unwrap();
    assert!(
        file == contents(BIG, 1),
        "a guest has written to the host's file"
    );
    assert!(client.read(node, 0, 4096).unwrap() == file[..4096]);
    // The next mapping is right again.
    assert_eq!(client.setup_mapping(node, 0, RANGE, 0), 0);
    assert!(window.read(0, RANGE as usize) == file[..RANGE as usize]);

    // The next client has other memory.
    let first = window.asked()[1].ino;
    drop((front, window));
    assert!(share.ended().is_ok());
    let (mut front, window) = start(&share, Manner::Writable);
    assert!(Client::new(&mut front, 1).init_dax());
    assert_ne!(window.asked()[1].ino, first);
}

#[test]
fn a_window_that_cannot_be_mapped_is_not_offered() {
    let (_dir, store) = store();
    for (mode, manner) in [
        (Mode::Auto, Manner::Refuse),
        (Mode::Copy, Manner::Refuse),
        (Mode::Direct, Manner::Writable),
    ] {
        let share = Share::start(Arc::clone(&store), options(mode, 4 << 20));
        let (mut front, window) = start(&share, manner);
        let mut client = Client::new(&mut front, 1);
        assert!(!client.init_dax(), "{mode:?} {manner:?}");
        let node = find(&mut client, "big");
        assert_eq!(flags(&mut client, node) & ATTR_DAX, 0);
        // Who maps all the same (mount -o dax=always) hears of it, and reading works.
        assert_eq!(client.setup_mapping(node, 0, RANGE, 0), libc::EIO);
        assert!(client.read(node, 4096, 4096).unwrap() == contents(BIG, 1)[4096..8192]);
        assert_eq!(window.live(), 0);
    }
}

/// A file system whose files cannot be mapped, say: then a copy is, for reading only.
#[test]
fn a_file_that_the_front_end_refuses_is_copied() {
    let (_dir, store) = store();
    let share = Share::start(store, options(Mode::Direct, 8 << 20));
    let (mut front, window) = start(&share, Manner::Memory);
    let mut client = Client::new(&mut front, 1);
    assert!(client.init_dax());
    use_the_window(&mut client, &window);
    let asked = window.asked();
    assert!(asked.iter().any(|asked| !asked.accepted && !asked.memory));
    assert!(asked.iter().all(|asked| !asked.writable));
}

/// A window that worked, and then does not: errors, files that can still be read, and no mapping
/// that nobody knows of. With the client's next start it is tried again.
#[test]
fn a_window_that_fails_later_is_an_error() {
    for (mode, manner) in [
        (Mode::Direct, Manner::ReadOnly),
        (Mode::Direct, Manner::Memory),
    ] {
        let (_dir, store) = store();
        let share = Share::start(store, options(mode, 8 << 20));
        let (mut front, window) = start(&share, manner);
        let mut client = Client::new(&mut front, 1);
        assert!(client.init_dax());
        let node = find(&mut client, "big");
        assert_eq!(client.setup_mapping(node, 0, RANGE, 0), 0);
        window.set_manner(Manner::Refuse);
        for _ in 0..2 {
            let error = client.setup_mapping(node, RANGE, RANGE, RANGE);
            assert_eq!(error, libc::EIO);
        }
        let big = contents(BIG, 1);
        assert!(client.read(node, RANGE, 4096).unwrap() == big[RANGE as usize..][..4096]);
        // What was mapped before stays what it was.
        assert!(window.read(0, RANGE as usize) == big[..RANGE as usize]);

        // Who knows what there is in it by now? Until the client starts anew, nothing more.
        window.set_manner(manner);
        let error = client.setup_mapping(node, RANGE, RANGE, RANGE);
        assert_eq!(error, libc::EIO);
        assert!(client.init_dax());
        use_the_window(&mut client, &window);
    }
}

#[test]
fn a_front_end_without_a_window_is_never_asked() {
    let (_dir, store) = store();
    let share = Share::start(store, options(Mode::Auto, 4 << 20));
    // QEMU's vhost-user-fs-pci agrees to all, and asks for no size.
    let mut front = FrontEnd::start(share.socket(), Vmm::Qemu, 1);
    use rofs_tests::frontend::protocol::{CONFIGURE_MEM_SLOTS, SHMEM};
    assert_ne!(front.protocol & SHMEM, 0);
    assert_eq!(front.protocol & CONFIGURE_MEM_SLOTS, 0, "QEMU dies of it");
    let mut client = Client::new(&mut front, 1);
    assert!(!client.init_dax());
    let node = find(&mut client, "big");
    assert_eq!(flags(&mut client, node) & ATTR_DAX, 0);
    assert_eq!(client.setup_mapping(node, 0, RANGE, 0), libc::EIO);
    drop(front);
    assert!(share.ended().is_ok());

    // A guest that has not found the window, in a front-end that has one.
    let (mut front, window) = start(&share, Manner::ReadOnly);
    let mut client = Client::new(&mut front, 1);
    client.init();
    let node = find(&mut client, "big");
    assert_eq!(flags(&mut client, node) & ATTR_DAX, 0);
    assert_eq!(client.setup_mapping(node, 0, RANGE, 0), libc::EIO);
    assert_eq!(window.asked().len(), 0);
}

#[test]
fn a_device_without_a_window_has_no_such_messages() {
    let (_dir, store) = store();
    let share = Share::with_tag(store, "none", 1);
    let mut front = FrontEnd::start(share.socket(), Vmm::QemuTestDevice, 1);
    assert_eq!(front.protocol & rofs_tests::frontend::protocol::SHMEM, 0);
    let mut client = Client::new(&mut front, 1);
    assert!(!client.init_dax());
    assert_eq!(client.setup_mapping(ROOT, 0, RANGE, 0), libc::ENOSYS);
    assert_eq!(remove(&mut client, &[(0, 4096)]), libc::ENOSYS);
}

#[test]
fn large_files_and_programs_are_to_be_mapped() {
    let (_dir, store) = store();
    let share = Share::start(store, options(Mode::Auto, 4 << 20));
    let (mut front, _window) = start(&share, Manner::ReadOnly);
    let mut client = Client::new(&mut front, 1);
    assert!(client.init_dax());
    for (name, expected) in [
        ("big", ATTR_DAX),
        ("even", ATTR_DAX),
        ("small", 0),
        ("library", ATTR_DAX),
    ] {
        let node = find(&mut client, name);
        assert_eq!(flags(&mut client, node) & ATTR_DAX, expected, "{name}");
    }
    let dir = client.lookup(ROOT, PATH.as_bytes()).unwrap();
    assert_eq!(flags(&mut client, dir) & ATTR_DAX, 0);
}

/// Files that may change are shown as copies: one that shrinks below a mapping would end the VMM.
#[test]
fn a_file_that_may_change_is_copied() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, contents(BIG, 9)).unwrap();
    let plain = PlainOptions {
        cache: CachePolicy::Always,
        ..PlainOptions::default()
    };
    let tree = Arc::new(PlainTree::new(open_root(dir.path()).unwrap(), plain).unwrap());
    let share = Share::start(tree, options(Mode::Direct, 8 << 20));
    let (mut front, window) = start(&share, Manner::ReadOnly);
    let mut client = Client::new(&mut front, 1);
    assert!(client.init_dax());
    let node = client.lookup(ROOT, b"file").unwrap();
    assert_eq!(flags(&mut client, node) & ATTR_DAX, ATTR_DAX);
    assert_eq!(client.setup_mapping(node, 0, RANGE, 0), 0);
    std::fs::write(&file, b"short").unwrap();
    assert!(window.read(0, RANGE as usize) == contents(BIG, 9)[..RANGE as usize]);
    assert!(
        window
            .asked()
            .iter()
            .all(|asked| asked.memory && !asked.writable)
    );
    // Of what is no more, nothing is mapped.
    assert_eq!(client.setup_mapping(node, RANGE, RANGE, RANGE), libc::EIO);
    assert_eq!(client.setup_mapping(node, 0, RANGE, 0), 0);
    assert_eq!(window.read(0, 8), b"short\0\0\0");
}

#[test]
fn mappings_outlive_stop_and_cont_and_are_made_anew_after_a_reset() {
    for manner in [Manner::ReadOnly, Manner::Writable] {
        let (_dir, store) = store();
        let share = Share::start(store, options(Mode::Auto, 8 << 20));
        let (mut front, window) = start(&share, manner);
        let mut client = Client::new(&mut front, 1);
        assert!(client.init_dax());
        let node = find(&mut client, "big");
        assert_eq!(client.setup_mapping(node, 0, RANGE, 0), 0);
        let expected = contents(BIG, 1);
        for resets in [false, true] {
            let asked = window.asked().len();
            let unmapped = window.unmapped();
            for index in 0..2 {
                front.enable(index, false);
            }
            let bases = [front.stop_queue(0), front.stop_queue(1)];
            assert_eq!(
                (window.asked().len(), window.unmapped()),
                (asked, unmapped),
                "QEMU dies of a request while the rings stand still"
            );
            if resets {
                window.reset();
                for queue in &mut front.queues {
                    queue.reset();
                }
                front.activate();
            } else {
                for (index, base) in bases.into_iter().enumerate() {
                    front.start_queue(index as u32, base);
                    front.enable(index as u32, true);
                }
            }
            let mut client = Client::new(&mut front, 1);
            if resets {
                assert!(client.init_dax());
            }
            assert_eq!(client.setup_mapping(node, RANGE, RANGE, RANGE), 0);
            let whole = RANGE as usize;
            assert!(window.read(RANGE, whole) == expected[whole..2 * whole]);
            if !resets {
                assert!(window.read(0, whole) == expected[..whole]);
            }
        }
    }
}

/// QEMU waits for us to stop a ring, and answers nothing meanwhile.
#[test]
fn a_ring_stops_while_the_front_end_does_not_answer() {
    let (_dir, store) = store();
    let share = Share::start(store, options(Mode::Auto, 8 << 20));
    let (mut front, window) = start(&share, Manner::Silent);
    let mut request = Vec::new();
    for word in [40u32 + 64, opcode::INIT, 7, 0, 0, 0, 0, 0, 0, 0] {
        request.extend(word.to_le_bytes());
    }
    request.extend(Client::init_dax_body());
    let (at, reply) = (front.guest.allocate(4096), front.guest.allocate(4096));
    front.guest.write(at, &request);
    let buffer = |at, len, write| rofs_tests::driver::Buffer { at, len, write };
    front.queues[1].submit(&[buffer(at, 104, false), buffer(reply, 80, true)]);
    front.queues[1].kick();
    window.wait_asked(1);

    let begin = Instant::now();
    for index in 0..2 {
        front.enable(index, false);
    }
    assert_eq!((front.stop_queue(0), front.stop_queue(1)), (0, 1));
    assert!(begin.elapsed() < Duration::from_secs(3), "it waited");
    // INIT was answered: there is no window.
    let used = front.queues[1].try_used().unwrap();
    assert_eq!(used.len, 80);
    let flags: u32 = front.guest.get(reply + 16 + 12);
    assert_eq!(flags & MAP_ALIGNMENT, 0);

    // The answer comes late. It is not taken for the one to the next request.
    window.set_manner(Manner::ReadOnly);
    window.reset();
    for queue in &mut front.queues {
        queue.reset();
    }
    front.activate();
    let mut client = Client::new(&mut front, 1);
    assert!(client.init_dax());
    use_the_window(&mut client, &window);
}

#[test]
fn a_front_end_that_never_answers_costs_a_while_and_the_window() {
    let (_dir, store) = store();
    let share = Share::start(store, options(Mode::Auto, 4 << 20));
    let (mut front, window) = start(&share, Manner::Silent);
    let mut client = Client::new(&mut front, 1);
    let begin = Instant::now();
    assert!(!client.init_dax());
    let waited = begin.elapsed();
    assert!(waited < Duration::from_secs(9), "{waited:?}");
    let asked = window.asked().len();
    assert!(!client.init_dax(), "nobody asks again");
    assert_eq!(window.asked().len(), asked);
    let node = find(&mut client, "small");
    assert!(client.read(node, 0, 4096).unwrap() == contents(5000, 3)[..4096]);
}

/// A guest that maps as finely as possible gets an error, and the front-end is spared.
#[test]
fn mappings_are_limited() {
    let (_dir, store) = store();
    let share = Share::start(store, options(Mode::Auto, 4 << 20));
    let (mut front, window) = start(&share, Manner::ReadOnly);
    let mut client = Client::new(&mut front, 1);
    assert!(client.init_dax());
    let node = find(&mut client, "big");
    let errors: Vec<i32> = (0..100)
        .map(|page| client.setup_mapping(node, 0, 4096, 8192 * page))
        .collect();
    let fine = errors.iter().take_while(|error| **error == 0).count();
    assert!((4..=16).contains(&fine), "{fine}");
    assert!(errors[fine..].iter().all(|error| *error == libc::ENOMEM));
    assert_eq!(window.live(), fine);
    // As Linux does it there is room.
    assert_eq!(remove(&mut client, &[(0, 4 << 20)]), 0);
    for range in 0..2 {
        assert_eq!(
            client.setup_mapping(node, 2 * RANGE, RANGE, range * RANGE),
            0
        );
    }
}
