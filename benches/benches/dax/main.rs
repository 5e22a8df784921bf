// SPDX-License-Identifier: Apache-2.0 OR MIT
//! DAX windows: what a mapping costs the host, and what a guest gains by it.
//!
//! The guest is a real one, in software emulation, which makes everything slower but the copying:
//! only the ratios between its rows mean something.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    missing_docs
)]

mod guests;

use std::fs::{self, File, Permissions};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rofs_benches::ours::OURS;
use rofs_benches::report::{Report, Row, is_test};
use rofs_tests::frontend::{FrontEnd, Vmm};
use rofs_tests::linux::guest_check;
use rofs_tests::share::Share;
use rofs_tests::window::{Manner, Window};
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use virtiofs::dax::{DaxWindow, Direct, Mode, RANGE};
use virtiofs::fs::Mapping;
use virtiofs::store::{NixOptions, NixStore, open_root};
use virtiofs::vhost::{DaxOptions, DeviceOptions, Tag};

const PATH: &str = "0c0rrxjqxxlrm5dw7mnq9lfw5ah2dxcz-dax";

fn main() {
    let mut report = Report::new("dax");
    let store = Store::new(if is_test() { 8 } else { 192 });
    copying(&mut report, &store);
    round_trip(&mut report, &store);
    host_memory(&mut report, &store);
    guests::times(&mut report, &store);
    guests::requests(&mut report, &store);
    guests::memory(&mut report, &store);
    report.finish();
}

/// Sizes of files, in KiB, that are used once, and how many there are of each.
const SIZES: [u64; 6] = [64, 128, 256, 512, 1024, 2048];
const OF_EACH: u64 = 8;

/// A store with one large file, one program, and smaller files of several sizes.
struct Store {
    dir: tempfile::TempDir,
    size: u64,
}

impl Store {
    fn new(mib: u64) -> Store {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(PATH);
        fs::create_dir(&path).unwrap();
        let words = (0..mib << 17).flat_map(|word| (word * 8).to_le_bytes());
        fs::write(path.join("large"), words.collect::<Vec<u8>>()).unwrap();
        fs::copy(guest_check(), path.join("program")).unwrap();
        let mut all = vec![("large".to_owned(), 0o444), ("program".to_owned(), 0o555)];
        for kib in SIZES {
            for number in 0..OF_EACH {
                let words = (0..kib << 7).flat_map(|word| (word + number).to_le_bytes());
                let name = format!("{kib}-{number}");
                fs::write(path.join(&name), words.collect::<Vec<u8>>()).unwrap();
                all.push((name, 0o444));
            }
        }
        all.push((String::new(), 0o555));
        for (name, mode) in all {
            let path = path.join(name);
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let second = Timespec {
                tv_sec: 1,
                tv_nsec: 0,
            };
            let times = Timestamps {
                last_access: second,
                last_modification: second,
            };
            utimensat(CWD, &path, &times, AtFlags::empty()).unwrap();
        }
        Store {
            dir,
            size: mib << 20,
        }
    }

    fn large(&self) -> Arc<OwnedFd> {
        let path = self.dir.path().join(PATH).join("large");
        Arc::new(File::open(path).unwrap().into())
    }

    fn share(&self, mode: Mode) -> Share {
        let root = open_root(self.dir.path()).unwrap();
        let store = Arc::new(NixStore::new(root, NixOptions::default()).unwrap());
        let options = DeviceOptions {
            tag: Some(Tag::new("dax").unwrap()),
            dax: Some(DaxOptions {
                mode,
                size: self.size.next_power_of_two(),
            }),
            ..DeviceOptions::default()
        };
        Share::start(store, options)
    }
}

fn median(mut samples: Vec<Duration>) -> f64 {
    samples.sort_unstable();
    samples[samples.len() / 2].as_nanos() as f64
}

/// Copying 2 MiB into a window, beside reading them into memory that is there already.
fn copying(report: &mut Report, store: &Store) {
    let what = "2 MiB into memory";
    let file = store.large();
    let mapping = Mapping {
        file: Arc::clone(&file),
        fixed: true,
        len: RANGE,
    };
    let window = Nobody::copies(store.size.next_power_of_two());
    window.open().unwrap();
    let ranges = store.size / RANGE;
    let rounds = if is_test() { 1 } else { 5 };
    let (mut copied, mut read) = (Vec::new(), Vec::new());
    let mut buffer = vec![1; RANGE as usize];
    for _ in 0..rounds {
        for range in 0..ranges {
            let at = range * RANGE;
            let begin = Instant::now();
            window.map(at, RANGE, &mapping, at).unwrap();
            copied.push(begin.elapsed());
            let begin = Instant::now();
            let got = rustix::io::pread(&*file, &mut buffer, at).unwrap();
            read.push(begin.elapsed());
            assert_eq!(got, buffer.len());
        }
        window.unmap(0, store.size).unwrap();
    }
    report.add(Row::new(what, OURS, "ns", median(copied)));
    report.add(Row::new(what, "pread", "ns", median(read)));
}

