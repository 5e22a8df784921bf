// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `rofs-vm relay`: not for people. QEMU starts it for each connection of a guest to a forwarded
//! port, with the connection as its standard input and output.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::thread;

use crate::failure::Failure;

/// Connects its standard input and output with a port of the host
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The host's address
    address: Ipv4Addr,
    /// The port
    port: u16,
}

pub(crate) fn run(args: Args) -> Result<ExitCode, Failure> {
    let stream = TcpStream::connect((args.address, args.port)).map_err(Failure::run)?;
    // Without the buffers of `io::stdin` and `io::stdout`: each byte is for somebody who waits.
    let input = io::stdin().as_fd().try_clone_to_owned();
    let mut input = input.map(File::from).map_err(Failure::run)?;
    let output = io::stdout().as_fd().try_clone_to_owned();
    let mut output = output.map(File::from).map_err(Failure::run)?;
    let mut sender = stream.try_clone().map_err(Failure::run)?;
    thread::spawn(move || {
        // Whoever went away wants no answer.
        let _ = io::copy(&mut input, &mut sender);
        let _ = sender.shutdown(Shutdown::Write);
    });
    // When the host's end is done, so is the connection.
    let _ = io::copy(&mut &stream, &mut output);
    Ok(ExitCode::SUCCESS)
}
