// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where shares and volumes are mounted, and the overlay of the store.

use std::path::{Component, Path, PathBuf};

use super::findings::{Findings, repeated};
use crate::description::Description;

pub(super) fn check(description: &Description, findings: &mut Findings<'_>) {
    let shares = description.shares.iter().enumerate();
    let shares =
        shares.map(|(index, share)| (format!("shares[{index}]"), share.mount_point.clone()));
    let volumes = description.volumes.iter().enumerate();
    let volumes = volumes.filter_map(|(index, volume)| {
        Some((format!("volumes[{index}]"), volume.mount_point.clone()?))
    });
    let mounts: Vec<(String, PathBuf)> = shares.chain(volumes).collect();
    for (owner, place) in &mounts {
        absolute(&format!("{owner}.mountPoint"), place, findings);
    }
    for (index, first, place) in repeated(&mounts, |(_, place)| {
        Some(place.components().collect::<PathBuf>())
    }) {
        let what = format!(
            "{} is where {} is mounted already",
            place.display(),
            mounts[first].0
        );
        findings.wrong(
            &format!("{}.mountPoint", mounts[index].0),
            what,
            "write another place",
        );
    }
    overlay(description, findings);
}

fn absolute(option: &str, place: &Path, findings: &mut Findings<'_>) {
    let climbs = place.components().any(|part| part == Component::ParentDir);
    if !place.is_absolute() || climbs {
        let names = place
            .components()
            .filter(|part| matches!(part, Component::Normal(_)));
        let instead = format!(
            "write {:?}",
            Path::new("/").join(names.collect::<PathBuf>())
        );
        findings.wrong(
            option,
            format!("{place:?} is not the absolute path of a place"),
            instead,
        );
    }
}

fn overlay(description: &Description, findings: &mut Findings<'_>) {
    let Some(upper) = &description.writable_store_overlay else {
        return;
    };
    let option = "writableStoreOverlay";
    absolute(option, upper, findings);
    if upper.starts_with("/nix/store") {
        let what = "the store cannot be kept in the store";
        findings.wrong(option, what, "write \"/nix/.rw-store\"");
    }
    let store = description.shares.iter().any(|share| share.is_store());
    if !store && !description.store_on_disk && !findings.is_broken("shares") {
        let instead = "write a share with `source = \"/nix/store\"`, or leave this out";
        findings.wrong(option, "there is no store for it to lie over", instead);
    }
    if let Some(share) = description
        .shares
        .iter()
        .find(|share| upper.starts_with(&share.mount_point))
    {
        let what = format!(
            "it is in the share {:?}, and an overlay cannot write into a share",
            share.tag
        );
        findings.wrong(
            option,
            what,
            "write a place on a volume; or one that is nothing's, for memory",
        );
    }
}
