// SPDX-License-Identifier: Apache-2.0 OR MIT

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

use super::{AskError, Claim, ClaimError, Client, SOCKET, running};

#[test]
fn one_supervisor_a_name() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("runtime/vm");
    let claim = Claim::take(&dir).unwrap();
    assert_eq!(
        fs::metadata(&dir).unwrap().permissions().mode() & 0o777,
        0o700
    );
    let _socket = UnixListener::bind(dir.join(SOCKET)).unwrap();
    match Claim::take(&dir) {
        Err(ClaimError::Running { name, holder }) => {
            assert_eq!((name.as_str(), holder), ("vm", Some(std::process::id())));
        }
        other => panic!("{other:?}"),
    }
    drop(claim);
    assert!(!dir.exists());
    drop(Claim::take(&dir).unwrap());
}

#[test]
fn what_was_left_is_cleared() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path().join("vm");
    fs::create_dir_all(dir.join("gcroots")).unwrap();
    drop(UnixListener::bind(dir.join(SOCKET)).unwrap());
    assert!(running(root.path()).unwrap().is_empty());
    assert!(matches!(
        Client::connect(&dir),
        Err(AskError::NotRunning(_))
    ));
    let claim = Claim::take(&dir).unwrap();
    assert_eq!(fs::read_dir(claim.dir()).unwrap().count(), 0);
}

#[test]
fn nowhere_nothing_runs() {
    let root = tempfile::tempdir().unwrap();
    assert!(running(&root.path().join("none")).unwrap().is_empty());
}
