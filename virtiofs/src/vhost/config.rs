// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The device's configuration space (virtio 1.3, 5.11.4): the tag and the number of request
//! queues.

use super::options::Tag;

/// How much configuration a device may have; reads up to here are answered, with zeros behind the
/// fields that exist, because front-ends ask for more than virtio-fs has.
const SPACE: u32 = 256;

/// `struct virtio_fs_config`: `u8 tag[36]`, then the little-endian number of request queues.
#[derive(Clone, Copy, Debug)]
pub(super) struct Config {
    bytes: [u8; Config::LEN],
}

impl Config {
    const LEN: usize = Tag::MAX + 4;

    pub(super) fn new(tag: &Tag, request_queues: u16) -> Config {
        let mut bytes = [0; Config::LEN];
        for (byte, from) in bytes.iter_mut().zip(tag.as_str().bytes()) {
            *byte = from;
        }
        bytes[Tag::MAX..].copy_from_slice(&u32::from(request_queues).to_le_bytes());
        Config { bytes }
    }

    /// The `size` bytes from `offset`; `None` outside the configuration space.
    pub(super) fn read(&self, offset: u32, size: u32) -> Option<Vec<u8>> {
        let end = offset.checked_add(size).filter(|end| *end <= SPACE)?;
        Some((offset..end).map(|at| self.byte(at)).collect())
    }

    fn byte(&self, at: u32) -> u8 {
        usize::try_from(at)
            .ok()
            .and_then(|at| self.bytes.get(at))
            .copied()
            .unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_part_of_the_space_can_be_read() {
        let config = Config::new(&Tag::new("store").unwrap(), 0x0203);
        let whole = config.read(0, SPACE).unwrap();
        assert_eq!(whole.len(), 256);
        assert_eq!(&whole[..6], b"store\0");
        assert_eq!(&whole[36..41], &[3, 2, 0, 0, 0]);
        assert!(whole[40..].iter().all(|byte| *byte == 0));

        for offset in 0..=SPACE {
            for size in 0..=SPACE - offset {
                let (from, to) = (offset as usize, (offset + size) as usize);
                assert_eq!(config.read(offset, size).unwrap(), whole[from..to]);
            }
        }
        for (offset, size) in [(0, 257), (256, 1), (257, 0), (u32::MAX, 1), (1, u32::MAX)] {
            assert_eq!(config.read(offset, size), None);
        }
    }

    #[test]
    fn a_tag_may_fill_its_field() {
        let config = Config::new(&Tag::new("x".repeat(36)).unwrap(), 1);
        assert_eq!(config.read(35, 3).unwrap(), [b'x', 1, 0]);
    }
}
