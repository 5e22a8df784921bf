// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The serving process: locks itself in, serves each share in a thread, and ends when told to or
//! when no client is left.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use virtiofs::store::{Closure, NixStore};
use virtiofs::vhost::Pool;

use crate::closure::channel::Inbox;
use crate::config::{Config, Share};
use crate::doors::{Door, Doors};
use crate::failure::{Failure, Outcome};
use crate::roots::Root;
use crate::serve::{self, Kind, Stop, Tree};
use crate::signals::{STOP, Signals};
use crate::{notify, sandbox};

/// How long requests at work may take after the order to stop.
const PATIENCE: Duration = Duration::from_secs(2);

/// The whole server in one process.
pub(crate) fn alone(config: &Config, doors: Doors) -> Outcome<u8> {
    let Doors {
        doors,
        roots,
        closures,
        files,
        ..
    } = doors;
    let shown = Shown {
        closures: closures
            .into_iter()
            .map(|chosen| Some(chosen?.set))
            .collect(),
        changes: None,
    };
    let code = serve_all(config, doors, roots, shown, true, notify::ready)?;
    notify::stopping();
    drop(files);
    Ok(code)
}

/// What is shown of each share's store.
#[derive(Debug)]
pub(crate) struct Shown {
    /// `None`: all.
    pub(crate) closures: Vec<Option<Closure>>,
    /// Where changes come from.
    pub(crate) changes: Option<Inbox>,
}

impl Shown {
    /// Takes what has come.
    fn change(&mut self) {
        let Some(changes) = &mut self.changes else {
            return;
        };
        let closures = &self.closures;
        let open = changes.take(|share, names| {
            if let Some(Some(closure)) = closures.get(share)
                && let Err(e) = closure.replace(names)
            {
                log::error!("--closure: {e}");
            }
        });
        if !open {
            self.changes = None;
        }
    }
}

/// The server as the child of a supervisor.
pub(crate) fn inside(
    config: &Config,
    doors: Vec<Door>,
    mut roots: Vec<Root>,
    shown: Shown,
    ready: OwnedFd,
) -> Outcome<u8> {
    sandbox::leave_host(config, &mut roots)?;
    serve_all(config, doors, roots, shown, false, || {
        let _ = rustix::io::write(&ready, &[1]);
        drop(ready);
    })
}

fn serve_all(
    config: &Config,
    doors: Vec<Door>,
    roots: Vec<Root>,
    mut shown: Shown,
    alone: bool,
    ready: impl FnOnce(),
) -> Outcome<u8> {
    let failed = |e: std::io::Error| Failure::new(format!("cannot start serving: {e}"));
    let signals = Signals::new(&STOP).map_err(failed)?;
    let ended = Arc::new(eventfd(0, EventfdFlags::CLOEXEC).map_err(|e| failed(e.into()))?);

    let kinds = config
        .shares
        .iter()
        .zip(&roots)
        .map(|(share, root)| Kind::of(share, root))
        .collect::<Outcome<Vec<Kind>>>()?;
    let read_all = kinds
        .iter()
        .zip(&roots)
        .any(|(kind, root)| kind.needs_read_all(root));
    sandbox::lock(config, read_all, alone)?;

    let trees = trees(
        &config.shares,
        kinds,
        roots,
        &shown.closures,
        config.index_limit,
    )?;
    let trouble = Arc::new(AtomicBool::new(false));
    let pool = Pool::default();
    let mut stops = Vec::new();
    let mut running = 0_u64;
    for ((share, door), tree) in config.shares.iter().zip(doors).zip(trees) {
        let (stop, work) = serve::prepare(share, door, tree, &pool, config)?;
        stops.push(stop);
        let end = End {
            ended: Arc::clone(&ended),
            trouble: Arc::clone(&trouble),
        };
        let name = share.tag.as_deref().unwrap_or("share").to_owned();
        thread::Builder::new()
            .name(name)
            .spawn(move || {
                if let Err(failure) = work() {
                    log::error!("{failure}");
                    end.trouble.store(true, Ordering::Relaxed);
                }
                drop(end);
            })
            .map_err(failed)?;
        running += 1;
    }
    ready();
    wait(&signals, &ended, running, &stops, &mut shown);
    Ok(u8::from(trouble.load(Ordering::Relaxed)))
}

/// Tells the main thread that a share's thread has ended, even if by a panic.
struct End {
    ended: Arc<OwnedFd>,
    trouble: Arc<AtomicBool>,
}

impl Drop for End {
    fn drop(&mut self) {
        if thread::panicking() {
            self.trouble.store(true, Ordering::Relaxed);
        }
        let _ = rustix::io::write(&self.ended, &1_u64.to_ne_bytes());
    }
}

/// Until all shares' threads have ended, or a signal came and they had their time to end.
fn wait(signals: &Signals, ended: &OwnedFd, mut running: u64, stops: &[Stop], shown: &mut Shown) {
    let mut stopping = false;
    while running > 0 {
        let mut polled = vec![
            PollFd::new(ended, PollFlags::IN),
            PollFd::new(signals, PollFlags::IN),
        ];
        let changes = shown.changes.as_ref().map(Inbox::fd);
        polled.extend(changes.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        let patience = Timespec::try_from(PATIENCE).ok();
        if poll(&mut polled, patience.as_ref().filter(|_| stopping)) == Ok(0) {
            log::warn!("requests at work did not end in time");
            return;
        }
        let has_ended = !polled[0].revents().is_empty();
        shown.change();
        if has_ended {
            let mut count = [0_u8; 8];
            if rustix::io::read(ended, &mut count) == Ok(8) {
                running = running.saturating_sub(u64::from_ne_bytes(count));
            }
        }
        if signals.next().is_some() && !stopping {
            log::info!("Stopping");
            stopping = true;
            stops.iter().for_each(Stop::stop);
        }
    }
}

/// Shares of one directory, served in one way, share one index.
fn trees(
    shares: &[Share],
    kinds: Vec<Kind>,
    roots: Vec<Root>,
    closures: &[Option<Closure>],
    index_limit: usize,
) -> Outcome<Vec<Tree>> {
    let mut made: HashMap<(PathBuf, Duration), Arc<NixStore>> = HashMap::new();
    let mut trees = Vec::new();
    for (((share, kind), root), closure) in shares.iter().zip(kinds).zip(roots).zip(closures) {
        let root_timeout = match kind {
            Kind::Nix { root_timeout } => root_timeout,
            // A plain tree remembers what its one client knows.
            Kind::Plain { cache } => {
                trees.push(serve::open_plain(share, cache, root)?);
                continue;
            }
        };
        let store = match made.entry((root.path.clone(), root_timeout)) {
            Entry::Occupied(made) => Arc::clone(made.get()),
            Entry::Vacant(place) => {
                Arc::clone(place.insert(serve::open_store(share, root_timeout, root, index_limit)?))
            }
        };
        trees.push(match closure {
            Some(closure) => Arc::new(store.restricted_to(closure)),
            None => store,
        });
    }
    Ok(trees)
}
