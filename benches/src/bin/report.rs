// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What must be reached, and what the last runs found, as a table in Markdown.

use rofs_benches::report::{number, read};
use serde_json::Value;

/// The findings of one benchmark.
struct Found(Vec<(String, String, Value)>);

impl Found {
    fn of(bench: &str) -> Found {
        Found(read(bench))
    }

    fn row(&self, what: &str, subject: &str) -> Option<&Value> {
        self.0
            .iter()
            .find(|(w, s, _)| w == what && s == subject)
            .map(|(_, _, row)| row)
    }

    fn value(&self, what: &str, subject: &str) -> Option<f64> {
        self.row(what, subject)?["value"].as_f64()
    }

    fn more(&self, what: &str, subject: &str, name: &str) -> Option<f64> {
        self.row(what, subject)?["more"][name].as_f64()
    }

    /// The fastest subject whose name begins so, by a figure of which less is better.
    fn best(&self, what: &str, begins: &[&str]) -> Option<f64> {
        self.0
            .iter()
            .filter(|(w, s, _)| w == what && begins.iter().any(|name| s.starts_with(name)))
            .filter_map(|(_, _, row)| row["value"].as_f64())
            .min_by(f64::total_cmp)
    }
}

const OURS: &str = "rofs";
const PEERS: [&str; 2] = ["virtiofsd", "fuse-backend-rs"];

/// A bar, and how it was met.
struct Line {
    what: String,
    bar: String,
    measured: String,
    met: Option<bool>,
}

fn line(what: &str, bar: &str, measured: Option<(String, bool)>) -> Line {
    let (measured, met) = measured.map_or(("not measured".to_owned(), None), |(text, met)| {
        (text, Some(met))
    });
    Line {
        what: what.to_owned(),
        bar: bar.to_owned(),
        measured,
        met,
    }
}

fn lookups(lines: &mut Vec<Line>) {
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

fn reads(lines: &mut Vec<Line>) {
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
}

fn sockets(lines: &mut Vec<Line>) {
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

fn main() {
    let mut lines = Vec::new();
    lookups(&mut lines);
    reads(&mut lines);
    sockets(&mut lines);
    println!("| what | must reach | measured | |\n| --- | --- | --- | --- |");
    for Line {
        what,
        bar,
        measured,
        met,
    } in lines
    {
        let mark = match met {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "",
        };
        println!("| {what} | {bar} | {measured} | {mark} |");
    }
}
