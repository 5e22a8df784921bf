// SPDX-License-Identifier: Apache-2.0 OR MIT
//! systemd units that run machines.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// More than the guest's own time to power down, for all that comes after.
const MARGIN: Duration = Duration::from_secs(15);

/// Whose service manager runs the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manager {
    /// The user's.
    User,
    /// The system's.
    System,
}

/// A unit that runs one machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit<'a> {
    /// The machine.
    pub name: &'a str,
    /// Its description; absolute.
    pub file: &'a Path,
    /// `rofs-vm`; absolute.
    pub program: &'a Path,
    /// How long the guest may take to power down.
    pub stop_timeout: Duration,
    /// Whose it is.
    pub manager: Manager,
    /// Variables that the machine needs as they are now, such as `PATH`.
    pub environment: Vec<(String, String)>,
}

impl Manager {
    /// The directory in which this manager finds its units. `home` is the user's `XDG_CONFIG_HOME`.
    pub fn directory(self, home: &Path) -> PathBuf {
        match self {
            Manager::User => home.join("systemd/user"),
            Manager::System => PathBuf::from("/etc/systemd/system"),
        }
    }
}

impl Unit<'_> {
    /// The unit's name.
    pub fn file_name(&self) -> String {
        format!("rofs-vm-{}.service", self.name)
    }

    /// What is in it.
    pub fn text(&self) -> String {
        let (after, wanted_by) = match self.manager {
            Manager::User => ("pipewire.service pulseaudio.service", "default.target"),
            Manager::System => (
                "network-online.target nix-daemon.socket",
                "multi-user.target",
            ),
        };
        let environment: String = self
            .environment
            .iter()
            .map(|(name, value)| format!("Environment={}\n", word(&format!("{name}={value}"))))
            .collect();
        format!(
            "[Unit]\n\
             Description=Virtual machine {name}\n\
             After={after}\n\
             \n\
             [Service]\n\
             Type=notify\n\
             ExecStart={program} run --no-console {file}\n\
             {environment}\
             # The first SIGTERM powers the guest down; what is left after the time is killed.\n\
             KillMode=mixed\n\
             TimeoutStartSec=infinity\n\
             TimeoutStopSec={stop}\n\
             LimitNOFILE=524288\n\
             \n\
             [Install]\n\
             WantedBy={wanted_by}\n",
            name = self.name.replace('%', "%%"),
            program = word(&self.program.to_string_lossy()),
            file = word(&self.file.to_string_lossy()),
            stop = (self.stop_timeout + MARGIN).as_secs(),
        )
    }
}

/// One word of a command line or a variable, as systemd.syntax(7) wants it.
fn word(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '%' => quoted.push_str("%%"),
            '$' => quoted.push_str("$$"),
            '\n' => quoted.push_str("\\n"),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit() {
        let unit = Unit {
            name: "desk",
            file: Path::new("/home/a/my 100% \"vm\".toml"),
            program: Path::new("/bin/rofs-vm"),
            stop_timeout: Duration::from_secs(60),
            manager: Manager::User,
            environment: vec![("PATH".into(), "/bin".into())],
        };
        assert_eq!(unit.file_name(), "rofs-vm-desk.service");
        let text = unit.text();
        for line in [
            "Type=notify",
            "ExecStart=\"/bin/rofs-vm\" run --no-console \"/home/a/my 100%% \\\"vm\\\".toml\"",
            "Environment=\"PATH=/bin\"",
            "KillMode=mixed",
            "TimeoutStopSec=75",
            "WantedBy=default.target",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\nis not in\n{text}");
        }
    }
}
