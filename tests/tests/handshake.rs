// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Every front-end's way of starting a device, then a file system on it.

use rofs_tests::channel::{Channel, request, words};
use rofs_tests::frontend::{FrontEnd, Vmm, protocol};
use rofs_tests::fuse::{Client, Layout, ROOT, opcode};
use rofs_tests::memfs::{HELLO, MANY, MemFs, big};
use rofs_tests::share::Share;
use virtiofs::vhost::DeviceOptions;

/// What any client does first.
pub(crate) fn use_the_file_system(front: &mut FrontEnd, queue: usize) {
    let mut client = Client::new(front, queue);
    client.init();
    for layout in [Layout::Linux, Layout::Whole, Layout::Pieces(4096)] {
        client.layout = layout;
        let hello = client.lookup(ROOT, b"hello").unwrap();
        assert_eq!(
            client.getattr(hello),
            Ok((libc::S_IFREG | 0o444, HELLO.len() as u64))
        );
        assert_eq!(client.read(hello, 0, 4096).unwrap(), HELLO);
        assert_eq!(client.read(hello, 6, 3).unwrap(), &HELLO[6..9]);
        assert_eq!(client.read(hello, 1 << 40, 4096).unwrap(), b"");
        assert_eq!(client.lookup(ROOT, b"nothing"), Err(libc::ENOENT));

        let file = client.lookup(ROOT, b"big").unwrap();
        let whole = big();
        let half = client.read(file, 0, 100_000).unwrap();
        assert!(half == whole[..100_000]);
        assert!(client.read(file, 100_000, 100_000).unwrap() == whole[100_000..]);

        let link = client.lookup(ROOT, b"link").unwrap();
        assert_eq!(client.readlink(link).unwrap(), b"hello");

        let many = client.lookup(ROOT, b"many").unwrap();
        let names: Vec<_> = client
            .readdir(many, 1000)
            .unwrap()
            .into_iter()
            .map(|entry| entry.name)
            .collect();
        let expected: Vec<_> = (0..MANY)
            .map(|number| format!("f{number:03}").into_bytes())
            .collect();
        let names: Vec<_> = names
            .into_iter()
            .filter(|name| !name.starts_with(b"."))
            .collect();
        assert_eq!(names, expected);
    }
    assert_eq!(client.call(opcode::STATFS, ROOT, &[], 80).error, 0);
}

#[test]
fn every_front_end_starts_and_reads() {
    for vmm in Vmm::ALL {
        let requests = if vmm == Vmm::UserModeLinux || vmm == Vmm::Stratovirt {
            1
        } else {
            2
        };
        let share = Share::with_tag(MemFs::sample(), "all", requests);
        let mut front = FrontEnd::start(share.socket(), vmm, usize::from(requests));
        for queue in 1..=usize::from(requests) {
            use_the_file_system(&mut front, queue);
        }
        Client::new(&mut front, 0).forget(ROOT, 1);
        drop(front);
        assert!(share.ended().is_ok(), "{vmm:?}");
    }
}

#[test]
fn the_configuration_is_served_with_a_tag_only() {
    let share = Share::with_tag(MemFs::sample(), "a tag of mine", 3);
    for vmm in Vmm::ALL.into_iter().filter(|vmm| vmm.wants_config()) {
        let front = FrontEnd::greet(share.socket(), vmm, 3);
        assert_ne!(front.protocol & protocol::CONFIG, 0, "{vmm:?}");
        let mut expected = b"a tag of mine".to_vec();
        expected.resize(36, 0);
        expected.extend(3u32.to_le_bytes());
        assert_eq!(front.config(0, 40), expected, "{vmm:?}");
        assert_eq!(front.config(0, 44), [&expected[..], &[0; 4]].concat());
        assert_eq!(front.config(36, 4), 3u32.to_le_bytes());
        assert_eq!(front.config(2, 1), b"t");
        assert_eq!(front.config(255, 1), [0]);
        assert_eq!(front.config(0, 256).len(), 256);
        drop(front);
        assert!(share.ended().is_ok());
    }

    let share = Share::start(MemFs::sample(), DeviceOptions::default());
    let front = FrontEnd::greet(share.socket(), Vmm::QemuTestDevice, 1);
    assert_eq!(front.protocol & protocol::CONFIG, 0);
}

