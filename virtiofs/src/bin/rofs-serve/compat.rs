// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `-o name=value,name,...`: the spelling of the C virtiofsd, which libvirt used for years.

use std::path::PathBuf;

use crate::args::{CacheArg, LogArg, SandboxArg};
use crate::failure::{Outcome, fail};

/// What the `-o` lists ask for. Like in virtiofsd they count more than the long options.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Compat {
    pub(crate) source: Option<PathBuf>,
    pub(crate) cache: Option<CacheArg>,
    pub(crate) sandbox: Option<SandboxArg>,
    pub(crate) log_level: Option<LogArg>,
    pub(crate) readdirplus: Option<bool>,
    /// Accepted, with nothing to do.
    pub(crate) moot: Vec<String>,
}

/// Granted already or without meaning for a read-only share; as the long options of that name.
const MOOT: [&str; 15] = [
    "xattr",
    "no_xattr",
    "writeback",
    "no_writeback",
    "allow_direct_io",
    "no_allow_direct_io",
    "announce_submounts",
    "killpriv_v2",
    "no_killpriv_v2",
    "posix_acl",
    "no_posix_acl",
    "security_label",
    "no_security_label",
    "no_posix_lock",
    "no_flock",
];

impl Compat {
    pub(crate) fn parse(lists: &[String]) -> Outcome<Compat> {
        let mut compat = Compat::default();
        for option in lists
            .iter()
            .flat_map(|list| list.split(','))
            .filter(|o| !o.is_empty())
        {
            compat.take(option)?;
        }
        Ok(compat)
    }

    fn take(&mut self, option: &str) -> Outcome<()> {
        let (name, value) = match option.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (option, None),
        };
        match (name, value) {
            ("source", Some(dir)) => self.source = Some(PathBuf::from(dir)),
            ("cache", Some(value)) => {
                self.cache = Some(match value {
                    "auto" => CacheArg::Auto,
                    "always" => CacheArg::Always,
                    "never" | "none" => CacheArg::Never,
                    "metadata" => CacheArg::Metadata,
                    _ => fail!("-o cache={value}: expected auto, always, metadata or none"),
                });
            }
            ("sandbox", Some(value)) => {
                self.sandbox = Some(match value {
                    "namespace" => SandboxArg::Namespace,
                    "chroot" => SandboxArg::Chroot,
                    "none" => SandboxArg::None,
                    _ => fail!("-o sandbox={value}: expected namespace, chroot or none"),
                });
            }
            ("loglevel", Some(value)) => {
                self.log_level = Some(match value {
                    "debug" => LogArg::Debug,
                    "info" => LogArg::Info,
                    "warn" => LogArg::Warn,
                    "err" | "error" => LogArg::Error,
                    _ => fail!("-o loglevel={value}: expected debug, info, warn or err"),
                });
            }
            ("modcaps" | "xattrmap", Some(_)) => self.moot.push(format!("-o {name}")),
            ("readdirplus", None) => self.readdirplus = Some(true),
            ("no_readdirplus", None) => self.readdirplus = Some(false),
            ("flock" | "posix_lock", None) => fail!(
                "-o {name}: locks are not passed on to the host (as in virtiofsd); leave it out, \
                 and locks work inside the guest"
            ),
            (name, None) if MOOT.contains(&name) => self.moot.push(format!("-o {name}")),
            _ => fail!("-o {option}: no such option; see -o in `rofs-serve --help`"),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libvirts_list() {
        let list = "source=/srv,cache=none,sandbox=chroot,xattr,no_flock,no_posix_lock".to_owned();
        let compat = Compat::parse(&[list, "loglevel=err,no_readdirplus".to_owned()]).unwrap();
        assert_eq!(
            compat,
            Compat {
                source: Some(PathBuf::from("/srv")),
                cache: Some(CacheArg::Never),
                sandbox: Some(SandboxArg::Chroot),
                log_level: Some(LogArg::Error),
                readdirplus: Some(false),
                moot: vec![
                    "-o xattr".into(),
                    "-o no_flock".into(),
                    "-o no_posix_lock".into()
                ],
            }
        );
    }

    #[test]
    fn anything_else_is_refused_by_name() {
        for bad in [
            "foo",
            "foo=1",
            "cache=maybe",
            "cache",
            "xattr=1",
            "flock",
            "sandbox=x",
        ] {
            let said = Compat::parse(&[bad.to_owned()]).unwrap_err().to_string();
            assert!(said.contains(bad), "{bad}: {said}");
        }
    }
}
