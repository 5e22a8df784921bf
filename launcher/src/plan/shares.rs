// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Shares: who serves each of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::sockets::too_long;
use super::{
    ClosurePlan, DaxPlan, FdSource, InheritedFd, ProcessPlan, Readiness, ShareKind, SharePlan,
    ShareServer, Sockets,
};
use crate::description::{Cache, Description, InodeFileHandles, Protocol, Share, ThreadPoolSize};
use crate::host::Host;
use crate::hypervisor::{FsDevice, NinepShare};
use crate::refusal::Refusal;

/// More queues than this gain nothing: the server answers a request in microseconds.
const MOST_QUEUES: u32 = 4;

/// The descriptor at which a server finds its socket.
const SOCKET_FD: u32 = 3;

/// A share of each kind.
#[derive(Debug, Default)]
pub(super) struct Shares {
    pub(super) plans: Vec<SharePlan>,
    pub(super) devices: Vec<FsDevice>,
    pub(super) ninep: Vec<NinepShare>,
}

pub(super) fn shares(
    description: &Description,
    host: &Host,
    sockets: &Sockets,
    closure: Option<&ClosurePlan>,
    refusals: &mut Vec<Refusal>,
) -> Shares {
    let mut shares = Shares::default();
    for (i, share) in description.shares.iter().enumerate() {
        if share.proto == Protocol::NineP {
            shares.ninep.push(ninep(share, i, host, closure, refusals));
            continue;
        }
        let socket = sockets.share(i, share.socket.as_deref());
        refusals.extend(too_long(&format!("shares[{i}].socket"), &socket));
        let mine = closure.filter(|_| share.is_store());
        let request_queues = request_queues(description, share);
        let server = if !share.serves_read_only() {
            virtiofsd(description, share, i, host, &socket, refusals)
        } else if share.process {
            rofs_serve(share, i, host, &socket, request_queues, mine, refusals)
        } else {
            Some(ShareServer::InProcess {
                kind: kind(share),
                request_queues,
                closure: mine.cloned(),
                dax: share.dax.then(|| DaxPlan {
                    window_mib: u64::from(share.dax_window),
                }),
            })
        };
        shares.devices.push(FsDevice {
            tag: share.tag.clone(),
            socket: socket.clone(),
            request_queues,
            dax: share.dax,
        });
        if let Some(server) = server {
            shares.plans.push(SharePlan {
                tag: share.tag.clone(),
                source: share.source.clone(),
                socket,
                server,
            });
        }
    }
    shares
}

/// One for each of the guest's processors, but virtiofsd has a single one.
fn request_queues(description: &Description, share: &Share) -> u16 {
    let most = if share.serves_read_only() {
        MOST_QUEUES
    } else {
        1
    };
    u16::try_from(description.vcpu.clamp(1, most)).unwrap_or(1)
}

fn kind(share: &Share) -> ShareKind {
    if share.source.ends_with("nix/store") {
        ShareKind::NixStore
    } else {
        ShareKind::Plain(share.cache)
    }
}

fn ninep(
    share: &Share,
    i: usize,
    host: &Host,
    closure: Option<&ClosurePlan>,
    refusals: &mut Vec<Refusal>,
) -> NinepShare {
    use crate::description::SecurityModel::Passthrough;
    let option = format!("shares[{i}].proto");
    if closure.is_some() && share.is_store() {
        let what = "`closure` hides the rest of the store, and QEMU's 9p cannot";
        refusals.push(Refusal::new(&option, what, "`proto = \"virtiofs\"`"));
    }
    if share.dax {
        refusals.push(Refusal::new(
            format!("shares[{i}].dax"),
            "9p has no DAX",
            "`proto = \"virtiofs\"`",
        ));
    }
    if share.security_model == Passthrough && !host.root {
        let what = "with `passthrough` QEMU gives files to other users, which only root can";
        let instead = "`securityModel = \"none\"` or \"mapped\"";
        refusals.push(Refusal::new(
            format!("shares[{i}].securityModel"),
            what,
            instead,
        ));
    }
    NinepShare {
        tag: share.tag.clone(),
        source: share.source.clone(),
        security_model: share.security_model,
        read_only: share.serves_read_only(),
    }
}

