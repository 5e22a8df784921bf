// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A file that lists store paths, one a line, whole or by their names. Blank lines and those that
//! begin with `#` say nothing. What the paths refer to is not added: a list is all there is.

use std::fs;
use std::path::{Path, PathBuf};

use virtiofs::store::Closure;

use super::Store;
use crate::failure::{Failure, Outcome, fail};

#[derive(Debug)]
pub(crate) struct List {
    /// How it was given.
    pub(crate) flag: String,
    pub(crate) file: PathBuf,
}

impl List {
    pub(super) fn new(file: &Path, flag: String) -> List {
        List {
            flag,
            file: file.to_owned(),
        }
    }

    /// Line numbers and names.
    pub(super) fn read(&self, store: &Store<'_>) -> Outcome<Vec<(usize, String)>> {
        let flag = &self.flag;
        let text = fs::read_to_string(&self.file)
            .map_err(|e| Failure::new(format!("{flag}: cannot be read: {e}")))?;
        let mut names = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let name = match store.name_of(Path::new(line)) {
                Some(name) => name,
                None => line.to_owned(),
            };
            if Closure::new([&name]).is_err() {
                fail!("{flag}: line {}: `{line}` is no store path", index + 1);
            }
            names.push((index + 1, name));
        }
        Ok(names)
    }
}
