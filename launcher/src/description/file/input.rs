// SPDX-License-Identifier: Apache-2.0 OR MIT
//! From a path to text.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::mistakes::{Mistake, Mistakes, Source};

/// No description is longer; the JSON of a whole `config.microvm` is a hundredth of it.
const LONGEST: u64 = 4 << 20;

/// What stands for a path where there is none.
pub(super) const STDIN: &str = "<stdin>";

/// Reads a file; `-` is the standard input.
pub(super) fn read(path: &Path) -> Result<Source, Mistakes> {
    let (bytes, path) = if path == Path::new("-") {
        (read_all(io::stdin().lock()), PathBuf::from(STDIN))
    } else {
        (open(path).and_then(read_all), path.to_owned())
    };
    match bytes {
        Ok(bytes) => decode(bytes, path),
        Err(error) => {
            let instead = match error.kind() {
                io::ErrorKind::NotFound => "`rofs-vm init FILE` writes one to start from",
                io::ErrorKind::IsADirectory => "name the file in it",
                io::ErrorKind::PermissionDenied => "make it readable for this user",
                _ => "",
            };
            let what = format!("cannot be read: {error}");
            Err(Mistakes::of_file(&path, what, instead))
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    let file = File::open(path)?;
    if file.metadata()?.is_dir() {
        Err(io::ErrorKind::IsADirectory.into())
    } else {
        Ok(file)
    }
}

/// One byte too many shows that there is more.
fn read_all(input: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input.take(LONGEST + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn decode(mut bytes: Vec<u8>, path: PathBuf) -> Result<Source, Mistakes> {
    if bytes.len() as u64 > LONGEST {
        let what = format!("it is longer than {} MiB", LONGEST >> 20);
        let instead = "write a description of a VM; `rofs-vm init FILE` writes one to start from";
        return Err(Mistakes::of_file(&path, what, instead));
    }
    let utf_8 = "save it as UTF-8 text, in TOML or JSON";
    if let [0xff, 0xfe, ..] | [0xfe, 0xff, ..] = bytes.as_slice() {
        return Err(Mistakes::of_file(&path, "it is UTF-16 text", utf_8));
    }
    // Some editors mark UTF-8, too.
    if bytes.starts_with(b"\xef\xbb\xbf") {
        bytes.drain(..3);
    }
    String::from_utf8(bytes)
        .map(|text| Source {
            path: path.clone(),
            text,
        })
        .map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
            let what = "it is not UTF-8 text: this byte belongs to no character";
            Mistakes {
                list: vec![of_text(at..at + 1, what, utf_8)],
                source: Source { path, text },
            }
        })
}

/// A mistake at a place that is no option.
pub(super) fn of_text(span: Range<usize>, what: impl Into<String>, instead: &str) -> Mistake {
    Mistake {
        span: Some(span),
        option: String::new(),
        what: what.into(),
        instead: instead.into(),
    }
}
