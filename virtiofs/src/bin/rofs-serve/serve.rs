// SPDX-License-Identifier: Apache-2.0 OR MIT
//! From a share as configured to the library's parts: which file system, which transport.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use virtiofs::fs::ReadFs;
use virtiofs::mount::{Mount, StopHandle as MountStop};
use virtiofs::server;
use virtiofs::store::{CachePolicy, Layout, NixOptions, NixStore, PlainOptions, PlainTree, detect};
use virtiofs::vhost::{Device, DeviceOptions, Pool, ServeError, StopHandle, Tag};

use crate::args::{CacheArg, LayoutArg};
use crate::config::{Config, Share};
use crate::doors::Door;
use crate::failure::{Failure, Outcome};
use crate::roots::Root;

/// What is served through any number of doors.
pub(crate) type Tree = Arc<dyn ReadFs>;

/// How a directory is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Nix { root_timeout: Duration },
    Plain { cache: CacheArg },
}

impl Kind {
    /// Decides, and says so in the log.
    pub(crate) fn of(share: &Share, root: &Root) -> Outcome<Kind> {
        let dir = share.dir.display();
        let (layout, why) = match share.layout {
            LayoutArg::Nix => (Layout::Nix, "--layout nix".to_owned()),
            LayoutArg::Plain => (Layout::Plain, "--layout plain".to_owned()),
            LayoutArg::Auto => detect(root.fd.as_fd()).map_err(|e| {
                let e = std::io::Error::from_raw_os_error(e.raw());
                Failure::new(format!("--shared-dir {dir}: cannot be read: {e}"))
            })?,
        };
        if layout == Layout::Plain && share.closure.is_some() {
            return Err(Failure::new(format!(
                "--closure: {dir} is no Nix store ({why}); serve it without, or with --layout nix"
            )));
        }
        let plain = Kind::Plain { cache: share.cache };
        Ok(match (layout, share.cache) {
            (Layout::Nix, CacheArg::Auto | CacheArg::Always) => {
                log::info!("{dir}: served as a Nix store ({why})");
                Kind::Nix {
                    root_timeout: share.root_timeout,
                }
            }
            (Layout::Nix, _) => {
                log::info!("{dir}: a Nix store ({why}), served as a plain tree because of --cache");
                plain
            }
            (Layout::Plain, _) => {
                log::info!("{dir}: served as a plain tree ({why})");
                plain
            }
        })
    }

    /// Whether root shall keep the right to read what only others may. In a Nix store there is
    /// nothing of the kind, unless the store as a whole is closed to others.
    pub(crate) fn needs_read_all(&self, root: &Root) -> bool {
        let open_to_all =
            rustix::fs::fstat(&root.fd).is_ok_and(|stat| stat.st_mode & 0o005 == 0o005);
        matches!(self, Kind::Plain { .. }) || !open_to_all
    }
}

impl Share {
    pub(crate) fn server_options(&self) -> server::Options {
        server::Options {
            readdirplus: self.readdirplus,
            direct_io_allow_mmap: self.allow_mmap,
            dax_min: Some(self.dax_min),
        }
    }
}

pub(crate) fn open_store(
    share: &Share,
    root_timeout: Duration,
    root: Root,
    index_limit: usize,
) -> Outcome<Arc<NixStore>> {
    let options = NixOptions {
        root_timeout,
        index_limit,
        ..NixOptions::default()
    };
    let store = NixStore::new(root.fd, options).map_err(|e| cannot_be_served(share, &e))?;
    Ok(Arc::new(store))
}

pub(crate) fn open_plain(share: &Share, cache: CacheArg, root: Root) -> Outcome<Tree> {
    let cache = match cache {
        CacheArg::Never => CachePolicy::Never,
        CacheArg::Metadata => CachePolicy::Metadata,
        CacheArg::Auto => CachePolicy::Auto,
        CacheArg::Always => CachePolicy::Always,
    };
    let options = PlainOptions {
        cache,
        ..PlainOptions::default()
    };
    let tree = PlainTree::new(root.fd, options).map_err(|e| cannot_be_served(share, &e))?;
    Ok(Arc::new(tree))
}

fn cannot_be_served(share: &Share, e: &std::io::Error) -> Failure {
    Failure::new(format!(
        "--shared-dir {}: cannot be served: {e}",
        share.dir.display()
    ))
}

/// Ends the serving of one share.
#[derive(Debug)]
pub(crate) enum Stop {
    Device(StopHandle),
    Mount(MountStop),
}

impl Stop {
    pub(crate) fn stop(&self) {
        match self {
            Stop::Device(stop) => stop.stop(),
            Stop::Mount(stop) => stop.stop(),
        }
    }
}

/// What a share's thread does; returns when the share has nobody to serve any more.
pub(crate) type Work = Box<dyn FnOnce() -> Outcome<()> + Send>;

pub(crate) fn prepare(
    share: &Share,
    door: Door,
    tree: Tree,
    pool: &Pool,
    config: &Config,
) -> Outcome<(Stop, Work)> {
    let keep = config.keep;
    if let Door::Mount(mount) = door {
        return Ok(prepare_mount(mount, tree));
    }
    let name = share.dir.display().to_string();
    let failed = |e: ServeError| Failure::new(format!("{}: {e}", share.dir.display()));
    let tag = share.tag.clone().map(Tag::new).transpose();
    let options = DeviceOptions {
        tag: tag.map_err(|e| Failure::new(format!("--tag: {e}")))?,
        request_queues: share.queues,
        server: share.server_options(),
        pool: pool.clone(),
        poll: config.poll,
        dax: share.dax,
        ..DeviceOptions::default()
    };
    let device = Device::new(tree, options).map_err(failed)?;
    let stop = Stop::Device(device.stop_handle());
    let work: Work = match door {
        Door::Connected(stream) => Box::new(move || {
            log::info!("Client connected, servicing requests");
            client_gone(&name, device.serve_stream(stream), &device, false)
        }),
        Door::Listening(listener) => Box::new(move || {
            loop {
                // Kata waits for this line before it starts its virtual machine.
                log::info!("Waiting for vhost-user socket connection...");
                let result = device.serve_next(&listener);
                client_gone(&name, result, &device, keep)?;
                if !keep || device.is_stopped() {
                    return Ok(());
                }
            }
        }),
        Door::Mount(_) => Box::new(|| Ok(())),
    };
    Ok((stop, work))
}

/// One client is gone. With `keep`, its mistakes are only worth a line.
fn client_gone(
    name: &str,
    result: Result<(), ServeError>,
    device: &Device<Tree>,
    keep: bool,
) -> Outcome<()> {
    match result {
        Ok(()) if device.is_stopped() => {}
        Ok(()) if keep => log::info!("Client disconnected"),
        Ok(()) => log::info!("Client disconnected, shutting down"),
        Err(e) if keep && e.is_client_fault() => log::error!("{name}: {e}"),
        Err(e) => return Err(Failure::new(format!("{name}: {e}"))),
    }
    Ok(())
}

fn prepare_mount(mount: Arc<Mount>, tree: Tree) -> (Stop, Work) {
    let stop = Stop::Mount(mount.stop_handle());
    let work = move || {
        log::info!("Mounted on {}", mount.dir().display());
        mount
            .serve(tree)
            .map_err(|e| Failure::new(format!("--mount {}: {e}", mount.dir().display())))
    };
    (stop, Box::new(work))
}
