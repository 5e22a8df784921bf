// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The server against a plain tree: what no kernel sends, and every size of reply memory.

use super::*;
use crate::store::{CachePolicy, NixOptions, NixStore, PlainOptions, PlainTree, open_root};
use crate::wire::flags::init;
use std::collections::BTreeMap;

const HEADER: usize = size_of::<abi::OutHeader>();

/// A request as bytes.
fn request(opcode: u32, node: u64, body: &[u8]) -> Vec<u8> {
    let header = abi::InHeader {
        len: u32::try_from(size_of::<abi::InHeader>() + body.len()).unwrap(),
        opcode,
        unique: 0x1122_3344,
        nodeid: node,
        ..Default::default()
    };
    [header.as_bytes(), body].concat()
}

/// Asks, with `room` bytes for the reply; checks what must hold of every reply.
fn ask<F: ReadFs>(
    server: &Server<F>,
    mut request: Vec<u8>,
    room: usize,
) -> Result<Vec<u8>, Option<Errno>> {
    let mut reply = vec![0xee; room + 8];
    // A request cut before its `unique` can only be answered without.
    let unique = if request.len() < 16 { 0 } else { 0x1122_3344 };
    let used = {
        let readable = VolatileSlice::from(&mut request[..]);
        let writable = VolatileSlice::from(&mut reply[..room]);
        server.handle(&[readable], &[writable], None) as usize
    };
    assert!(used <= room);
    assert!(
        reply[room..].iter().all(|b| *b == 0xee),
        "wrote behind the reply memory"
    );
    if used == 0 {
        return Err(None);
    }
    let header: abi::OutHeader = zerocopy::FromBytes::read_from_bytes(&reply[..HEADER]).unwrap();
    assert_eq!(
        header.len as usize, used,
        "used length is the length in the header"
    );
    assert_eq!(header.unique, unique);
    assert!((-4095..=0).contains(&header.error));
    if header.error != 0 {
        assert_eq!(used, HEADER);
        return Err(Some(Errno::from_raw(-header.error)));
    }
    Ok(reply[HEADER..used].to_vec())
}

fn get<T: zerocopy::FromBytes>(bytes: &[u8]) -> T {
    T::read_from_prefix(bytes).unwrap().0
}

fn read_in(offset: u64, size: u32) -> Vec<u8> {
    abi::ReadIn {
        offset,
        size,
        ..Default::default()
    }
    .as_bytes()
    .to_vec()
}

fn tree() -> (tempfile::TempDir, Server<PlainTree>) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), "contents").unwrap();
    std::fs::create_dir(dir.path().join("dir")).unwrap();
    std::os::unix::fs::symlink("target", dir.path().join("link")).unwrap();
    let options = PlainOptions {
        cache: CachePolicy::Auto,
        ..Default::default()
    };
    let tree = PlainTree::new(open_root(dir.path()).unwrap(), options).unwrap();
    (dir, Server::new(tree, Options::default()))
}

fn lookup<F: ReadFs>(server: &Server<F>, parent: u64, name: &str) -> abi::EntryOut {
    let body = [name.as_bytes(), b"\0"].concat();
    get(&ask(server, request(Opcode::Lookup as u32, parent, &body), 4096).unwrap())
}

#[test]
fn every_opcode_with_every_length_of_request_and_reply() {
    let (_dir, server) = tree();
    let link = lookup(&server, 1, "link").nodeid;
    let file = lookup(&server, 1, "file").nodeid;
    // Long enough for every structure, and a name at its end.
    let mut body = vec![0u8; 120];
    body[16..20].copy_from_slice(&4096u32.to_le_bytes());
    body.extend_from_slice(b"file\0");
    for opcode in (0..60).chain([4096, u32::MAX]) {
        for node in [0, 1, link, file, u64::MAX] {
            for len in (0..=48).chain([56, 80, 100, body.len()]) {
                let whole = request(opcode, node, &body[..len.min(body.len())]);
                for room in [0, 15, 16, 17, 100, 119, 120, 143, 144, 8192] {
                    let _ = ask(&server, whole.clone(), room);
                }
                // Cut, the length in the header no longer right.
                let cut = whole[..len.min(whole.len())].to_vec();
                if cut.len() != whole.len() {
                    let result = ask(&server, cut, 4096);
                    assert!(result.is_err(), "opcode {opcode}: {result:?}");
                }
            }
        }
    }
}

