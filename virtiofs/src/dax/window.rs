// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The book of a window: how far it reaches, and what is mapped where.
//!
//! Nothing is mapped here. Virtio (1.3, 5.11.6.4) wants a mapping that is laid over others to
//! replace them, and what is removed in part to stay in part; front-ends only know whole mappings.
//! A [`Plan`] says how the one is done with the other.

use std::collections::BTreeMap;

use crate::errno::{Errno, FsResult};

/// What ranges a window has.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Size of the window in bytes.
    pub size: u64,
    /// Unit of offsets and lengths in bytes.
    pub page: u64,
}

impl Bounds {
    /// Checks a range of the window.
    ///
    /// # Errors
    /// `EINVAL` if it is empty, reaches beyond the end, or is not made of whole pages.
    pub fn check(&self, moffset: u64, len: u64) -> FsResult<()> {
        let end = moffset.checked_add(len).ok_or(Errno::INVAL)?;
        let pages = moffset.is_multiple_of(self.page) && len.is_multiple_of(self.page);
        if len == 0 || end > self.size || !pages {
            return Err(Errno::INVAL);
        }
        Ok(())
    }
}

/// One mapping: `len` bytes at `moffset` show `source` from `offset` on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Piece<S> {
    pub moffset: u64,
    pub len: u64,
    pub source: S,
    pub offset: u64,
}

impl<S: Clone> Piece<S> {
    fn end(&self) -> u64 {
        self.moffset + self.len
    }

    /// The part from `from` to `to`, offsets in the window.
    fn part(&self, from: u64, to: u64) -> Option<Piece<S>> {
        (from < to).then(|| Piece {
            moffset: from,
            len: to - from,
            source: self.source.clone(),
            offset: self.offset + (from - self.moffset),
        })
    }
}

/// How to clear a range: remove the mappings in `gone`, then map what is in `left` again.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Plan<S> {
    pub gone: Vec<Piece<S>>,
    pub left: Vec<Piece<S>>,
}

/// What is mapped in a window. Mappings never overlap.
#[derive(Debug)]
pub struct Window<S> {
    bounds: Bounds,
    limit: usize,
    /// By their offset.
    live: BTreeMap<u64, Piece<S>>,
}

impl<S: Clone> Window<S> {
    /// An empty window for at most `limit` mappings.
    pub fn new(bounds: Bounds, limit: usize) -> Window<S> {
        Window {
            bounds,
            limit,
            live: BTreeMap::new(),
        }
    }

    /// What ranges there are.
    pub fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// How to clear a range. Changes nothing.
    ///
    /// # Errors
    /// `EINVAL` for a range that the window does not have.
    pub fn plan(&self, moffset: u64, len: u64) -> FsResult<Plan<S>> {
        self.bounds.check(moffset, len)?;
        let end = moffset + len;
        let before = self.live.range(..moffset).next_back();
        let gone: Vec<Piece<S>> = before
            .into_iter()
            .chain(self.live.range(moffset..end))
            .map(|(_, piece)| piece)
            .filter(|piece| piece.end() > moffset)
            .cloned()
            .collect();
        let sides = |piece: &Piece<S>| {
            let below = piece.part(piece.moffset, moffset);
            let above = piece.part(end.max(piece.moffset), piece.end());
            [below, above]
        };
        let left = gone.iter().flat_map(sides).flatten().collect();
        Ok(Plan { gone, left })
    }

    /// Whether, after `plan`, there may be `more` mappings.
    ///
    /// # Errors
    /// `ENOMEM` if not.
    pub fn has_room(&self, plan: &Plan<S>, more: usize) -> FsResult<()> {
        let rest = self.live.len().saturating_sub(plan.gone.len());
        if rest + plan.left.len() + more > self.limit {
            return Err(Errno::NOMEM);
        }
        Ok(())
    }

    /// A mapping was made.
    ///
    /// # Errors
    /// `EINVAL` if it cannot be: something is mapped there, or it reaches beyond the window.
    pub fn put(&mut self, piece: Piece<S>) -> FsResult<()> {
        if !self.plan(piece.moffset, piece.len)?.gone.is_empty() {
            return Err(Errno::INVAL);
        }
        self.live.insert(piece.moffset, piece);
        Ok(())
    }

    /// The mapping that begins at `moffset` was removed.
    pub fn take(&mut self, moffset: u64) -> Option<Piece<S>> {
        self.live.remove(&moffset)
    }

    /// All mappings were removed; these.
    pub fn take_all(&mut self) -> impl Iterator<Item = Piece<S>> {
        std::mem::take(&mut self.live).into_values()
    }

