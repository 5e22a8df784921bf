// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What our init is told.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use rofs_guest::config::{
    AgentDevice, Command, Disk, File, FileKind, GuestConfig, Interface, Mount, PowerOff, Source,
    Stdio, StoreOverlay, Then,
};

use super::network::UserNetwork;
use super::volumes::{serial, store_disk};
use crate::description::{self, Description, InterfaceType, Protocol, Share};
use crate::system::Boot;

const STORE: &str = "/nix/store";

/// Where the store is kept when the overlay takes its place.
const LOWER: &str = "/nix/.ro-store";

/// Between the end of the command and that of the guest.
const SECONDS_TO_POWER_OFF: u32 = 5;

pub(super) struct Facts<'a> {
    pub(super) description: &'a Description,
    pub(super) boot: &'a Boot,
    pub(super) name: &'a str,
    pub(super) agent: AgentDevice,
    pub(super) power_off: PowerOff,
    /// The guest's database is told about its closure.
    pub(super) registers: bool,
}

pub(super) fn config(facts: Facts<'_>) -> GuestConfig {
    let description = facts.description;
    let mut files = Vec::new();
    let mut mounts = volumes(description);
    mounts.extend(shares(description, &mut files));
    mounts.extend(store_image(description));
    // What is above comes before what is below it.
    mounts.sort_by_key(|mount| mount.at.components().count());
    let (interfaces, dns) = interfaces(description, facts.name);
    GuestConfig {
        hostname: facts.name.to_owned(),
        modules: Vec::new(),
        agent: Some(facts.agent),
        store_overlay: overlay(description),
        mounts,
        files,
        interfaces,
        dns,
        nix_store: facts.boot.nix_store.clone().filter(|_| facts.registers),
        then: then(description, facts.boot),
        power_off: facts.power_off,
        stop_seconds: description
            .stop_timeout
            .saturating_sub(SECONDS_TO_POWER_OFF)
            .max(1),
    }
}

fn then(description: &Description, boot: &Boot) -> Then {
    match &boot.system {
        Some(system) if description.run.is_empty() => Then::Switch {
            argv: vec![system.init().display().to_string()],
        },
        system => {
            let mut env = description.environment.clone();
            let mut default = |name: &str, value: String| {
                env.entry(name.to_owned()).or_insert(value);
            };
            let own = system
                .as_ref()
                .map(|system| format!("{}:", system.path.join("sw/bin").display()));
            default(
                "PATH",
                format!(
                    "{}/run/current-system/sw/bin:/usr/bin:/bin:/usr/sbin:/sbin",
                    own.unwrap_or_default()
                ),
            );
            default("HOME", "/root".to_owned());
            default("TERM", "linux".to_owned());
            Then::Run(Command {
                argv: description.run.clone(),
                env: env.into_iter().collect(),
                cwd: description.working_directory.clone(),
                stdio: Stdio::Agent,
            })
        }
    }
}

fn volumes(description: &Description) -> Vec<Mount> {
    let mounted = description.volumes.iter().enumerate();
    mounted
        .filter_map(|(i, volume)| {
            let disk = Disk::Serial(serial(description, i));
            let fs_type = Some(volume.fs_type.name().to_owned());
            Some(Mount {
                source: Source::Disk { disk, fs_type },
                at: volume.mount_point.clone()?,
                read_only: volume.read_only,
                options: Vec::new(),
            })
        })
        .collect()
}

