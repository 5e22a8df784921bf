// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Over a socket: `socket`, `scale`, `fairness` and `slow_disk`.

use rofs_benches::report::number;

use crate::found::{Found, Line, OURS, line};

pub(crate) fn sockets(lines: &mut Vec<Line>) {
    let found = Found::of("socket");
    let (null, virtiofsd) = ("null server", "virtiofsd");
    let what = "LOOKUP, depth 64, 1 queue";
    let measured = || {
        let ours = found.value(what, OURS)?;
        let floor = ours / found.value(what, null)?;
        let peer = ours / found.value(what, virtiofsd)?;
        let text = format!("{ours:.0}/s, {floor:.2} of the null server, {peer:.1} x virtiofsd");
        Some((text, floor >= 0.8 && peer >= 4.0))
    };
    let bar = "0.8 of the null server's rate, 4 x virtiofsd's";
    lines.push(line(what, bar, measured()));

    let what = "LOOKUP, depth 1, 1 queue";
    let measured = || {
        let of = |subject, name| found.more(what, subject, name);
        let latency = of(OURS, "p50 us")? / of(null, "p50 us")?;
        let cpu = of(OURS, "server us")? / of(virtiofsd, "server us")?;
        let text = format!(
            "p50 {:.1} us, {latency:.2} of the null server; server {:.1} us, {cpu:.2} of virtiofsd's",
            of(OURS, "p50 us")?,
            of(OURS, "server us")?
        );
        Some((text, latency <= 1.15 && cpu <= 0.25))
    };
    let bar = "latency 1.15 of the null server's, server's processor time 0.25 of virtiofsd's";
    lines.push(line(what, bar, measured()));

    let measured = || {
        let polling = "rofs --poll 50";
        let single = "LOOKUP, depth 1, 1 queue";
        let busy = "LOOKUP, depth 1, 1 queue, busy host";
        let latency = |what, subject| found.more(what, subject, "p50 us");
        let text = format!(
            "p50 {:.1} us, {:.1} without; server {:.1} us a request, {:.1} without; on a busy host \
             p50 {:.1} us, {:.1} without; {:.0}/s, {:.0} without",
            latency(single, polling)?,
            latency(single, OURS)?,
            found.more(single, polling, "server us")?,
            found.more(single, OURS, "server us")?,
            latency(busy, polling)?,
            latency(busy, OURS)?,
            found.value(busy, polling)?,
            found.value(busy, OURS)?,
        );
        let gain = latency(single, OURS)? / latency(single, polling)?;
        let loss = latency(busy, polling)? / latency(busy, OURS)?;
        Some((text, gain >= 2.0 && loss <= 1.15))
    };
    let bar = "halves the latency of single requests; on a busy host at most 1.15 of that without";
    lines.push(line("LOOKUP, with --poll 50", bar, measured()));

    let what = "cold walk, 120000 entries";
    let measured = || {
        let time = found.value(what, virtiofsd)? / found.value(what, OURS)?;
        let requests = found.more(what, OURS, "requests")?;
        let share = requests / found.more(what, virtiofsd, "requests")?;
        let text = format!(
            "{:.0} ms, {time:.1} x virtiofsd; {requests:.0} requests, {share:.2} of its",
            found.value(what, OURS)?
        );
        Some((text, time >= 4.0 && share <= 0.5))
    };
    let bar = "4 x faster than virtiofsd, half its requests";
    lines.push(line(what, bar, measured()));
}

