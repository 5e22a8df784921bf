// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The table of options: virtiofsd's, and a few of our own. What they mean is decided in `config`.

use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, Args as Group, CommandFactory, Parser, ValueEnum};
use serde::Deserialize;

/// Heading of the options that need nothing done.
pub(crate) const MOOT: &str = "Accepted, with nothing to do";
/// Heading of the options that are not honoured.
pub(crate) const NOT_DONE: &str = "Accepted, with a warning that it is not done";

const ABOUT: &str = "Serves read-only directories, above all /nix/store, to virtual machines over \
virtio-fs (vhost-user), or to this host over /dev/fuse.";

const LONG_ABOUT: &str = "Serves read-only directories, above all /nix/store, to virtual machines \
over virtio-fs (vhost-user), or to this host over /dev/fuse.

Takes every option of virtiofsd 1.14, so that it can be put in its place. A guest can never write: \
there is no code for it.

Several directories or several machines can be served by one process, which then keeps one index \
for all of them: repeat the options under \"Share\". Each option that repeats starts the next \
share. (With a single socket the last value counts, as in virtiofsd.)";

const AFTER: &str = "EXAMPLES:
  rofs-serve --socket-path /run/vm1.sock --tag store
  rofs-serve --socket-path a.sock --tag store --socket-path b.sock --tag home --shared-dir /home
  rofs-serve --mount /tmp/look --shared-dir /nix/store

Exits 0 when its clients are gone (see --keep) or after SIGTERM, SIGINT or SIGHUP; 2 when it could \
not start; 1 when serving failed.";

#[derive(Debug, Parser)]
#[command(
    name = "rofs-serve",
    version,
    about = ABOUT,
    long_about = LONG_ABOUT,
    after_long_help = AFTER,
    args_override_self = true
)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) share: ShareArgs,
    #[command(flatten)]
    pub(crate) process: ProcessArgs,
    #[command(flatten)]
    pub(crate) ids: IdArgs,
    #[command(flatten)]
    pub(crate) moot: MootArgs,
    #[command(flatten)]
    pub(crate) unsupported: UnsupportedArgs,

    /// Options of the C virtiofsd, which older libvirt passes: source=DIR, cache=, sandbox=,
    /// loglevel=, [no_]readdirplus, and with no effect: modcaps=, xattrmap=, [no_]xattr,
    /// [no_]writeback, [no_]allow_direct_io, announce_submounts, [no_]killpriv_v2, [no_]posix_acl,
    /// [no_]security_label, no_posix_lock, no_flock
    #[allow(rustdoc::broken_intra_doc_links)] // brackets of a help text
    #[arg(short = 'o', value_name = "OPTION,...", action = ArgAction::Append)]
    #[arg(help_heading = "Old spellings")]
    pub(crate) compat: Vec<String>,
    /// The same as --log-level debug
    #[arg(short = 'd', help_heading = "Old spellings")]
    pub(crate) debug: bool,
    /// Nothing: the server always runs in the foreground
    #[arg(short = 'f', help_heading = "Old spellings")]
    pub(crate) foreground: bool,
}

