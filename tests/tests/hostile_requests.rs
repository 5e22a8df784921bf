// SPDX-License-Identifier: Apache-2.0 OR MIT
//! FUSE requests that no kernel sends. Each must be answered by an error or not at all, with a
//! used length that is the length in the reply's header (the client asserts that), and harm nobody.

use rofs_tests::frontend::{FrontEnd, Vmm};
use rofs_tests::fuse::{Client, IN_HEADER, ROOT, message, opcode, read_in};
use rofs_tests::memfs::{HELLO, MemFs};
use rofs_tests::share::Share;

/// What the device may say.
#[derive(Clone, Copy, Debug)]
enum Answer {
    /// This error.
    Is(i32),
    /// Some error.
    AnyError,
    /// Used length zero.
    Nothing,
    /// An error, or nothing.
    ErrorOrNothing,
    /// A success with so many bytes, since there is nothing wrong with it.
    Bytes(usize),
    /// An answer of any kind.
    Any,
}
use Answer::*;

struct Case {
    name: String,
    request: Vec<u8>,
    /// Room for a reply behind its header; `None`: no room for a header either.
    room: Option<u32>,
    answer: Answer,
}

const UNIQUE: u64 = 0x1122_3344_5566_7788;
const HELLO_NODE: u64 = 2;
const LINK_NODE: u64 = 4;

fn case(name: &str, request: Vec<u8>, room: Option<u32>, answer: Answer) -> Case {
    Case {
        name: name.to_owned(),
        request,
        room,
        answer,
    }
}

fn with(opcode: u32, node: u64, body: &[u8]) -> Vec<u8> {
    message(opcode, node, UNIQUE, body)
}

fn with_len(len: u32) -> Vec<u8> {
    let mut request = with(opcode::GETATTR, ROOT, &[0; 16]);
    request[..4].copy_from_slice(&len.to_le_bytes());
    request
}

fn numbers(numbers: &[u64]) -> Vec<u8> {
    numbers
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect()
}

fn headers() -> Vec<Case> {
    let whole = with(opcode::GETATTR, ROOT, &[0; 16]);
    let mut cases = vec![case("no bytes", Vec::new(), Some(104), ErrorOrNothing)];
    for len in [1, 4, 8, 16, 39] {
        let name = format!("a header of {len} bytes");
        cases.push(case(
            &name,
            whole[..len].to_vec(),
            Some(104),
            ErrorOrNothing,
        ));
    }
    for len in [0, 39, 40, 55, 57, 4096, u32::MAX] {
        let name = format!("a header that says {len} of 56");
        cases.push(case(&name, with_len(len), Some(104), AnyError));
    }
    for code in [
        0,
        7,
        19,
        53,
        54,
        99,
        255,
        4096,
        opcode::INIT << 24,
        u32::MAX,
    ] {
        let name = format!("operation {code}");
        cases.push(case(
            &name,
            with(code, ROOT, &[0; 64]),
            Some(4096),
            AnyError,
        ));
    }
    cases.push(case(
        "operation 100,000",
        with(100_000, ROOT, &[]),
        Some(0),
        Is(libc::ENOSYS),
    ));
    cases.push(case("no room at all", whole.clone(), None, Nothing));
    cases
}

