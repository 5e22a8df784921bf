// SPDX-License-Identifier: Apache-2.0 OR MIT
use super::*;

const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;

/// The ring's table is at 0x1000, indirect tables are put at 0x2000, buffers from 0x4000 on.
const TABLE: u64 = 0x1000;
const INNER: u64 = 0x2000;
/// Two regions that touch at 0x8000, up to 0x10000.
const SEAM: u64 = 0x8000;
const END: u64 = 0x10000;

/// Address, length, flags, next.
type Entry = (u64, u32, u16, u16);

fn memory() -> GuestMemoryMmap {
    let at = |start| GuestAddress(start);
    GuestMemoryMmap::from_ranges(&[
        (at(0), 0x8000),
        (at(SEAM), 0x8000),
        (at(0x100_0000), 0x1000),
    ])
    .unwrap()
}

fn put(memory: &GuestMemoryMmap, table: u64, descriptors: &[Entry]) {
    for (index, &(addr, len, flags, next)) in descriptors.iter().enumerate() {
        let descriptor = Descriptor::new(addr, len, flags, next);
        memory
            .write_obj(descriptor, GuestAddress(table + 16 * index as u64))
            .unwrap();
    }
}

/// Lengths of the readable and the writable slices.
fn lengths(segments: &Segments<'_>) -> (Vec<usize>, Vec<usize>) {
    let lens = |slices: &[VolatileSlice<'_>]| slices.iter().map(VolatileSlice::len).collect();
    (lens(&segments.readable), lens(&segments.writable))
}

fn collect(table: &[Entry], inner: &[Entry]) -> Result<(Vec<usize>, Vec<usize>), ChainError> {
    let memory = memory();
    put(&memory, TABLE, table);
    put(&memory, INNER, inner);
    let mut segments = Segments::default();
    segments.collect(&memory, GuestAddress(TABLE), 8, 0)?;
    Ok(lengths(&segments))
}

#[test]
fn direct_indirect_and_mixed_chains() {
    let direct = [
        (0x4000, 40, NEXT, 2),
        (0, 0, 0, 0),
        (0x5000, 16, NEXT | WRITE, 3),
        (0x6000, 4096, WRITE, 0),
    ];
    assert_eq!(collect(&direct, &[]), Ok((vec![40], vec![16, 4096])));

    let outer = [(INNER, 48, INDIRECT, 0)];
    let inner = [
        (0x4000, 40, NEXT, 1),
        (0x5000, 8, NEXT, 2),
        (0x6000, 16, WRITE, 0),
    ];
    assert_eq!(collect(&outer, &inner), Ok((vec![40, 8], vec![16])));

    let mixed = [(0x4000, 40, NEXT, 1), (INNER, 16, INDIRECT, 0)];
    assert_eq!(
        collect(&mixed, &[(0x6000, 16, WRITE, 0)]),
        Ok((vec![40], vec![16]))
    );
}

#[test]
fn buffers_may_be_empty_and_cross_regions() {
    let table = [
        (0x4000, 0, NEXT, 1),
        (SEAM - 4, 12, NEXT, 2),
        (SEAM - 8, 16, WRITE, 0),
    ];
    assert_eq!(collect(&table, &[]), Ok((vec![4, 8], vec![8, 8])));
    // An empty buffer needs no memory.
    assert_eq!(collect(&[(u64::MAX, 0, 0, 0)], &[]), Ok((vec![], vec![])));
}

#[test]
fn malformed_chains_are_told_apart() {
    let buffer = |at| ChainError::Buffer(GuestAddress(at), 16);
    type Case<'a> = (&'a [Entry], &'a [Entry], ChainError);
    let cases: &[Case<'_>] = &[
        (&[(0x4000, 1, NEXT, 0)], &[], ChainError::Loop),
        (
            &[(0x4000, 1, NEXT, 1), (0x4000, 1, NEXT, 0)],
            &[],
            ChainError::Loop,
        ),
        (&[(0x4000, 1, NEXT, 8)], &[], ChainError::Index(8)),
        (
            &[(0x4000, 1, NEXT, u16::MAX)],
            &[],
            ChainError::Index(u16::MAX),
        ),
        (
            &[(0x4000, 1, NEXT | WRITE, 1), (0x4000, 1, 0, 0)],
            &[],
            ChainError::Order,
        ),
        (&[(END - 8, 16, 0, 0)], &[], buffer(END - 8)),
        (&[(END, 16, 0, 0)], &[], buffer(END)),
        (&[(u64::MAX - 7, 16, 0, 0)], &[], buffer(u64::MAX - 7)),
        (&[(0x100_0ff8, 16, 0, 0)], &[], buffer(0x100_0ff8)),
        (
            &[(0, u32::MAX, 0, 0)],
            &[],
            ChainError::Buffer(GuestAddress(0), u32::MAX),
        ),
        (
            &[(INNER, 0, INDIRECT, 0)],
            &[],
            ChainError::IndirectLength(0),
        ),
        (
            &[(INNER, 17, INDIRECT, 0)],
            &[],
            ChainError::IndirectLength(17),
        ),
        (
            &[(INNER, 15, INDIRECT, 0)],
            &[],
            ChainError::IndirectLength(15),
        ),
        (
            &[(INNER, !15, INDIRECT, 0)],
            &[],
            ChainError::IndirectLength(!15),
        ),
        (
            &[(INNER, 16, INDIRECT | NEXT, 1)],
            &[],
            ChainError::IndirectFlags,
        ),
        (
            &[(INNER, 16, INDIRECT, 0)],
            &[(INNER, 16, INDIRECT, 0)],
            ChainError::IndirectFlags,
        ),
        (
            &[(INNER, 32, INDIRECT, 0)],
            &[(0x4000, 1, NEXT, 2)],
            ChainError::Index(2),
        ),
        (
            &[(INNER, 16, INDIRECT, 0)],
            &[(0x4000, 1, NEXT, 1)],
            ChainError::Loop,
        ),
        (
            &[(INNER, 32, INDIRECT, 0)],
            &[(0x4000, 1, NEXT, 1), (0x4000, 1, NEXT, 0)],
            ChainError::Loop,
        ),
        (
            &[(END, 16, INDIRECT, 0)],
            &[],
            ChainError::Table(GuestAddress(END)),
        ),
        (
            &[(u64::MAX, 16, INDIRECT, 0)],
            &[],
            ChainError::Table(GuestAddress(u64::MAX)),
        ),
    ];
    for (table, inner, error) in cases {
        assert_eq!(collect(table, inner), Err(*error), "{table:?} {inner:?}");
        assert!(!error.to_string().is_empty());
    }
}

#[test]
fn a_table_may_end_with_memory() {
    let memory = memory();
    put(&memory, END - 16, &[(0x4000, 40, 0, 0)]);
    let mut segments = Segments::default();
    segments
        .collect(&memory, GuestAddress(END - 16), 1, 0)
        .unwrap();
    put(&memory, END - 16, &[(0x4000, 40, NEXT, 1)]);
    let table = segments.collect(&memory, GuestAddress(END - 16), 2, 0);
    assert_eq!(table, Err(ChainError::Table(GuestAddress(END - 16))));
}

#[test]
fn more_than_4_gib_is_too_long() {
    let size = 0x9000_0000usize; // only reserved
    let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), size)]).unwrap();
    put(
        &memory,
        TABLE,
        &[(0, 0x9000_0000, NEXT, 1), (0, 0x9000_0000, WRITE, 0)],
    );
    let mut segments = Segments::default();
    let collected = segments.collect(&memory, GuestAddress(TABLE), 8, 0);
    assert_eq!(collected, Err(ChainError::TooLong));
}