/// Options that say what is served, and where. Each is a list here: which values belong together
/// is decided by their order on the command line.
#[derive(Debug, Default, Group)]
#[command(next_help_heading = "Share (repeat for more shares)")]
pub(crate) struct ShareArgs {
    /// Listen for the virtual machine on this socket. Beside it lies PATH.pid, locked while the
    /// server lives
    #[arg(long, value_name = "PATH", action = ArgAction::Append, visible_alias = "socket")]
    pub(crate) socket_path: Vec<PathBuf>,
    /// Use this inherited socket: a listening one, or one already connected. Sockets passed by
    /// systemd (LISTEN_FDS) are taken, in their order, by the shares that name none
    #[arg(long, value_name = "N", action = ArgAction::Append, allow_negative_numbers = true)]
    pub(crate) fd: Vec<i32>,
    /// Mount the share on this directory of this host, through /dev/fuse; no virtual machine needed
    #[arg(long, value_name = "DIR", action = ArgAction::Append)]
    pub(crate) mount: Vec<PathBuf>,
    /// The directory to serve [default: /nix/store]
    #[arg(long, value_name = "DIR", action = ArgAction::Append)]
    pub(crate) shared_dir: Vec<PathBuf>,
    /// Name of the share for the guest, at most 36 bytes. Only for VMMs that ask the server for it
    /// (crosvm, libkrun, User-Mode Linux); QEMU and Cloud Hypervisor set it themselves
    #[arg(long, value_name = "TAG", action = ArgAction::Append)]
    pub(crate) tag: Vec<String>,
    /// What the directory is: a Nix store, whose finished paths never change, or any tree.
    /// auto looks and says in the log what it found [default: auto]
    #[arg(long, value_enum, action = ArgAction::Append, ignore_case = true)]
    pub(crate) layout: Vec<LayoutArg>,
    /// How long a guest may trust what it was told. In a Nix store: auto and always mean for ever
    /// below finished paths, and --root-timeout for the list of paths; never and metadata serve it
    /// like a plain tree. In a plain tree as in virtiofsd: never, metadata (attributes a day, data
    /// never), auto (a second), always (a day) [default: auto]
    #[arg(long, value_enum, action = ArgAction::Append, ignore_case = true)]
    pub(crate) cache: Vec<CacheArg>,
    /// How long a guest may trust the top directory of a Nix store, in seconds: so long may a path
    /// that was collected still be listed. New paths appear at once [default: 1]
    #[arg(long, value_name = "SECS", action = ArgAction::Append, value_parser = seconds)]
    #[arg(allow_negative_numbers = true)]
    pub(crate) root_timeout: Vec<f64>,
    /// Show nothing of a Nix store but these store paths and what they refer to, by its database. Of
    /// all others a guest cannot tell that they exist. Or a FILE which lists all paths to show, one
    /// a line, with nothing added; when it is replaced or written anew, what it lists then is shown
    #[arg(long, value_name = "PATH|FILE", num_args = 1.., action = ArgAction::Append)]
    pub(crate) closure: Vec<PathBuf>,
    /// The Nix database that tells what store paths refer to [default: the one beside the store,
    /// STORE/../var/nix/db/db.sqlite]
    #[arg(long, value_name = "FILE", action = ArgAction::Append)]
    pub(crate) nix_database: Vec<PathBuf>,
    /// Let guests mmap files with MAP_SHARED although --cache never or metadata
    #[arg(long, num_args = 0, default_missing_value = "true", action = ArgAction::Append)]
    pub(crate) allow_mmap: Vec<bool>,
    /// Do not offer READDIRPLUS
    #[arg(long, num_args = 0, default_missing_value = "true", action = ArgAction::Append)]
    pub(crate) no_readdirplus: Vec<bool>,
    /// Request queues to offer to the VMM, each with a thread of its own
    /// [default: as many as processors, at most 4]
    #[arg(long, value_name = "N", action = ArgAction::Append)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) queues: Vec<u16>,
    /// Let the guest map files into a DAX window instead of reading them. direct: the host's own
    /// pages, read-only, if the VMM can (crosvm). copy: a copy for this guest alone, which works
    /// with QEMU 11.1 too. auto: direct if the VMM maps read-only, else copy. In no case can a guest
    /// write to a file [default: off]
    #[arg(long, value_enum, action = ArgAction::Append, ignore_case = true)]
    pub(crate) dax: Vec<DaxArg>,
    /// Size of the DAX window, a power of two from 2M to 64G. It costs a guest 1/64 of it for
    /// bookkeeping, and with copies the host as much as is mapped [default: 512M]
    #[arg(long, value_name = "SIZE", action = ArgAction::Append, value_parser = size)]
    #[arg(allow_negative_numbers = true)]
    pub(crate) window: Vec<u64>,
    /// Files shorter than this are read, not mapped; programs and libraries shorter than a quarter
    /// of it. A mapping takes 2M of the window, however short the file [default: 1M]
    #[arg(long, value_name = "SIZE", action = ArgAction::Append, value_parser = size)]
    #[arg(allow_negative_numbers = true)]
    pub(crate) dax_min: Vec<u64>,
}

