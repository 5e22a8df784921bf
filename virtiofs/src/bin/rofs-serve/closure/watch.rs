// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Noticing that a list has changed.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};

use super::Chosen;
use super::channel::{self, Outbox};
use crate::failure::{Failure, Outcome};
use crate::roots::Root;

/// Written and closed, or put in its place: then a list is whole.
const CHANGED: WatchFlags = WatchFlags::CLOSE_WRITE.union(WatchFlags::MOVED_TO);

/// Files that are watched, if any.
#[derive(Debug, Default)]
pub(crate) struct Files {
    inotify: Option<OwnedFd>,
    files: Vec<PathBuf>,
}

impl Files {
    pub(super) fn add(&mut self, file: &Path, flag: &str) -> Outcome<()> {
        self.watch(file).map_err(|e| {
            Failure::new(format!(
                "{flag}: cannot be watched for changes: {}; see the limits in \
                 /proc/sys/fs/inotify",
                std::io::Error::from(e)
            ))
        })?;
        self.files.push(file.to_owned());
        Ok(())
    }

    fn watch(&mut self, file: &Path) -> rustix::io::Result<()> {
        let inotify = match &mut self.inotify {
            Some(inotify) => inotify,
            none => none.insert(inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?),
        };
        let dir = match file.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir,
            _ => Path::new("."),
        };
        inotify::add_watch(&*inotify, dir, CHANGED)?;
        // What a link leads to may be written, too.
        if file.is_symlink() {
            inotify::add_watch(&*inotify, file, CHANGED)?;
        }
        Ok(())
    }

    /// Whether there is anything to watch.
    pub(crate) fn any(&self) -> bool {
        self.inotify.is_some()
    }

    /// Takes all news; whether one is of a list.
    fn have_changed(&mut self) -> bool {
        let Some(inotify) = &self.inotify else {
            return false;
        };
        let names: BTreeSet<OsString> = self
            .files
            .iter()
            .filter_map(|file| Some(file.file_name()?.to_owned()))
            .collect();
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(inotify, &mut buffer);
        let mut changed = false;
        while let Ok(event) = reader.next() {
            changed |= match event.file_name() {
                Some(name) => names
                    .iter()
                    .any(|file| file.as_encoded_bytes() == name.to_bytes()),
                // A file watched itself, or news were lost.
                None => true,
            };
        }
        if changed {
            // A link may lead to another file now.
            for file in self.files.clone() {
                let _ = self.watch(&file);
            }
        }
        changed
    }
}

/// Reads the lists again when they have changed, and sends the server what they say.
#[derive(Debug)]
pub(crate) struct Watcher {
    files: Files,
    shares: Vec<Watched>,
    outbox: Outbox,
}

#[derive(Debug)]
struct Watched {
    share: usize,
    root: Root,
    chosen: Chosen,
    last: BTreeSet<String>,
}

impl Watcher {
    /// `chosen[i]` is of the store `roots[i]`.
    pub(crate) fn new(
        files: Files,
        chosen: Vec<Option<Chosen>>,
        roots: Vec<Root>,
        outbox: Outbox,
    ) -> Watcher {
        let shares = chosen.into_iter().zip(roots).enumerate();
        let shares = shares
            .filter_map(|(share, (chosen, root))| {
                let chosen = chosen.filter(|chosen| !chosen.lists().is_empty())?;
                Some(Watched {
                    share,
                    root,
                    chosen,
                    last: BTreeSet::new(),
                })
            })
            .collect();
        Watcher {
            files,
            shares,
            outbox,
        }
    }

    /// What there is to poll for input.
    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.files.inotify.as_ref().map(AsFd::as_fd)
    }

    /// What there is to poll for room, if something waits for it.
    pub(crate) fn outgoing(&self) -> Option<BorrowedFd<'_>> {
        self.outbox.waiting()
    }

    /// Does what there is to do.
    pub(crate) fn work(&mut self) {
        if self.files.have_changed() {
            for share in &mut self.shares {
                if let Some(names) = share.read_again() {
                    self.outbox.put(&channel::message(share.share, &names));
                }
            }
        }
        self.outbox.flush();
    }
}

impl Watched {
    /// The names to show from now on, unless they are the same as before.
    fn read_again(&mut self) -> Option<BTreeSet<String>> {
        let store = self.root.path.display();
        match self.chosen.names(&self.root) {
            Ok(names) if names == self.last => None,
            Ok(names) => {
                log::info!("{store}: {} store path(s) of it are shown now", names.len());
                self.last.clone_from(&names);
                Some(names)
            }
            Err(failure) => {
                log::error!("{failure}; what was shown before is shown still");
                None
            }
        }
    }
}
