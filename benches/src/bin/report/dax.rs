// SPDX-License-Identifier: Apache-2.0 OR MIT
//! DAX windows.

use rofs_benches::report::number;

use crate::found::{Found, Line, OURS, line};

/// The device that has windows, used without.
const READ: &str = "READ, same device";

pub(crate) fn windows(lines: &mut Vec<Line>) {
    let found = Found::of("dax");
    for (what, least) in [
        ("guest, random touch, hot", 4.0),
        ("guest, random touch, caches dropped", 100.0),
    ] {
        let bar = format!("{least} x faster than READ on the same device");
        lines.push(line(what, &bar, compare(&found, what, least)));
    }
    let what = "guest, first 2 MiB touched";
    let bar = "at most 1.5 x the time of READ on the same device";
    lines.push(line(what, bar, compare(&found, what, 1.0 / 1.5)));

    let what = "guest, page cache grows by";
    let bar = "less than 5 % of what was read";
    lines.push(line(what, bar, cached(&found, what)));

    let what = "guest, READ requests for mapped files";
    lines.push(line(what, "0", requests(&found, what)));

    let bar = "8 guests within 1.1 x what 1 guest takes, where the front-end maps read-only";
    lines.push(line("host memory", bar, memory(&found)));
}

/// A title, what was measured, by whom for each column, and how to say it.
type Comparison = (
    &'static str,
    &'static str,
    [&'static str; 3],
    fn(f64) -> String,
);

/// What the README says of them: a sentence and a table.
pub(crate) fn readme() -> String {
    let found = Found::of("dax");
    let cell = |what: &str, who: &str, show: fn(f64) -> String| {
        found.value(what, who).map_or_else(|| "-".to_owned(), show)
    };
    let memory = "host memory, 8 guests of one file";
    let trip = "SETUPMAPPING of 2 MiB, round trip";
    let nothing = "";
    // The columns: the host's own pages, copies, READ.
    let rows: [Comparison; 7] = [
        (
            "2 MiB for the first time",
            "guest, first 2 MiB touched",
            [nothing, OURS, READ],
            time,
        ),
        (
            "a page of it again",
            "guest, second touch, per page",
            [nothing, OURS, READ],
            time,
        ),
        (
            "any page, hot",
            "guest, random touch, hot",
            [nothing, OURS, READ],
            time,
        ),
        (
            "any page, after the guest dropped its caches",
            "guest, random touch, caches dropped",
            [nothing, OURS, READ],
            time,
        ),
        (
            "growth of the guest's page cache for 192 MiB",
            "guest, page cache grows by",
            [nothing, OURS, READ],
            mib,
        ),
        (
            "mapping 2 MiB, for the server",
            trip,
            [OURS, "rofs-serve, copy", nothing],
            time,
        ),
        (
            "host memory when 8 guests have seen one file",
            memory,
            [OURS, "rofs-serve, QEMU", READ],
            times,
        ),
    ];
    let mut table = "What it brings, measured by `benches/run dax` in software emulation, where only \
                     the ratios mean something:\n\n| | mapped: the host's own pages | mapped: copies (QEMU 11.1) | read (QEMU \
                     11.1) |\n| --- | --- | --- | --- |"
        .to_owned();
    for (title, what, subjects, show) in rows {
        let cells = subjects.map(|who| cell(what, who, show));
        table += &format!("\n| {title} | {} |", cells.join(" | "));
    }
    table
}

fn time(ns: f64) -> String {
    match ns {
        ns if ns < 1e3 => format!("{ns:.0} ns"),
        ns if ns < 1e6 => format!("{:.1} us", ns / 1e3),
        ns => format!("{:.1} ms", ns / 1e6),
    }
}

fn mib(bytes: f64) -> String {
    format!("{:.1} MiB", bytes / f64::from(1 << 20))
}

fn times(file: f64) -> String {
    format!("{file:.1} times the file")
}

fn compare(found: &Found, what: &str, least: f64) -> Option<(String, bool)> {
    let ours = found.value(what, OURS)?;
    let read = found.value(what, READ)?;
    let (a, b) = (number(ours), number(read));
    let text = format!("{a} ns, {:.2} x faster than READ's {b} ns", read / ours);
    Some((text, read / ours >= least))
}

fn cached(found: &Found, what: &str) -> Option<(String, bool)> {
    let part = found.value(what, OURS)? / found.more(what, OURS, "of")?;
    let read = found.value(what, READ)? / found.more(what, READ, "of")?;
    let text = format!("{:.1} %; with READ {:.0} %", part * 100.0, read * 100.0);
    Some((text, part < 0.05))
}

fn requests(found: &Found, what: &str) -> Option<(String, bool)> {
    let ours = found.value(what, OURS)?;
    let text = format!(
        "{}, and {} SETUPMAPPING; without a window {} READ",
        number(ours),
        number(found.more(what, OURS, "mappings")?),
        number(found.value(what, READ)?)
    );
    Some((text, ours == 0.0))
}

fn memory(found: &Found) -> Option<(String, bool)> {
    let of = |guests: u32, who: &str| {
        found.value(&format!("host memory, {guests} guests of one file"), who)
    };
    let (one, eight) = (of(1, OURS)?, of(8, OURS)?);
    let text = format!(
        "{one:.2} and {eight:.2} times the file; copies {:.1} and {:.1}; READ {:.1} and {:.1}",
        of(1, "rofs-serve, QEMU")?,
        of(8, "rofs-serve, QEMU")?,
        of(1, READ)?,
        of(8, READ)?,
    );
    Some((text, eight <= one * 1.1))
}
