// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Serving directories to the guest from this process, read-only.
//!
//! The sockets listen before [`Shares::serve`] returns, so that a hypervisor started afterwards
//! finds them; each share is served until its [`Shares`] is dropped, and its socket is removed
//! then. Shares of one Nix store share one index.
//!
//! What a guest may write to is served by a process of its own, which is handed its listening
//! socket: see [`ShareServer::Process`](crate::plan::ShareServer).

mod serve;
#[cfg(test)]
mod tests;

use std::fs;
use std::io;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use virtiofs::vhost::StopHandle;

use crate::plan::SharePlan;

/// Why a share cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ShareError {
    /// The directory cannot be used.
    #[error("share {tag}: {}: {why}", source_dir.display())]
    Directory {
        /// The share.
        tag: String,
        /// What was to be served.
        source_dir: PathBuf,
        /// Why not.
        why: io::Error,
    },
    /// The socket cannot be made.
    #[error("share {tag}: cannot make the socket {}: {why}", socket.display())]
    Socket {
        /// The share.
        tag: String,
        /// Where it was to be.
        socket: PathBuf,
        /// Why not.
        why: io::Error,
    },
    /// Something of this machine is used up, or the plan asks for what cannot be.
    #[error("share {tag}: {why}")]
    Device {
        /// The share.
        tag: String,
        /// Why not.
        why: String,
    },
}

/// Directories being served.
#[derive(Debug, Default)]
pub struct Shares {
    served: Vec<Served>,
}

/// One of them.
#[derive(Debug)]
struct Served {
    tag: String,
    socket: PathBuf,
    stop: StopHandle,
    thread: Option<JoinHandle<()>>,
}

impl Shares {
    /// Serves those of the plans that are for this process. `failed` is called, from another
    /// thread, if one cannot be served any more; the guest then waits for it in vain.
    ///
    /// # Errors
    /// [`ShareError`]; nothing is served then.
    pub fn serve(
        plans: &[SharePlan],
        failed: impl Fn(String) + Clone + Send + 'static,
    ) -> Result<Shares, ShareError> {
        let mut shares = Shares::default();
        let mut stores = serve::Stores::default();
        for plan in plans {
            if let Some(tree) = stores.open(plan)? {
                let served = serve::start(plan, tree, stores.pool(), failed.clone())?;
                shares.served.push(served);
            }
        }
        Ok(shares)
    }
}

impl Drop for Shares {
    fn drop(&mut self) {
        for share in &self.served {
            share.stop.stop();
        }
        for share in &mut self.served {
            if share
                .thread
                .take()
                .is_some_and(|thread| thread.join().is_err())
            {
                log::error!("share {}: its thread panicked", share.tag);
            }
            let _ = fs::remove_file(&share.socket);
        }
    }
}

/// A socket that listens at `path`, in place of a stale one. For the owner of the directory, which
/// must be ours alone, and nobody else.
///
/// # Errors
/// As for binding a socket.
pub fn listen(path: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(e),
    }
    UnixListener::bind(path)
}