pub(crate) fn scale(lines: &mut Vec<Line>) {
    let found = Found::of("scale");
    let of = |what: &str, name| found.more(what, OURS, name);
    for (size, mib) in [("100000", None), ("1000000", Some(150.0))] {
        let what = format!("{size} entries, machines: 1");
        let measured = || {
            let (each, all) = (of(&what, "bytes/entry")?, found.value(&what, OURS)?);
            let mut text = format!("{each:.0} bytes an entry, {all:.0} MiB in all");
            if let Some(peer) = found.value(&what, "virtiofsd") {
                text += &format!("; virtiofsd {peer:.0} MiB");
            }
            let within = mib.is_none_or(|most| all <= most);
            Some((text, each <= 96.0 && within))
        };
        let mut bar = "96 bytes an entry beyond its name".to_owned();
        if let Some(mib) = mib {
            bar += &format!(", {mib:.0} MiB");
        }
        lines.push(line(&format!("memory, {size} entries"), &bar, measured()));
    }
    for machines in [1.0, 16.0, 64.0] {
        let what = format!("10000 entries, machines: {machines}");
        let most = 64.0 + 8.0 * machines + 256.0;
        let measured = || {
            let held = of(&what, "descriptors")?;
            let mut text = format!("{held:.0}, and {} MiB", number(found.value(&what, OURS)?));
            if let Some(peer) = found.value(&what, "virtiofsd") {
                let held = found.more(&what, "virtiofsd", "descriptors")?;
                text += &format!("; as many virtiofsd {held:.0}, and {} MiB", number(peer));
            }
            Some((text, held <= most))
        };
        let title = format!("descriptors of one server, machines: {machines}");
        lines.push(line(&title, &format!("{most:.0}"), measured()));
    }
    let measured = || {
        let sizes = ["10000", "100000", "1000000"];
        let slowest = sizes
            .iter()
            .filter_map(|size| {
                Some((
                    of(&format!("{size} entries, machines: 1"), "ready ms")?,
                    size,
                ))
            })
            .max_by(|a, b| a.0.total_cmp(&b.0))?;
        let what = format!("{} entries, machines: 1", slowest.1);
        let first = of(&what, "first answer ms")?;
        let mut text = format!(
            "{} ms; first answers after {} ms",
            number(slowest.0),
            number(first)
        );
        if let Some(ready) = found.more(&what, "virtiofsd", "ready ms") {
            let first = found.more(&what, "virtiofsd", "first answer ms")?;
            text += &format!("; virtiofsd {} and {} ms", number(ready), number(first));
        }
        Some((text, slowest.0 <= 50.0))
    };
    lines.push(line("ready to accept, any size", "50 ms", measured()));
}

/// What it does while nobody asks anything.
pub(crate) fn idle(lines: &mut Vec<Line>) {
    let found = Found::of("scale");
    for machines in [1, 64] {
        let what = format!("idle, machines: {machines}");
        let measured = || {
            let (micros, wakes) = (
                found.value(&what, OURS)?,
                found.more(&what, OURS, "wake-ups/s")?,
            );
            let text = format!("{} us a second, {} wake-ups", number(micros), number(wakes));
            // Less than one part in ten thousand of a processor.
            Some((text, micros < 100.0 && wakes <= 1.0))
        };
        let bar = "0 % of a processor, at most 1 wake-up a second";
        lines.push(line(&what, bar, measured()));
    }
}

/// How far one machine, or one disk, can hold up the others.
pub(crate) fn latencies(lines: &mut Vec<Line>) {
    let found = Found::of("fairness");
    let (alone, elsewhere, here) = (
        "16 machines, none hostile",
        "16 machines, one hostile, at another process",
        "16 machines, one hostile",
    );
    let measured = || {
        let p99 = |what| found.value(what, OURS);
        let (least, other, most) = (p99(alone)?, p99(elsewhere)?, p99(here)?);
        let mut text = format!(
            "{} us; {} us without it; {} us with it at another process ({:.2} of that)",
            number(most),
            number(least),
            number(other),
            most / other
        );
        if let Some(peer) = found.value(here, "virtiofsd") {
            text += &format!("; virtiofsd, a process for each: {} us", number(peer));
        }
        Some((text, most < 2.0 * other))
    };
    lines.push(line(
        "p99 of 15 machines beside a hostile one",
        "not twice that beside the same load from elsewhere",
        measured(),
    ));

    let found = Found::of("slow_disk");
    let rest = "metadata, disk at rest";
    let beside = "metadata, 8 reads of 20 ms by another";
    let busy = "metadata, 8 reads of 20 ms in flight";
    let measured = || {
        let ratio = |who, of| Some(found.value(busy, who)? / found.value(of, who)?);
        let ours = ratio(OURS, beside)?;
        let mut text = format!(
            "{} us, {ours:.2} of {} us; {} us without any",
            number(found.value(busy, OURS)?),
            number(found.value(beside, OURS)?),
            number(found.value(rest, OURS)?)
        );
        if let Some(peer) = ratio("virtiofsd", beside) {
            text += &format!("; virtiofsd {peer:.1} of its own");
        }
        Some((text, ours <= 1.2))
    };
    let bar = "1.2 of what it is when another process reads the same from the same disk";
    lines.push(line(
        "p99 of metadata beside 8 reads of a slow disk",
        bar,
        measured(),
    ));
}
