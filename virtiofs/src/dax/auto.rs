// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which window a front-end gets.

use std::fmt;
use std::io;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Once, OnceLock};

use super::{Copied, DaxWindow, Direct, Mapper};
use crate::errno::{Errno, FsResult};
use crate::fs::Mapping;

/// How files get into a window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// [`Direct`] with front-ends that map for reading only, otherwise [`Copied`].
    #[default]
    Auto,
    /// [`Direct`], or not at all.
    Direct,
    /// [`Copied`].
    Copy,
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Mode, String> {
        match text {
            "auto" => Ok(Mode::Auto),
            "direct" => Ok(Mode::Direct),
            "copy" => Ok(Mode::Copy),
            other => Err(format!("{other}: expected auto, direct or copy")),
        }
    }
}

/// The window that the front-end allows, by the [`Mode`] asked for. Decided anew for each client
/// session, by trying.
pub struct Auto {
    mode: Mode,
    size: u64,
    mapper: Arc<dyn Mapper>,
    direct: Direct,
    /// Made when it is needed.
    copied: OnceLock<Copied>,
    uses_copies: AtomicBool,
    /// The log has heard of it.
    announced: Once,
}

impl Auto {
    /// A window of `size` bytes which is mapped by `mapper`.
    ///
    /// # Errors
    /// If `size` is [none for a window](super::is_window_size).
    pub fn new(mode: Mode, size: u64, mapper: Arc<dyn Mapper>) -> io::Result<Auto> {
        Ok(Auto {
            mode,
            size,
            direct: Direct::new(size, Arc::clone(&mapper))?,
            copied: OnceLock::new(),
            uses_copies: AtomicBool::new(mode == Mode::Copy),
            announced: Once::new(),
            mapper,
        })
    }

    /// Whether the window holds copies.
    pub fn uses_copies(&self) -> bool {
        self.uses_copies.load(Ordering::Acquire)
    }

    fn choose(&self) -> FsResult<()> {
        if self.mode == Mode::Copy {
            return self.open_copied();
        }
        self.uses_copies.store(false, Ordering::Release);
        match self.direct.open() {
            Err(Errno::OPNOTSUPP) if self.mode == Mode::Auto => self.open_copied(),
            outcome => outcome,
        }
    }

    fn window(&self) -> Option<&dyn DaxWindow> {
        if self.uses_copies() {
            self.copied.get().map(|copied| copied as &dyn DaxWindow)
        } else {
            Some(&self.direct)
        }
    }

    fn open_copied(&self) -> FsResult<()> {
        if self.copied.get().is_none() {
            let copied = Copied::new(self.size, Arc::clone(&self.mapper))?;
            let _ = self.copied.set(copied);
        }
        self.uses_copies.store(true, Ordering::Release);
        self.window().ok_or(Errno::NOMEM)?.open()
    }
}

impl DaxWindow for Auto {
    fn size(&self) -> u64 {
        self.size
    }

    fn open(&self) -> FsResult<()> {
        self.choose()?;
        let how = if self.uses_copies() {
            "copies of files"
        } else {
            "the host's own pages"
        };
        let mib = self.size >> 20;
        self.announced
            .call_once(|| log::info!("the guest maps {how} into a DAX window of {mib} MiB"));
        Ok(())
    }

    fn close(&self) {
        if let Some(window) = self.window() {
            window.close();
        }
    }

    fn map(&self, moffset: u64, len: u64, file: &Mapping, foffset: u64) -> FsResult<()> {
        let window = self.window().ok_or(Errno::IO)?;
        window.map(moffset, len, file, foffset)
    }

    fn unmap(&self, moffset: u64, len: u64) -> FsResult<()> {
        let window = self.window().ok_or(Errno::IO)?;
        window.unmap(moffset, len)
    }
}

impl fmt::Debug for Auto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.uses_copies(), self.copied.get()) {
            (true, Some(copied)) => copied.fmt(f),
            _ => self.direct.fmt(f),
        }
    }
}
