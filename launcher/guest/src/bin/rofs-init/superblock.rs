// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which file system is on a disk, and its label: what the first 68 KiB say.

/// As many bytes of the disk's start are needed.
pub(crate) const LENGTH: usize = 0x1_1000;

/// What a superblock says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Superblock {
    /// The kernel's name of the file system.
    pub(crate) fs_type: &'static str,
    /// The label; empty for none.
    pub(crate) label: String,
}

/// Where a file system has its magic and its label.
struct Layout {
    fs_type: &'static str,
    magic_at: usize,
    magic: &'static [u8],
    label_at: usize,
    label_length: usize,
}

// fs/ext4/ext4.h, include/uapi/linux/btrfs_tree.h, fs/xfs/libxfs/xfs_format.h,
// include/uapi/linux/msdos_fs.h (the BPBs of FAT32 and of FAT12/16).
const LAYOUTS: [Layout; 6] = [
    Layout {
        fs_type: "btrfs",
        magic_at: 0x1_0040,
        magic: b"_BHRfS_M",
        label_at: 0x1_012b,
        label_length: 256,
    },
    Layout {
        fs_type: "ext4",
        magic_at: 0x438,
        magic: &[0x53, 0xef],
        label_at: 0x478,
        label_length: 16,
    },
    Layout {
        fs_type: "xfs",
        magic_at: 0,
        magic: b"XFSB",
        label_at: 108,
        label_length: 12,
    },
    Layout {
        fs_type: "vfat",
        magic_at: 82,
        magic: b"FAT32   ",
        label_at: 71,
        label_length: 11,
    },
    Layout {
        fs_type: "vfat",
        magic_at: 54,
        magic: b"FAT16   ",
        label_at: 43,
        label_length: 11,
    },
    Layout {
        fs_type: "vfat",
        magic_at: 54,
        magic: b"FAT12   ",
        label_at: 43,
        label_length: 11,
    },
];

/// The file system that starts with these bytes.
pub(crate) fn recognise(start: &[u8]) -> Option<Superblock> {
    let layout = LAYOUTS.iter().find(|layout| {
        start
            .get(layout.magic_at..)
            .is_some_and(|rest| rest.starts_with(layout.magic))
    })?;
    let label = start.get(layout.label_at..layout.label_at + layout.label_length)?;
    let label = label.split(|byte| *byte == 0).next().unwrap_or_default();
    let label = String::from_utf8_lossy(label);
    Some(Superblock {
        fs_type: layout.fs_type,
        label: label.trim_end().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(parts: &[(usize, &[u8])]) -> Vec<u8> {
        let mut disk = vec![0; LENGTH];
        for (at, bytes) in parts {
            disk[*at..*at + bytes.len()].copy_from_slice(bytes);
        }
        disk
    }

    #[test]
    fn each_file_system_is_known_with_its_label() {
        for (parts, fs_type, label) in [
            (
                [(0x438, &b"\x53\xef"[..]), (0x478, b"root")],
                "ext4",
                "root",
            ),
            (
                [(0x1_0040, b"_BHRfS_M"), (0x1_012b, b"data\0x")],
                "btrfs",
                "data",
            ),
            (
                [(0, b"XFSB"), (108, b"twelve-bytes")],
                "xfs",
                "twelve-bytes",
            ),
            ([(82, b"FAT32   "), (71, b"SHARE      ")], "vfat", "SHARE"),
            ([(54, b"FAT16   "), (43, b"NO NAME    ")], "vfat", "NO NAME"),
        ] {
            let expected = Superblock {
                fs_type,
                label: label.into(),
            };
            assert_eq!(recognise(&disk(&parts)), Some(expected));
        }
        assert_eq!(recognise(&disk(&[])), None);
        assert_eq!(recognise(b"XFSB"), None);
    }

    #[test]
    fn what_mkfs_makes_is_known() {
        let image = std::env::temp_dir().join(format!("rofs-superblock.{}", std::process::id()));
        let file = std::fs::File::create(&image).unwrap();
        file.set_len(8 << 20).unwrap();
        let made = std::process::Command::new("mkfs.ext4")
            .args(["-q", "-L", "a label"])
            .arg(&image)
            .status();
        let start = std::fs::read(&image).unwrap();
        std::fs::remove_file(&image).unwrap();
        match made {
            Ok(status) if status.success() => {
                let expected = Superblock {
                    fs_type: "ext4",
                    label: "a label".into(),
                };
                assert_eq!(recognise(&start), Some(expected));
            }
            other => eprintln!("SKIPPED: mkfs.ext4 did not run ({other:?}); install e2fsprogs"),
        }
    }
}
