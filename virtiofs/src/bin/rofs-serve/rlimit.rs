// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `--rlimit-nofile`.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What virtiofsd asks for by default.
const USUAL: u64 = 1_000_000;

/// Sets the limit of open files. The server does not depend on it, so falling short is a warning.
pub(crate) fn apply(asked: Option<u64>) {
    let now = getrlimit(Resource::Nofile);
    let most = now.maximum.unwrap_or(u64::MAX);
    match asked {
        Some(0) => {}
        Some(n) => {
            let both = Rlimit {
                current: Some(n),
                maximum: Some(n),
            };
            if setrlimit(Resource::Nofile, both).is_err() {
                let n = n.min(most);
                let soft = Rlimit {
                    current: Some(n),
                    maximum: now.maximum,
                };
                let _ = setrlimit(Resource::Nofile, soft);
                log::warn!(
                    "--rlimit-nofile: not allowed to have that many open files; {n} will do"
                );
            }
        }
        None => {
            let wanted = USUAL.min(most).max(now.current.unwrap_or(0));
            let _ = setrlimit(
                Resource::Nofile,
                Rlimit {
                    current: Some(wanted),
                    maximum: now.maximum,
                },
            );
        }
    }
}
