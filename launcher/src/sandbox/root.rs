// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What programs expect in a root besides the store.

use std::ffi::OsStr;
use std::path::Path;

use rofs_guest::config::{File, FileKind};

use super::store::Store;

/// The smallest `/etc`, and links for scripts where the store has what they lead to.
pub(super) fn files(store: &Store, command: Option<&Path>, path: &OsStr) -> Vec<File> {
    let regular = |at: &str, contents: &str| File {
        at: at.into(),
        is: FileKind::Regular {
            contents: contents.into(),
            mode: 0o644,
        },
    };
    let mut files = vec![
        regular(
            "/etc/passwd",
            "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n",
        ),
        regular("/etc/group", "root:x:0:\nnogroup:x:65534:\n"),
        regular("/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n"),
        regular(
            "/etc/nsswitch.conf",
            "passwd: files\ngroup: files\nhosts: files dns\n",
        ),
        File {
            at: "/root".into(),
            is: FileKind::Directory { mode: 0o700 },
        },
        File {
            at: "/var/tmp".into(),
            is: FileKind::Directory { mode: 0o1777 },
        },
    ];
    // Those of the host, if they are of the store; otherwise the command's neighbours.
    for (at, names) in [("/bin/sh", &["sh", "bash"][..]), ("/usr/bin/env", &["env"])] {
        let beside = command.and_then(Path::parent);
        let beside = names.iter().filter_map(|name| Some(beside?.join(name)));
        let on_path = names
            .iter()
            .filter_map(|name| store.on_path(OsStr::new(name), path));
        let target = std::iter::once(at.into())
            .chain(beside)
            .chain(on_path)
            .find_map(|file| store.inside(&file));
        if let Some(target) = target {
            files.push(File {
                at: at.into(),
                is: FileKind::Symlink(target),
            });
        }
    }
    for at in ["/run/current-system", "/etc/ssl/certs/ca-certificates.crt"] {
        if let Some(target) = store.inside(Path::new(at)) {
            files.push(File {
                at: at.into(),
                is: FileKind::Symlink(target),
            });
        }
    }
    files
}