#[test]
fn every_change_is_refused() {
    let (dir, server) = tree();
    let file = lookup(&server, 1, "file").nodeid;
    for opcode in [
        Opcode::Setattr,
        Opcode::Write,
        Opcode::Create,
        Opcode::Mknod,
        Opcode::Mkdir,
        Opcode::Unlink,
        Opcode::Rmdir,
        Opcode::Rename,
        Opcode::Rename2,
        Opcode::Link,
        Opcode::Symlink,
        Opcode::Setxattr,
        Opcode::Removexattr,
        Opcode::Fallocate,
        Opcode::CopyFileRange,
        Opcode::CopyFileRange64,
        Opcode::Tmpfile,
    ] {
        for (node, body) in [(1, &b"file\0x\0"[..]), (file, &[0; 128])] {
            let result = ask(&server, request(opcode as u32, node, body), 4096);
            assert_eq!(result, Err(Some(Errno::ROFS)), "{opcode:?}");
        }
    }
    let writing = abi::SetupMappingIn {
        flags: flags::SETUPMAPPING_WRITE,
        ..Default::default()
    };
    let body = request(Opcode::SetupMapping as u32, file, writing.as_bytes());
    assert_eq!(ask(&server, body, 4096), Err(Some(Errno::ROFS)));
    for flags in [libc::O_WRONLY, libc::O_RDWR, libc::O_TRUNC, libc::O_ACCMODE] {
        let open = abi::OpenIn {
            flags: u32::try_from(flags).unwrap(),
            open_flags: 0,
        };
        let body = request(Opcode::Open as u32, file, open.as_bytes());
        assert_eq!(ask(&server, body, 4096), Err(Some(Errno::ROFS)));
    }
    assert_eq!(std::fs::read(dir.path().join("file")).unwrap(), b"contents");
}

/// A client that hears ENOSYS once never asks again.
#[test]
fn what_need_not_exist_is_asked_for_once() {
    let (_dir, server) = tree();
    let file = lookup(&server, 1, "file").nodeid;
    for opcode in [
        Opcode::Flush,
        Opcode::Fsync,
        Opcode::Fsyncdir,
        Opcode::Syncfs,
        Opcode::Getxattr,
        Opcode::Listxattr,
        Opcode::Access,
        Opcode::Statx,
        Opcode::Lseek,
        Opcode::Poll,
        Opcode::Bmap,
        Opcode::Getlk,
        Opcode::Setlk,
        Opcode::Setlkw,
    ] {
        let result = ask(&server, request(opcode as u32, file, &[0; 64]), 4096);
        assert_eq!(result, Err(Some(Errno::NOSYS)), "{opcode:?}");
    }
}

#[test]
fn unknown_opcodes_and_ioctl() {
    let (_dir, server) = tree();
    for opcode in [0, 7, 19, 54, 1000, 4097, u32::MAX] {
        assert_eq!(
            ask(&server, request(opcode, 1, &[0; 64]), 4096),
            Err(Some(Errno::NOSYS))
        );
    }
    let ioctl = request(Opcode::Ioctl as u32, 1, &[0; 64]);
    assert_eq!(ask(&server, ioctl, 4096), Err(Some(Errno::NOTTY)));
}

#[test]
fn names_that_are_none() {
    let (_dir, server) = tree();
    let long = [b'x'; 300];
    for (name, errno) in [
        (&b"file"[..], Errno::INVAL),
        (b"", Errno::INVAL),
        (b"\0", Errno::INVAL),
        (b".\0", Errno::INVAL),
        (b"..\0", Errno::INVAL),
        (b"dir/../file\0", Errno::INVAL),
        (b"/etc\0", Errno::INVAL),
        (&long[..], Errno::NAMETOOLONG),
        (&[&long[..256], b"\0"].concat(), Errno::NAMETOOLONG),
        (b"absent\0", Errno::NOENT),
    ] {
        let result = ask(&server, request(Opcode::Lookup as u32, 1, name), 4096);
        assert_eq!(
            result,
            Err(Some(errno)),
            "{:?}",
            String::from_utf8_lossy(name)
        );
    }
}

