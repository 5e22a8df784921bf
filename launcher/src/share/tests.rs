// SPDX-License-Identifier: Apache-2.0 OR MIT

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use super::{ShareError, Shares};
use crate::description::Cache;
use crate::plan::{ShareKind, SharePlan, ShareServer};

fn share(dir: &Path, tag: &str, source: &Path) -> SharePlan {
    SharePlan {
        tag: tag.into(),
        source: source.to_owned(),
        socket: dir.join(format!("{tag}.sock")),
        server: ShareServer::InProcess {
            kind: ShareKind::Plain(Cache::Auto),
            request_queues: 1,
            closure: None,
            dax: None,
        },
    }
}

#[test]
fn listen_until_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let plans = [
        share(dir.path(), "a", dir.path()),
        share(dir.path(), "b", Path::new("/")),
    ];
    std::fs::write(&plans[0].socket, "stale").unwrap();
    let shares = Shares::serve(&plans, |e| panic!("{e}")).unwrap();
    let clients = plans
        .each_ref()
        .map(|plan| UnixStream::connect(&plan.socket).unwrap());
    drop(shares);
    for (mut client, plan) in clients.into_iter().zip(&plans) {
        assert_eq!(client.read(&mut [0]).unwrap_or(0), 0);
        assert!(!plan.socket.exists());
    }
}

#[test]
fn a_client_that_breaks_the_protocol_is_told_of() {
    let dir = tempfile::tempdir().unwrap();
    let plans = [share(dir.path(), "a", dir.path())];
    let (send, receive) = mpsc::channel();
    let _shares = Shares::serve(&plans, move |e| send.send(e).unwrap()).unwrap();
    let mut client = UnixStream::connect(&plans[0].socket).unwrap();
    client.write_all(&[0xff; 64]).unwrap();
    let error = receive.recv_timeout(Duration::from_secs(20)).unwrap();
    assert!(
        error.starts_with("share a: disconnected the client"),
        "{error}"
    );
}

#[test]
fn what_cannot_be_served() {
    let dir = tempfile::tempdir().unwrap();
    let gone = dir.path().join("gone");
    let plans = [
        share(dir.path(), "a", dir.path()),
        share(dir.path(), "b", &gone),
    ];
    let error = Shares::serve(&plans, |e| panic!("{e}")).unwrap_err();
    assert!(
        matches!(&error, ShareError::Directory { tag, .. } if tag == "b"),
        "{error}"
    );
    // Nothing of the one that could be is left.
    assert!(!plans[0].socket.exists());
}
