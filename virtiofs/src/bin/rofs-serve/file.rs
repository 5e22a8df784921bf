// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `--config FILE`: the same names as the options, in TOML.

use std::path::Path;

use serde::Deserialize;

use crate::args::{LogArg, SandboxArg, SeccompArg};
use crate::failure::{Failure, Outcome};
use crate::shares::RawShare;

/// The whole file.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct File {
    pub(crate) share: Vec<RawShare>,
    pub(crate) socket_group: Option<String>,
    pub(crate) keep: bool,
    pub(crate) thread_pool_size: Option<u64>,
    pub(crate) sandbox: Option<SandboxArg>,
    pub(crate) seccomp: Option<SeccompArg>,
    pub(crate) rlimit_nofile: Option<u64>,
    pub(crate) index_limit: Option<u32>,
    pub(crate) poll: Option<u32>,
    pub(crate) log_level: Option<LogArg>,
    pub(crate) syslog: bool,
    pub(crate) uid_map: Vec<String>,
    pub(crate) gid_map: Vec<String>,
}

pub(crate) fn read(path: &Path) -> Outcome<File> {
    let text = std::fs::read_to_string(path)
        .map_err(|e| Failure::new(format!("--config {}: {e}", path.display())))?;
    parse(&text).map_err(|(line, what)| {
        Failure::new(format!("--config {}: line {line}: {what}", path.display()))
    })
}

/// The error is a line number and a sentence.
fn parse(text: &str) -> Result<File, (usize, String)> {
    toml::from_str(text).map_err(|e| {
        let at = e.span().map_or(0, |span| span.start).min(text.len());
        let line = text.as_bytes()[..at]
            .iter()
            .filter(|b| **b == b'\n')
            .count()
            + 1;
        (line, explain(e.message()))
    })
}

/// serde lists every name it would have liked; a person wants the one they meant.
fn explain(message: &str) -> String {
    let one_line = message.replace('\n', "; ");
    let Some(rest) = message.strip_prefix("unknown field `") else {
        return one_line;
    };
    let mut names = rest.split('`').step_by(2);
    let Some(wrong) = names.next() else {
        return one_line;
    };
    // A key that belongs one level up or down is a likely mistake too.
    let nearest = names
        .max_by(|a, b| strsim::jaro_winkler(wrong, a).total_cmp(&strsim::jaro_winkler(wrong, b)));
    match nearest {
        Some(name) => format!("unknown key `{wrong}`; did you mean `{name}`?"),
        None => format!("unknown key `{wrong}`"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn shares_and_settings() {
        let file = parse(
            "sandbox = 'none'\nkeep = true\n[[share]]\nsocket-path = '/run/a'\nroot-timeout = 2\n\
             [[share]]\nmount = '/m'\nqueues = 2\nlayout = 'nix'\n",
        )
        .unwrap();
        assert_eq!(file.sandbox, Some(SandboxArg::None));
        assert!(file.keep);
        assert_eq!(file.share.len(), 2);
        assert_eq!(file.share[0].root_timeout, Some(2.0));
        assert_eq!(file.share[1].mount, Some(PathBuf::from("/m")));
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        let (line, what) = parse("\n[[share]]\nshared-dri = '/x'\n").unwrap_err();
        assert_eq!(line, 3);
        assert_eq!(what, "unknown key `shared-dri`; did you mean `shared-dir`?");
        let (line, _) = parse("keep = true\nsandbox = 'strong'\n").unwrap_err();
        assert_eq!(line, 2);
        let (line, _) = parse("keep = \n").unwrap_err();
        assert_eq!(line, 1);
    }
}