fn shares(description: &Description, files: &mut Vec<File>) -> Vec<Mount> {
    let mount = |share: &Share, files: &mut Vec<File>| {
        let tag = share.tag.clone();
        let source = match share.proto {
            Protocol::Virtiofs => Source::Virtiofs { tag },
            Protocol::NineP => Source::NineP { tag },
        };
        // Of a file, the server says whether mapping it is worth it.
        let options = if share.dax {
            vec!["dax=inode".to_owned()]
        } else {
            Vec::new()
        };
        let at = match store_place(description) {
            Some(place) if share.is_store() && place != share.mount_point => {
                if share.mount_point != Path::new(STORE) {
                    let is = FileKind::Symlink(place.clone());
                    files.push(File {
                        at: share.mount_point.clone(),
                        is,
                    });
                }
                place
            }
            _ => share.mount_point.clone(),
        };
        Mount {
            source,
            at,
            read_only: share.serves_read_only(),
            options,
        }
    };
    description
        .shares
        .iter()
        .map(|share| mount(share, files))
        .collect()
}

fn store_image(description: &Description) -> Option<Mount> {
    store_disk(description)?;
    let at = store_place(description).unwrap_or_else(|| PathBuf::from(STORE));
    let source = Source::Disk {
        disk: Disk::Index(0),
        fs_type: None,
    };
    Some(Mount {
        source,
        at,
        read_only: true,
        options: Vec::new(),
    })
}

/// Where the read-only store is mounted: at its place, or below the overlay that takes it.
fn store_place(description: &Description) -> Option<PathBuf> {
    let image = store_disk(description).map(|_| PathBuf::from(LOWER));
    let share = description
        .shares
        .iter()
        .find(|share| share.is_store())
        .map(|share| share.mount_point.clone());
    let wanted = image.or(share)?;
    Some(match description.writable_store_overlay {
        None => PathBuf::from(STORE),
        Some(_) if wanted == Path::new(STORE) => PathBuf::from(LOWER),
        Some(_) => wanted,
    })
}

fn overlay(description: &Description) -> Option<StoreOverlay> {
    let upper = description.writable_store_overlay.clone()?;
    let lower = store_place(description)?;
    let share = |path: &Path| {
        let shares = description
            .shares
            .iter()
            .filter(|share| path.starts_with(&share.mount_point));
        shares.max_by_key(|share| share.mount_point.components().count())
    };
    let volume = |path: &Path| {
        let volumes = description.volumes.iter().enumerate();
        let at = |volume: &description::Volume| {
            volume.mount_point.clone().filter(|at| path.starts_with(at))
        };
        volumes
            .filter_map(|(i, volume)| Some((at(volume)?.components().count(), i)))
            .max()
    };
    Some(StoreOverlay {
        userxattr: share(&upper).is_some_and(|share| share.proto == Protocol::Virtiofs),
        // A database on a disk that goes would forget what the other one keeps.
        keep_var: volume(&upper).is_some() && volume(&upper) != volume(Path::new("/nix/var")),
        lower,
        upper,
    })
}

fn interfaces(description: &Description, name: &str) -> (Vec<Interface>, Vec<IpAddr>) {
    let mut dns: Vec<IpAddr> = Vec::new();
    let mut user_networks = 0;
    let mut list = Vec::new();
    for interface in &description.interfaces {
        let given = interface.address.as_deref().and_then(address_and_prefix);
        let mut addresses: Vec<(IpAddr, u8)> = given.into_iter().collect();
        let mut gateways: Vec<IpAddr> = interface.gateway.into_iter().collect();
        dns.extend(&interface.dns);
        if interface.kind == InterfaceType::User {
            let own = UserNetwork::of(user_networks);
            user_networks += 1;
            if addresses.is_empty() {
                addresses.push((own.guest().into(), UserNetwork::PREFIX));
                // One way out is enough.
                if gateways.is_empty() && user_networks == 1 {
                    gateways.push(own.host().into());
                }
                if interface.dns.is_empty() {
                    dns.push(own.dns().into());
                }
            }
        }
        list.push(Interface {
            mac: interface.mac_for(name),
            addresses,
            gateways,
        });
    }
    (list, dns)
}

fn address_and_prefix(text: &str) -> Option<(IpAddr, u8)> {
    let (address, prefix) = text.split_once('/')?;
    Some((address.parse().ok()?, prefix.parse().ok()?))
}
