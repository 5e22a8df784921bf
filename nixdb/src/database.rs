// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Questions to a database.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension};

use crate::Error;
use crate::open::{self, Failure};

/// A Nix database. Each question opens it anew, so that an answer is as new as the question.
#[derive(Clone, Debug)]
pub struct Database {
    file: PathBuf,
}

impl Database {
    /// Of this machine's own store, unless its state was moved.
    pub const DEFAULT: &str = "/nix/var/nix/db/db.sqlite";

    /// The database in this file, which is looked at only when something is asked.
    pub fn new(file: impl Into<PathBuf>) -> Database {
        Database { file: file.into() }
    }

    /// Where the database of the store in this directory usually is: that of `/nix/store` is
    /// [`DEFAULT`](Self::DEFAULT), that of a store below `ROOT` (Nix's `--store ROOT`) is
    /// `ROOT/nix/var/nix/db/db.sqlite`.
    pub fn beside(store: &Path) -> Database {
        let nix = store.parent().unwrap_or(Path::new("/"));
        Database::new(nix.join("var/nix/db/db.sqlite"))
    }

    /// The file.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The directory that paths in the database are in, usually `/nix/store`; `None` if there are
    /// no paths.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn store_dir(&self) -> Result<Option<String>, Error> {
        let any: Option<String> = self.read(|connection| {
            let mut any = connection.prepare("select path from ValidPaths limit 1")?;
            Ok(any.query_row([], |row| row.get(0)).optional()?)
        })?;
        Ok(any.and_then(|path| Some(path.rsplit_once('/')?.0.to_owned())))
    }

    /// Whether the store has this path.
    ///
    /// # Errors
    /// If the database cannot be read.
    pub fn is_valid(&self, path: &str) -> Result<bool, Error> {
        self.read(|connection| Ok(id_of(connection, path)?.is_some()))
    }

    /// `paths`, what they refer to, what that refers to, and so on; sorted, each once. The same as
    /// `nix-store --query --requisites`.
    ///
    /// # Errors
    /// [`Error::NotValid`] if the store has not all of `paths`, or the database cannot be read.
    pub fn closure<S: AsRef<str>>(&self, paths: &[S]) -> Result<Vec<String>, Error> {
        self.read(|connection| {
            let mut waiting = Vec::new();
            for path in paths.iter().map(AsRef::as_ref) {
                let id = id_of(connection, path)?.ok_or_else(|| self.not_valid(path))?;
                waiting.push(id);
            }
            waiting.sort_unstable();
            waiting.dedup();
            let mut seen: HashSet<i64> = waiting.iter().copied().collect();
            let mut references =
                connection.prepare("select reference from Refs where referrer = ?")?;
            let mut path = connection.prepare("select path from ValidPaths where id = ?")?;
            let mut closure = Vec::new();
            while let Some(id) = waiting.pop() {
                closure.push(path.query_row([id], |row| row.get::<_, String>(0))?);
                for reference in references.query_map([id], |row| row.get::<_, i64>(0))? {
                    let reference = reference?;
                    if seen.insert(reference) {
                        waiting.push(reference);
                    }
                }
            }
            closure.sort_unstable();
            Ok(closure)
        })
    }

    pub(crate) fn read<R>(
        &self,
        read: impl FnMut(&Connection) -> Result<R, Failure>,
    ) -> Result<R, Error> {
        open::read(&self.file, read)
    }

    pub(crate) fn not_valid(&self, path: &str) -> Failure {
        Failure::Told(Error::NotValid {
            path: path.to_owned(),
            database: self.file.clone(),
        })
    }
}

fn id_of(connection: &Connection, path: &str) -> Result<Option<i64>, rusqlite::Error> {
    connection
        .prepare("select id from ValidPaths where path = ?")?
        .query_row([path], |row| row.get(0))
        .optional()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn circles_end() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("db.sqlite");
        let connection = Connection::open(&file).unwrap();
        connection
            .execute_batch(
                "create table ValidPaths (id integer primary key, path text);
                 create table Refs (referrer integer, reference integer);
                 insert into ValidPaths values (1, '/s/a'), (2, '/s/b'), (3, '/s/c'), (4, '/s/d');
                 insert into Refs values (1, 2), (2, 3), (3, 1), (3, 3), (4, 1);",
            )
            .unwrap();
        drop(connection);
        let database = Database::new(&file);
        let circle = ["/s/a", "/s/b", "/s/c"];
        for start in circle {
            assert_eq!(database.closure(&[start]).unwrap(), circle);
        }
        assert_eq!(database.closure(&["/s/d", "/s/b"]).unwrap().len(), 4);
        assert!(database.closure::<&str>(&[]).unwrap().is_empty());
        assert_eq!(database.store_dir().unwrap().as_deref(), Some("/s"));
    }
}
