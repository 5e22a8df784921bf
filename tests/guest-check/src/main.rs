// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Looks at a tree from inside a guest (or from the host, to compare): one static program that
//! the initrd carries.
//!
//! - `guest-check tree DIR`: a line for everything below DIR, sorted by path: type, mode, size,
//!   inode links, hash of the contents, path, target. Contents are read and mapped in turns.
//! - `guest-check names DIR`: the number of names in DIR, and a hash of them all, sorted.
//! - `guest-check at FILE OFFSET...`: the 16 bytes at each offset.
//! - `guest-check map FILE`: reads FILE through a mapping, in random order; prints its hash.
//! - `guest-check touch FILE PROGRAM`: how long it takes to use FILE through mappings and to run
//!   PROGRAM, as lines `NAME NANOSECONDS`; and the growth of the page cache, `cached BYTES`.
//! - `guest-check use FILE...`: the nanoseconds it takes to open, map and touch all of a file, on
//!   average.
//!
//! And it does some of what guests do, and says how long it took and over how many things:
//!
//! - `guest-check find DIR`: goes through everything below DIR, as `find` does.
//! - `guest-check stat DIR`: the same, and `lstat` of everything.
//! - `guest-check small DIR`: the same without `lstat`, and reads each file.
//! - `guest-check sequential FILE`: reads a file from its start to its end.
//! - `guest-check start PROGRAM MISSES DIR...`: looks for so many libraries that are not in the
//!   DIRs, then runs PROGRAM with the argument `nothing`.
//! - `guest-check nothing`: nothing.
//!
//! And what a desktop does:
//!
//! - `guest-check paint FRAMEBUFFER RRGGBB...`: fills the screen with bars of these colours.
//! - `guest-check unmute CONTROL`: turns a sound card up.
//! - `guest-check tone DEVICE HZ SECONDS`: plays a sine.

#![allow(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)] // a test program may fail loudly

mod desktop;
mod work;

use std::ffi::{CStr, CString, OsString};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

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
        Some("use") => {
            let begin = Instant::now();
            for file in &args[1..] {
                let mapped = Mapped::new(&File::open(file).unwrap());
                mapped.touch(0..mapped.len / 4096);
            }
            println!("{}", begin.elapsed().as_nanos() / (args.len() - 1) as u128);
        }
        Some("touch") => touch(&File::open(&args[1]).unwrap(), &args[2]),
        _ if work::run(&args) || desktop::run(&args) => {}
        _ => {
            eprintln!(
                "usage: guest-check tree DIR | names DIR | at FILE OFFSET... | map FILE | \
                 touch FILE PROGRAM | find DIR | stat DIR | small DIR | sequential FILE | \
                 start PROGRAM MISSES DIR... | nothing | \
                 paint FRAMEBUFFER RRGGBB... | unmute CONTROL | tone DEVICE HZ SECONDS"
            );
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

/// Whole pages of a file, mapped.
struct Mapped {
    at: *mut std::ffi::c_void,
    len: usize,
}

impl Mapped {
    fn new(file: &File) -> Mapped {
        use rustix::mm::{MapFlags, ProtFlags, mmap};
        let len = usize::try_from(file.metadata().unwrap().len()).unwrap();
        // SAFETY: a new mapping at an address of the kernel's choice.
        let at = unsafe {
            mmap(
                std::ptr::null_mut(),
                len,
                ProtFlags::READ,
                MapFlags::SHARED,
                file,
                0,
            )
        };
        let at = at.unwrap();
        Mapped { at, len }
    }

    /// Reads a byte of each page.
    fn touch(&self, pages: impl Iterator<Item = usize>) -> Duration {
        let begin = Instant::now();
        for page in pages {
            let at = self.at.cast::<u8>().wrapping_add(page * 4096);
            // SAFETY: within the mapping, which is there as long as this is; the file does not change.
            let byte = unsafe { at.read_volatile() };
            std::hint::black_box(byte);
        }
        begin.elapsed()
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`, and nothing refers to it.
        unsafe { rustix::mm::munmap(self.at, self.len).unwrap() };
    }
}

fn page_cache() -> i64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap();
    let line = text.lines().find(|line| line.starts_with("Cached:"));
    let kib = line.unwrap().split_whitespace().nth(1).unwrap();
    kib.parse::<i64>().unwrap() * 1024
}

fn touch(file: &File, program: &std::ffi::OsStr) {
    let pages = usize::try_from(file.metadata().unwrap().len()).unwrap() / 4096;
    // The same for everybody, and in no order.
    let random = |count: usize| {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        (0..count).map(move |_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % pages as u64).unwrap()
        })
    };
    let say = |name: &str, took: Duration, parts: usize| {
        println!("{name} {}", took.as_nanos() / parts as u128);
    };
    let before = page_cache();
    // One range, front to back: what the first use of a file costs.
    say("range", Mapped::new(file).touch(0..512), 1);
    say("first", Mapped::new(file).touch(512..pages), pages - 512);
    println!("cached {}", page_cache() - before);
    say("second", Mapped::new(file).touch(0..pages), pages);
    say("random", Mapped::new(file).touch(random(20_000)), 20_000);
    std::fs::write("/proc/sys/vm/drop_caches", "3").unwrap();
    say("dropped", Mapped::new(file).touch(random(1000)), 1000);
    let run = || {
        let begin = Instant::now();
        let output = std::process::Command::new(program).output().unwrap();
        std::hint::black_box(output);
        begin.elapsed()
    };
    say("exec-first", run(), 1);
    say("exec", (0..10).map(|_| run()).sum(), 10);
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
