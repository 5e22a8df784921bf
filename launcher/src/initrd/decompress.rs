// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Kernel modules as distributions pack them: plain, `.xz`, `.zst` or `.gz`.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

/// More than any module has, so that a broken file does not fill the memory.
const LARGEST: u64 = 256 << 20;

/// The contents of a module.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = BufReader::new(File::open(path)?);
    let mut bytes = Vec::new();
    let n = match path.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => lzma_rust2::XzReader::new(file, true)
            .take(LARGEST)
            .read_to_end(&mut bytes),
        Some("zst") => ruzstd::decoding::StreamingDecoder::new(file)
            .map_err(io::Error::other)?
            .take(LARGEST)
            .read_to_end(&mut bytes),
        Some("gz") => flate2::bufread::MultiGzDecoder::new(file)
            .take(LARGEST)
            .read_to_end(&mut bytes),
        _ => file.take(LARGEST).read_to_end(&mut bytes),
    }?;
    if u64::try_from(n).is_ok_and(|n| n < LARGEST) {
        Ok(bytes)
    } else {
        Err(io::Error::other(format!(
            "it is larger than {LARGEST} bytes"
        )))
    }
}

/// The file's name without the compression's ending.
pub(super) fn plain_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let packed = [".xz", ".zst", ".gz"];
    packed
        .iter()
        .find_map(|ending| name.strip_suffix(ending))
        .unwrap_or(&name)
        .to_owned()
}
