// SPDX-License-Identifier: Apache-2.0 OR MIT
//! virtiofsd's passthrough file system, on the kind of memory that its daemon uses.

use std::path::Path;
use std::time::Duration;

use peer_backend::bitmap::BitmapMmapRegion;
use virtiofsd::descriptor_utils::{Reader, Writer};
use virtiofsd::passthrough::{CachePolicy, Config, InodeFileHandlesMode, PassthroughFs};
use virtiofsd::server::Server;

use super::ring::Ring;
use crate::guest::Guest;
use crate::subject::{Client, Subject};

struct Virtiofsd {
    name: &'static str,
    server: Server<PassthroughFs>,
    ring: Ring<BitmapMmapRegion>,
}

impl Subject for Virtiofsd {
    fn name(&self) -> &str {
        self.name
    }

    fn guest(&mut self) -> &mut Guest {
        &mut self.ring.guest
    }

    fn turn(&mut self) -> u32 {
        let server = &self.server;
        self.ring.turn(|memory, chain| {
            let reader = Reader::new(memory, chain.clone()).unwrap();
            let writer = Writer::new(memory, chain).unwrap();
            server
                .handle_message(reader, writer, None::<&mut ()>)
                .unwrap()
        })
    }
}

fn start(name: &'static str, mode: InodeFileHandlesMode, root: &Path) -> Client {
    // As the daemon with --cache always.
    let fs = PassthroughFs::new(Config {
        root_dir: root.to_str().unwrap().to_owned(),
        cache_policy: CachePolicy::Always,
        entry_timeout: Duration::from_secs(86400),
        attr_timeout: Duration::from_secs(86400),
        inode_file_handles: mode,
        ..Config::default()
    })
    .unwrap();
    fs.open_root_node().unwrap();
    Client::new(Box::new(Virtiofsd {
        name,
        server: Server::new(fs),
        ring: Ring::new(),
    }))
}

/// With a descriptor for each inode it knows.
pub(super) fn never(root: &Path) -> Client {
    start("virtiofsd never", InodeFileHandlesMode::Never, root)
}

/// With a file handle for each inode it knows: its default.
pub(super) fn prefer(root: &Path) -> Client {
    start("virtiofsd prefer", InodeFileHandlesMode::Prefer, root)
}
