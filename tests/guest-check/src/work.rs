// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What guests do with a store, timed. Each prints a line: microseconds, and how many things it
//! came across.

use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Stdio};
use std::time::Instant;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir};

/// What a C library asks the kernel for at a time when it lists a directory.
const LISTING: usize = 32 * 1024;
/// What `cp` and `cat` read at a time.
const BUFFER: usize = 256 * 1024;

/// Does what the arguments say; false if they say nothing that is known.
pub(crate) fn run(args: &[OsString]) -> bool {
    let words: Vec<&str> = args.iter().filter_map(|arg| arg.to_str()).collect();
    let start = Instant::now();
    let count = match words[..] {
        ["find", dir] => walk(dir, &mut |_, _, _| {}),
        ["stat", dir] => walk(dir, &mut |dir, name, _| {
            rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).unwrap();
        }),
        ["small", dir] => {
            let mut buffer = vec![0; BUFFER];
            walk(dir, &mut |dir, name, kind| {
                if kind == FileType::RegularFile {
                    let flags = OFlags::RDONLY | OFlags::NOFOLLOW;
                    let file = rustix::fs::openat(dir, name, flags, Mode::empty()).unwrap();
                    read(file, &mut buffer);
                }
            })
        }
        ["sequential", file] => {
            let file = rustix::fs::open(file, OFlags::RDONLY, Mode::empty()).unwrap();
            read(file, &mut vec![0; BUFFER])
        }
        ["start", program, misses, ref dirs @ ..] => {
            start_program(program, misses.parse().unwrap(), dirs)
        }
        ["nothing"] => return true,
        _ => return false,
    };
    println!("{} {count}", start.elapsed().as_micros());
    true
}

/// As `find` goes through a tree: directories by descriptors, types from the listings. Returns the
/// number of entries.
fn walk(dir: &str, visit: &mut dyn FnMut(&OwnedFd, &CString, FileType)) -> u64 {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY;
    let root = rustix::fs::openat(CWD, dir, flags, Mode::empty()).unwrap();
    let mut buffer = Vec::with_capacity(LISTING);
    below(&root, &mut buffer, visit)
}

fn below(
    dir: &OwnedFd,
    buffer: &mut Vec<u8>,
    visit: &mut dyn FnMut(&OwnedFd, &CString, FileType),
) -> u64 {
    let mut found = Vec::new();
    let mut listing = RawDir::new(dir.as_fd(), buffer.spare_capacity_mut());
    while let Some(entry) = listing.next() {
        let entry = entry.unwrap();
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            found.push((entry.file_name().to_owned(), entry.file_type()));
        }
    }
    let mut count = found.len() as u64;
    for (name, kind) in &found {
        visit(dir, name, *kind);
        if *kind == FileType::Directory {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
            let sub = rustix::fs::openat(dir, name, flags, Mode::empty()).unwrap();
            count += below(&sub, buffer, visit);
        }
    }
    count
}

/// Reads to the end. Returns the number of bytes.
fn read(file: OwnedFd, buffer: &mut [u8]) -> u64 {
    let mut file = File::from(file);
    let mut total = 0;
    loop {
        match file.read(buffer).unwrap() {
            0 => return total,
            n => total += n as u64,
        }
    }
}

/// What a dynamic linker does with a long list of directories: looks in one after the other for
/// libraries that are not there; and then the program.
fn start_program(program: &str, misses: usize, dirs: &[&str]) -> u64 {
    for number in 0..misses {
        let dir = dirs[number % dirs.len()];
        let library = format!("{dir}/lib{}.so.6", number / dirs.len());
        let missing = CString::new(OsString::from(library).as_bytes()).unwrap();
        let opened = rustix::fs::open(&missing, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        assert_eq!(opened.unwrap_err(), rustix::io::Errno::NOENT);
    }
    let status = Command::new(program)
        .arg("nothing")
        .stdout(Stdio::null())
        .status();
    assert!(status.unwrap().success(), "{program}");
    misses as u64
}
