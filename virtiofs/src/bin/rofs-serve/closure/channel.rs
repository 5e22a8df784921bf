// SPDX-License-Identifier: Apache-2.0 OR MIT
//! From the supervisor, who sees the host, to the server, who does not: the names to show.
//!
//! A message is the number of a share and a count of bytes, four bytes each in the order of this
//! machine, and as many bytes: names, each with a line feed behind it.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};

use crate::failure::{Failure, Outcome};

const HEADER: usize = 8;

pub(crate) fn pair() -> Outcome<(Inbox, Outbox)> {
    let (input, output) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)
        .map_err(|e| Failure::new(format!("cannot make a pipe: {}", io::Error::from(e))))?;
    Ok((
        Inbox {
            pipe: input,
            bytes: Vec::new(),
        },
        Outbox {
            pipe: output,
            bytes: VecDeque::new(),
        },
    ))
}

pub(crate) fn message(share: usize, names: &BTreeSet<String>) -> Vec<u8> {
    let text: String = names.iter().flat_map(|name| [name, "\n"]).collect();
    let word = |n: usize| u32::try_from(n).unwrap_or(u32::MAX).to_ne_bytes();
    [&word(share)[..], &word(text.len()), text.as_bytes()].concat()
}

/// The supervisor's end. It never waits for the server.
#[derive(Debug)]
pub(crate) struct Outbox {
    pipe: OwnedFd,
    bytes: VecDeque<u8>,
}

impl Outbox {
    pub(crate) fn put(&mut self, message: &[u8]) {
        self.bytes.extend(message);
    }

    pub(crate) fn waiting(&self) -> Option<BorrowedFd<'_>> {
        (!self.bytes.is_empty()).then(|| self.pipe.as_fd())
    }

    pub(crate) fn flush(&mut self) {
        while !self.bytes.is_empty() {
            match rustix::io::write(&self.pipe, self.bytes.as_slices().0) {
                Ok(n) => drop(self.bytes.drain(..n)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                // The server is gone, which is noticed elsewhere.
                Err(_) => self.bytes.clear(),
            }
        }
    }
}

/// The server's end.
#[derive(Debug)]
pub(crate) struct Inbox {
    pipe: OwnedFd,
    bytes: Vec<u8>,
}

impl Inbox {
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }

    /// Calls `each` with every message that has come as a whole. False: none will come any more.
    pub(crate) fn take(&mut self, mut each: impl FnMut(usize, Vec<&[u8]>)) -> bool {
        let mut buffer = [0; 16384];
        let open = loop {
            match rustix::io::read(&self.pipe, &mut buffer) {
                Ok(0) => break false,
                Ok(n) => self.bytes.extend_from_slice(&buffer[..n]),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break true,
                Err(_) => break false,
            }
        };
        while let Some((share, len)) = self.header()
            && let Some(text) = self.bytes.get(HEADER..HEADER.saturating_add(len))
        {
            let lines = text.split(|byte| *byte == b'\n');
            each(share, lines.filter(|line| !line.is_empty()).collect());
            self.bytes.drain(..HEADER + len);
        }
        open
    }

    fn header(&self) -> Option<(usize, usize)> {
        let word = |at: usize| {
            let bytes = self.bytes.get(at..at + 4)?.try_into().ok()?;
            usize::try_from(u32::from_ne_bytes(bytes)).ok()
        };
        Some((word(0)?, word(4)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_larger_than_the_pipe_arrive_whole() {
        let (mut inbox, mut outbox) = pair().unwrap();
        let many: BTreeSet<String> = (0..20_000).map(|n| format!("name-{n}")).collect();
        outbox.put(&message(3, &many));
        outbox.put(&message(0, &BTreeSet::new()));
        let mut came = Vec::new();
        while outbox.waiting().is_some() || came.len() < 2 {
            outbox.flush();
            assert!(inbox.take(|share, names| {
                let names = names
                    .iter()
                    .map(|n| String::from_utf8_lossy(n).into_owned());
                came.push((share, names.collect::<BTreeSet<_>>()));
            }));
        }
        assert_eq!(came, [(3, many), (0, BTreeSet::new())]);
        drop(outbox);
        assert!(!inbox.take(|_, _| panic!("nothing more")));
    }
}
