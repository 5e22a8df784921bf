// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `rofs-vm start`

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use launcher::execution::{OnStderr, Report};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::failure::{Failure, print, say};
use crate::planned::plan;

/// How much of the log is shown when it failed, in bytes.
const LAST: u64 = 4 << 10;

/// Starts a VM in the background, and returns when it is up
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The description, TOML or JSON
    file: PathBuf,
}

pub(crate) fn run(args: Args) -> Result<ExitCode, Failure> {
    if args.file == Path::new("-") {
        return Err(Failure::Input(
            "start: the description is read again in the background, so it has to be a file".into(),
        ));
    }
    let plan = plan(&args.file)?;
    let log = plan.state_dir.join("supervisor.log");
    let news = tempfile::tempdir().map_err(|e| failed("make a directory for a socket", &e))?;
    let socket = news.path().join("notify");
    let news = UnixDatagram::bind(&socket).map_err(|e| failed("make a socket", &e))?;
    let mut supervisor =
        launch(&args.file, &log, &socket).map_err(|e| failed("start the supervisor", &e))?;

    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&interrupted))
            .map_err(|e| failed("catch signals", &e))?;
    }
    let report = OnStderr::default();
    let ended = wait(&news, &mut supervisor, &interrupted, &report)
        .map_err(|e| failed("wait for the supervisor", &e))?;
    report.done();
    match ended {
        None => print(&format!(
            "{} is running (process {})\n",
            plan.name,
            supervisor.id()
        )),
        Some(status) => {
            say(last(&log).trim_end());
            say(&format!(
                "rofs-vm: {} has not started; the whole log is {}",
                plan.name,
                log.display()
            ));
            let code = status.code().and_then(|code| u8::try_from(code).ok());
            Ok(ExitCode::from(code.filter(|code| *code != 0).unwrap_or(1)))
        }
    }
}

/// Starts `rofs-vm run` in a session of its own.
fn launch(file: &Path, log: &Path, socket: &Path) -> io::Result<Child> {
    if let Some(dir) = log.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    }
    let log = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(log)?;
    Command::new(std::env::current_exe()?)
        .args(["run", "--detach", "--no-console", "--"])
        .arg(file)
        .env("NOTIFY_SOCKET", socket)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
}

/// Until it says that it is ready (`None`), or has ended.
fn wait(
    news: &UnixDatagram,
    supervisor: &mut Child,
    interrupted: &AtomicBool,
    report: &dyn Report,
) -> io::Result<Option<ExitStatus>> {
    news.set_read_timeout(Some(Duration::from_millis(50)))?;
    let mut message = [0; 4096];
    loop {
        if let Some(status) = supervisor.try_wait()? {
            return Ok(Some(status));
        }
        if interrupted.swap(false, Ordering::Relaxed) {
            let pid = rustix::process::Pid::from_child(supervisor);
            rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        }
        let text = match news.recv(&mut message) {
            Ok(n) => String::from_utf8_lossy(&message[..n]).into_owned(),
            Err(e)
                if matches!(
                    e.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) =>
            {
                continue;
            }
            Err(e) => return Err(e),
        };
        if text.lines().any(|line| line == "READY=1") {
            return Ok(None);
        }
        if let Some(status) = text.lines().find_map(|line| line.strip_prefix("STATUS=")) {
            report.step(status);
        }
    }
}

/// The end of a log.
fn last(log: &Path) -> String {
    let read = || {
        let mut file = File::open(log)?;
        let from = fs::metadata(log)?.len().saturating_sub(LAST);
        file.seek(SeekFrom::Start(from))?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        io::Result::Ok(String::from_utf8_lossy(&text).into_owned())
    };
    read().unwrap_or_default()
}

fn failed(what: &str, why: &io::Error) -> Failure {
    Failure::Run(format!("cannot {what}: {why}"))
}