#[test]
fn segments_are_counted_in_slices() {
    // Many small regions that touch, and a chain that names them all again and again.
    let ranges: Vec<_> = (0..400)
        .map(|page| (GuestAddress(page * 0x1000), 0x1000))
        .collect();
    let memory = GuestMemoryMmap::from_ranges(&ranges).unwrap();
    let table: Vec<_> = (1..=128)
        .map(|next| (0, 400 * 0x1000, NEXT, next % 128))
        .collect();
    put(&memory, TABLE, &table);
    // The table was overwritten by no one: nothing is written to buffers here.
    let mut segments = Segments::default();
    let collected = segments.collect(&memory, GuestAddress(TABLE), 128, 0);
    assert_eq!(collected, Err(ChainError::TooLong));
    assert!(segments.readable.len() <= usize::from(MAX_SEGMENTS));
    assert_eq!(
        segments.recycle().readable.capacity(),
        0,
        "too much to keep"
    );
}

#[test]
fn storage_is_used_again() {
    let memory = memory();
    put(
        &memory,
        TABLE,
        &[
            (0x4000, 1, NEXT, 1),
            (0x4000, 1, NEXT | WRITE, 2),
            (0x4000, 1, WRITE, 0),
        ],
    );
    let mut segments = Segments::default();
    segments
        .collect(&memory, GuestAddress(TABLE), 8, 0)
        .unwrap();
    let before = (segments.readable.as_ptr(), segments.writable.as_ptr());
    let capacity = segments.writable.capacity();
    let kept: Segments<'static> = segments.recycle();
    assert_eq!((kept.readable.as_ptr(), kept.writable.as_ptr()), before);
    assert_eq!(kept.writable.capacity(), capacity);
    assert_eq!(lengths(&kept), (vec![], vec![]));
}