fn names() -> Vec<Case> {
    let lookup = |name: &[u8]| with(opcode::LOOKUP, ROOT, name);
    let long = |len: usize| [vec![b'n'; len], vec![0]].concat();
    vec![
        case("no name", lookup(b""), Some(128), AnyError),
        case("an empty name", lookup(b"\0"), Some(128), AnyError),
        case("a name without NUL", lookup(b"hello"), Some(128), AnyError),
        case(
            "255 bytes without NUL",
            lookup(&[b'n'; 255]),
            Some(128),
            AnyError,
        ),
        case("a slash", lookup(b"many/f001\0"), Some(128), AnyError),
        case("only a slash", lookup(b"/\0"), Some(128), AnyError),
        case(
            "an absolute path",
            lookup(b"/etc/passwd\0"),
            Some(128),
            AnyError,
        ),
        case("a dot", lookup(b".\0"), Some(128), AnyError),
        case("two dots", lookup(b"..\0"), Some(128), AnyError),
        case(
            "a way out",
            lookup(b"../../etc/passwd\0"),
            Some(128),
            AnyError,
        ),
        case(
            "256 bytes",
            lookup(&long(256)),
            Some(128),
            Is(libc::ENAMETOOLONG),
        ),
        case(
            "300 bytes",
            lookup(&long(300)),
            Some(128),
            Is(libc::ENAMETOOLONG),
        ),
        case(
            "64 KiB",
            lookup(&long(65536)),
            Some(128),
            Is(libc::ENAMETOOLONG),
        ),
        case("64 KiB of NULs", lookup(&[0; 65536]), Some(128), AnyError),
        case(
            "no room for the entry",
            lookup(b"hello\0"),
            Some(0),
            AnyError,
        ),
        case(
            "one byte too little room",
            lookup(b"hello\0"),
            Some(127),
            AnyError,
        ),
        case(
            "below a file",
            with(opcode::LOOKUP, HELLO_NODE, b"x\0"),
            Some(128),
            AnyError,
        ),
        case(
            "below nothing",
            with(opcode::LOOKUP, 0, b"x\0"),
            Some(128),
            AnyError,
        ),
        case(
            "below no node",
            with(opcode::LOOKUP, u64::MAX, b"x\0"),
            Some(128),
            AnyError,
        ),
    ]
}

fn reads() -> Vec<Case> {
    let read = |at, size| with(opcode::READ, HELLO_NODE, &read_in(at, size));
    let readdir = |code, from, size| with(code, ROOT, &read_in(from, size));
    let mut cases = vec![
        case("READ at 2^63", read(1 << 63, 4096), Some(4096), AnyError),
        case(
            "READ at 2^63 - 1",
            read((1 << 63) - 1, 4096),
            Some(4096),
            Bytes(0),
        ),
        case(
            "READ at 2^64 - 1",
            read(u64::MAX, 4096),
            Some(4096),
            AnyError,
        ),
        case(
            "READ of 4 GiB",
            read(0, u32::MAX),
            Some(4096),
            Bytes(HELLO.len()),
        ),
        case(
            "READ of 4 GiB, no room",
            read(0, u32::MAX),
            Some(0),
            Bytes(0),
        ),
        case("READ of nothing", read(0, 0), Some(4096), Bytes(0)),
        case(
            "READ with more room than size",
            read(0, 5),
            Some(4096),
            Bytes(5),
        ),
        case(
            "READ without a body",
            with(opcode::READ, HELLO_NODE, &[]),
            Some(64),
            AnyError,
        ),
        case(
            "READ with half a body",
            with(opcode::READ, 2, &[0; 20]),
            Some(64),
            AnyError,
        ),
        case(
            "READ of a directory",
            with(opcode::READ, ROOT, &read_in(0, 64)),
            Some(64),
            AnyError,
        ),
        case(
            "READ of a link",
            with(opcode::READ, LINK_NODE, &read_in(0, 64)),
            Some(64),
            AnyError,
        ),
        case(
            "READ of no node",
            with(opcode::READ, 0, &read_in(0, 64)),
            Some(64),
            AnyError,
        ),
        case(
            "READLINK of a directory",
            with(opcode::READLINK, ROOT, &[]),
            Some(64),
            AnyError,
        ),
        case(
            "READLINK without room",
            with(opcode::READLINK, LINK_NODE, &[]),
            Some(0),
            Any,
        ),
        case(
            "READDIR of a file",
            with(opcode::READDIR, HELLO_NODE, &read_in(0, 64)),
            Some(64),
            AnyError,
        ),
        case(
            "GETATTR without a body",
            with(opcode::GETATTR, ROOT, &[]),
            Some(104),
            Any,
        ),
        case(
            "GETATTR of no node",
            with(opcode::GETATTR, 1 << 40, &[0; 16]),
            Some(104),
            AnyError,
        ),
        case(
            "GETATTR, too little room",
            with(opcode::GETATTR, ROOT, &[0; 16]),
            Some(103),
            AnyError,
        ),
        case(
            "STATFS, too little room",
            with(opcode::STATFS, ROOT, &[]),
            Some(79),
            AnyError,
        ),
    ];
    for code in [opcode::READDIR, opcode::READDIRPLUS] {
        for from in [u64::MAX, 1 << 63, i64::MAX as u64, 12_345_678] {
            let name = format!("listing {code} from {from:#x}");
            cases.push(case(&name, readdir(code, from, 4096), Some(4096), Any));
        }
        let name = |what| format!("listing {code} {what}");
        cases.push(case(
            &name("of 4 GiB"),
            readdir(code, 0, u32::MAX),
            Some(200),
            Any,
        ));
        cases.push(case(
            &name("without room"),
            readdir(code, 0, 4096),
            Some(0),
            Any,
        ));
        cases.push(case(
            &name("of one byte"),
            readdir(code, 0, 1),
            Some(4096),
            Any,
        ));
        cases.push(case(
            &name("without a body"),
            with(code, ROOT, &[]),
            Some(4096),
            AnyError,
        ));
    }
    cases
}

