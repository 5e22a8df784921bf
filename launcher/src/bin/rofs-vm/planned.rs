// SPDX-License-Identifier: Apache-2.0 OR MIT
//! From a file to a plan.

use std::path::Path;

use launcher::check;
use launcher::plan::Plan;

use crate::failure::{Failure, warn};

/// Reads, checks and plans; shows the file's warnings. (The plan's are for whoever carries it out.)
pub(crate) fn plan(file: &Path) -> Result<Plan, Failure> {
    let (checked, plan) = check::read(file)?;
    warn(&checked);
    Ok(plan)
}
