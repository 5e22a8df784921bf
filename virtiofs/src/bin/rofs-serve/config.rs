// SPDX-License-Identifier: Apache-2.0 OR MIT
//! From options to what shall be done: every value checked, every default filled in.

use std::collections::HashSet;
use std::os::fd::RawFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::ArgMatches;

use virtiofs::dax::{Mode, is_window_size};
use virtiofs::server;
use virtiofs::vhost::DaxOptions;

use crate::args::{self, Args, CacheArg, DaxArg, LayoutArg, LogArg, SandboxArg, SeccompArg};
use crate::closure::Wanted;
use crate::compat::Compat;
use crate::failure::{Failure, Outcome, fail};
use crate::file::{self, File};
use crate::sandbox::idmap::IdMap;
use crate::shares::{self, RawShare, Size};

/// What a virtio-fs device has room for in its configuration space.
const TAG_MAX: usize = 36;
/// `sun_path` less the NUL at its end.
const SOCKET_PATH_MAX: usize = 107;
/// Open files: those last read and their store paths are kept, and there are sockets and rings.
const FILES_NEEDED: u64 = 512;
const DEFAULT_DIR: &str = "/nix/store";
const DEFAULT_QUEUES: usize = 4;

#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) shares: Vec<Share>,
    pub(crate) group: Option<String>,
    pub(crate) keep: bool,
    pub(crate) sandbox: SandboxArg,
    pub(crate) seccomp: SeccompArg,
    pub(crate) uid_map: Vec<IdMap>,
    pub(crate) gid_map: Vec<IdMap>,
    /// `None`: as many as allowed.
    pub(crate) rlimit_nofile: Option<u64>,
    pub(crate) poll: Duration,
    /// In bytes, for each store.
    pub(crate) index_limit: usize,
    pub(crate) log: LogArg,
    pub(crate) syslog: bool,
    /// Options that would be misunderstood if nobody said that they do nothing.
    pub(crate) not_done: Vec<String>,
    /// Options that need nothing done.
    pub(crate) moot: Vec<String>,
}

#[derive(Clone, Debug)]
pub(crate) struct Share {
    pub(crate) endpoint: Endpoint,
    pub(crate) dir: PathBuf,
    pub(crate) tag: Option<String>,
    pub(crate) layout: LayoutArg,
    pub(crate) cache: CacheArg,
    pub(crate) root_timeout: Duration,
    pub(crate) closure: Option<Wanted>,
    pub(crate) allow_mmap: bool,
    pub(crate) readdirplus: bool,
    pub(crate) queues: u16,
    pub(crate) dax: Option<DaxOptions>,
    pub(crate) dax_min: u64,
}

/// Where a share's client comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Endpoint {
    Socket(PathBuf),
    Inherited(RawFd),
    Mount(PathBuf),
}

impl Config {
    /// `activated` are the sockets the service manager passed.
    pub(crate) fn new(args: &Args, matches: &ArgMatches, activated: &[RawFd]) -> Outcome<Config> {
        let compat = Compat::parse(&args.compat)?;
        let file = match &args.process.config {
            Some(path) => file::read(path)?,
            None => File::default(),
        };
        let mut raw = shares::group(matches, &args.share)?;
        raw.extend(file.share);
        if raw.is_empty() {
            raw.push(RawShare::default());
        }
        apply_compat(&compat, &mut raw)?;
        assign_activated(&mut raw, activated)?;
        let threads = args
            .process
            .thread_pool_size
            .or(file.thread_pool_size)
            .filter(|n| *n > 0)
            .map(|n| u16::try_from(n).unwrap_or(u16::MAX));
        let shares = raw
            .into_iter()
            .map(|share| check(share, compat.readdirplus, threads))
            .collect::<Outcome<Vec<Share>>>()?;
        refuse_twins(&shares)?;

        let process = &args.process;
        let group = process.socket_group.clone().or(file.socket_group);
        if group.is_some()
            && !shares
                .iter()
                .any(|s| matches!(s.endpoint, Endpoint::Socket(_)))
        {
            fail!("--socket-group: there is no --socket-path whose socket could be given to it");
        }
        let or_file = |given: &[String], file: Vec<String>| {
            if given.is_empty() {
                file
            } else {
                given.to_vec()
            }
        };
        let maps = |flag: &'static str, texts: Vec<String>| {
            texts
                .iter()
                .map(|text| IdMap::parse(flag, text))
                .collect::<Outcome<Vec<IdMap>>>()
        };
        let debug = args.debug.then_some(LogArg::Debug);
        Ok(Config {
            shares,
            group,
            keep: process.keep || file.keep,
            sandbox: compat
                .sandbox
                .or(process.sandbox)
                .or(file.sandbox)
                .unwrap_or(SandboxArg::Namespace),
            seccomp: process.seccomp.or(file.seccomp).unwrap_or(SeccompArg::Kill),
            uid_map: maps("--uid-map", or_file(&args.ids.uid_map, file.uid_map))?,
            gid_map: maps("--gid-map", or_file(&args.ids.gid_map, file.gid_map))?,
            rlimit_nofile: rlimit_nofile(process.rlimit_nofile.or(file.rlimit_nofile))?,
            poll: poll(process.poll.or(file.poll))?,
            index_limit: index_limit(process.index_limit.or(file.index_limit))?,
            log: debug
                .or(compat.log_level)
                .or(process.log_level)
                .or(file.log_level)
                .unwrap_or(LogArg::Info),
            syslog: process.syslog || file.syslog,
            not_done: args::given_under(args::NOT_DONE, matches),
            moot: [args::given_under(args::MOOT, matches), compat.moot].concat(),
        })
    }

    /// Whether any share is mounted on this host.
    pub(crate) fn mounts(&self) -> bool {
        self.shares
            .iter()
            .any(|share| matches!(share.endpoint, Endpoint::Mount(_)))
    }
}

