// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Looks at a tree from inside a guest (or from the host, to compare): one static program that
//! the initrd carries.
//!
//! - `guest-check tree DIR`: a line for everything below DIR, sorted by path: type, mode, size,
//!   inode links, hash of the contents, path, target. Contents are read and mapped in turns.
//! - `guest-check names DIR`: the number of names in DIR, and a hash of them all, sorted.
//! - `guest-check at FILE OFFSET...`: the 16 bytes at each offset.
//! - `guest-check map FILE`: reads FILE through a mapping, in random order; prints its hash.

#![allow(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)] // a test program may fail loudly

use std::ffi::{CStr, CString, OsString};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;

use rustix::fs::{AtFlags, Mode, OFlags, RawDir};
use xxhash_rust::xxh3::Xxh3;

fn main() {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    let path = |i: usize| CString::new(args[i].as_bytes()).unwrap();
    match args.first().and_then(|a| a.to_str()) {
        Some("tree") => tree(&path(1)),
        Some("names") => names(&path(1)),
        Some("at") => {
            let file = File::open(&args[1]).unwrap();
            for offset in &args[2..] {
                let mut bytes = [0; 16];
                file.read_exact_at(&mut bytes, offset.to_str().unwrap().parse().unwrap())
                    .unwrap();
                println!("{}", escape(&bytes));
            }
        }
        Some("map") => {
            let file = File::open(&args[1]).unwrap();
            let len = file.metadata().unwrap().len();
            println!(
                "{:032x}",
                hash_mapped(&file, usize::try_from(len).unwrap(), true)
            );
        }
        _ => {
            eprintln!("usage: guest-check tree DIR | names DIR | at FILE OFFSET... | map FILE");
            std::process::exit(2);
        }
    }
}

/// Everything that is not printable ASCII, as `\xx`.
fn escape(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        match byte {
            b'!'..=b'~' if *byte != b'\\' => text.push(char::from(*byte)),
            _ => write!(text, "\\{byte:02x}").unwrap(),
        }
    }
    text
}

fn list(dir: &OwnedFd) -> Vec<CString> {
    let mut names = Vec::new();
    let mut buffer = Vec::with_capacity(32 * 1024);
    let mut entries = RawDir::new(dir.as_fd(), buffer.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        let name = entry.unwrap().file_name().to_owned();
        if name.as_c_str() != c"." && name.as_c_str() != c".." {
            names.push(name);
        }
    }
    names.sort();
    let before = names.len();
    names.dedup();
    assert_eq!(before, names.len(), "a name was listed twice");
    names
}

fn names(path: &CStr) {
    let dir = rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
    let names = list(&dir);
    let mut hash = Xxh3::new();
    for name in &names {
        hash.update(name.to_bytes_with_nul());
    }
    println!("{} {:032x}", names.len(), hash.digest128());
}

fn tree(path: &CStr) {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut buffer = vec![0; 1 << 20];
    // Directories are opened from their parents: paths may be longer than the kernel takes.
    let root = rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
    let mut pending = vec![(root, Vec::new())];
    while let Some((dir, prefix)) = pending.pop() {
        let mut subdirs = Vec::new();
        for name in list(&dir) {
            // Nix's own; not served.
            if prefix.is_empty() && name.as_c_str() == c".links" {
                continue;
            }
            let path = [&prefix[..], b"/", name.to_bytes()].concat();
            let stat = rustix::fs::statat(&dir, &name, AtFlags::SYMLINK_NOFOLLOW).unwrap();
            let kind = stat.st_mode & libc::S_IFMT;
            let (size, content) = match kind {
                libc::S_IFDIR => {
                    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW;
                    let sub = rustix::fs::openat(&dir, &name, flags, Mode::empty()).unwrap();
                    subdirs.push((sub, path.clone()));
                    (0, "d".to_owned()) // the size of a directory is the file system's business
                }
                libc::S_IFLNK => {
                    let target = rustix::fs::readlinkat(&dir, &name, Vec::new()).unwrap();
                    (stat.st_size, escape(target.to_bytes()))
                }
                _ => {
                    let flags = OFlags::RDONLY | OFlags::NOFOLLOW;
                    let file = rustix::fs::openat(&dir, &name, flags, Mode::empty()).unwrap();
                    let file = File::from(file);
                    let len = usize::try_from(stat.st_size).unwrap();
                    let hash = if path.len() % 32 == 0 && len > 0 && len < 1 << 30 {
                        hash_mapped(&file, len, false)
                    } else {
                        hash_read(file, &mut buffer)
                    };
                    (stat.st_size, format!("{hash:032x}"))
                }
            };
            let mode = stat.st_mode;
            writeln!(out, "{mode:o} {size} {content} {}", escape(&path)).unwrap();
        }
        pending.append(&mut subdirs);
    }
    out.flush().unwrap();
}

fn hash_read(mut file: File, buffer: &mut [u8]) -> u128 {
    let mut hash = Xxh3::new();
    loop {
        match file.read(buffer).unwrap() {
            0 => return hash.digest128(),
            n => hash.update(&buffer[..n]),
        }
    }
}

fn hash_mapped(file: &File, len: usize, backwards: bool) -> u128 {
    use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
    // SAFETY: a new mapping at an address of the kernel's choice.
    let map = unsafe {
        mmap(
            std::ptr::null_mut(),
            len,
            ProtFlags::READ,
            MapFlags::PRIVATE,
            file,
            0,
        )
        .unwrap()
    };
    // SAFETY: `len` bytes were just mapped there, and the file does not change.
    let bytes = unsafe { std::slice::from_raw_parts(map.cast::<u8>(), len) };
    if backwards {
        for page in bytes.chunks(4096).rev() {
            std::hint::black_box(page[0]);
        }
    }
    let mut hash = Xxh3::new();
    hash.update(bytes);
    // SAFETY: mapped above, and `bytes` is not used any more.
    unsafe { munmap(map, len).unwrap() };
    hash.digest128()
}