#[test]
fn reading_at_every_edge() {
    let (_dir, server) = tree();
    let file = lookup(&server, 1, "file").nodeid;
    let read = |offset, size, room| {
        ask(
            &server,
            request(Opcode::Read as u32, file, &read_in(offset, size)),
            room,
        )
    };
    assert_eq!(read(0, 4096, 8192).unwrap(), b"contents");
    assert_eq!(read(3, 2, 8192).unwrap(), b"te");
    assert_eq!(read(0, 4096, HEADER + 3).unwrap(), b"con");
    assert_eq!(read(8, 1, 8192).unwrap(), b"");
    assert_eq!(read(i64::MAX as u64, 1, 8192).unwrap_or_default(), b"");
    for offset in [1 << 63, u64::MAX] {
        assert_eq!(read(offset, u32::MAX, 8192), Err(Some(Errno::INVAL)));
    }
}

/// Names and cookies of a reply to READDIR(PLUS).
fn entries(mut reply: &[u8], plus: bool) -> Vec<(String, u64)> {
    let mut entries = Vec::new();
    while !reply.is_empty() {
        reply = &reply[if plus { size_of::<abi::EntryOut>() } else { 0 }..];
        let dirent: abi::Dirent = get(reply);
        let start = size_of::<abi::Dirent>();
        let end = start + dirent.namelen as usize;
        let name = String::from_utf8(reply[start..end].to_vec()).unwrap();
        entries.push((name, dirent.off));
        reply = &reply[end.next_multiple_of(8)..];
    }
    entries
}

fn every_reply_size<F: ReadFs>(server: &Server<F>, dir: u64, expected: &[String]) {
    for opcode in [Opcode::Readdir, Opcode::Readdirplus] {
        let plus = opcode == Opcode::Readdirplus;
        let smallest = 24 + 32 + if plus { 128 } else { 0 };
        for size in (0..=600).chain(1000..1016).chain(4000..=4200) {
            let (mut seen, mut from) = (BTreeMap::new(), 0);
            loop {
                let body = read_in(from, size);
                let reply = ask(
                    server,
                    request(opcode as u32, dir, &body),
                    HEADER + size as usize,
                );
                let page = entries(&reply.unwrap(), plus);
                let Some((_, last)) = page.last() else { break };
                from = *last;
                for (name, _) in page {
                    *seen.entry(name).or_insert(0) += 1;
                }
            }
            if size >= smallest {
                assert!(seen.values().all(|times| *times == 1), "{seen:?}");
                assert!(seen.keys().eq(expected), "size {size}: {seen:?}");
            }
        }
    }
}

#[test]
fn listing_at_every_reply_size() {
    let dir = tempfile::tempdir().unwrap();
    let mut names: Vec<String> = (0..40)
        .map(|i| "n".repeat(i % 20 + 1) + &i.to_string())
        .collect();
    for name in &names {
        std::fs::write(dir.path().join(name), "").unwrap();
    }
    names.extend([".".to_owned(), "..".to_owned()]);
    names.sort();
    let options = PlainOptions {
        cache: CachePolicy::Auto,
        ..Default::default()
    };
    let tree = PlainTree::new(open_root(dir.path()).unwrap(), options).unwrap();
    every_reply_size(&Server::new(tree, Options::default()), 1, &names);
}

