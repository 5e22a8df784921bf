// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `rofs-vm console`

use std::io::{self, IsTerminal, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::thread;

use launcher::execution::{Interrupt, Keys};
use launcher::state::Request;

use crate::failure::{Failure, say};
use crate::named::connect;

/// Ctrl-].
const LEAVE: u8 = 0x1d;

/// Connects this terminal with a VM's console; Ctrl-] leaves it
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The VM
    name: String,
}

pub(crate) fn run(args: Args) -> Result<ExitCode, Failure> {
    let failed = |e: io::Error| Failure::Run(format!("the console of {}: {e}", args.name));
    let mut client = connect(&args.name)?;
    client.ask(&Request::Console).map_err(Failure::run)?;
    let mut console = client.into_stream();
    console.set_write_timeout(None).map_err(failed)?;
    let keys = Keys::take(Interrupt::Guest).map_err(failed)?;
    if io::stdin().is_terminal() {
        say(&format!(
            "The console of {}; Ctrl-] leaves it.\r",
            args.name
        ));
    }
    let typed = console.try_clone().map_err(failed)?;
    thread::spawn(move || type_in(typed));
    let mut buffer = [0; 4096];
    let shown = loop {
        match console.read(&mut buffer) {
            Ok(0) => break Ok(()),
            Ok(n) => {
                let mut out = io::stdout().lock();
                if let Err(e) = out.write_all(&buffer[..n]).and_then(|()| out.flush()) {
                    break Err(e);
                }
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => break Err(e),
        }
    };
    drop(keys);
    shown.map(|()| ExitCode::SUCCESS).map_err(failed)
}

/// To the end of the input, or to the key that leaves, which hangs up. Where there is no terminal
/// and nothing more to type, what the guest prints is still wanted.
fn type_in(mut console: UnixStream) {
    let mut keys = [0; 1024];
    while let Ok(n @ 1..) = io::stdin().read(&mut keys) {
        let typed = &keys[..n];
        let until = typed
            .iter()
            .position(|key| *key == LEAVE && io::stdin().is_terminal());
        if console.write_all(&typed[..until.unwrap_or(n)]).is_err() || until.is_some() {
            break;
        }
    }
    if io::stdin().is_terminal() {
        let _ = console.shutdown(Shutdown::Both);
    }
}
