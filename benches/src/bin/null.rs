// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `bench-null SOCKET QUEUES`: the null server, for one client.
#![allow(clippy::unwrap_used)]

use std::os::unix::net::UnixListener;

use rofs_benches::socket::null::NullFs;
use virtiofs::vhost::{Device, DeviceOptions};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [socket, queues] = arguments.as_slice() else {
        eprintln!("usage: bench-null SOCKET QUEUES");
        std::process::exit(2);
    };
    let listener = UnixListener::bind(socket).unwrap();
    let options = DeviceOptions {
        request_queues: queues.parse().unwrap(),
        ..DeviceOptions::default()
    };
    let device = Device::new(NullFs::default(), options).unwrap();
    device.serve_next(&listener).unwrap();
}
