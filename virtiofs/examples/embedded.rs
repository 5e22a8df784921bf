// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A VMM that has the server inside, with a DAX window of its own.
//!
//!     cargo run --example embedded --no-default-features -- /nix/store PATH/IN/IT
//!
//! Of the VMM there is only what concerns the device: guest memory with requests in it, as the
//! device's queue would find them, and the region that the guest sees as the window. The "guest"
//! mounts, looks the file up, has its first 2 MiB mapped, and reads them without any request.
//!
//! What a real VMM adds:
//! - its virtqueue code calls [`Server::handle`] with each chain's readable and writable slices and
//!   puts the used length into the used ring (or [`Server::try_handle`] on the queue's thread, and
//!   `handle` on another where that has no answer yet);
//! - the region becomes shared memory region 0 of the virtio-fs device (virtio 1.3, 5.11.6.4): a
//!   PCI capability `VIRTIO_PCI_CAP_SHARED_MEMORY_CFG` with id 0, and a memory slot of the
//!   hypervisor, best a read-only one. Mapping over the region is then all that a mapping takes.

use std::error::Error;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use virtiofs::dax::{DaxWindow, Local, RANGE};
use virtiofs::server::{Options, Server};
use virtiofs::store::{PlainOptions, PlainTree, open_root};
use virtiofs::wire::{Opcode, abi, flags};
use vm_memory::{MmapRegion, VolatileMemory, VolatileSlice};
use zerocopy::{FromBytes, IntoBytes};

/// Size of the window: a power of two, at least 2 MiB.
const WINDOW: usize = 16 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args_os().skip(1);
    let (Some(dir), Some(file)) = (args.next(), args.next()) else {
        return Err("usage: embedded DIRECTORY FILE_IN_IT".into());
    };
    let seen = map_and_read(Path::new(&dir), Path::new(&file))?;
    io::stdout().write_all(&seen)?;
    Ok(())
}

/// What a guest sees in the window of the first 2 MiB of `file` in `dir`.
pub fn map_and_read(dir: &Path, file: &Path) -> Result<Vec<u8>, Box<dyn Error>> {
    // The device: a file system, a server for this guest, and the window.
    let tree = PlainTree::new(open_root(dir)?, PlainOptions::default())?;
    let server = Server::new(tree, Options::default());
    let region = Arc::new(MmapRegion::new(WINDOW)?);
    let window = Local::new(Arc::clone(&region))?;

    // The guest: it offers MAP_ALIGNMENT because it has found the window.
    let offered = flags::init::MAP_ALIGNMENT;
    let init = abi::InitIn {
        major: virtiofs::wire::MAJOR,
        minor: virtiofs::wire::MINOR,
        max_readahead: 0,
        flags: u32::try_from(offered)?,
    };
    let reply = ask(&server, &window, Opcode::Init, 0, init.as_bytes())?;
    let granted = get::<abi::InitOut>(&reply)?.flags;
    if u64::from(granted) & offered == 0 {
        return Err("the window cannot be used".into());
    }

    let (mut node, mut size) = (1, 0);
    for name in file {
        let name = [name.as_encoded_bytes(), b"\0"].concat();
        let entry = ask(&server, &window, Opcode::Lookup, node, &name)?;
        let entry: abi::EntryOut = get(&entry)?;
        (node, size) = (entry.nodeid, entry.attr.size);
    }

    let moffset = RANGE;
    let setup = abi::SetupMappingIn {
        fh: u64::MAX,
        foffset: 0,
        len: RANGE,
        flags: 0,
        moffset,
    };
    ask(
        &server,
        &window,
        Opcode::SetupMapping,
        node,
        setup.as_bytes(),
    )?;

    // What follows is no business of the server's any more.
    let len = usize::try_from(size.min(RANGE))?;
    let mut seen = vec![0; len];
    let mapped = region.get_slice(usize::try_from(moffset)?, len)?;
    mapped.copy_to(&mut seen[..]);

    window.close();
    Ok(seen)
}

/// Has the server answer a request that lies in guest memory; the reply's body.
fn ask(
    server: &Server<PlainTree>,
    window: &dyn DaxWindow,
    opcode: Opcode,
    node: u64,
    body: &[u8],
) -> Result<Vec<u8>, Box<dyn Error>> {
    let header = abi::InHeader {
        len: u32::try_from(size_of::<abi::InHeader>() + body.len())?,
        opcode: opcode as u32,
        unique: 1,
        nodeid: node,
        ..abi::InHeader::default()
    };
    let mut request = [header.as_bytes(), body].concat();
    let mut reply = vec![0; 4096];
    let used = server.handle(
        &[VolatileSlice::from(&mut request[..])],
        &[VolatileSlice::from(&mut reply[..])],
        Some(window),
    );
    reply.truncate(usize::try_from(used)?);
    match get::<abi::OutHeader>(&reply)?.error {
        0 => Ok(reply.split_off(size_of::<abi::OutHeader>())),
        error => Err(io::Error::from_raw_os_error(-error).into()),
    }
}

fn get<T: FromBytes>(bytes: &[u8]) -> Result<T, Box<dyn Error>> {
    match T::read_from_prefix(bytes) {
        Ok((value, _)) => Ok(value),
        Err(_) => Err("the reply is too short".into()),
    }
}