#[derive(Debug, Group)]
#[command(next_help_heading = "Process")]
pub(crate) struct ProcessArgs {
    /// Read shares and settings from a TOML file: one [[share]] table for each, keys named as
    /// these options without the dashes in front. Options given here too count more
    #[allow(rustdoc::broken_intra_doc_links)] // as above
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Give the sockets to this group, mode 0660. Without it only the owner may connect
    #[arg(long, value_name = "GROUP")]
    pub(crate) socket_group: Option<String>,
    /// Listen again when a client went away, instead of exiting
    #[arg(long)]
    pub(crate) keep: bool,
    /// Most threads serving the requests of one share, and so the most queues; 0 is no limit
    #[arg(long, value_name = "N")]
    pub(crate) thread_pool_size: Option<u64>,
    /// How to lock the server in. namespace: own PID, mount and network namespaces, in which only
    /// the shares exist, read-only; an ordinary user gets a user namespace too. chroot: into the
    /// first share, for root only. none [default: namespace]
    #[arg(long, value_enum, ignore_case = true)]
    pub(crate) sandbox: Option<SandboxArg>,
    /// What happens on a system call that the server never needs [default: kill]
    #[arg(long, value_enum, ignore_case = true)]
    pub(crate) seccomp: Option<SeccompArg>,
    /// Open files allowed; 0 leaves the limit alone. The server itself needs few: it holds none for
    /// files that guests know [default: 1000000 or as many as allowed]
    #[arg(long, value_name = "N")]
    pub(crate) rlimit_nofile: Option<u64>,
    /// Microseconds for which a queue's thread looks for the next request before it sleeps, while
    /// requests follow each other that quickly. For hosts with processors to spare; left alone for a
    /// while where it is in a guest's way. 50 is worth a try; 0 is never [default: 0]
    #[arg(long, value_name = "MICROS", value_parser = clap::value_parser!(u32).range(..=1000))]
    pub(crate) poll: Option<u32>,
    /// Memory that the index of a Nix store may take, in MiB. What was not used for longest is
    /// dropped, and read again when somebody asks for it [default: 1024]
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) index_limit: Option<u32>,
    /// How much to log, to stderr. The variable RUST_LOG, if set, counts more [default: info]
    #[arg(long, value_enum, ignore_case = true)]
    pub(crate) log_level: Option<LogArg>,
    /// Log to the system log instead of stderr
    #[arg(long)]
    pub(crate) syslog: bool,
    /// Print what this back-end can do, as JSON for libvirt, and exit
    #[arg(long)]
    pub(crate) print_capabilities: bool,
}

#[derive(Debug, Group)]
#[command(next_help_heading = "User namespace of the sandbox")]
pub(crate) struct IdArgs {
    /// Users mapped into the sandbox's user namespace, by newuidmap. The owners that guests see do
    /// not depend on it
    #[arg(long, value_name = ":INSIDE:HOST:COUNT:", action = ArgAction::Append)]
    pub(crate) uid_map: Vec<String>,
    /// The same for groups, by newgidmap
    #[arg(long, value_name = ":INSIDE:HOST:COUNT:", action = ArgAction::Append)]
    pub(crate) gid_map: Vec<String>,
}

