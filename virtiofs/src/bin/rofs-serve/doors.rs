// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Everything of the host that serving needs, opened while the host can still be seen.

use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;

use virtiofs::mount::{Mount, MountOptions};

use crate::closure::{Chosen, watch};
use crate::config::{Config, Endpoint, Share};
use crate::failure::{Failure, Outcome, fail};
use crate::group::Group;
use crate::listen::{self, Socket, SocketFile};
use crate::roots::Root;

/// Where a share's client comes in.
#[derive(Debug)]
pub(crate) enum Door {
    Listening(UnixListener),
    Connected(UnixStream),
    Mount(Arc<Mount>),
}

/// The doors of all shares, the directories behind them, and what must be removed in the end.
#[derive(Debug)]
pub(crate) struct Doors {
    pub(crate) doors: Vec<Door>,
    /// `roots[i]` lies behind `doors[i]`.
    pub(crate) roots: Vec<Root>,
    /// What is shown of `roots[i]`; `None`: all.
    pub(crate) closures: Vec<Option<Chosen>>,
    /// Files that list what is shown.
    pub(crate) lists: watch::Files,
    pub(crate) files: Vec<SocketFile>,
}

impl Doors {
    pub(crate) fn open(config: &Config) -> Outcome<Doors> {
        // First what is inherited: later descriptors could get a number that was never passed.
        let mut inherited = Vec::new();
        for share in &config.shares {
            if let Endpoint::Inherited(fd) = share.endpoint {
                inherited.push(listen::inherited(fd)?);
            }
        }
        let mut inherited = inherited.into_iter();
        let roots = config
            .shares
            .iter()
            .map(|share| Root::open(&share.dir))
            .collect::<Outcome<Vec<Root>>>()?;
        let mut lists = watch::Files::default();
        let closures = config
            .shares
            .iter()
            .zip(&roots)
            .map(|(share, root)| {
                let wanted = share.closure.as_ref();
                wanted
                    .map(|wanted| Chosen::new(wanted, root, &mut lists))
                    .transpose()
            })
            .collect::<Outcome<Vec<Option<Chosen>>>>()?;
        let group = config.group.as_deref().map(Group::find).transpose()?;

        let mut doors = Doors {
            doors: Vec::new(),
            roots,
            closures,
            lists,
            files: Vec::new(),
        };
        for (n, share) in config.shares.iter().enumerate() {
            let door = match &share.endpoint {
                Endpoint::Socket(path) => {
                    let (listener, file) = listen::bind(path, group.as_ref())?;
                    doors.files.push(file);
                    Door::Listening(listener)
                }
                Endpoint::Inherited(fd) => match inherited.next() {
                    Some(Socket::Listening(listener)) => Door::Listening(listener),
                    Some(Socket::Connected(stream)) => Door::Connected(stream),
                    None => fail!("--fd {fd}: gone"),
                },
                Endpoint::Mount(dir) => Door::Mount(Arc::new(mount(dir, share, &doors.roots[n])?)),
            };
            doors.doors.push(door);
        }
        Ok(doors)
    }
}

fn mount(dir: &Path, share: &Share, root: &Root) -> Outcome<Mount> {
    // The server would wait for itself.
    if dir
        .canonicalize()
        .is_ok_and(|dir| dir.starts_with(&root.path))
    {
        fail!(
            "--mount {}: lies inside the directory to serve; choose one outside",
            dir.display()
        );
    }
    let options = MountOptions {
        server: share.server_options(),
        ..MountOptions::default()
    };
    Mount::new(dir, &options).map_err(|e| Failure::new(format!("--mount {}: {e}", dir.display())))
}