#[test]
fn init_grants_what_both_know() {
    let (_dir, plain) = tree();
    let store_dir = tempfile::tempdir().unwrap();
    let store = NixStore::new(open_root(store_dir.path()).unwrap(), NixOptions::default()).unwrap();
    let store = Server::new(store, Options::default());

    let init_in = |major, minor, flags: u64| {
        let ext = minor >= wire_minor_ext() && flags & init::INIT_EXT != 0;
        #[allow(clippy::cast_possible_truncation)]
        let base = abi::InitIn {
            major,
            minor,
            max_readahead: 131_072,
            flags: flags as u32,
        };
        let more = abi::InitInExt {
            flags2: u32::try_from(flags >> 32).unwrap(),
            ..Default::default()
        };
        let body = if ext {
            [base.as_bytes(), more.as_bytes()].concat()
        } else {
            base.as_bytes().to_vec()
        };
        request(Opcode::Init as u32, 0, &body)
    };
    let granted = |out: &abi::InitOut| u64::from(out.flags) | u64::from(out.flags2) << 32;

    for minor in [31, 35, 36, 38, 45, 46, 99] {
        let out: abi::InitOut = get(&ask(&store, init_in(7, minor, u64::MAX), 4096).unwrap());
        assert_eq!((out.major, out.minor), (7, minor.min(45)));
        assert_eq!((out.max_write, out.max_pages), (1 << 20, 256));
        let flags = granted(&out);
        for wanted in [
            init::NO_OPEN_SUPPORT,
            init::NO_OPENDIR_SUPPORT,
            init::CACHE_SYMLINKS,
            init::PARALLEL_DIROPS,
            init::DO_READDIRPLUS,
            init::AUTO_INVAL_DATA,
            init::MAX_PAGES,
            init::ASYNC_READ,
        ] {
            assert_ne!(flags & wanted, 0, "{wanted:#x}");
        }
        // A submount would make overlayfs refuse the store, a write-back cache makes no sense,
        // and a window that is not there would be read as zeros.
        for unwanted in [init::SUBMOUNTS, init::WRITEBACK_CACHE, init::MAP_ALIGNMENT] {
            assert_eq!(flags & unwanted, 0, "{unwanted:#x}");
        }
        assert_eq!(flags & init::READDIRPLUS_AUTO, 0);
    }
    let out: abi::InitOut = get(&ask(&store, init_in(7, 38, init::ASYNC_READ), 4096).unwrap());
    assert_eq!(granted(&out), init::ASYNC_READ);
    let out: abi::InitOut = get(&ask(&plain, init_in(7, 38, u64::MAX), 4096).unwrap());
    assert_eq!(
        granted(&out) & (init::NO_OPEN_SUPPORT | init::CACHE_SYMLINKS),
        0
    );
    assert_ne!(granted(&out) & init::READDIRPLUS_AUTO, 0);

    let out: abi::InitOut = get(&ask(&store, init_in(8, 0, 0), 4096).unwrap());
    assert_eq!((out.major, out.flags), (7, 0));
    for (major, minor) in [(7, 30), (7, 0), (6, 99), (0, 0)] {
        assert_eq!(
            ask(&store, init_in(major, minor, 0), 4096),
            Err(Some(Errno::PROTO))
        );
    }
}

fn wire_minor_ext() -> u32 {
    crate::wire::MINOR_INIT_EXT
}

#[test]
fn opening_needs_no_message_once_that_is_agreed() {
    let store_dir = tempfile::tempdir().unwrap();
    let store = NixStore::new(open_root(store_dir.path()).unwrap(), NixOptions::default()).unwrap();
    let server = Server::new(store, Options::default());
    let open = |opcode: Opcode| ask(&server, request(opcode as u32, 1, &[0; 8]), 4096);
    // Without INIT (a client from before a restart) or without its leave: answered.
    let out: abi::OpenOut = get(&open(Opcode::Opendir).unwrap());
    assert_ne!(out.open_flags & flags::open::KEEP_CACHE, 0);
    let init_in = abi::InitIn {
        major: 7,
        minor: 31,
        max_readahead: 0,
        flags: u32::try_from(init::NO_OPENDIR_SUPPORT).unwrap(),
    };
    ask(
        &server,
        request(Opcode::Init as u32, 0, init_in.as_bytes()),
        4096,
    )
    .unwrap();
    assert_eq!(open(Opcode::Opendir), Err(Some(Errno::NOSYS)));
    assert!(open(Opcode::Open).is_ok());
}

