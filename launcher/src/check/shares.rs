// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Shares.

use std::path::{Component, Path};

use super::findings::{Findings, repeated};
use crate::description::{Description, Protocol, Share};

/// What `struct virtio_fs_config` has room for.
const LONGEST_TAG: usize = 36;
/// What QEMU's 9p has room for.
const LONGEST_TAG_9P: usize = 31;

pub(super) fn check(description: &Description, look: bool, findings: &mut Findings<'_>) {
    for (index, first, tag) in repeated(&description.shares, |share| Some(share.tag.clone())) {
        let what = format!("{tag:?} is the tag of shares[{first}] already");
        findings.wrong(
            &format!("shares[{index}].tag"),
            what,
            "give each share a tag of its own",
        );
    }
    for (index, first, socket) in repeated(&description.shares, |share| share.socket.clone()) {
        let what = format!(
            "{} is the socket of shares[{first}] already",
            socket.display()
        );
        findings.wrong(
            &format!("shares[{index}].socket"),
            what,
            "leave `socket` out: one is chosen",
        );
    }
    for (index, share) in description.shares.iter().enumerate() {
        let option = |name: &str| format!("shares[{index}].{name}");
        tag(share, &option("tag"), findings);
        source(share, &option("source"), look, findings);
        how(description, share, &option, findings);
    }
}

fn tag(share: &Share, option: &str, findings: &mut Findings<'_>) {
    let tag = &share.tag;
    let longest = if share.proto == Protocol::NineP {
        LONGEST_TAG_9P
    } else {
        LONGEST_TAG
    };
    if tag.is_empty() {
        findings.wrong(option, "it is empty", "write a short name, as \"home\"");
    } else if tag.len() > longest {
        let what = format!(
            "{tag:?} has {} bytes, and there is room for {longest}",
            tag.len()
        );
        findings.wrong(option, what, "write a shorter name");
    } else if let Some(char) = tag
        .chars()
        .find(|char| !char.is_ascii_alphanumeric() && !"-_.".contains(*char))
    {
        let what = format!("{char:?} does not belong into a tag");
        findings.wrong(option, what, "write letters, digits, '-', '_' and '.'");
    }
}

fn source(share: &Share, option: &str, look: bool, findings: &mut Findings<'_>) {
    let source = &share.source;
    let mut parts = source.components();
    if parts.any(|part| part == Component::Normal("~".as_ref())) {
        let whole = Path::new("/home/NAME").join(parts.as_path());
        let what = "`~` is not expanded here: only a shell knows it";
        findings.wrong(option, what, format!("write the whole path, as {whole:?}"));
        return;
    }
    if !look {
        return;
    }
    match source.metadata() {
        Ok(found) if found.is_dir() => {}
        Ok(_) => {
            let what = format!("{} is not a directory", source.display());
            let folder = source.parent().unwrap_or(Path::new("/"));
            findings.wrong(option, what, format!("share the one it is in: {folder:?}"));
        }
        Err(error) => {
            let what = format!("{} cannot be shared: {error}", source.display());
            findings.wrong(
                option,
                what,
                "write the path of a directory of this machine",
            );
        }
    }
}

fn how(
    description: &Description,
    share: &Share,
    option: &impl Fn(&str) -> String,
    findings: &mut Findings<'_>,
) {
    let virtiofs = share.proto == Protocol::Virtiofs;
    let served_here = virtiofs && share.serves_read_only();
    if share.dax && !served_here {
        let what = "only read-only virtiofs shares can be mapped";
        let instead = "write `proto = \"virtiofs\"` and `readOnly = true`, or leave `dax` out";
        findings.wrong(&option("dax"), what, instead);
    }
    if share.dax && !share.dax_window.is_power_of_two() {
        let what = format!("{} is not a power of two", share.dax_window);
        let near = share
            .dax_window
            .checked_next_power_of_two()
            .unwrap_or(1 << 31);
        findings.wrong(&option("daxWindow"), what, format!("write {near}"));
    }
    if share.process && !served_here {
        let what = "this share is served by another process anyway, not by rofs-vm";
        findings.odd(&option("process"), what, "leave it out");
    }
    let daemon = virtiofs && !served_here;
    if !share.extra_args.is_empty() && !daemon {
        let what = "these arguments are for virtiofsd, which does not serve this share";
        findings.odd(&option("extraArgs"), what, "leave them out");
    }
    let translates = |args: &[String]| {
        args.iter()
            .any(|arg| arg.contains("--translate-uid") || arg.contains("--translate-gid"))
    };
    if daemon
        && share.posix_acl
        && (translates(&share.extra_args) || translates(&description.virtiofsd.extra_args))
    {
        let what = "virtiofsd cannot keep access control lists and translate owners at once";
        findings.wrong(&option("posixAcl"), what, "write `posixAcl = false`");
    }
}