/// A front-end that says yes.
struct Nobody;

impl Nobody {
    fn copies(size: u64) -> virtiofs::dax::Copied {
        virtiofs::dax::Copied::new(size, Arc::new(Nobody)).unwrap()
    }
}

impl virtiofs::dax::Mapper for Nobody {
    fn map(
        &self,
        _: u64,
        _: std::os::fd::BorrowedFd<'_>,
        _: u64,
        _: u64,
    ) -> Result<(), virtiofs::dax::MapError> {
        Ok(())
    }

    fn unmap(&self, _: u64, _: u64) -> Result<(), virtiofs::dax::MapError> {
        Ok(())
    }
}

/// SETUPMAPPING of 2 MiB through a ring and, for files themselves, through the front-end.
fn round_trip(report: &mut Report, store: &Store) {
    for (mode, subject) in [(Mode::Direct, OURS), (Mode::Copy, "rofs-serve, copy")] {
        let share = store.share(mode);
        let (mut front, window) = connect(&share);
        let mut client = Client::new(&mut front);
        let mut samples = Vec::new();
        for _ in 0..if is_test() { 1 } else { 5 } {
            for range in 0..store.size / RANGE {
                samples.push(client.map(range * RANGE));
            }
        }
        assert!(window.asked().len() > 1 || mode == Mode::Copy);
        report.add(Row::new(
            "SETUPMAPPING of 2 MiB, round trip",
            subject,
            "ns",
            median(samples),
        ));
    }
    // How much of it is the window's own bookkeeping.
    let window = Direct::new(store.size.next_power_of_two(), Arc::new(Nobody)).unwrap();
    window.open().unwrap();
    let mapping = Mapping {
        file: store.large(),
        fixed: true,
        len: RANGE,
    };
    let mut samples = Vec::new();
    for range in 0..store.size / RANGE {
        let begin = Instant::now();
        window
            .map(range * RANGE, RANGE, &mapping, range * RANGE)
            .unwrap();
        samples.push(begin.elapsed());
    }
    let what = "SETUPMAPPING of 2 MiB, round trip";
    report.add(Row::new(what, "window alone", "ns", median(samples)));
}

fn connect(share: &Share) -> (FrontEnd, Window) {
    let mut front = FrontEnd::greet(share.socket(), Vmm::Crosvm, 1);
    let window = Window::attach(&front, Manner::ReadOnly);
    front.activate();
    (front, window)
}

/// A guest that maps the large file.
struct Client<'f> {
    client: rofs_tests::fuse::Client<'f>,
    node: u64,
}

impl<'f> Client<'f> {
    fn new(front: &'f mut FrontEnd) -> Client<'f> {
        let mut client = rofs_tests::fuse::Client::new(front, 1);
        assert!(client.init_dax(), "there is no window");
        let dir = client
            .lookup(rofs_tests::fuse::ROOT, PATH.as_bytes())
            .unwrap();
        let node = client.lookup(dir, b"large").unwrap();
        Client { client, node }
    }

    /// Maps a range where it is in the file; how long it took.
    fn map(&mut self, at: u64) -> Duration {
        let begin = Instant::now();
        let error = self.client.setup_mapping(self.node, at, RANGE, at);
        assert_eq!(error, 0);
        begin.elapsed()
    }
}

/// What the host pays when 1, 4 and 8 guests have seen all of one file: its pages are counted
/// once for the host, whoever has them mapped.
fn host_memory(report: &mut Report, store: &Store) {
    for (mode, subject) in [(Mode::Direct, OURS), (Mode::Copy, "rofs-serve, copy")] {
        let shares: Vec<Share> = (0..8).map(|_| store.share(mode)).collect();
        let mut guests = Vec::new();
        for (number, share) in shares.iter().enumerate() {
            let (mut front, window) = connect(share);
            let mut client = Client::new(&mut front);
            for range in 0..store.size / RANGE {
                client.map(range * RANGE);
                window.read(range * RANGE, RANGE as usize);
            }
            guests.push((front, window));
            if [1, 4, 8].contains(&(number + 1)) {
                let what = format!("host memory, {} guests of one file", number + 1);
                let memory = window_memory() / store.size as f64;
                report.add(Row::new(&what, subject, "x the file", memory));
            }
        }
    }
}

/// The share of this process in pages that are mapped into windows (`Pss`), in bytes.
fn window_memory() -> f64 {
    let smaps = fs::read_to_string("/proc/self/smaps").unwrap();
    let (mut counts, mut sum) = (false, 0.0);
    for line in smaps.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("Pss:") if counts => {
                sum += words.next().unwrap().parse::<f64>().unwrap() * 1024.0;
            }
            Some(first) if !first.ends_with(':') => {
                counts = line.ends_with("/large") || line.contains("memfd:dax");
            }
            _ => {}
        }
    }
    sum
}
