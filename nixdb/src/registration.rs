// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What another Nix database must know of some paths, as `nix-store --load-db` reads it.
//!
//! For each path these lines: the path; the SHA-256 of its archive in base 16; the size of that;
//! the derivation it was built from, or nothing; how many references it has; and these, one a line.
//! (`Store::makeValidityRegistration` in Nix.)

use std::collections::HashSet;

use rusqlite::OptionalExtension;

use crate::{Database, Error};

impl Database {
    /// The registration of `paths`, in their order. Whoever loads it takes it for the whole truth,
    /// so `paths` should be a [`closure`](Self::closure). A derivation that is not among `paths` is
    /// not named.
    ///
    /// # Errors
    /// [`Error::NotValid`] if the store has not all of `paths`, or the database cannot be read.
    pub fn registration<S: AsRef<str>>(&self, paths: &[S]) -> Result<String, Error> {
        let among: HashSet<&str> = paths.iter().map(AsRef::as_ref).collect();
        self.read(|connection| {
            let mut info = connection
                .prepare("select id, hash, narSize, deriver from ValidPaths where path = ?")?;
            let mut references = connection.prepare(
                "select path from Refs join ValidPaths on id = reference where referrer = ? \
                 order by path",
            )?;
            let mut text = String::new();
            for path in paths.iter().map(AsRef::as_ref) {
                let row = info.query_row([path], |row| {
                    let id: i64 = row.get(0)?;
                    let hash: String = row.get(1)?;
                    let size: Option<i64> = row.get(2)?;
                    let deriver: Option<String> = row.get(3)?;
                    Ok((id, hash, size, deriver))
                });
                let Some((id, hash, size, deriver)) = row.optional()? else {
                    return Err(self.not_valid(path));
                };
                let references = references
                    .query_map([id], |row| row.get(0))?
                    .collect::<Result<Vec<String>, _>>()?;
                let deriver = deriver.filter(|deriver| among.contains(deriver.as_str()));
                let lines = [
                    path,
                    self.base16(path, &hash)?,
                    &size.unwrap_or(0).to_string(),
                    deriver.as_deref().unwrap_or(""),
                    &references.len().to_string(),
                ];
                for line in lines
                    .into_iter()
                    .chain(references.iter().map(String::as_str))
                {
                    text.push_str(line);
                    text.push('\n');
                }
            }
            Ok(text)
        })
    }

    fn base16<'h>(&self, path: &str, hash: &'h str) -> Result<&'h str, Error> {
        hash.strip_prefix("sha256:")
            .filter(|hash| hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()))
            .ok_or_else(|| {
                let what = format!("{path} has the hash `{hash}`, which is no SHA-256 in base 16");
                Error::Damaged(self.file().to_owned(), what)
            })
    }
}
