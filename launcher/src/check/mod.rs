// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What can be wrong in the meaning of a description; all of it is collected, with its place.
//!
//! One file for each subject. [`read`] does everything: it reads the file, checks it, and asks
//! whether this machine and the chosen hypervisor can do what is described.

mod boot;
mod desktop;
mod explain;
mod findings;
mod forward;
mod machine;
mod mounts;
mod network;
mod shares;
mod sockets;
mod volumes;

use std::path::Path;

use self::findings::Findings;
use crate::description::{Description, Document};
use crate::host::Host;
use crate::hypervisor;
use crate::mistakes::{Mistake, Mistakes, Source, render_warnings};
use crate::plan::Plan;
use crate::system::Boot;

pub use self::explain::explain;

/// A description in which nothing wrong was found.
#[derive(Clone, Debug)]
pub struct Checked {
    /// What is described; it has a name now.
    pub description: Description,
    /// Where it is written.
    pub source: Source,
    /// What is odd, or has no effect.
    pub warnings: Vec<Mistake>,
}

impl Checked {
    /// The VM's name.
    pub fn name(&self) -> &str {
        self.description.name.as_deref().unwrap_or_default()
    }

    /// The warnings as text, with colours or without; empty if there are none.
    pub fn warnings(&self, styled: bool) -> String {
        render_warnings(&self.source, &self.warnings, styled)
    }
}

/// Reads a file, `-` being the standard input, checks it, and plans how this machine will run it.
///
/// # Errors
/// Everything that is wrong.
pub fn read(path: &Path) -> Result<(Checked, Plan), Mistakes> {
    let document = Document::open(path)?;
    let host = Host::gather(&document.description)
        .map_err(|error| Mistakes::of_file(path, error.to_string(), ""))?;
    let (checked, plan) = examine(document, Some(&host))?;
    match plan {
        Some(plan) => Ok((checked, plan)),
        None => Err(Mistakes::of_file(path, "there is nothing to boot", "")),
    }
}

/// Checks a document: for a machine, or by itself, in which case no path is looked at.
///
/// # Errors
/// Everything that is wrong.
pub fn check(document: Document, host: Option<&Host>) -> Result<Checked, Mistakes> {
    examine(document, host).map(|(checked, _)| checked)
}

fn examine(document: Document, host: Option<&Host>) -> Result<(Checked, Option<Plan>), Mistakes> {
    let mut description = document.description.clone();
    if description.name.is_none() && !document.is_broken("name") {
        description.name = Some(document.name_from_path().to_owned());
    }
    let mut findings = Findings::new(&document);
    machine::check(&description, &mut findings);
    boot::check(&description, &mut findings);
    shares::check(&description, host.is_some(), &mut findings);
    volumes::check(&description, &mut findings);
    mounts::check(&description, &mut findings);
    network::check(&description, &mut findings);
    forward::check(&description, &mut findings);
    desktop::check(&description, &mut findings);
    sockets::check(&description, host, &mut findings);
    findings.refused(hypervisor::supports::refusals(&description));
    let plan = host.and_then(|host| for_this_machine(&description, host, &mut findings));
    let (list, warnings) = findings.into_lists();
    let source = document.source;
    if list.is_empty() {
        let checked = Checked {
            description,
            source,
            warnings,
        };
        Ok((checked, plan))
    } else {
        Err(Mistakes { source, list })
    }
}

/// How a machine runs it, or what this machine and the programs installed on it cannot do.
fn for_this_machine(
    description: &Description,
    host: &Host,
    findings: &mut Findings<'_>,
) -> Option<Plan> {
    let hypervisor = hypervisor::of(description.hypervisor);
    // The plan says this again, but there is none without something to boot.
    findings.refused(hypervisor.refusals(description, host));
    if let Err(install) = hypervisor.program(host) {
        let what = format!("there is no {} on this machine", hypervisor.name());
        findings.wrong("hypervisor", what, install);
    }
    if !boot::is_something(description) {
        return None;
    }
    let plan = Boot::find(description, host).and_then(|boot| Plan::new(description, host, &boot));
    plan.map_err(|refusals| findings.refused(refusals)).ok()
}
