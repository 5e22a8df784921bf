// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A window of the files themselves.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{fmt, io};

use super::{Bounds, DaxWindow, MapError, Mapper, Piece, RANGE, Window, memory, page_size};
use crate::errno::{Errno, FsResult};
use crate::fs::Mapping;

/// A window in which the pages of the host's page cache are mapped: shared by the host and all its
/// guests.
///
/// Only what cannot change is mapped so, because a file that shrinks below a mapping would end the
/// VMM. The rest is shown as a copy that nobody can write to: files that may change, and what a file
/// has in its last page if that is not full.
///
/// Every descriptor handed to the front-end is read-only, either by its mode or by a seal, so that a
/// front-end which maps for writing does not come into question. Whether this one does is found
/// out, once, by [`open`](DaxWindow::open).
pub struct Direct {
    mapper: Arc<dyn Mapper>,
    bounds: Bounds,
    state: Mutex<State>,
}

type Source = Arc<OwnedFd>;

struct State {
    window: Window<Source>,
    open: bool,
    /// What the front-end made of memory that is for reading only.
    probed: Option<Result<(), MapError>>,
}

/// Mappings for which there always is room, however small the window.
const LEAST_MAPPINGS: usize = 8;

impl Direct {
    /// A window of `size` bytes in which `mapper` maps.
    ///
    /// # Errors
    /// If `size` is [none for a window](super::is_window_size).
    pub fn new(size: u64, mapper: Arc<dyn Mapper>) -> io::Result<Direct> {
        if !super::is_window_size(size) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let page = page_size();
        let bounds = Bounds { size, page };
        // For each of Linux's ranges the file and its last page. A front-end pays for each mapping
        // (with a descriptor, a memory slot, or both), so a guest gets no more.
        let ranges = usize::try_from(size / RANGE).map_err(io::Error::other)?;
        let limit = (2 * ranges).max(LEAST_MAPPINGS);
        Ok(Direct {
            mapper,
            bounds,
            state: Mutex::new(State {
                window: Window::new(bounds, limit),
                open: false,
                probed: None,
            }),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the front-end maps what is for reading only. Asked once, with a page of zeros.
    fn probe(&self) -> Result<(), MapError> {
        let page = memory::frozen_page().map_err(|_| MapError::Lost)?;
        self.mapper.map(0, page.as_fd(), 0, self.bounds.page)?;
        self.mapper.unmap(0, self.bounds.page)
    }

    /// What to map for a request: pages of the file, and copies of what cannot be mapped.
    fn pieces(
        &self,
        moffset: u64,
        len: u64,
        file: &Mapping,
        foffset: u64,
    ) -> FsResult<Vec<Piece<Source>>> {
        let page = self.bounds.page;
        let there = file.len.min(len);
        let whole = if file.fixed { there - there % page } else { 0 };
        let mut pieces = Vec::with_capacity(2);
        if whole > 0 {
            memory::read_ahead(file.file.as_fd(), foffset, whole);
            pieces.push(Piece {
                moffset,
                len: whole,
                source: Arc::clone(&file.file),
                offset: foffset,
            });
        }
        if whole < there {
            let rest = memory::frozen(file.file.as_fd(), foffset + whole, there - whole)?;
            pieces.push(Piece {
                moffset: moffset + whole,
                len: (there - whole).next_multiple_of(page),
                source: Arc::new(rest),
                offset: 0,
            });
        }
        Ok(pieces)
    }

    fn map_piece(&self, piece: &Piece<Source>) -> Result<(), MapError> {
        let file = piece.source.as_fd();
        self.mapper
            .map(piece.moffset, file, piece.offset, piece.len)
    }

    /// Maps a piece, or a copy of it if the front-end does not want the file itself.
    fn map_somehow(&self, window: &mut Window<Source>, mut piece: Piece<Source>) -> FsResult<()> {
        if let Err(error) = self.map_piece(&piece) {
            if error == MapError::Lost {
                return Err(Errno::IO);
            }
            let copy = memory::frozen(piece.source.as_fd(), piece.offset, piece.len)?;
            (piece.source, piece.offset) = (Arc::new(copy), 0);
            self.map_piece(&piece).map_err(|_| Errno::IO)?;
        }
        window.put(piece)
    }

    /// Clears a range for `more` mappings.
    fn clear(
        &self,
        window: &mut Window<Source>,
        moffset: u64,
        len: u64,
        more: usize,
    ) -> FsResult<()> {
        let plan = window.plan(moffset, len)?;
        window.has_room(&plan, more)?;
        for piece in plan.gone {
            self.mapper
                .unmap(piece.moffset, piece.len)
                .map_err(|_| Errno::IO)?;
            window.take(piece.moffset);
        }
        for piece in plan.left {
            self.map_piece(&piece).map_err(|_| Errno::IO)?;
            window.put(piece)?;
        }
        Ok(())
    }

    /// Removes everything, as far as possible.
    fn remove_all(&self, state: &mut State) {
        state.open = false;
        for piece in state.window.take_all() {
            // Nobody knows any better: after a reset some front-ends have dropped it already.
            if self.mapper.unmap(piece.moffset, piece.len) == Err(MapError::Lost) {
                break;
            }
        }
    }
}

impl DaxWindow for Direct {
    fn size(&self) -> u64 {
        self.bounds.size
    }

    fn open(&self) -> FsResult<()> {
        let mut state = self.state();
        self.remove_all(&mut state);
        let known = state.probed.filter(|said| *said != Err(MapError::Lost));
        let said = known.unwrap_or_else(|| self.probe());
        state.probed = Some(said);
        state.open = said.is_ok();
        said.map_err(|error| match error {
            MapError::Refused => Errno::OPNOTSUPP,
            MapError::Lost => Errno::IO,
        })
    }

    fn close(&self) {
        self.remove_all(&mut self.state());
    }

    fn map(&self, moffset: u64, len: u64, file: &Mapping, foffset: u64) -> FsResult<()> {
        self.bounds.check(moffset, len)?;
        if !foffset.is_multiple_of(self.bounds.page) {
            return Err(Errno::INVAL);
        }
        let pieces = self.pieces(moffset, len, file, foffset)?;
        let state = &mut *self.state();
        if !state.open {
            return Err(Errno::IO);
        }
        let outcome = self
            .clear(&mut state.window, moffset, len, pieces.len())
            .and_then(|()| {
                pieces
                    .into_iter()
                    .try_for_each(|piece| self.map_somehow(&mut state.window, piece))
            });
        match outcome {
            Ok(()) => self.mapper.settle(),
            // What the guest sees now is unknown: better nothing new than something wrong.
            Err(Errno::IO) => state.open = false,
            Err(_) => {}
        }
        outcome
    }

    fn unmap(&self, moffset: u64, len: u64) -> FsResult<()> {
        self.bounds.check(moffset, len)?;
        let state = &mut *self.state();
        if !state.open {
            return Ok(());
        }
        let outcome = self.clear(&mut state.window, moffset, len, 0);
        if outcome == Err(Errno::IO) {
            state.open = false;
        }
        outcome
    }
}

impl fmt::Debug for Direct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let live = self.state().window.live().count();
        write!(f, "Direct({} bytes, {live} mappings)", self.bounds.size)
    }
}
