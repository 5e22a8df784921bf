// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `rofs-vm install`

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use launcher::units::{Manager, Unit};

use crate::failure::{Failure, print};
use crate::planned::plan;

/// Writes a systemd unit that runs a VM
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The description, TOML or JSON
    file: PathBuf,
    /// A unit of the system, not of this user
    #[arg(long)]
    system: bool,
    /// Print it, and write nothing
    #[arg(long)]
    print: bool,
}

/// What a service manager may not have as this user has it.
const VARIABLES: [&str; 4] = ["PATH", "XDG_STATE_HOME", "WAYLAND_DISPLAY", "DISPLAY"];

pub(crate) fn run(args: Args) -> Result<ExitCode, Failure> {
    let failed = |path: &Path, e: io::Error| Failure::Run(format!("{}: {e}", path.display()));
    if args.file == Path::new("-") {
        return Err(Failure::Input(
            "install: the unit reads the description again, so it has to be a file".into(),
        ));
    }
    let plan = plan(&args.file)?;
    let file = args
        .file
        .canonicalize()
        .map_err(|e| failed(&args.file, e))?;
    let program = env::current_exe().map_err(Failure::run)?;
    let manager = if args.system {
        Manager::System
    } else {
        Manager::User
    };
    let environment = VARIABLES
        .iter()
        .filter(|name| manager == Manager::User || **name == "PATH")
        .filter_map(|name| Some(((*name).to_owned(), env::var(name).ok()?)));
    let unit = Unit {
        name: &plan.name,
        file: &file,
        program: &program,
        stop_timeout: plan.stop_timeout,
        manager,
        environment: environment.collect(),
    };
    if args.print {
        return print(&unit.text());
    }
    let dir = manager.directory(&config_home()?);
    let path = dir.join(unit.file_name());
    fs::create_dir_all(&dir).map_err(|e| failed(&dir, e))?;
    fs::write(&path, unit.text()).map_err(|e| failed(&path, e))?;
    let user = if args.system { "" } else { " --user" };
    print(&format!(
        "Written: {path}\nNext:    systemctl{user} daemon-reload\n         \
         systemctl{user} enable --now {name}\n",
        path = path.display(),
        name = unit.file_name(),
    ))
}

fn config_home() -> Result<PathBuf, Failure> {
    let absolute = |name| {
        env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    absolute("XDG_CONFIG_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".config")))
        .ok_or_else(|| {
            Failure::Run("install: neither XDG_CONFIG_HOME nor HOME says where units go".into())
        })
}
