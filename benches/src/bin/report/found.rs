// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the benchmarks have left in their files, and lines made of it.

use rofs_benches::report::read;
use serde_json::Value;

/// The findings of one benchmark.
pub(crate) struct Found(pub(crate) Vec<(String, String, Value)>);

impl Found {
    pub(crate) fn of(bench: &str) -> Found {
        Found(read(bench))
    }

    pub(crate) fn row(&self, what: &str, subject: &str) -> Option<&Value> {
        self.0
            .iter()
            .find(|(w, s, _)| w == what && s == subject)
            .map(|(_, _, row)| row)
    }

    pub(crate) fn value(&self, what: &str, subject: &str) -> Option<f64> {
        self.row(what, subject)?["value"].as_f64()
    }

    pub(crate) fn more(&self, what: &str, subject: &str, name: &str) -> Option<f64> {
        self.row(what, subject)?["more"][name].as_f64()
    }

    /// The fastest subject whose name begins so, by a figure of which less is better.
    pub(crate) fn best(&self, what: &str, begins: &[&str]) -> Option<f64> {
        self.0
            .iter()
            .filter(|(w, s, _)| w == what && begins.iter().any(|name| s.starts_with(name)))
            .filter_map(|(_, _, row)| row["value"].as_f64())
            .min_by(f64::total_cmp)
    }
}

pub(crate) const OURS: &str = "rofs";
pub(crate) const PEERS: [&str; 2] = ["virtiofsd", "fuse-backend-rs"];

/// A bar, and how it was met.
pub(crate) struct Line {
    pub(crate) what: String,
    pub(crate) bar: String,
    pub(crate) measured: String,
    pub(crate) met: Option<bool>,
}

pub(crate) fn line(what: &str, bar: &str, measured: Option<(String, bool)>) -> Line {
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
