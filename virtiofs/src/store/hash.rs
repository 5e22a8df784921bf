// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Hashes that mean the same in every run: node ids and directory cookies are made of them, and
//! clients remember both longer than a server lives.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::fs::Cookie;

/// Hash of a name within something that itself has a hash.
pub(super) fn child(parent: u64, name: &[u8]) -> u64 {
    xxh3_64_with_seed(name, parent)
}

/// Binds a hash to a certain file: two files which follow each other under one name differ in
/// inode number or, because file systems use inode numbers again, in time of birth.
pub(super) fn bind(hash: u64, identity: super::host::Identity) -> u64 {
    let mut bytes = [0; 20];
    bytes[..8].copy_from_slice(&identity.ino.to_le_bytes());
    bytes[8..16].copy_from_slice(&identity.born.secs.to_le_bytes());
    bytes[16..].copy_from_slice(&identity.born.nanos.to_le_bytes());
    xxh3_64_with_seed(&bytes, hash)
}

/// Cookies 1 and 2 are `.` and `..`; those of names lie above.
pub(super) const COOKIE_MIN: Cookie = 1 << TIE_BITS;
/// Names of one directory whose hashes agree are told apart by so many bits.
const TIE_BITS: u32 = 4;

/// Where a name stands in a listing: by its hash, so that the place does not depend on what else
/// is in the directory or when it was read. Without the bits that tell ties apart.
pub(super) fn cookie_base(name: &[u8]) -> Cookie {
    // 63 bits: `off_t` is signed.
    let base = (xxh3_64_with_seed(name, 0x726f_6673) >> 1) & !(COOKIE_MIN - 1);
    base.max(COOKIE_MIN)
}

/// Sorts by cookie base, ties by name. The cookie of an entry is its base plus its place among
/// those with the same base (see [`cookie`]).
pub(super) fn sort_by_cookie<T>(entries: &mut [T], name: impl Fn(&T) -> &[u8]) {
    entries.sort_by(|a, b| {
        let (a, b) = (name(a), name(b));
        cookie_base(a).cmp(&cookie_base(b)).then_with(|| a.cmp(b))
    });
}

/// Cookie of the entry at `index` of a list in [`sort_by_cookie`]'s order.
pub(super) fn cookie<'a>(index: usize, name: impl Fn(usize) -> &'a [u8]) -> Cookie {
    let base = cookie_base(name(index));
    let mut tie = 0;
    while tie < index && tie + 1 < (1 << TIE_BITS) && cookie_base(name(index - tie - 1)) == base {
        tie += 1;
    }
    base + tie as u64
}

/// Index of the first of `count` entries behind `from`.
pub(super) fn first_behind<'a>(
    from: Cookie,
    count: usize,
    name: impl Fn(usize) -> &'a [u8] + Copy,
) -> usize {
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low + (high - low) / 2;
        if cookie(middle, name) <= from {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_continues_behind_every_cookie() {
        let mut names: Vec<Vec<u8>> = (0..5000).map(|i| format!("n{i}").into_bytes()).collect();
        sort_by_cookie(&mut names, |name| name);
        let name = |i: usize| names[i].as_slice();
        assert_eq!(first_behind(2, names.len(), name), 0);
        let mut last = 2;
        for i in 0..names.len() {
            let here = cookie(i, name);
            assert!(here > last && i64::try_from(here).is_ok());
            assert_eq!(first_behind(here, names.len(), name), i + 1);
            last = here;
        }
        assert_eq!(first_behind(u64::MAX, names.len(), name), names.len());
    }

    /// These values are in the memory of running guests: changing them breaks reconnecting.
    #[test]
    fn hashes_are_pinned() {
        assert_ne!(child(1, b"bin"), child(2, b"bin"));
        assert_eq!(child(1, b"bin"), 0x84db_dee9_8fa3_c1ab);
        assert_eq!(cookie_base(b"bin"), 4_822_238_632_730_202_336);
    }
}
