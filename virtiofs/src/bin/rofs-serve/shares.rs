// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which options belong to which share.
//!
//! virtiofsd serves one directory, and there the last of a repeated option counts. With more than
//! one socket, the order on the command line groups the options: one that is already set in the
//! share being described starts the next share.

use std::path::PathBuf;

use clap::ArgMatches;
use serde::Deserialize;

use crate::args::{CacheArg, DaxArg, LayoutArg, ShareArgs, size};
use crate::failure::{Outcome, fail};

/// One share as described, with nothing checked. Also a `[[share]]` table of the file.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct RawShare {
    pub(crate) socket_path: Option<PathBuf>,
    pub(crate) fd: Option<i32>,
    pub(crate) mount: Option<PathBuf>,
    pub(crate) shared_dir: Option<PathBuf>,
    pub(crate) tag: Option<String>,
    pub(crate) layout: Option<LayoutArg>,
    pub(crate) cache: Option<CacheArg>,
    pub(crate) root_timeout: Option<f64>,
    pub(crate) closure: Option<Vec<PathBuf>>,
    pub(crate) nix_database: Option<PathBuf>,
    pub(crate) allow_mmap: Option<bool>,
    pub(crate) no_readdirplus: Option<bool>,
    pub(crate) queues: Option<u16>,
    pub(crate) dax: Option<DaxArg>,
    pub(crate) window: Option<Size>,
    pub(crate) dax_min: Option<Size>,
}

/// A number of bytes; in the file a number, or a text as on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "SizeText")]
pub(crate) struct Size(pub(crate) u64);

#[derive(Deserialize)]
#[serde(untagged)]
enum SizeText {
    Number(u64),
    Text(String),
}

impl TryFrom<SizeText> for Size {
    type Error = String;

    fn try_from(text: SizeText) -> Result<Size, String> {
        match text {
            SizeText::Number(bytes) => Ok(Size(bytes)),
            SizeText::Text(text) => size(&text)
                .map(Size)
                .map_err(|why| format!("{text}: {why}")),
        }
    }
}

/// One option of a share, in the order of the command line.
#[derive(Clone, Debug)]
enum Setting {
    SocketPath(PathBuf),
    Fd(i32),
    Mount(PathBuf),
    SharedDir(PathBuf),
    Tag(String),
    Layout(LayoutArg),
    Cache(CacheArg),
    RootTimeout(f64),
    Closure(Vec<PathBuf>),
    NixDatabase(PathBuf),
    AllowMmap(bool),
    NoReaddirplus(bool),
    Queues(u16),
    Dax(DaxArg),
    Window(Size),
    DaxMin(Size),
}

impl Setting {
    fn is_endpoint(&self) -> bool {
        matches!(
            self,
            Setting::SocketPath(_) | Setting::Fd(_) | Setting::Mount(_)
        )
    }
}

impl RawShare {
    /// Whether the share says where its client comes from.
    pub(crate) fn has_endpoint(&self) -> bool {
        self.socket_path.is_some() || self.fd.is_some() || self.mount.is_some()
    }

    fn has(&self, setting: &Setting) -> bool {
        match setting {
            Setting::SocketPath(_) | Setting::Fd(_) | Setting::Mount(_) => self.has_endpoint(),
            Setting::SharedDir(_) => self.shared_dir.is_some(),
            Setting::Tag(_) => self.tag.is_some(),
            Setting::Layout(_) => self.layout.is_some(),
            Setting::Cache(_) => self.cache.is_some(),
            Setting::RootTimeout(_) => self.root_timeout.is_some(),
            Setting::Closure(_) => self.closure.is_some(),
            Setting::NixDatabase(_) => self.nix_database.is_some(),
            Setting::AllowMmap(_) => self.allow_mmap.is_some(),
            Setting::NoReaddirplus(_) => self.no_readdirplus.is_some(),
            Setting::Queues(_) => self.queues.is_some(),
            Setting::Dax(_) => self.dax.is_some(),
            Setting::Window(_) => self.window.is_some(),
            Setting::DaxMin(_) => self.dax_min.is_some(),
        }
    }

    fn set(&mut self, setting: Setting) {
        match setting {
            Setting::SocketPath(v) => self.socket_path = Some(v),
            Setting::Fd(v) => self.fd = Some(v),
            Setting::Mount(v) => self.mount = Some(v),
            Setting::SharedDir(v) => self.shared_dir = Some(v),
            Setting::Tag(v) => self.tag = Some(v),
            Setting::Layout(v) => self.layout = Some(v),
            Setting::Cache(v) => self.cache = Some(v),
            Setting::RootTimeout(v) => self.root_timeout = Some(v),
            // With one share, this is more of the same.
            Setting::Closure(v) => self.closure.get_or_insert_default().extend(v),
            Setting::NixDatabase(v) => self.nix_database = Some(v),
            Setting::AllowMmap(v) => self.allow_mmap = Some(v),
            Setting::NoReaddirplus(v) => self.no_readdirplus = Some(v),
            Setting::Queues(v) => self.queues = Some(v),
            Setting::Dax(v) => self.dax = Some(v),
            Setting::Window(v) => self.window = Some(v),
            Setting::DaxMin(v) => self.dax_min = Some(v),
        }
    }
}

