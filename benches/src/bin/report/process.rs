// SPDX-License-Identifier: Apache-2.0 OR MIT
//! In process: `store_lookup` and `read`.

use rofs_benches::report::number;

use crate::found::{Found, Line, OURS, PEERS, line};

pub(crate) fn lookups(lines: &mut Vec<Line>) {
    let found = Found::of("store_lookup");
    let size = ", 100000 entries";
    for name in [
        "LOOKUP warm",
        "LOOKUP hard-linked",
        "LOOKUP negative",
        "GETATTR",
        "READLINK",
        "FORGET, the last",
    ] {
        let what = format!("{name}{size}");
        let is_lookup = name.starts_with("LOOKUP");
        let bar = if is_lookup {
            "0 calls, 0 allocations, 300 ns, 10 x virtiofsd's better mode"
        } else {
            "0 calls, 0 allocations, 300 ns"
        };
        let measured = || {
            let ns = found.value(&what, OURS)?;
            let floor = found.value(&what, "floor")?;
            let calls = found.more(&what, OURS, "calls")?;
            let allocations = found.more(&what, OURS, "allocs")?;
            let mut text = format!(
                "{} calls, {} allocations, {ns:.0} ns ({floor:.0} of it the ring)",
                number(calls),
                number(allocations)
            );
            let mut met = calls == 0.0 && allocations == 0.0 && ns <= 300.0;
            if let Some(peer) = found.best(&what, &["virtiofsd"]) {
                text += &format!(", {:.1} x virtiofsd's {peer:.0} ns", peer / ns);
                met &= !is_lookup || peer / ns >= 10.0;
            }
            Some((text, met))
        };
        lines.push(line(&what, bar, measured()));
    }
    let what = format!("READDIRPLUS per entry{size}");
    let measured = || {
        let ns = found.value(&what, OURS)?;
        let calls = found.more(&what, OURS, "calls")?;
        let mut text = format!("{} calls, {ns:.0} ns", number(calls));
        let mut met = calls == 0.0 && ns <= 100.0;
        if let Some(peer) = found.best(&what, &["virtiofsd"]) {
            text += &format!(", {:.1} x virtiofsd's {peer:.0} ns", peer / ns);
            met &= peer / ns >= 25.0;
        }
        Some((text, met))
    };
    lines.push(line(&what, "0 calls, 100 ns, 25 x virtiofsd", measured()));
}

/// How the costs of a question grow with the store.
pub(crate) fn growth(lines: &mut Vec<Line>) {
    let found = Found::of("store_lookup");
    for name in ["LOOKUP warm", "LOOKUP negative", "GETATTR"] {
        let costs: Vec<String> = ["1000", "100000", "1000000"]
            .iter()
            .filter_map(|size| {
                let what = format!("{name}, {size} entries");
                let (ns, floor) = (found.value(&what, OURS)?, found.value(&what, "floor")?);
                Some(format!("{ns:.0} ns ({floor:.0} of it the ring) of {size}"))
            })
            .collect();
        let mut made = line(&format!("{name}, as stores grow"), "hardly grows", None);
        if !costs.is_empty() {
            made.measured = costs.join(", ");
        }
        lines.push(made);
    }
}

pub(crate) fn reads(lines: &mut Vec<Line>) {
    let found = Found::of("read");
    for (size, bar) in [("4 KiB", 1.15), ("128 KiB", 1.0), ("1 MiB", 1.0)] {
        let what = format!("READ {size} random, hot");
        let text = if bar > 1.0 {
            format!("1 call, 0 allocations, {bar} x the faster peer")
        } else {
            "no slower than the faster peer".to_owned()
        };
        let measured = || {
            let ns = found.value(&what, OURS)?;
            let calls = found.more(&what, OURS, "calls")?;
            let allocations = found.more(&what, OURS, "allocs")?;
            let peer = found.best(&what, &PEERS)?;
            let ratio = peer / ns;
            let text = format!(
                "{} calls, {} allocations, {ns:.0} ns, {ratio:.2} x {peer:.0} ns",
                number(calls),
                number(allocations)
            );
            let met = calls <= 1.0 && (bar <= 1.0 || allocations == 0.0) && ratio >= bar;
            Some((text, met))
        };
        lines.push(line(&what, &text, measured()));
    }
    let what = "one pass over 2,000 files of 4 KiB, per file, hot";
    let measured = || {
        let (ns, peer) = (found.value(what, OURS)?, found.best(what, &PEERS)?);
        let text = format!("{ns:.0} ns, {:.2} x {peer:.0} ns", peer / ns);
        Some((text, ns <= peer))
    };
    lines.push(line(what, "no slower than the faster peer", measured()));
}

/// Whether it pays to map small files that are read again and again, instead of reading them.
pub(crate) fn mapping(lines: &mut Vec<Line>) {
    let found = Found::of("read");
    let measured = || {
        let of = |what| found.value(what, "this host");
        let (call, copy) = (of("4 KiB again, preadv2")?, of("4 KiB again, mapped")?);
        let (open, map) = (of("4 KiB once, preadv2")?, of("4 KiB once, mapped")?);
        let pays = (map - open) / (call - copy);
        let text = format!(
            "{call:.0} ns by preadv2, {copy:.0} ns if it is mapped; mapping it costs {:.0} ns more \
             than opening it: it would pay from time {pays:.0} on",
            map - open
        );
        // A guest keeps what it has read: it asks once.
        Some((text, pays > 1.0))
    };
    let bar = "not done unless it pays the first time";
    lines.push(line("small files mapped by the server", bar, measured()));
}
