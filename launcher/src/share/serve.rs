// SPDX-License-Identifier: Apache-2.0 OR MIT
//! From a plan to the parts of the `virtiofs` library.

use std::collections::HashMap;
use std::fs;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use virtiofs::fs::ReadFs;
use virtiofs::store::{
    CachePolicy, Closure, NixOptions, NixStore, PlainOptions, PlainTree, open_root,
};
use virtiofs::vhost::{DaxOptions, Device, DeviceOptions, Pool, Tag};

use super::{Served, ShareError, listen};
use crate::description::Cache;
use crate::nix;
use crate::plan::{ClosurePlan, ShareKind, SharePlan, ShareServer};

/// A file system to serve.
type Tree = Arc<dyn ReadFs>;

/// What the shares of one machine have in common.
#[derive(Default)]
pub(super) struct Stores {
    by_directory: HashMap<PathBuf, Arc<NixStore>>,
    pool: Pool,
}

impl Stores {
    /// The file system of a share; none if another process serves it.
    pub(super) fn open(&mut self, plan: &SharePlan) -> Result<Option<Tree>, ShareError> {
        let ShareServer::InProcess { kind, closure, .. } = &plan.server else {
            return Ok(None);
        };
        let failed = |why| ShareError::Directory {
            tag: plan.tag.clone(),
            source_dir: plan.source.clone(),
            why,
        };
        let dir = fs::canonicalize(&plan.source).map_err(failed)?;
        let tree: Tree = match kind {
            ShareKind::NixStore => {
                let store = match self.by_directory.get(&dir) {
                    Some(store) => Arc::clone(store),
                    None => {
                        let root = open_root(&dir).map_err(failed)?;
                        let store = NixStore::new(root, NixOptions::default()).map_err(failed)?;
                        let store = Arc::new(store);
                        self.by_directory.insert(dir.clone(), Arc::clone(&store));
                        store
                    }
                };
                match closure {
                    Some(closure) => Arc::new(store.restricted_to(&only(&dir, closure, plan)?)),
                    None => store,
                }
            }
            // It remembers what its one client knows.
            ShareKind::Plain(cache) => {
                let options = PlainOptions {
                    cache: policy(*cache),
                    ..PlainOptions::default()
                };
                let root = open_root(&dir).map_err(failed)?;
                Arc::new(PlainTree::new(root, options).map_err(failed)?)
            }
        };
        Ok(Some(tree))
    }

    /// The threads that wait for disks.
    pub(super) fn pool(&self) -> &Pool {
        &self.pool
    }
}

/// The paths that the guest sees.
fn only(dir: &Path, closure: &ClosurePlan, plan: &SharePlan) -> Result<Closure, ShareError> {
    let paths = nix::Store::new(dir).closure(closure);
    let paths = paths.map_err(|e| device(plan, format!("closure: {e}")))?;
    Closure::new(paths.iter().map(|path| nix::name(path))).map_err(|e| device(plan, e))
}

fn policy(cache: Cache) -> CachePolicy {
    match cache {
        Cache::Auto => CachePolicy::Auto,
        Cache::Always => CachePolicy::Always,
        Cache::Metadata => CachePolicy::Metadata,
        Cache::Never => CachePolicy::Never,
    }
}

/// Serves a tree at the share's socket.
pub(super) fn start(
    plan: &SharePlan,
    tree: Tree,
    pool: &Pool,
    failed: impl Fn(String) + Send + 'static,
) -> Result<Served, ShareError> {
    let ShareServer::InProcess {
        request_queues,
        dax,
        ..
    } = &plan.server
    else {
        return Err(device(plan, "is for another process to serve"));
    };
    let tag = Tag::new(&plan.tag).map_err(|e| device(plan, e))?;
    let options = DeviceOptions {
        // QEMU's device for DAX asks for it; the other one complains when it is offered.
        tag: Some(tag).filter(|_| dax.is_some()),
        request_queues: *request_queues,
        pool: pool.clone(),
        dax: dax.as_ref().map(|dax| DaxOptions {
            size: dax.window_mib.saturating_mul(1 << 20),
            ..DaxOptions::default()
        }),
        ..DeviceOptions::default()
    };
    let served = Device::new(tree, options).map_err(|e| device(plan, e))?;
    let stop = served.stop_handle();
    let listener = listen(&plan.socket).map_err(|why| ShareError::Socket {
        tag: plan.tag.clone(),
        socket: plan.socket.clone(),
        why,
    })?;
    let tag = plan.tag.clone();
    let thread = thread::Builder::new()
        .name(format!("share {tag}"))
        .spawn(move || serve(&served, &listener, &tag, failed))
        .map_err(|e| device(plan, e));
    match thread {
        Ok(thread) => Ok(Served {
            tag: plan.tag.clone(),
            socket: plan.socket.clone(),
            stop,
            thread: Some(thread),
        }),
        Err(e) => {
            let _ = fs::remove_file(&plan.socket);
            Err(e)
        }
    }
}

/// One client after the other: some hypervisors connect anew when the guest restarts.
fn serve(device: &Device<Tree>, listener: &UnixListener, tag: &str, failed: impl Fn(String)) {
    while !device.is_stopped() {
        match device.serve_next(listener) {
            Ok(()) => {}
            Err(_) if device.is_stopped() => {}
            Err(e) => {
                failed(format!("share {tag}: {e}"));
                if !e.is_client_fault() {
                    return;
                }
            }
        }
    }
}

fn device(plan: &SharePlan, why: impl ToString) -> ShareError {
    ShareError::Device {
        tag: plan.tag.clone(),
        why: why.to_string(),
    }
}
