// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Command lines, and the lists of options in them.

use std::fmt::{self, Display, Write};
use std::path::Path;

/// Arguments of a command.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Args(Vec<String>);

impl Args {
    /// An argument alone.
    pub(super) fn flag(&mut self, flag: &str) -> &mut Args {
        self.0.push(flag.to_owned());
        self
    }

    /// An option and its value.
    pub(super) fn option(&mut self, option: &str, value: impl Display) -> &mut Args {
        self.0.push(option.to_owned());
        self.0.push(value.to_string());
        self
    }

    /// Arguments as somebody else wrote them.
    pub(super) fn extend(&mut self, args: &[String]) -> &mut Args {
        self.0.extend_from_slice(args);
        self
    }

    pub(super) fn into_vec(self) -> Vec<String> {
        self.0
    }
}

/// `NAME,KEY=VALUE,...`, or the same without a name. A comma in a value is doubled, as QEMU wants
/// it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Opts(String);

impl Opts {
    /// A list that begins with a name: a driver, a machine.
    pub(super) fn of(name: &str) -> Opts {
        Opts(name.replace(',', ",,"))
    }

    /// A list of keys and values alone.
    pub(super) fn new() -> Opts {
        Opts::default()
    }

    /// Adds a key and its value.
    #[must_use]
    pub(super) fn set(mut self, key: &str, value: impl Display) -> Opts {
        if !self.0.is_empty() {
            self.0.push(',');
        }
        let value = value.to_string().replace(',', ",,");
        // Writing to a string cannot fail.
        let _ = write!(self.0, "{key}={value}");
        self
    }

    /// Adds a list, in the brackets that cloud-hypervisor wants around one.
    #[must_use]
    pub(super) fn list(self, key: &str, values: impl Iterator<Item = impl Display>) -> Opts {
        let values: Vec<String> = values.map(|value| value.to_string()).collect();
        let mut all = self.set(key, "");
        let _ = write!(all.0, "[{}]", values.join(","));
        all
    }

    /// Adds a path.
    #[must_use]
    pub(super) fn path(self, key: &str, path: &Path) -> Opts {
        self.set(key, path.display())
    }

    /// Adds a switch.
    #[must_use]
    pub(super) fn switch(self, key: &str, on: bool) -> Opts {
        self.set(key, if on { "on" } else { "off" })
    }

    /// Adds a key and its value, if there is one.
    #[must_use]
    pub(super) fn maybe(self, key: &str, value: Option<impl Display>) -> Opts {
        match value {
            Some(value) => self.set(key, value),
            None => self,
        }
    }

    /// Adds a switch that is left alone when it is off.
    #[must_use]
    pub(super) fn when(self, on: bool, key: &str) -> Opts {
        if on { self.set(key, "on") } else { self }
    }
}

impl Display for Opts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_are_doubled() {
        let opts = Opts::of("socket")
            .path("path", Path::new("/a,b"))
            .when(false, "x")
            .switch("server", true);
        assert_eq!(opts.to_string(), "socket,path=/a,,b,server=on");
        assert_eq!(
            Opts::new()
                .set("size", 3)
                .maybe("y", None::<u8>)
                .to_string(),
            "size=3"
        );
    }
}
