// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The log: to stderr, or in the form of syslog to `/dev/log`.

use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;

use log::{Level, LevelFilter};

use crate::args::LogArg;
use crate::failure::{Failure, Outcome};

const DEV_LOG: &str = "/dev/log";

pub(crate) fn start(level: LogArg, syslog: bool) -> Outcome<()> {
    let level = match level {
        LogArg::Off => LevelFilter::Off,
        LogArg::Error => LevelFilter::Error,
        LogArg::Warn => LevelFilter::Warn,
        LogArg::Info => LevelFilter::Info,
        LogArg::Debug => LevelFilter::Debug,
        LogArg::Trace => LevelFilter::Trace,
    };
    let mut builder = env_logger::Builder::new();
    // Its words on mounting are for its authors; RUST_LOG can still ask for them.
    let library = level.min(LevelFilter::Warn);
    builder
        .filter_level(level)
        .filter_module("fuse_backend_rs", library)
        .parse_default_env();
    if syslog {
        // Connected now, because the sandbox has no /dev/log.
        let socket = UnixDatagram::unbound().and_then(|s| s.connect(DEV_LOG).map(|()| s));
        let socket = socket.map_err(|e| {
            Failure::new(format!(
                "--syslog: cannot reach {DEV_LOG}: {e}; log to stderr instead"
            ))
        })?;
        // Of the process people know, not of the one in the sandbox.
        let pid = std::process::id();
        builder
            .target(env_logger::Target::Pipe(Box::new(Datagrams(socket))))
            .write_style(env_logger::WriteStyle::Never)
            .format(move |out, record| {
                let priority = priority(record.level());
                write!(out, "<{priority}>rofs-serve[{pid}]: {}", record.args())
            });
    }
    builder
        .try_init()
        .map_err(|e| Failure::new(format!("cannot start the log: {e}")))
}

/// Facility "daemon", and the severity; see syslog(3).
fn priority(level: Level) -> u8 {
    let severity = match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    };
    3 << 3 | severity
}

/// One record, one datagram. A log that is not read costs records, not service.
struct Datagrams(UnixDatagram);

impl Write for Datagrams {
    fn write(&mut self, record: &[u8]) -> io::Result<usize> {
        let _ = self.0.send(record);
        Ok(record.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
