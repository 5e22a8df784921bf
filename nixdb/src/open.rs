// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Opening a database that belongs to somebody else, without leaving anything beside it.
//!
//! Nix keeps its database in write-ahead log mode. SQLite reads such a database by way of two more
//! files, `-wal` and `-shm`, and makes them if they are not there: it must not, and a user who may
//! not write the directory cannot. So:
//!
//! - With nothing in the log, all is in the main file. It is read as a file that never changes
//!   (`immutable=1`, as Nix's own `read-only` stores do), and afterwards it is checked that it has
//!   not. If it has, what was read is thrown away and read again.
//! - With something in the log, a Nix process is at work (or was killed) and both files exist. They
//!   are used as they are, the shared one for reading only (`readonly_shm=1`).
//!
//! Where Nix was told to do without the log, a journal that is not empty means that somebody is
//! writing: wait for them.

use std::fmt::Write;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::Error;

/// How often, and after what pause, it is tried again when somebody wrote meanwhile.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(100);

/// Why reading failed.
pub(crate) enum Failure {
    Sqlite(rusqlite::Error),
    /// Something to tell as it is.
    Told(Error),
}

impl From<rusqlite::Error> for Failure {
    fn from(e: rusqlite::Error) -> Failure {
        Failure::Sqlite(e)
    }
}

impl From<Error> for Failure {
    fn from(e: Error) -> Failure {
        Failure::Told(e)
    }
}

/// Calls `read` with a connection that sees one state of the database; again, from the start, if it
/// turns out that it did not.
pub(crate) fn read<R>(
    file: &Path,
    mut read: impl FnMut(&Connection) -> Result<R, Failure>,
) -> Result<R, Error> {
    // SQLite takes the files beside what a link leads to.
    let file = &fs::canonicalize(file).map_err(|e| unreadable(file, e))?;
    for _ in 0..TRIES {
        let before = State::of(file)?;
        let Some(options) = before.options(file)? else {
            thread::sleep(PAUSE);
            continue;
        };
        let result = (|| {
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
                | OpenFlags::SQLITE_OPEN_URI
                | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let connection = Connection::open_with_flags(uri(file, options), flags)?;
            connection.busy_timeout(PAUSE)?;
            // All questions see the database as it is at the first.
            let transaction = connection.unchecked_transaction()?;
            read(&transaction)
        })();
        let settled = before.log_in_use() || State::of(file)? == before;
        match result {
            Err(Failure::Sqlite(e)) if is_busy(&e) => {}
            _ if !settled => {}
            Ok(result) => return Ok(result),
            Err(Failure::Told(e)) => return Err(e),
            Err(Failure::Sqlite(e)) => return Err(Error::Damaged(file.clone(), e.to_string())),
        }
        thread::sleep(PAUSE);
    }
    Err(Error::Busy(file.clone()))
}

fn is_busy(e: &rusqlite::Error) -> bool {
    matches!(
        e.sqlite_error_code(),
        Some(
            ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::FileLockingProtocolFailed
        )
    )
}

/// The files of a database at a moment.
#[derive(Debug, PartialEq, Eq)]
struct State {
    /// Inode number, size and times of the main file.
    main: (u64, u64, i64, i64, i64, i64),
    /// Sizes of `-wal` and `-journal`.
    log: u64,
    journal: u64,
    has_shared: bool,
}

impl State {
    fn of(file: &Path) -> Result<State, Error> {
        let meta = fs::metadata(file).map_err(|e| unreadable(file, e))?;
        // Asked here, because SQLite's own words for it do not say what is wrong.
        fs::File::open(file).map_err(|e| unreadable(file, e))?;
        if !meta.is_file() {
            return Err(Error::Damaged(file.to_owned(), "not a file".to_owned()));
        }
        let size = |suffix| fs::metadata(beside(file, suffix)).map_or(0, |meta| meta.len());
        Ok(State {
            main: identity(&meta),
            log: size("-wal"),
            journal: size("-journal"),
            has_shared: beside(file, "-shm").exists(),
        })
    }

    fn log_in_use(&self) -> bool {
        self.log > 0
    }

    /// How to open it; `None`: not now.
    fn options(&self, file: &Path) -> Result<Option<&'static str>, Error> {
        Ok(match (self.log_in_use(), self.has_shared, self.journal) {
            (true, true, _) => Some("readonly_shm=1"),
            (true, false, _) => return Err(Error::Unrecovered(file.to_owned())),
            (false, _, 0) => Some("immutable=1"),
            (false, _, _) => None,
        })
    }
}

fn identity(meta: &Metadata) -> (u64, u64, i64, i64, i64, i64) {
    (
        meta.ino(),
        meta.len(),
        meta.mtime(),
        meta.mtime_nsec(),
        meta.ctime(),
        meta.ctime_nsec(),
    )
}

fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn unreadable(file: &Path, e: io::Error) -> Error {
    match e.kind() {
        io::ErrorKind::NotFound => Error::Missing(file.to_owned()),
        _ => Error::Unreadable(file.to_owned(), e),
    }
}

fn uri(file: &Path, options: &str) -> String {
    let mut uri = String::from("file:");
    for byte in file.as_os_str().as_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                uri.push(char::from(*byte));
            }
            _ => {
                let _ = write!(uri, "%{byte:02x}");
            }
        }
    }
    uri.push('?');
    uri.push_str(options);
    uri
}
