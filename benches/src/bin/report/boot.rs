// SPDX-License-Identifier: Apache-2.0 OR MIT
//! From nothing to the output of a command in a guest.

use rofs_benches::report::number;

use crate::found::{Found, Line, OURS, line};

/// The parts of a boot, in their order.
const PARTS: [&str; 5] = ["launcher", "hypervisor", "kernel", "init", "command"];

pub(crate) fn boots(lines: &mut Vec<Line>) {
    let found = Found::of("boot");
    let what = "rofs-vm sandbox, from nothing to the output";
    // There is no bar: nearly all of it is the hypervisor's and the kernel's.
    let measured = found
        .value(what, OURS)
        .map(|ms| format!("{} ms", number(ms)));
    lines.push(without_bar(what, measured));

    let what = "a guest, from nothing to the output";
    for share in [OURS, "virtiofsd", "9p"] {
        let measured = || {
            let mut text = format!("{} ms:", number(found.value(what, share)?));
            for part in PARTS {
                let ms = found.more(what, share, &format!("{part} ms"))?;
                text += &format!(" {part} {},", number(ms));
            }
            match found.more(what, share, "server ms") {
                Some(ms) => text += &format!(" of it the share's server {}", number(ms)),
                None => text += " its server within the hypervisor",
            }
            Some(text)
        };
        lines.push(without_bar(&format!("{what}, {share}"), measured()));
    }
}

fn without_bar(what: &str, measured: Option<String>) -> Line {
    let mut line = line(what, "", measured.map(|text| (text, true)));
    line.met = None;
    line
}
