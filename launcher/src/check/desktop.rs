// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Screen and clipboard.

use super::findings::Findings;
use crate::description::{Description, GraphicsBackend};

pub(super) fn check(description: &Description, findings: &mut Findings<'_>) {
    let graphics = &description.graphics;
    if description.clipboard.enable && !graphics.enable && !findings.is_broken("graphics") {
        let what = "there is no screen, and so no clipboard to share";
        findings.wrong(
            "clipboard.enable",
            what,
            "write `graphics.enable = true`, or leave it out",
        );
    }
    if description.clipboard.enable
        && graphics.enable
        && graphics.backend == GraphicsBackend::Headless
    {
        let what = "nobody sees this screen: there is no clipboard on the host's side";
        findings.wrong(
            "clipboard.enable",
            what,
            "write `graphics.backend = \"gtk\"`, or leave it out",
        );
    }
    if graphics.vulkan.is_some() && graphics.gl == Some(false) {
        let what = "Vulkan needs what `graphics.gl = false` forbids";
        findings.wrong("graphics.vulkan", what, "leave one of them out");
    }
    if !is_size(&graphics.hostmem) {
        let what = format!("{:?} is not a size", graphics.hostmem);
        findings.wrong(
            "graphics.hostmem",
            what,
            "write a number with M or G, as \"256M\"",
        );
    }
}

fn is_size(text: &str) -> bool {
    let digits = text.strip_suffix(['M', 'G']).unwrap_or_default();
    !digits.is_empty()
        && digits.len() <= 6
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && !digits.starts_with('0')
}