#[test]
fn only_what_is_implemented_is_offered() {
    let share = Share::with_tag(MemFs::sample(), "offer", 1);
    let front = FrontEnd::greet(share.socket(), Vmm::QemuTestDevice, 1);
    assert_eq!(front.channel.number(request::GET_FEATURES), 0x1_7000_0000);
    assert_eq!(front.channel.number(request::GET_PROTOCOL_FEATURES), 0x8209);
}

#[test]
fn a_request_with_a_reply_is_answered_once_even_if_an_acknowledgement_is_wanted() {
    let share = Share::with_tag(MemFs::sample(), "once", 1);
    let mut front = FrontEnd::greet(share.socket(), Vmm::Alioth, 1);
    front.channel.acknowledge = true;
    for _ in 0..3 {
        assert_eq!(front.channel.number(request::GET_QUEUE_NUM), 2);
        assert_eq!(front.channel.number(request::GET_FEATURES), 0x1_7000_0000);
    }
    front
        .channel
        .tell(request::SET_FEATURES, &words(&[front.features]), &[]);
}

#[test]
fn cloud_hypervisor_reconnects_without_asking() {
    let share = Share::with_tag(MemFs::sample(), "again", 1);
    let mut front = FrontEnd::start(share.socket(), Vmm::CloudHypervisor, 1);
    use_the_file_system(&mut front, 1);
    let (features, agreed, guest) = (front.features, front.protocol, front.guest.clone());
    let queues = std::mem::take(&mut front.queues);
    drop(front);
    assert!(share.ended().is_ok());

    // The second connection repeats what was agreed, and goes on with the rings as they are.
    let mut channel = Channel::connect(share.socket());
    channel.tell(request::SET_OWNER, &[], &[]);
    assert_eq!(channel.number(request::GET_FEATURES) & features, features);
    channel.tell(request::SET_PROTOCOL_FEATURES, &words(&[agreed]), &[]);
    channel.acknowledge = true;
    let vmm = Vmm::CloudHypervisor;
    let mut front = FrontEnd {
        vmm,
        channel,
        guest,
        queues,
        features,
        protocol: agreed,
    };
    front
        .channel
        .tell(request::SET_FEATURES, &words(&[features]), &[]);
    front.set_memory();
    for index in 0..2 {
        let base = front.queues[index].offered();
        front.start_queue(index as u32, base);
        front.enable(index as u32, true);
    }
    use_the_file_system(&mut front, 1);
}

#[test]
fn stratovirt_gives_the_device_back_and_takes_it_again() {
    let share = Share::with_tag(MemFs::sample(), "owner", 1);
    let mut front = FrontEnd::start(share.socket(), Vmm::Stratovirt, 1);
    for _ in 0..3 {
        use_the_file_system(&mut front, 1);
        let next = front.queues[1].offered();
        assert_eq!(front.stop_queue(0), 0);
        assert_eq!(front.stop_queue(1), next);
        front.channel.tell(request::RESET_OWNER, &[], &[]);
        for queue in &mut front.queues {
            queue.reset();
        }
        front.activate();
    }
}

#[test]
fn the_vhost_crates_front_end_gets_along() {
    use vhost::VhostBackend;
    use vhost::vhost_user::{Frontend, VhostUserFrontend, VhostUserProtocolFeatures};

    let share = Share::with_tag(MemFs::sample(), "crate", 2);
    let mut front = Frontend::connect(share.socket(), 3).unwrap();
    front.set_owner().unwrap();
    let features = front.get_features().unwrap();
    front.set_features(features).unwrap();
    let offered = front.get_protocol_features().unwrap();
    front.set_protocol_features(offered).unwrap();
    assert!(offered.contains(VhostUserProtocolFeatures::MQ));
    assert_eq!(front.get_queue_num().unwrap(), 3);
    front.set_hdr_flags(vhost::vhost_user::message::VhostUserHeaderFlag::NEED_REPLY);
    front.set_vring_num(0, 1024).unwrap();
    front.set_vring_num(0, 3).unwrap_err();
    drop(front);
    let error = share.ended().unwrap_err();
    assert!(error.is_client_fault());
    assert!(error.to_string().contains("a ring of 3"), "{error}");
}
