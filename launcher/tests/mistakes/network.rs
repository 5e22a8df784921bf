// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Interfaces and forwarded ports.

use expect_test::expect;

use crate::vm_says;

#[test]
fn an_id_twice() {
    vm_says(
        r#"[[interfaces]]
type = "user"
id = "net"
[[interfaces]]
type = "user"
id = "net"
"#,
        expect![[r#"
            error: interfaces[1].id: "net" is the id of interfaces[0] already
             --> vm.toml:7:6
              |
            7 | id = "net"
              |      ^^^^^
              |
              = help: give each interface an id of its own

            error: interfaces[1].id: "net" is the id of interfaces[0] already
             --> vm.json:8:13
              |
            8 |       "id": "net",
              |             ^^^^^
              |
              = help: give each interface an id of its own
        "#]],
    );
}

#[test]
fn a_mac_twice() {
    vm_says(
        r#"[[interfaces]]
type = "user"
id = "net"
mac = "02:00:00:00:00:0A"
[[interfaces]]
type = "user"
id = "net2"
mac = "02:00:00:00:00:0a""#,
        expect![[r#"
            error: interfaces[1].mac: 02:00:00:00:00:0a is the address of interfaces[0] already
             --> vm.toml:9:7
              |
            9 | mac = "02:00:00:00:00:0a"
              |       ^^^^^^^^^^^^^^^^^^^
              |
              = help: write another one, or leave it out

            error: interfaces[1].mac: 02:00:00:00:00:0a is the address of interfaces[0] already
              --> vm.json:10:14
               |
            10 |       "mac": "02:00:00:00:00:0a",
               |              ^^^^^^^^^^^^^^^^^^^
               |
               = help: write another one, or leave it out
        "#]],
    );
}

#[test]
fn a_mac_of_five_bytes() {
    vm_says(
        r#"[[interfaces]]
type = "user"
id = "net"
mac = "02:00:00:00:01""#,
        expect![[r#"
            error: interfaces[0].mac: "02:00:00:00:01" is not a MAC address
             --> vm.toml:5:7
              |
            5 | mac = "02:00:00:00:01"
              |       ^^^^^^^^^^^^^^^^
              |
              = help: write six bytes as 02:00:00:01:01:01, or leave it out: one is made

            error: interfaces[0].mac: "02:00:00:00:01" is not a MAC address
             --> vm.json:5:14
              |
            5 |       "mac": "02:00:00:00:01",
              |              ^^^^^^^^^^^^^^^^
              |
              = help: write six bytes as 02:00:00:01:01:01, or leave it out: one is made
        "#]],
    );
}

#[test]
fn a_mac_with_hyphens() {
    vm_says(
        r#"[[interfaces]]
type = "user"
id = "net"
mac = "02-00-00-00-00-01""#,
        expect![[r#"
            error: interfaces[0].mac: "02-00-00-00-00-01" is not a MAC address
             --> vm.toml:5:7
              |
            5 | mac = "02-00-00-00-00-01"
              |       ^^^^^^^^^^^^^^^^^^^
              |
              = help: write six bytes as 02:00:00:01:01:01, or leave it out: one is made

            error: interfaces[0].mac: "02-00-00-00-00-01" is not a MAC address
             --> vm.json:5:14
              |
            5 |       "mac": "02-00-00-00-00-01",
              |              ^^^^^^^^^^^^^^^^^^^
              |
              = help: write six bytes as 02:00:00:01:01:01, or leave it out: one is made
        "#]],
    );
}

#[test]
fn a_mac_of_a_group() {
    vm_says(
        r#"[[interfaces]]
type = "user"
id = "net"
mac = "01:00:5e:00:00:01""#,
        expect![[r#"
            error: interfaces[0].mac: 01:00:5e:00:00:01 is an address of a group (its first byte is odd), not of an interface
             --> vm.toml:5:7
              |
            5 | mac = "01:00:5e:00:00:01"
              |       ^^^^^^^^^^^^^^^^^^^
              |
              = help: write 00:00:5e:00:00:01

            error: interfaces[0].mac: 01:00:5e:00:00:01 is an address of a group (its first byte is odd), not of an interface
             --> vm.json:5:14
              |
            5 |       "mac": "01:00:5e:00:00:01",
              |              ^^^^^^^^^^^^^^^^^^^
              |
              = help: write 00:00:5e:00:00:01
        "#]],
    );
}

#[test]
fn a_mac_of_nothing() {
    vm_says(
        r#"[[interfaces]]
type = "user"
id = "net"
mac = "00:00:00:00:00:00""#,
        expect![[r#"
            error: interfaces[0].mac: this is no address at all
             --> vm.toml:5:7
              |
            5 | mac = "00:00:00:00:00:00"
              |       ^^^^^^^^^^^^^^^^^^^
              |
              = help: write six bytes as 02:00:00:01:01:01, or leave it out: one is made

            error: interfaces[0].mac: this is no address at all
             --> vm.json:5:14
              |
            5 |       "mac": "00:00:00:00:00:00",
              |              ^^^^^^^^^^^^^^^^^^^
              |
              = help: write six bytes as 02:00:00:01:01:01, or leave it out: one is made
        "#]],
    );
}

#[test]
fn an_id_that_is_too_long() {
    vm_says(
        r#"[[interfaces]]
type = "user"
id = "vm-network-interface"
"#,
        expect![[r#"
            error: interfaces[0].id: "vm-network-interface" has 20 bytes, and names of interfaces at most 15
             --> vm.toml:4:6
              |
            4 | id = "vm-network-interface"
              |      ^^^^^^^^^^^^^^^^^^^^^^
              |
              = help: write a shorter one, as "vm-network-inte"

            error: interfaces[0].id: "vm-network-interface" has 20 bytes, and names of interfaces at most 15
             --> vm.json:4:13
              |
            4 |       "id": "vm-network-interface",
              |             ^^^^^^^^^^^^^^^^^^^^^^
              |
              = help: write a shorter one, as "vm-network-inte"
        "#]],
    );
}

#[test]
fn an_id_with_a_space() {
    vm_says(
        r#"[[interfaces]]
type = "user"
id = "my net"
"#,
        expect![[r#"
            error: interfaces[0].id: "my net" cannot be the name of an interface
             --> vm.toml:4:6
              |
            4 | id = "my net"
              |      ^^^^^^^^
              |
              = help: write letters, digits and hyphens, as "vm-net"

            error: interfaces[0].id: "my net" cannot be the name of an interface
             --> vm.json:4:13
              |
            4 |       "id": "my net",
              |             ^^^^^^^^
              |
              = help: write letters, digits and hyphens, as "vm-net"
        "#]],
    );
}

#[test]
fn no_such_type() {
    vm_says(
        r#"[[interfaces]]
type = "wifi"
id = "net"
"#,
        expect![[r#"
            error: interfaces[0].type: there is no "wifi"
             --> vm.toml:3:8
              |
            3 | type = "wifi"
              |        ^^^^^^
              |
              = help: write one of "user", "tap", "macvtap", "bridge"

            error: interfaces[0].type: there is no "wifi"
             --> vm.json:5:15
              |
            5 |       "type": "wifi"
              |               ^^^^^^
              |
              = help: write one of "user", "tap", "macvtap", "bridge"
        "#]],
    );
}

#[test]
fn a_bridge_without_a_name() {
    vm_says(
        r#"[[interfaces]]
type = "bridge"
id = "net"
"#,
        expect![[r#"
            error: interfaces[0].bridge: nothing says to which bridge
             --> vm.toml:2:1
              |
            2 | [[interfaces]]
              | ^^^^^^^^^^^^^^
              |
              = help: write `bridge = "br0"`, the name of a bridge on this machine

            error: interfaces[0].bridge: nothing says to which bridge
             --> vm.json:3:5
              |
            3 |     {
              |     ^
              |
              = help: write `bridge = "br0"`, the name of a bridge on this machine
        "#]],
    );
}

#[test]
fn a_bridge_for_a_tap() {
    vm_says(
        r#"[[interfaces]]
type = "tap"
id = "net"
bridge = "br0""#,
        expect![[r#"
            error: interfaces[0].bridge: only an interface of type `bridge` is attached to a bridge
             --> vm.toml:5:10
              |
            5 | bridge = "br0"
              |          ^^^^^
              |
              = help: write `type = "bridge"`, or leave `bridge` out

            error: interfaces[0].bridge: only an interface of type `bridge` is attached to a bridge
             --> vm.json:4:17
              |
            4 |       "bridge": "br0",
              |                 ^^^^^
              |
              = help: write `type = "bridge"`, or leave `bridge` out
        "#]],
    );
}

#[test]
fn vhost_without_a_tap() {
    vm_says(
        r#"[[interfaces]]
type = "user"
id = "net"
tap.vhost = true"#,
        expect![[r#"
            warning: interfaces[0].tap.vhost: this is no tap interface
             --> vm.toml:5:13
              |
            5 | tap.vhost = true
              |             ^^^^
              |
              = help: leave it out

            warning: interfaces[0].tap.vhost: this is no tap interface
             --> vm.json:6:18
              |
            6 |         "vhost": true
              |                  ^^^^
              |
              = help: leave it out
        "#]],
    );
}

#[test]
fn an_address_without_the_length_of_its_network() {
    vm_says(
        r#"[[interfaces]]
type = "user"
id = "net"
address = "192.0.2.2""#,
        expect![[r#"
            error: interfaces[0].address: "192.0.2.2" is not an address with the length of its network
             --> vm.toml:5:11
              |
            5 | address = "192.0.2.2"
              |           ^^^^^^^^^^^
              |
              = help: write one, as "192.0.2.2/24" or "2001:db8::2/64"

            error: interfaces[0].address: "192.0.2.2" is not an address with the length of its network
             --> vm.json:4:18
              |
            4 |       "address": "192.0.2.2",
              |                  ^^^^^^^^^^^
              |
              = help: write one, as "192.0.2.2/24" or "2001:db8::2/64"
        "#]],
    );
}

#[test]
fn a_gateway_that_is_no_address() {
    vm_says(
        r#"[[interfaces]]
type = "user"
id = "net"
address = "192.0.2.2/24"
gateway = "router""#,
        expect![[r#"
            error: interfaces[0].gateway: "router" is not an IP address
             --> vm.toml:6:11
              |
            6 | gateway = "router"
              |           ^^^^^^^^
              |
              = help: write one, as "192.0.2.1" or "2001:db8::1"

            error: interfaces[0].gateway: "router" is not an IP address
             --> vm.json:5:18
              |
            5 |       "gateway": "router",
              |                  ^^^^^^^^
              |
              = help: write one, as "192.0.2.1" or "2001:db8::1"
        "#]],
    );
}

#[test]
fn a_gateway_of_another_kind() {
    vm_says(
        r#"[[interfaces]]
type = "user"
id = "net"
address = "192.0.2.2/24"
gateway = "2001:db8::1""#,
        expect![[r#"
            error: interfaces[0].gateway: 2001:db8::1 and the address 192.0.2.2/24 are of different kinds
             --> vm.toml:6:11
              |
            6 | gateway = "2001:db8::1"
              |           ^^^^^^^^^^^^^
              |
              = help: write both as IPv4 or both as IPv6

            error: interfaces[0].gateway: 2001:db8::1 and the address 192.0.2.2/24 are of different kinds
             --> vm.json:5:18
              |
            5 |       "gateway": "2001:db8::1",
              |                  ^^^^^^^^^^^^^
              |
              = help: write both as IPv4 or both as IPv6
        "#]],
    );
}

#[test]
fn a_gateway_without_an_address() {
    vm_says(
        r#"[[interfaces]]
type = "user"
id = "net"
gateway = "192.0.2.1""#,
        expect![[r#"
            error: interfaces[0].gateway: the interface has no address
             --> vm.toml:5:11
              |
            5 | gateway = "192.0.2.1"
              |           ^^^^^^^^^^^
              |
              = help: write `address`, too, as "192.0.2.2/24"

            error: interfaces[0].gateway: the interface has no address
             --> vm.json:4:18
              |
            4 |       "gateway": "192.0.2.1",
              |                  ^^^^^^^^^^^
              |
              = help: write `address`, too, as "192.0.2.2/24"
        "#]],
    );
}

#[test]
fn ports_without_a_user_interface() {
    vm_says(
        r#"[[interfaces]]
type = "tap"
id = "net"
[[forwardPorts]]
host.port = 2222
guest.port = 22"#,
        expect![[r#"
            error: forwardPorts: ports are forwarded by a network of type `user`, and there is none
             --> vm.toml:5:1
              |
            5 | [[forwardPorts]]
              | ^^^^^^^^^^^^^^^^
              |
              = help: write an interface with `type = "user"` and `id = "net"`

            error: forwardPorts: ports are forwarded by a network of type `user`, and there is none
             --> vm.json:2:19
              |
            2 |   "forwardPorts": [
              |                   ^
              |
              = help: write an interface with `type = "user"` and `id = "net"`
        "#]],
    );
}

#[test]
fn ports_without_any_interface() {
    vm_says(
        r#"[[forwardPorts]]
host.port = 2222
guest.port = 22"#,
        expect![[r#"
            error: forwardPorts: ports are forwarded by a network of type `user`, and there is none
             --> vm.toml:2:1
              |
            2 | [[forwardPorts]]
              | ^^^^^^^^^^^^^^^^
              |
              = help: write an interface with `type = "user"` and `id = "net"`

            error: forwardPorts: ports are forwarded by a network of type `user`, and there is none
             --> vm.json:2:19
              |
            2 |   "forwardPorts": [
              |                   ^
              |
              = help: write an interface with `type = "user"` and `id = "net"`
        "#]],
    );
}

#[test]
fn a_port_twice() {
    vm_says(
        r#"[[interfaces]]
type = "user"
id = "net"
[[forwardPorts]]
host.port = 2222
guest.port = 22
[[forwardPorts]]
host.port = 2222
guest.port = 23"#,
        expect![[r#"
            error: forwardPorts[1].host.port: port 2222 is forwarded by forwardPorts[0] already
             --> vm.toml:9:13
              |
            9 | host.port = 2222
              |             ^^^^
              |
              = help: write another one

            error: forwardPorts[1].host.port: port 2222 is forwarded by forwardPorts[0] already
              --> vm.json:16:17
               |
            16 |         "port": 2222
               |                 ^^^^
               |
               = help: write another one
        "#]],
    );
}

#[test]
fn a_port_above_the_range() {
    vm_says(
        r#"[[interfaces]]
type = "user"
id = "net"
[[forwardPorts]]
host.port = 70000
guest.port = 22"#,
        expect![[r#"
            error: forwardPorts[0].host.port: 70000 is too large
             --> vm.toml:6:13
              |
            6 | host.port = 70000
              |             ^^^^^
              |
              = help: write 65535 or less

            error: forwardPorts[0].host.port: 70000 is too large
             --> vm.json:8:17
              |
            8 |         "port": 70000
              |                 ^^^^^
              |
              = help: write 65535 or less
        "#]],
    );
}

#[test]
fn a_port_of_zero() {
    vm_says(
        r#"[[interfaces]]
type = "user"
id = "net"
[[forwardPorts]]
host.port = 0
guest.port = 22"#,
        expect![[r#"
            error: forwardPorts[0].host.port: 0 is too small
             --> vm.toml:6:13
              |
            6 | host.port = 0
              |             ^
              |
              = help: write 1 or more

            error: forwardPorts[0].host.port: 0 is too small
             --> vm.json:8:17
              |
            8 |         "port": 0
              |                 ^
              |
              = help: write 1 or more
        "#]],
    );
}

#[test]
fn an_address_that_is_a_name() {
    vm_says(
        r#"[[interfaces]]
type = "user"
id = "net"
[[forwardPorts]]
host.address = "localhost"
host.port = 2222
guest.port = 22"#,
        expect![[r#"
            error: forwardPorts[0].host.address: "localhost" is not an IPv4 address
             --> vm.toml:6:16
              |
            6 | host.address = "localhost"
              |                ^^^^^^^^^^^
              |
              = help: write one, as "127.0.0.1", or leave it out

            error: forwardPorts[0].host.address: "localhost" is not an IPv4 address
             --> vm.json:8:20
              |
            8 |         "address": "localhost",
              |                    ^^^^^^^^^^^
              |
              = help: write one, as "127.0.0.1", or leave it out
        "#]],
    );
}

#[test]
fn datagrams_of_the_guest() {
    vm_says(
        r#"[[interfaces]]
type = "user"
id = "net"
[[forwardPorts]]
from = "guest"
proto = "udp"
host.port = 53
guest.port = 53
guest.address = "10.0.2.100""#,
        expect![[r#"
            error: forwardPorts[0].proto: connections of the guest are forwarded with TCP only
             --> vm.toml:7:9
              |
            7 | proto = "udp"
              |         ^^^^^
              |
              = help: write `proto = "tcp"`

            error: forwardPorts[0].proto: connections of the guest are forwarded with TCP only
              --> vm.json:12:16
               |
            12 |       "proto": "udp"
               |                ^^^^^
               |
               = help: write `proto = "tcp"`
        "#]],
    );
}

#[test]
fn nowhere_for_the_guest_to_connect_to() {
    vm_says(
        r#"[[interfaces]]
type = "user"
id = "net"
[[forwardPorts]]
from = "guest"
host.port = 80
guest.port = 80"#,
        expect![[r#"
            error: forwardPorts[0].guest.address: nothing says to which address the guest will connect
             --> vm.toml:8:1
              |
            8 | guest.port = 80
              | ^^^^^
              |
              = help: write one in the guest's network that is free, as "10.0.2.100"

            error: forwardPorts[0].guest.address: nothing says to which address the guest will connect
             --> vm.json:5:16
              |
            5 |       "guest": {
              |                ^
              |
              = help: write one in the guest's network that is free, as "10.0.2.100"
        "#]],
    );
}

#[test]
fn a_vsock_number_that_is_taken() {
    vm_says(
        r#"vsock.cid = 2"#,
        expect![[r#"
            error: vsock.cid: 2 is too small
             --> vm.toml:2:13
              |
            2 | vsock.cid = 2
              |             ^
              |
              = help: write 3 or more

            error: vsock.cid: 2 is too small
             --> vm.json:6:12
              |
            6 |     "cid": 2
              |            ^
              |
              = help: write 3 or more
        "#]],
    );
}