/// Options of virtiofsd that are granted already, or mean nothing for read-only shares.
#[derive(Debug, Group)]
#[command(next_help_heading = MOOT)]
#[allow(dead_code)] // asked for by their heading only
pub(crate) struct MootArgs {
    /// Always so
    #[arg(long)]
    readonly: bool,
    /// Store paths carry no extended attributes, and none are shown
    #[arg(long)]
    xattr: bool,
    /// No extended attributes, so no names to map
    #[arg(long, value_name = "RULES")]
    xattrmap: Option<String>,
    /// Store paths carry no ACLs; the guest checks permission bits
    #[arg(long, value_name = "never|auto|always", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "always", value_parser = ["never", "auto", "always"])]
    posix_acl: Option<String>,
    /// Store paths carry no security labels
    #[arg(long, value_name = "never|auto|always", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "always", value_parser = ["never", "auto", "always"])]
    security_label: Option<String>,
    /// Mounts inside a share are shown as directories: an automount in a store breaks overlayfs
    #[arg(long)]
    announce_submounts: bool,
    /// Always so
    #[arg(long)]
    no_announce_submounts: bool,
    /// No file descriptor is held for each inode, so nothing has to stand in for it
    #[arg(long, value_name = "never|prefer|mandatory")]
    #[arg(value_parser = ["never", "prefer", "fallback", "mandatory"])]
    inode_file_handles: Option<String>,
    /// Nothing is written
    #[arg(long)]
    writeback: bool,
    /// Files are read through the host's page cache, which all guests share
    #[arg(long)]
    allow_direct_io: bool,
    /// Nothing is written, so no set-user-ID bit can become wrong
    #[arg(long)]
    killpriv_v2: bool,
    /// Always so
    #[arg(long)]
    no_killpriv_v2: bool,
    /// Always so: a read-only mount has no access times to change
    #[arg(long)]
    preserve_noatime: bool,
    /// The server keeps no capabilities (to serve a plain tree as root: CAP_DAC_READ_SEARCH)
    #[arg(long, value_name = "LIST")]
    modcaps: Option<String>,
}

/// Options of virtiofsd that would change what guests see, and are not honoured.
#[derive(Debug, Group)]
#[command(next_help_heading = NOT_DONE)]
#[allow(dead_code)] // asked for by their heading only
pub(crate) struct UnsupportedArgs {
    /// Owners are shown as they are; in a Nix store all is root's
    #[arg(long, value_name = "KIND:...", action = ArgAction::Append)]
    translate_uid: Vec<String>,
    /// As --translate-uid
    #[arg(long, value_name = "KIND:...", action = ArgAction::Append)]
    translate_gid: Vec<String>,
    /// The server's state is not part of a migration; mount again in the guest
    #[arg(long, value_name = "find-paths|file-handles")]
    #[arg(value_parser = ["find-paths", "file-handles"])]
    migration_mode: Option<String>,
    /// As --migration-mode
    #[arg(long, value_name = "abort|guest-error", value_parser = ["abort", "guest-error"])]
    migration_on_error: Option<String>,
    /// As --migration-mode
    #[arg(long)]
    migration_verify_handles: bool,
    /// As --migration-mode
    #[arg(long)]
    migration_confirm_paths: bool,
}

/// The options given on the command line whose help stands under `heading`.
pub(crate) fn given_under(heading: &str, matches: &ArgMatches) -> Vec<String> {
    Args::command()
        .get_arguments()
        .filter(|arg| arg.get_help_heading() == Some(heading))
        .filter(|arg| matches.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine))
        .filter_map(|arg| arg.get_long().map(|name| format!("--{name}")))
        .collect()
}

macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $($variant:ident),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub(crate) enum $name { $($variant),+ }
    };
}

choice!(LayoutArg { Auto, Nix, Plain });
choice!(CacheArg {
    Never,
    Metadata,
    Auto,
    Always
});
choice!(DaxArg {
    Auto,
    Direct,
    Copy,
    Off
});
choice!(SandboxArg {
    Namespace,
    Chroot,
    None
});
choice!(SeccompArg {
    None,
    Kill,
    Log,
    Trap
});
choice!(LogArg {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace
});

/// A number of bytes, or of KiB, MiB, GiB with a letter behind it.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let (digits, shift) = match text.char_indices().last() {
        Some((at, 'k' | 'K')) => (&text[..at], 10),
        Some((at, 'm' | 'M')) => (&text[..at], 20),
        Some((at, 'g' | 'G')) => (&text[..at], 30),
        _ => (text, 0),
    };
    match digits.parse::<u64>() {
        Ok(n) if n.leading_zeros() >= shift && !digits.starts_with('+') => Ok(n << shift),
        _ => Err("not a number of bytes; K, M or G may stand behind it".to_owned()),
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(secs) if secs.is_finite() && (0.0..=1e9).contains(&secs) => Ok(secs),
        _ => Err("not a number of seconds".to_owned()),
    }
}
