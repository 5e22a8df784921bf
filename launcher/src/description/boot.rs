// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the guest brings along.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the guest was built with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Guest {
    /// The system has microvm.nix's guest module. Default: found out by looking at the system.
    pub enable: Option<bool>,
}