fn apply_compat(compat: &Compat, shares: &mut [RawShare]) -> Outcome<()> {
    if compat.source.is_none() && compat.cache.is_none() {
        return Ok(());
    }
    let [share] = shares else {
        fail!(
            "-o source= and -o cache= can only be used with one share; use --shared-dir, --cache"
        );
    };
    share.shared_dir = compat.source.clone().or(share.shared_dir.take());
    share.cache = compat.cache.or(share.cache);
    Ok(())
}

/// Shares that name no socket take those of the service manager, in order.
fn assign_activated(shares: &mut [RawShare], activated: &[RawFd]) -> Outcome<()> {
    let waiting = shares.iter_mut().filter(|share| !share.has_endpoint());
    let mut fds = activated.iter();
    let mut missing = 0;
    for share in waiting {
        share.fd = fds.next().copied();
        missing += usize::from(share.fd.is_none());
    }
    if missing > 0 {
        match activated.len() {
            0 => fail!(
                "nowhere to serve: give --socket-path PATH (or --fd N, or --mount DIR, or have \
                 systemd pass a socket)"
            ),
            n => fail!(
                "systemd passed {n} socket(s), which leaves {missing} share(s) without: give these \
                 a --socket-path, or add sockets to the unit"
            ),
        }
    }
    match fds.len() {
        0 => Ok(()),
        n => fail!("systemd passed {n} socket(s) more than there are shares to serve on them"),
    }
}

fn check(raw: RawShare, readdirplus: Option<bool>, threads: Option<u16>) -> Outcome<Share> {
    let endpoint = match (raw.socket_path, raw.fd, raw.mount) {
        (Some(path), None, None) => Endpoint::Socket(socket_path(path)?),
        (None, Some(fd), None) if fd >= 0 => Endpoint::Inherited(fd),
        (None, Some(fd), None) => fail!("--fd {fd}: a file descriptor is not negative"),
        (None, None, Some(dir)) => Endpoint::Mount(dir),
        _ => fail!("a share takes one of socket-path, fd and mount; make several shares of it"),
    };
    if let Some(tag) = &raw.tag {
        match tag.len() {
            0 => fail!("--tag: the tag is empty; a guest mounts the share by this name"),
            n if n > TAG_MAX => {
                fail!("--tag {tag}: {n} bytes are too many, a virtio-fs tag has at most {TAG_MAX}")
            }
            _ if tag.contains('\0') => fail!("--tag: a tag cannot contain a NUL"),
            _ => {}
        }
    }
    let dir = raw.shared_dir.unwrap_or_else(|| PathBuf::from(DEFAULT_DIR));
    if dir.as_os_str().is_empty() {
        fail!("--shared-dir: the path is empty");
    }
    let root_timeout = Duration::try_from_secs_f64(raw.root_timeout.unwrap_or(1.0))
        .map_err(|_| Failure::new("--root-timeout: not a number of seconds"))?;
    let layout = raw.layout.unwrap_or(LayoutArg::Auto);
    let cache = raw.cache.unwrap_or(CacheArg::Auto);
    let closure = closure(raw.closure, raw.nix_database, layout, cache)?;
    let queues = match raw.queues {
        Some(n @ 1..=64) => n,
        Some(n) => fail!("--queues {n}: expected 1 to 64"),
        None => default_queues(),
    };
    let dax = dax(raw.dax, raw.window, raw.dax_min, &endpoint)?;
    Ok(Share {
        endpoint,
        dir,
        tag: raw.tag,
        layout,
        cache,
        root_timeout,
        closure,
        allow_mmap: raw.allow_mmap.unwrap_or(false),
        readdirplus: readdirplus.unwrap_or(!raw.no_readdirplus.unwrap_or(false)),
        // Each queue has a thread, so that a bound on threads is one on queues. virtiofsd has one
        // queue whatever the pool, so nobody who passes this asks for more.
        queues: threads.map_or(queues, |most| queues.min(most)),
        dax,
        dax_min: raw.dax_min.map_or(server::Options::DAX_MIN, |min| min.0),
    })
}