fn forgets() -> Vec<Case> {
    let batch = |count: u32, items: &[u64]| {
        let body = [&count.to_le_bytes()[..], &[0; 4], &numbers(items)].concat();
        with(opcode::BATCH_FORGET, 0, &body)
    };
    let forget = |node, body: &[u8]| with(opcode::FORGET, node, body);
    let all = u64::MAX.to_le_bytes();
    let mut huge = forget(ROOT, &all);
    huge[..4].copy_from_slice(&u32::MAX.to_le_bytes());
    vec![
        case(
            "FORGET of the root, 2^64-1 times",
            forget(ROOT, &all),
            None,
            Nothing,
        ),
        case("the same again", forget(ROOT, &all), None, Nothing),
        case(
            "FORGET with room for a reply",
            forget(ROOT, &all),
            Some(64),
            Nothing,
        ),
        case("FORGET of no node", forget(0, &all), None, Nothing),
        case(
            "FORGET of an unknown node",
            forget(u64::MAX, &all),
            None,
            Nothing,
        ),
        case("FORGET without a body", forget(ROOT, &[]), None, Nothing),
        case("FORGET that lies about its length", huge, Some(64), Nothing),
        case(
            "BATCH_FORGET of 2^32-1, with two",
            batch(u32::MAX, &[1, 1, 2, u64::MAX]),
            None,
            Nothing,
        ),
        case("BATCH_FORGET of none", batch(0, &[]), None, Nothing),
        case(
            "BATCH_FORGET of one and a half",
            batch(2, &[1, 1, 2]),
            None,
            Nothing,
        ),
        case(
            "BATCH_FORGET without a body",
            with(opcode::BATCH_FORGET, 0, &[]),
            Some(64),
            Nothing,
        ),
    ]
}

fn mappings() -> Vec<Case> {
    let setup = |offset, len, flags, at| {
        with(
            opcode::SETUPMAPPING,
            HELLO_NODE,
            &numbers(&[0, offset, len, flags, at]),
        )
    };
    let mut remove = 1_000_000u32.to_le_bytes().to_vec();
    remove.extend([0; 4]);
    remove.extend(numbers(&[0, 1 << 21]));
    vec![
        case("SETUPMAPPING", setup(0, 1 << 21, 2, 0), Some(0), AnyError),
        case(
            "SETUPMAPPING, offset overflow",
            setup(u64::MAX, 1 << 21, 2, 0),
            Some(0),
            AnyError,
        ),
        case(
            "SETUPMAPPING, length overflow",
            setup(0, u64::MAX, 2, 4096),
            Some(0),
            AnyError,
        ),
        case(
            "SETUPMAPPING, window overflow",
            setup(0, 4096, 2, u64::MAX),
            Some(0),
            AnyError,
        ),
        case(
            "SETUPMAPPING for writing",
            setup(0, 4096, 3, 0),
            Some(0),
            AnyError,
        ),
        case(
            "SETUPMAPPING without a body",
            with(opcode::SETUPMAPPING, 2, &[]),
            Some(0),
            AnyError,
        ),
        case(
            "REMOVEMAPPING of a million, with one",
            with(opcode::REMOVEMAPPING, 0, &remove),
            Some(0),
            AnyError,
        ),
    ]
}