fn cache(cache: Cache) -> &'static str {
    match cache {
        Cache::Auto => "auto",
        Cache::Always => "always",
        Cache::Metadata => "metadata",
        Cache::Never => "never",
    }
}

fn process(name: String, program: PathBuf, args: Vec<String>, socket: &Path) -> ShareServer {
    ShareServer::Process(ProcessPlan {
        name,
        program,
        args,
        env: BTreeMap::new(),
        fds: vec![InheritedFd {
            number: SOCKET_FD,
            source: FdSource::Listener(socket.to_owned()),
        }],
        ready: Readiness::Started,
        sockets: vec![socket.to_owned()],
    })
}

fn rofs_serve(
    share: &Share,
    i: usize,
    host: &Host,
    socket: &Path,
    queues: u16,
    closure: Option<&ClosurePlan>,
    refusals: &mut Vec<Refusal>,
) -> Option<ShareServer> {
    let Some(program) = host.tools.rofs_serve.clone() else {
        let what = "rofs-serve is neither beside rofs-vm nor on PATH";
        refusals.push(Refusal::new(
            format!("shares[{i}].process"),
            what,
            "install it, or leave `process` out: rofs-vm then serves by itself",
        ));
        return None;
    };
    let mut args = vec![
        format!("--fd={SOCKET_FD}"),
        format!("--shared-dir={}", share.source.display()),
        format!("--queues={queues}"),
    ];
    match kind(share) {
        ShareKind::NixStore => args.push("--layout=nix".to_owned()),
        ShareKind::Plain(keep) => {
            args.extend([
                "--layout=plain".to_owned(),
                format!("--cache={}", cache(keep)),
            ]);
        }
    }
    if let Some(closure) = closure {
        // Given twice it would be another share's.
        args.push("--closure".to_owned());
        args.extend(closure.roots.iter().map(|root| root.display().to_string()));
    }
    if share.dax {
        args.extend([
            // QEMU's device for DAX asks for it; the other one complains when it is offered.
            format!("--tag={}", share.tag),
            "--dax=auto".to_owned(),
            format!("--window={}M", share.dax_window),
        ]);
    }
    Some(process(
        format!("rofs-serve for {}", share.tag),
        program,
        args,
        socket,
    ))
}

fn virtiofsd(
    description: &Description,
    share: &Share,
    i: usize,
    host: &Host,
    socket: &Path,
    refusals: &mut Vec<Refusal>,
) -> Option<ShareServer> {
    if share.dax {
        let what = "only shares that nobody can write to have DAX";
        refusals.push(Refusal::new(
            format!("shares[{i}].dax"),
            what,
            "`readOnly = true`, or leave `dax` out",
        ));
    }
    let Some(program) = host.tools.virtiofsd.clone() else {
        let what =
            "a share that the guest can write to is served by virtiofsd, which is not installed";
        let instead = "install virtiofsd, or `proto = \"9p\"` (QEMU serves that itself), or `readOnly = true`";
        refusals.push(Refusal::new(format!("shares[{i}].readOnly"), what, instead));
        return None;
    };
    let mut args = vec![
        format!("--fd={SOCKET_FD}"),
        format!("--shared-dir={}", share.source.display()),
        format!("--cache={}", cache(share.cache)),
    ];
    let threads = match &description.virtiofsd.thread_pool_size {
        ThreadPoolSize::Threads(threads) => threads.to_string(),
        ThreadPoolSize::Text(text) if text.contains("nproc") => host.cpus.to_string(),
        ThreadPoolSize::Text(text) => text.clone(),
    };
    args.push(format!("--thread-pool-size={threads}"));
    if let Some(handles) = description.virtiofsd.inode_file_handles {
        let handles = match handles {
            InodeFileHandles::Never => "never",
            InodeFileHandles::Prefer => "prefer",
            InodeFileHandles::Mandatory => "mandatory",
        };
        args.push(format!("--inode-file-handles={handles}"));
    }
    if share.posix_acl {
        args.extend(["--posix-acl".to_owned(), "--xattr".to_owned()]);
    }
    args.extend(
        description
            .virtiofsd
            .extra_args
            .iter()
            .chain(&share.extra_args)
            .cloned(),
    );
    Some(process(
        format!("virtiofsd for {}", share.tag),
        program,
        args,
        socket,
    ))
}