fn closure(
    paths_and_files: Option<Vec<PathBuf>>,
    database: Option<PathBuf>,
    layout: LayoutArg,
    cache: CacheArg,
) -> Outcome<Option<Wanted>> {
    let Some(paths_and_files) = paths_and_files else {
        if database.is_some() {
            fail!("--nix-database: only --closure has a use for it");
        }
        return Ok(None);
    };
    if paths_and_files.is_empty() {
        fail!("--closure: names no path; leave it out, or give an empty file to show nothing");
    }
    if layout == LayoutArg::Plain {
        fail!("--closure: a share with --layout plain has no store paths to choose from");
    }
    if matches!(cache, CacheArg::Never | CacheArg::Metadata) {
        fail!("--closure: not with --cache never or metadata, which serve a store as a plain tree");
    }
    Ok(Some(Wanted {
        paths_and_files,
        database,
    }))
}

fn dax(
    mode: Option<DaxArg>,
    window: Option<Size>,
    min: Option<Size>,
    endpoint: &Endpoint,
) -> Outcome<Option<DaxOptions>> {
    let mode = match mode.unwrap_or(DaxArg::Off) {
        DaxArg::Off if window.is_some() => fail!("--window: there is one with --dax auto only"),
        DaxArg::Off if min.is_some() => fail!("--dax-min: files are mapped with --dax auto only"),
        DaxArg::Off => return Ok(None),
        DaxArg::Auto => Mode::Auto,
        DaxArg::Direct => Mode::Direct,
        DaxArg::Copy => Mode::Copy,
    };
    if matches!(endpoint, Endpoint::Mount(_)) {
        fail!("--dax: only virtual machines have a window; this share is mounted on this host");
    }
    let size = window.map_or(DaxOptions::DEFAULT_SIZE, |size| size.0);
    if !is_window_size(size) || size > DaxOptions::MAX_SIZE {
        fail!(
            "--window: the size of a window is a power of two from 2M to {}G, not {size} bytes",
            DaxOptions::MAX_SIZE >> 30
        );
    }
    Ok(Some(DaxOptions { mode, size }))
}

fn poll(micros: Option<u32>) -> Outcome<Duration> {
    match micros.unwrap_or(0) {
        micros @ 0..=1000 => Ok(Duration::from_micros(micros.into())),
        micros => fail!("--poll {micros}: expected at most 1000 microseconds"),
    }
}

fn rlimit_nofile(limit: Option<u64>) -> Outcome<Option<u64>> {
    match limit {
        Some(few @ 1..FILES_NEEDED) => fail!(
            "--rlimit-nofile {few}: the server itself needs {FILES_NEEDED}; give that or more, or 0 \
             to leave the limit alone"
        ),
        limit => Ok(limit),
    }
}

fn index_limit(mib: Option<u32>) -> Outcome<usize> {
    match mib.unwrap_or(1024) {
        0 => fail!("--index-limit 0: expected at least 1 MiB"),
        mib => Ok(usize::try_from(mib)
            .unwrap_or(usize::MAX)
            .saturating_mul(1 << 20)),
    }
}

fn default_queues() -> u16 {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    u16::try_from(processors.min(DEFAULT_QUEUES)).unwrap_or(1)
}

fn socket_path(path: PathBuf) -> Outcome<PathBuf> {
    match path.as_os_str().len() {
        0 => fail!("--socket-path: the path is empty"),
        n if n > SOCKET_PATH_MAX => fail!(
            "--socket-path {}: {n} bytes are too many, a Unix socket's path has at most \
             {SOCKET_PATH_MAX}; choose a shorter one",
            path.display()
        ),
        _ => Ok(path),
    }
}

fn refuse_twins(shares: &[Share]) -> Outcome<()> {
    let mut seen = HashSet::new();
    for share in shares {
        if !seen.insert(same_place(&share.endpoint)) {
            match &share.endpoint {
                Endpoint::Socket(path) => {
                    fail!("--socket-path {}: given for two shares", path.display())
                }
                Endpoint::Inherited(fd) => fail!("--fd {fd}: given for two shares"),
                Endpoint::Mount(dir) => fail!("--mount {}: given for two shares", dir.display()),
            }
        }
    }
    Ok(())
}

/// `a` and `./a` are one socket.
fn same_place(endpoint: &Endpoint) -> Endpoint {
    let full = |path: &Path| {
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        match (parent.canonicalize(), path.file_name()) {
            (Ok(parent), Some(name)) => parent.join(name),
            _ => path.to_owned(),
        }
    };
    match endpoint {
        Endpoint::Socket(path) => Endpoint::Socket(full(path)),
        Endpoint::Inherited(fd) => Endpoint::Inherited(*fd),
        Endpoint::Mount(dir) => Endpoint::Mount(full(dir)),
    }
}