fn sessions() -> Vec<Case> {
    let init = |major: u32, minor: u32| {
        let mut body = [major, minor, 0, u32::MAX].map(u32::to_le_bytes).concat();
        body.resize(64, 0xff);
        with(opcode::INIT, 0, &body)
    };
    let mut cases = vec![
        case(
            "INIT without a body",
            with(opcode::INIT, 0, &[]),
            Some(64),
            AnyError,
        ),
        case(
            "INIT with half a body",
            with(opcode::INIT, 0, &[7, 0, 0, 0]),
            Some(64),
            AnyError,
        ),
        case("INIT without room", init(7, 41), Some(0), AnyError),
        case("INIT of version 0.0", init(0, 0), Some(64), Any),
        case("INIT of version 6", init(6, 41), Some(64), Any),
        case("INIT of version 8", init(8, 0), Some(64), Any),
        case(
            "INIT of the last version",
            init(u32::MAX, u32::MAX),
            Some(64),
            Any,
        ),
        case("INIT of version 7.3", init(7, 3), Some(64), Any),
        case(
            "DESTROY in the middle",
            with(opcode::DESTROY, 0, &[]),
            Some(0),
            Any,
        ),
        case(
            "INTERRUPT of nothing",
            with(opcode::INTERRUPT, 0, &[0; 8]),
            Some(0),
            Any,
        ),
        case(
            "IOCTL",
            with(opcode::IOCTL, ROOT, &[0; 32]),
            Some(64),
            Is(libc::ENOTTY),
        ),
    ];
    // SETATTR, SYMLINK, MKNOD, MKDIR, UNLINK, RMDIR, RENAME, LINK, WRITE, SETXATTR, REMOVEXATTR,
    // CREATE, FALLOCATE, RENAME2, COPY_FILE_RANGE, TMPFILE; with bodies that would be theirs, and
    // without.
    for code in [4, 6, 8, 9, 10, 11, 12, 13, 16, 21, 24, 35, 43, 45, 47, 51] {
        let body = [&[0; 128][..], b"a\0b\0"].concat();
        let name = format!("change {code}");
        cases.push(case(
            &name,
            with(code, ROOT, &body),
            Some(256),
            Is(libc::EROFS),
        ));
        let name = format!("change {code} without a body");
        cases.push(case(&name, with(code, ROOT, &[]), Some(256), AnyError));
    }
    cases
}

fn run(cases: Vec<Case>) {
    let share = Share::with_tag(MemFs::sample(), "hostile", 2);
    let witness = Share::with_tag(MemFs::sample(), "witness", 1);
    let mut other = FrontEnd::start(witness.socket(), Vmm::Qemu, 1);
    let mut well_behaved = Client::new(&mut other, 1);
    well_behaved.init();
    for vmm in [Vmm::Qemu, Vmm::Crosvm] {
        let mut front = FrontEnd::start(share.socket(), vmm, 2);
        let mut client = Client::new(&mut front, 2);
        client.init();
        for Case {
            name,
            request,
            room,
            answer,
        } in &cases
        {
            if request.is_empty() && room.is_none() {
                continue;
            }
            let reply = client.exchange(request, *room);
            let error = reply.as_ref().map(|reply| -reply.error);
            let right = match answer {
                Is(errno) => error == Some(*errno),
                AnyError => error.is_some_and(|errno| errno > 0),
                Nothing => error.is_none(),
                ErrorOrNothing => error != Some(0),
                Bytes(len) => reply
                    .as_ref()
                    .is_some_and(|reply| reply.error == 0 && reply.body.len() == *len),
                Any => true,
            };
            assert!(right, "{name}: {reply:?}, not {answer:?}");
            if let Some(reply) = &reply
                && request.len() >= IN_HEADER
            {
                assert_eq!(reply.unique, UNIQUE, "{name}");
            }
            // This guest and others go on, with the root where it was.
            assert!(client.getattr(ROOT).is_ok(), "{name}");
            assert_eq!(
                well_behaved.read(HELLO_NODE, 0, 4096).as_deref(),
                Ok(HELLO),
                "{name}"
            );
        }
        client.init();
        assert_eq!(client.lookup(ROOT, b"hello"), Ok(HELLO_NODE));
    }
}

#[test]
fn headers_that_lie() {
    run(headers());
}

#[test]
fn names_that_lead_elsewhere() {
    run(names());
}

#[test]
fn reads_and_listings_out_of_range() {
    run(reads());
}

#[test]
fn forgetting_too_much() {
    run(forgets());
}

#[test]
fn mappings_out_of_range() {
    run(mappings());
}

#[test]
fn sessions_and_changes() {
    run(sessions());
}
