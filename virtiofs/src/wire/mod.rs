// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The FUSE wire format: numbers and structures, no behaviour.
//!
//! Source of all of it: Linux `include/uapi/linux/fuse.h`, protocol 7.45. Integers are in the
//! client's byte order, which virtio-fs fixes to little-endian (virtio 1.3, 5.11.6).

pub mod abi;
pub mod flags;
mod opcode;

pub use opcode::Opcode;

#[cfg(target_endian = "big")]
compile_error!("virtio-fs structures are little-endian; this crate reads them in host order");

/// Major version of the protocol (`FUSE_KERNEL_VERSION`).
pub const MAJOR: u32 = 7;
/// Newest minor version spoken (`FUSE_KERNEL_MINOR_VERSION`).
pub const MINOR: u32 = 45;
/// Oldest minor version a client may have: the first with everything virtio-fs needs (Linux 5.4).
pub const MINOR_MIN: u32 = 31;
/// First minor version whose INIT carries a second word of flags.
pub const MINOR_INIT_EXT: u32 = 36;

#[cfg(test)]
mod tests {
    use super::abi::*;
    use super::*;
    use fuse_backend_rs::abi::fuse_abi as oracle;
    use std::mem::size_of;

    /// An independent implementation of the same header agrees on sizes...
    #[test]
    fn sizes_agree_with_the_oracle() {
        assert_eq!(size_of::<InHeader>(), size_of::<oracle::InHeader>());
        assert_eq!(size_of::<OutHeader>(), size_of::<oracle::OutHeader>());
        assert_eq!(size_of::<Attr>(), size_of::<oracle::Attr>());
        assert_eq!(size_of::<EntryOut>(), size_of::<oracle::EntryOut>());
        assert_eq!(size_of::<AttrOut>(), size_of::<oracle::AttrOut>());
        assert_eq!(size_of::<ForgetIn>(), size_of::<oracle::ForgetIn>());
        assert_eq!(size_of::<ForgetOne>(), size_of::<oracle::ForgetOne>());
        assert_eq!(
            size_of::<BatchForgetIn>(),
            size_of::<oracle::BatchForgetIn>()
        );
        assert_eq!(size_of::<GetattrIn>(), size_of::<oracle::GetattrIn>());
        assert_eq!(size_of::<OpenIn>(), size_of::<oracle::OpenIn>());
        assert_eq!(size_of::<OpenOut>(), size_of::<oracle::OpenOut>());
        assert_eq!(size_of::<ReadIn>(), size_of::<oracle::ReadIn>());
        assert_eq!(size_of::<StatfsOut>(), size_of::<oracle::StatfsOut>());
        assert_eq!(size_of::<InitIn>(), size_of::<oracle::InitIn>());
        assert_eq!(size_of::<InitOut>(), size_of::<oracle::InitOut>());
        assert_eq!(size_of::<Dirent>(), size_of::<oracle::Dirent>());
    }

    /// ... and where the oracle is older than this table, the header's own numbers.
    #[test]
    fn sizes_are_the_headers() {
        assert_eq!(size_of::<InitInExt>(), 48);
        assert_eq!(size_of::<InitOut>(), 64);
        assert_eq!(size_of::<SetupMappingIn>(), 40);
        assert_eq!(size_of::<RemoveMappingOne>(), 16);
    }

    #[test]
    fn opcodes_and_flags_agree_with_the_oracle() {
        for (ours, theirs) in [
            (Opcode::Lookup, oracle::Opcode::Lookup as u32),
            (Opcode::Getattr, oracle::Opcode::Getattr as u32),
            (Opcode::Readlink, oracle::Opcode::Readlink as u32),
            (Opcode::Open, oracle::Opcode::Open as u32),
            (Opcode::Read, oracle::Opcode::Read as u32),
            (Opcode::Init, oracle::Opcode::Init as u32),
            (Opcode::Readdirplus, oracle::Opcode::Readdirplus as u32),
            (Opcode::BatchForget, oracle::Opcode::BatchForget as u32),
            (Opcode::SetupMapping, oracle::Opcode::SetupMapping as u32),
            (Opcode::RemoveMapping, oracle::Opcode::RemoveMapping as u32),
        ] {
            assert_eq!(ours as u32, theirs, "{ours:?}");
        }
        use oracle::FsOptions as O;
        for (ours, theirs) in [
            (flags::init::ASYNC_READ, O::ASYNC_READ),
            (flags::init::DO_READDIRPLUS, O::DO_READDIRPLUS),
            (flags::init::READDIRPLUS_AUTO, O::READDIRPLUS_AUTO),
            (flags::init::NO_OPEN_SUPPORT, O::ZERO_MESSAGE_OPEN),
            (flags::init::PARALLEL_DIROPS, O::PARALLEL_DIROPS),
            (flags::init::MAX_PAGES, O::MAX_PAGES),
            (flags::init::CACHE_SYMLINKS, O::CACHE_SYMLINKS),
            (flags::init::NO_OPENDIR_SUPPORT, O::ZERO_MESSAGE_OPENDIR),
            (flags::init::EXPLICIT_INVAL_DATA, O::EXPLICIT_INVAL_DATA),
            (flags::init::MAP_ALIGNMENT, O::MAP_ALIGNMENT),
            (flags::init::INIT_EXT, O::INIT_EXT),
            (flags::init::HAS_INODE_DAX, O::PERFILE_DAX),
        ] {
            assert_eq!(ours, theirs.bits(), "{theirs:?}");
        }
    }

    #[test]
    fn opcode_numbers_have_no_neighbours() {
        for opcode in Opcode::ALL {
            assert_eq!(Opcode::from_raw(*opcode as u32), Some(*opcode));
        }
        for raw in [0, 7, 19, 54, 4095, 4097, u32::MAX] {
            assert_eq!(Opcode::from_raw(raw), None);
        }
    }
}
