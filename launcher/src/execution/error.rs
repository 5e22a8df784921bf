// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What can go wrong while a machine runs.

use std::io;
use std::path::PathBuf;

use crate::initrd::InitrdError;
use crate::process::StartError;
use crate::share::ShareError;
use crate::state::ClaimError;
use crate::volume::VolumeError;

/// Why a machine did not run, or ended otherwise than by powering down.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Its name is taken.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// A volume cannot be used.
    #[error(transparent)]
    Volume(#[from] VolumeError),
    /// A share cannot be served.
    #[error(transparent)]
    Share(#[from] ShareError),
    /// The initrd cannot be made.
    #[error(transparent)]
    Initrd(#[from] InitrdError),
    /// A program cannot be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A file or socket for a program cannot be opened.
    #[error("{name} needs {}: {why}", path.display())]
    Needs {
        /// The program.
        name: String,
        /// What it is to be handed.
        path: PathBuf,
        /// Why it cannot be.
        why: io::Error,
    },
    /// A program ended that should not have.
    #[error("{name} {how}{}", said(words))]
    Died {
        /// The program.
        name: String,
        /// How it ended.
        how: String,
        /// What it said last.
        words: String,
    },
    /// The guest ended before it was ready.
    #[error("the guest ended before it was ready{}", said(words))]
    NeverReady {
        /// What its console printed last, or what it said.
        words: String,
    },
    /// A program takes too long.
    #[error("{name} is not ready after {secs} seconds: {} has not appeared{}", socket.display(), said(words))]
    NotReady {
        /// The program.
        name: String,
        /// How long it had.
        secs: u64,
        /// What was waited for.
        socket: PathBuf,
        /// What it said last.
        words: String,
    },
    /// A share is served no more.
    #[error("{0}; without it the guest cannot go on")]
    ShareLost(String),
    /// The guest did not power down.
    #[error("the guest did not power down within {0} seconds (stopTimeout) and was killed")]
    Unresponsive(u64),
    /// Somebody wanted it dead.
    #[error("killed, as asked")]
    Killed,
    /// Somebody asked to stop before it ran.
    #[error("interrupted before the virtual machine ran")]
    Interrupted,
    /// Something of this machine is missing.
    #[error("cannot {what}: {why}")]
    Io {
        /// What failed.
        what: String,
        /// How.
        why: io::Error,
    },
}

impl RunError {
    pub(super) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> RunError {
        let what = what.into();
        move |why| RunError::Io { what, why }
    }
}

fn said(words: &str) -> String {
    match words.trim_end() {
        "" => String::new(),
        words => format!("; last it said:\n{words}"),
    }
}
