// SPDX-License-Identifier: Apache-2.0 OR MIT
//! In real guests.

use rofs_benches::report::number;

use crate::found::{Found, Line, OURS, line};

/// virtiofsd with `--cache always`.
const PEER: &str = "virtiofsd";
/// How much of a time is chance, where nothing is asked at all.
const CHANCE: f64 = 1.05;

pub(crate) fn guests(lines: &mut Vec<Line>) {
    let found = Found::of("guest");
    let ours = found.0.iter().filter(|(_, who, _)| who == OURS);
    let titles: Vec<&str> = ours.map(|(what, ..)| what.as_str()).collect();
    if titles.is_empty() {
        lines.push(line("guests", "faster than virtiofsd in everything", None));
    }
    for what in titles {
        let made = if what.ends_with(", first") {
            first(&found, what)
        } else {
            again(&found, what)
        };
        lines.extend(made);
    }
}

/// The time of virtiofsd, and how many requests it took, in words.
fn peers(found: &Found, what: &str, ours: f64) -> Option<(String, f64)> {
    let always = found.value(what, PEER)? / ours;
    let auto = found.value(what, "virtiofsd auto")? / ours;
    let text = format!(
        "virtiofsd always {always:.2} x, {} requests; auto {auto:.2} x, {}",
        number(found.more(what, PEER, "requests")?),
        number(found.more(what, "virtiofsd auto", "requests")?)
    );
    Some((text, always))
}

fn first(found: &Found, what: &str) -> Option<Line> {
    let ms = found.value(what, OURS)?;
    let own = found.value(&what.replace(", first", ", again"), OURS)?;
    let requests = found.more(what, OURS, "requests")?;
    let mut text = format!(
        "{} ms, {} of it the guest's own; {} requests",
        number(ms),
        number(own),
        number(requests)
    );
    let mut bar = "faster than virtiofsd always".to_owned();
    let mut met = true;
    if what.contains("find") {
        let most = found.more(what, OURS, "pages")? * 1.05;
        bar += &format!("; {most:.0} requests");
        met &= requests <= most;
    }
    if let Some((words, ratio)) = peers(found, what, ms) {
        text += &format!("; {words}");
        met &= ratio > 1.0;
    }
    Some(line(what, &bar, Some((text, met))))
}

fn again(found: &Found, what: &str) -> Option<Line> {
    let ms = found.value(what, OURS)?;
    let requests = found.more(what, OURS, "requests")?;
    // The names of the root that are used, and its attributes and listing, once in each second.
    let paths = found.more(what, OURS, "paths")?;
    let most = (paths * 1.05 + 4.0).floor() * ((ms / 1e3).floor() + 1.0);
    let bar = format!("no slower than virtiofsd always; none below the root: {most:.0} requests");
    let mut text = format!("{} ms; {} requests", number(ms), number(requests));
    let mut met = requests <= most;
    if let Some((words, ratio)) = peers(found, what, ms) {
        text += &format!("; {words}");
        met &= ratio * CHANCE >= 1.0;
    }
    Some(line(what, &bar, Some((text, met))))
}