    /// What is mapped, from the start of the window.
    pub fn live(&self) -> impl Iterator<Item = &Piece<S>> {
        self.live.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PAGE: u64 = 4096;
    const PAGES: u64 = 16;

    fn window() -> Window<u8> {
        let bounds = Bounds {
            size: PAGES * PAGE,
            page: PAGE,
        };
        Window::new(bounds, 5)
    }

    /// Clears a range, as whoever maps does it.
    fn clear(window: &mut Window<u8>, moffset: u64, len: u64) -> FsResult<()> {
        let plan = window.plan(moffset, len)?;
        window.has_room(&plan, 0)?;
        for piece in &plan.gone {
            assert_eq!(window.take(piece.moffset).as_ref(), Some(piece));
        }
        plan.left
            .into_iter()
            .try_for_each(|piece| window.put(piece))
    }

    fn map(window: &mut Window<u8>, piece: Piece<u8>) -> FsResult<()> {
        let plan = window.plan(piece.moffset, piece.len)?;
        window.has_room(&plan, 1)?;
        clear(window, piece.moffset, piece.len)?;
        window.put(piece)
    }

    #[test]
    fn ranges_are_whole_pages_of_the_window() {
        let check = |moffset, len| window().bounds().check(moffset, len);
        for (moffset, len) in [
            (0, PAGE),
            (0, PAGES * PAGE),
            (15 * PAGE, PAGE),
            (PAGE, 3 * PAGE),
        ] {
            assert_eq!(check(moffset, len), Ok(()), "{moffset} {len}");
        }
        for (moffset, len) in [
            (0, 0),
            (16 * PAGE, PAGE),
            (15 * PAGE, 2 * PAGE),
            (1, PAGE),
            (0, PAGE + 1),
            (0, 1),
            (512, PAGE),
            (0, 17 * PAGE),
            (u64::MAX - PAGE + 1, PAGE),
            (u64::MAX, 1),
            (PAGE, u64::MAX - PAGE + 1),
            (PAGE, u64::MAX),
        ] {
            assert_eq!(check(moffset, len), Err(Errno::INVAL), "{moffset} {len}");
        }
    }

    #[test]
    fn a_hole_leaves_two_mappings_with_their_own_offsets() {
        let mut window = window();
        let whole = Piece {
            moffset: 2 * PAGE,
            len: 8 * PAGE,
            source: 1,
            offset: 100 * PAGE,
        };
        map(&mut window, whole).unwrap();
        clear(&mut window, 4 * PAGE, PAGE).unwrap();
        let live: Vec<_> = window
            .live()
            .map(|piece| (piece.moffset, piece.len, piece.offset))
            .collect();
        assert_eq!(
            live,
            [
                (2 * PAGE, 2 * PAGE, 100 * PAGE),
                (5 * PAGE, 5 * PAGE, 103 * PAGE)
            ]
        );
    }

    #[test]
    fn there_is_a_limit() {
        let mut window = window();
        let piece = |page: u64| Piece {
            moffset: page * PAGE,
            len: PAGE,
            source: 0,
            offset: 0,
        };
        for page in 0..5 {
            map(&mut window, piece(2 * page)).unwrap();
        }
        assert_eq!(map(&mut window, piece(11)), Err(Errno::NOMEM));
        map(&mut window, piece(4)).unwrap(); // in place of another
    }

    /// What is mapped, page by page: the source and which page of it.
    type Naive = Vec<Option<(u8, u64)>>;

    fn seen(window: &Window<u8>) -> Naive {
        let mut pages = vec![None; usize::try_from(PAGES).unwrap()];
        for piece in window.live() {
            for page in 0..piece.len / PAGE {
                let at = usize::try_from(piece.moffset / PAGE + page).unwrap();
                assert_eq!(pages[at], None, "two mappings in one place");
                pages[at] = Some((piece.source, piece.offset / PAGE + page));
            }
        }
        pages
    }

    proptest! {
        #[test]
        fn it_does_what_a_naive_model_does(
            steps in prop::collection::vec(
                (any::<bool>(), 0..=PAGES + 1, 0..=PAGES + 1, any::<u8>(), 0u64..1000, 0u64..20),
                1..60,
            )
        ) {
            let mut window = window();
            let mut naive: Naive = vec![None; usize::try_from(PAGES).unwrap()];
            for (maps, page, pages, source, offset, crooked) in steps {
                // Now and then not made of whole pages.
                let skew = if crooked == 0 { 1 } else { 0 };
                let (moffset, len) = (page * PAGE + skew, pages * PAGE);
                let valid = skew == 0 && pages > 0 && page + pages <= PAGES;
                let done = if maps {
                    let offset = offset * PAGE;
                    map(&mut window, Piece { moffset, len, source, offset })
                } else {
                    clear(&mut window, moffset, len)
                };
                prop_assert_eq!(done == Err(Errno::INVAL), !valid);
                if done.is_ok() {
                    for index in page..page + pages {
                        let at = usize::try_from(index).unwrap();
                        naive[at] = maps.then_some((source, offset + (index - page)));
                    }
                }
                prop_assert_eq!(seen(&window), naive.clone());
                prop_assert!(window.live().count() <= 5);
            }
        }
    }
}