/// The shares of the command line. None at all if it has no option of a share.
pub(crate) fn group(matches: &ArgMatches, args: &ShareArgs) -> Outcome<Vec<RawShare>> {
    let settings = in_order(matches, args);
    if settings.is_empty() {
        return Ok(Vec::new());
    }
    let endpoints = settings.iter().filter(|s| s.is_endpoint()).count();
    let mut shares = vec![RawShare::default()];
    for setting in settings {
        let last = shares.len() - 1;
        if endpoints > 1 && shares[last].has(&setting) {
            shares.push(RawShare::default());
        }
        if let Some(share) = shares.last_mut() {
            share.set(setting);
        }
    }
    // A share without a socket among shares with one is a misplaced option, not a share.
    if endpoints > 1
        && let Some(n) = shares.iter().position(|share| !share.has_endpoint())
    {
        fail!(
            "share {} of the command line has no --socket-path, --fd or --mount: with more than \
             one socket a repeated option starts the next share, so give each share's options \
             together",
            n + 1
        );
    }
    Ok(shares)
}

fn in_order(matches: &ArgMatches, args: &ShareArgs) -> Vec<Setting> {
    let mut all: Vec<(usize, Setting)> = Vec::new();
    let mut add = |id: &str, settings: Vec<Setting>| {
        if let Some(indices) = matches.indices_of(id) {
            all.extend(indices.zip(settings));
        }
    };
    fn each<T: Clone>(values: &[T], of: fn(T) -> Setting) -> Vec<Setting> {
        values.iter().cloned().map(of).collect()
    }
    add("socket_path", each(&args.socket_path, Setting::SocketPath));
    add("fd", each(&args.fd, Setting::Fd));
    add("mount", each(&args.mount, Setting::Mount));
    add("shared_dir", each(&args.shared_dir, Setting::SharedDir));
    add("tag", each(&args.tag, Setting::Tag));
    add("layout", each(&args.layout, Setting::Layout));
    add("cache", each(&args.cache, Setting::Cache));
    add(
        "root_timeout",
        each(&args.root_timeout, Setting::RootTimeout),
    );
    add("allow_mmap", each(&args.allow_mmap, Setting::AllowMmap));
    add(
        "nix_database",
        each(&args.nix_database, Setting::NixDatabase),
    );
    add(
        "no_readdirplus",
        each(&args.no_readdirplus, Setting::NoReaddirplus),
    );
    add("queues", each(&args.queues, Setting::Queues));
    add("dax", each(&args.dax, Setting::Dax));
    add("window", each(&args.window, |n| Setting::Window(Size(n))));
    add("dax_min", each(&args.dax_min, |n| Setting::DaxMin(Size(n))));
    // One option, several values.
    if let (Some(mut indices), Some(occurrences)) = (
        matches.indices_of("closure"),
        matches.get_occurrences::<PathBuf>("closure"),
    ) {
        for occurrence in occurrences {
            let values: Vec<PathBuf> = occurrence.cloned().collect();
            if let Some(last) = indices.nth(values.len().saturating_sub(1)) {
                all.push((last, Setting::Closure(values)));
            }
        }
    }
    all.sort_by_key(|(index, _)| *index);
    all.into_iter().map(|(_, setting)| setting).collect()
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, FromArgMatches};

    use super::*;
    use crate::args::Args;

    fn shares(line: &str) -> Outcome<Vec<RawShare>> {
        let words = std::iter::once("rofs-serve").chain(line.split_whitespace());
        let matches = Args::command().get_matches_from(words);
        let args = Args::from_arg_matches(&matches).unwrap();
        group(&matches, &args.share)
    }

    #[test]
    fn one_socket_and_the_last_value_counts() {
        let got = shares("--cache never --socket-path s --tag a --cache=always --tag b").unwrap();
        assert_eq!(got.len(), 1);
        assert_eq!(got[0].tag.as_deref(), Some("b"));
        assert_eq!(got[0].cache, Some(CacheArg::Always));
    }

    #[test]
    fn several_sockets_group_by_repetition() {
        let got = shares(
            "--socket-path a --allow-mmap --shared-dir /a --shared-dir /b --allow-mmap --fd 5 \
             --mount /m --tag t",
        )
        .unwrap();
        assert_eq!(got.len(), 3);
        assert_eq!(got[0].shared_dir, Some(PathBuf::from("/a")));
        assert_eq!((got[1].fd, got[1].allow_mmap), (Some(5), Some(true)));
        assert_eq!(got[1].shared_dir, Some(PathBuf::from("/b")));
        assert_eq!(got[2].mount, Some(PathBuf::from("/m")));
        assert_eq!(got[2].allow_mmap, None);
    }

    #[test]
    fn closures_of_several_paths() {
        let paths = |all: &[&str]| Some(all.iter().map(PathBuf::from).collect::<Vec<_>>());
        let got = shares("--closure /a /b --socket-path s --closure /c").unwrap();
        assert_eq!(got.len(), 1);
        assert_eq!(got[0].closure, paths(&["/a", "/b", "/c"]));
        // The second belongs to the second share, though its socket comes later.
        let got = shares("--closure /a /b --socket-path s --closure /c --socket-path t").unwrap();
        assert_eq!(got.len(), 2);
        assert_eq!(got[0].closure, paths(&["/a", "/b"]));
        assert_eq!(got[1].closure, paths(&["/c"]));
    }

    #[test]
    fn a_share_without_socket_is_a_mistake() {
        let said = shares("--socket-path a --socket-path b --tag x --tag y").unwrap_err();
        assert!(said.to_string().contains("share 3"), "{said}");
    }
}
