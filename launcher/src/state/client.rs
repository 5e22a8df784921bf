// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Asking a supervisor.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Reply, Request, SOCKET, Status};

/// How long a supervisor may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest line, in bytes.
const LINE: usize = 1 << 20;

/// Why a machine cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody is there.
    #[error("{0} is not running; `rofs-vm list` shows what is")]
    NotRunning(String),
    /// It does not answer as it should.
    #[error("the supervisor of {name} does not answer: {why}")]
    Silent {
        /// The machine.
        name: String,
        /// Why.
        why: io::Error,
    },
    /// It said no.
    #[error("{0}")]
    Refused(String),
}

/// A connection to a supervisor, for one request.
#[derive(Debug)]
pub struct Client {
    name: String,
    stream: UnixStream,
}

impl Client {
    /// Connects to the supervisor of the machine whose runtime directory is `dir`.
    ///
    /// # Errors
    /// [`AskError::NotRunning`], most likely.
    pub fn connect(dir: &Path) -> Result<Client, AskError> {
        let name = dir
            .file_name()
            .unwrap_or(dir.as_os_str())
            .to_string_lossy()
            .into_owned();
        match UnixStream::connect(dir.join(SOCKET)) {
            Ok(stream) => Ok(Client { name, stream }),
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
                ) =>
            {
                Err(AskError::NotRunning(name))
            }
            Err(why) => Err(AskError::Silent { name, why }),
        }
    }

    /// Sends a request and takes the first reply.
    ///
    /// # Errors
    /// [`AskError::Refused`] if the reply is an error.
    pub fn ask(&mut self, request: &Request) -> Result<Reply, AskError> {
        let send = |stream: &mut UnixStream| {
            let mut line = serde_json::to_vec(request)?;
            line.push(b'\n');
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            stream.write_all(&line)
        };
        send(&mut self.stream).map_err(|why| self.silent(why))?;
        let reply = self.reply();
        let _ = self.stream.set_read_timeout(None);
        match reply? {
            Some(Reply::Error(text)) => Err(AskError::Refused(text)),
            Some(reply) => Ok(reply),
            None => Err(self.silent(io::ErrorKind::UnexpectedEof.into())),
        }
    }

    /// The next reply; none if the supervisor is gone. Waits as long as it takes.
    ///
    /// # Errors
    /// [`AskError::Silent`].
    pub fn reply(&mut self) -> Result<Option<Reply>, AskError> {
        let line = read_line(&mut self.stream).map_err(|why| self.silent(why))?;
        match line {
            line if line.is_empty() => Ok(None),
            line => serde_json::from_slice(&line)
                .map(Some)
                .map_err(|e| self.silent(e.into())),
        }
    }

    /// What the connection is after the reply.
    pub fn into_stream(self) -> UnixStream {
        self.stream
    }

    fn silent(&self, why: io::Error) -> AskError {
        AskError::Silent {
            name: self.name.clone(),
            why,
        }
    }
}

/// One line without its end; empty at the end of the stream. Takes not a byte more from it.
pub(crate) fn read_line(stream: &mut UnixStream) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    let mut byte = [0];
    while line.len() < LINE {
        match stream.read(&mut byte) {
            Ok(0) if line.is_empty() => return Ok(line),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) if byte == *b"\n" => return Ok(line),
            Ok(_) => line.push(byte[0]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidData,
        "the line is too long",
    ))
}

/// The machines that run, by name, with the directory of each and how it is; or why that cannot be
/// told. `runtime` is the directory that all of theirs are in.
///
/// # Errors
/// If that directory cannot be read. That there is none is no error.
pub fn running(runtime: &Path) -> io::Result<Vec<(PathBuf, Result<Status, AskError>)>> {
    let entries = match fs::read_dir(runtime) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(e),
    };
    let mut dirs = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<Vec<PathBuf>>>()?;
    dirs.sort();
    let ask = |dir: &Path| match Client::connect(dir)?.ask(&Request::Status)? {
        Reply::Status(status) => Ok(*status),
        other => Err(AskError::Refused(format!("unexpected answer {other:?}"))),
    };
    Ok(dirs
        .into_iter()
        .map(|dir| {
            let status = ask(&dir);
            (dir, status)
        })
        // What a killed supervisor left is no machine.
        .filter(|(_, status)| !matches!(status, Err(AskError::NotRunning(_))))
        .collect())
}