#[test]
fn forgetting_more_than_there_is() {
    let (_dir, server) = tree();
    let forget = |node: u64, nlookup: u64| {
        let body = abi::ForgetIn { nlookup };
        let result = ask(
            &server,
            request(Opcode::Forget as u32, node, body.as_bytes()),
            0,
        );
        assert_eq!(result, Err(None));
    };
    forget(1, u64::MAX);
    forget(1, u64::MAX);
    forget(0, 1);
    forget(12345, 1);
    assert!(ask(&server, request(Opcode::Getattr as u32, 1, &[0; 16]), 4096).is_ok());

    let file = lookup(&server, 1, "file").nodeid;
    lookup(&server, 1, "file");
    forget(file, 1);
    let getattr = || {
        ask(
            &server,
            request(Opcode::Getattr as u32, file, &[0; 16]),
            4096,
        )
    };
    assert!(getattr().is_ok());
    // A count that lies about how much follows.
    let batch = abi::BatchForgetIn {
        count: u32::MAX,
        dummy: 0,
    };
    let one = abi::ForgetOne {
        nodeid: file,
        nlookup: 1,
    };
    let body = [batch.as_bytes(), one.as_bytes()].concat();
    assert_eq!(
        ask(&server, request(Opcode::BatchForget as u32, 0, &body), 64),
        Err(None)
    );
    assert_eq!(getattr(), Err(Some(Errno::STALE)));
}

#[test]
fn requests_have_an_end_and_a_beginning() {
    let (_dir, server) = tree();
    let mut write = request(Opcode::Write as u32, 1, &vec![0; 1 << 20]);
    assert_eq!(ask(&server, write.clone(), 64), Err(Some(Errno::ROFS)));
    write.resize(3 << 20, 0);
    let len = u32::try_from(write.len()).unwrap();
    write[..4].copy_from_slice(&len.to_le_bytes());
    assert_eq!(ask(&server, write, 64), Err(Some(Errno::INVAL)));
    // Cut inside its opcode, a request is not taken for a FORGET, which has no answer.
    let cut = request(Opcode::BatchForget as u32, 1, &[])[..7].to_vec();
    assert_eq!(ask(&server, cut, 64), Err(Some(Errno::INVAL)));
}

/// Every answer is on a disk.
struct Slow;

#[rustfmt::skip]
impl ReadFs for Slow {
    fn capabilities(&self) -> crate::fs::Capabilities { unimplemented!() }
    fn lookup(&self, _: Call, _: NodeId, _: Name<'_>) -> FsResult<Found> { unimplemented!() }
    fn getattr(&self, call: Call, _: NodeId) -> FsResult<(crate::fs::Attr, Validity)> {
        Err(if call.may_block { Errno::STALE } else { Errno::AGAIN })
    }
    fn readlink(&self, _: Call, _: NodeId, _: &mut dyn crate::fs::DataSink) -> FsResult<()> { unimplemented!() }
    fn readdir(&self, _: Call, _: NodeId, _: u64, _: &mut dyn crate::fs::DirSink) -> FsResult<()> { unimplemented!() }
    fn read(&self, call: Call, _: NodeId, _: u64, _: u32, out: &mut dyn crate::fs::DataSink) -> FsResult<usize> {
        // Some of it is in memory, but not all.
        out.put(b"half");
        if call.may_block { Ok(4) } else { Err(Errno::AGAIN) }
    }
    fn statfs(&self, _: Call) -> FsResult<crate::fs::StatFs> { unimplemented!() }
}

#[test]
fn without_waiting_nothing_is_said() {
    let server = Server::new(Slow, Options::default());
    for (opcode, body) in [
        (Opcode::Getattr, &[0; 16][..]),
        (Opcode::Read, &read_in(0, 100)),
    ] {
        let mut asked = request(opcode as u32, 1, body);
        let mut reply = vec![0u8; 4096];
        let readable = VolatileSlice::from(&mut asked[..]);
        let writable = VolatileSlice::from(&mut reply[..]);
        assert_eq!(server.try_handle(&[readable], &[writable], None), None);
        assert!(reply[..HEADER].iter().all(|b| *b == 0));
        assert!(ask(&server, asked, 4096) != Err(None));
    }
}
