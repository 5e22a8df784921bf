// SPDX-License-Identifier: Apache-2.0 OR MIT
//! fuse-backend-rs's passthrough file system, in its fastest mode: a descriptor for each inode.

use std::path::Path;

use fuse_backend_rs::api::server::Server;
use fuse_backend_rs::passthrough::{CachePolicy, Config, PassthroughFs};
use fuse_backend_rs::transport::{Reader, VirtioFsWriter, Writer};

use super::ring::Ring;
use crate::guest::Guest;
use crate::subject::{Client, Subject};

struct FuseBackendRs {
    server: Server<PassthroughFs>,
    ring: Ring<()>,
}

impl Subject for FuseBackendRs {
    fn name(&self) -> &str {
        "fuse-backend-rs"
    }

    fn guest(&mut self) -> &mut Guest {
        &mut self.ring.guest
    }

    fn turn(&mut self) -> u32 {
        let server = &self.server;
        self.ring.turn(|memory, chain| {
            let reader = Reader::from_descriptor_chain(memory, chain.clone()).unwrap();
            let writer = VirtioFsWriter::new(memory, chain).unwrap();
            let writer = Writer::VirtioFs(writer);
            server.handle_message(reader, writer, None, None).unwrap()
        })
    }
}

pub(super) fn open(root: &Path) -> Client {
    let fs = PassthroughFs::<()>::new(Config {
        root_dir: root.to_str().unwrap().to_owned(),
        cache_policy: CachePolicy::Always,
        ..Config::default()
    })
    .unwrap();
    fs.import().unwrap();
    Client::new(Box::new(FuseBackendRs {
        server: Server::new(fs),
        ring: Ring::new(),
    }))
}
