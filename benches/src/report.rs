// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a benchmark found: a table to read, and a file for `bench-report`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use serde_json::{Value, json};

use crate::ours::{FLOOR, OURS};
use crate::tree::kept;

/// One figure of one subject.
#[derive(Clone, Debug)]
pub struct Row {
    /// What was measured, with its size: `lookup warm, 1000 entries`.
    pub what: String,
    /// Who was measured.
    pub subject: String,
    /// What the figure counts: `ns`, `requests/s`.
    pub unit: &'static str,
    /// The median.
    pub value: f64,
    /// Whatever else was found, by name.
    pub more: BTreeMap<&'static str, f64>,
}

impl Row {
    /// A figure with nothing else.
    pub fn new(what: &str, subject: &str, unit: &'static str, value: f64) -> Row {
        Row {
            what: what.to_owned(),
            subject: subject.to_owned(),
            unit,
            value,
            more: BTreeMap::new(),
        }
    }

    /// Adds one more finding.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: f64) -> Row {
        self.more.insert(name, value);
        self
    }
}

/// All figures of a benchmark.
#[derive(Debug)]
pub struct Report {
    bench: &'static str,
    rows: Vec<Row>,
}

/// Whether everything runs once only, to see that it works. Figures mean nothing then.
pub fn is_test() -> bool {
    // What cargo passes to a benchmark is `--bench`, unless it is run as a test.
    let mut arguments = std::env::args();
    let mut bench = false;
    let test = arguments.any(|argument| {
        bench |= argument == "--bench";
        argument == "--test"
    });
    test || !bench
}

/// What was asked for on the command line, by a part of its title; nothing is everything.
pub fn filter() -> Option<String> {
    let mut arguments = std::env::args().skip(1);
    arguments.find(|argument| !argument.starts_with('-'))
}

/// Whether the sizes that take minutes are wanted, too.
pub fn is_full() -> bool {
    std::env::var_os("ROFS_BENCH_FULL").is_some_and(|value| value == "1")
}

impl Report {
    /// An empty one.
    pub fn new(bench: &'static str) -> Report {
        Report {
            bench,
            rows: Vec::new(),
        }
    }

    /// Adds a figure.
    pub fn add(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// Replaces the counts of a figure by some that were taken with more care.
    pub fn correct(&mut self, what: &str, subject: &str, calls: f64, allocations: f64) {
        let found = |row: &&mut Row| row.what == what && row.subject == subject;
        if let Some(row) = self.rows.iter_mut().find(found) {
            row.more.insert("calls", calls);
            row.more.insert("allocs", allocations);
        }
    }

    /// Prints the table and writes the file, `target/bench/NAME.json`. A test run leaves the file
    /// of a real one alone, and so does a run of a part.
    pub fn finish(self) {
        println!("\n{}", self.table());
        if filter().is_some() {
            return;
        }
        let suffix = if is_test() { "-test" } else { "" };
        let path = kept().join(format!("{}{suffix}.json", self.bench));
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                json!({
                    "what": row.what,
                    "subject": row.subject,
                    "unit": row.unit,
                    "value": row.value,
                    "more": row.more,
                })
            })
            .collect();
        let whole = json!({ "bench": self.bench, "test": is_test(), "rows": rows });
        fs::write(&path, format!("{whole:#}\n")).unwrap();
        println!("written to {}", path.display());
    }

    /// One line for each thing measured: ours, then each other with how many times ours is better.
    fn table(&self) -> String {
        let mut out = format!("# {}\n", self.bench);
        let mut seen: Vec<&str> = Vec::new();
        for row in &self.rows {
            if seen.contains(&row.what.as_str()) {
                continue;
            }
            seen.push(&row.what);
            let _ = writeln!(out, "{} [{}]", row.what, row.unit);
            let same: Vec<&Row> = self.rows.iter().filter(|r| r.what == row.what).collect();
            let ours = same.iter().find(|row| row.subject == OURS);
            for row in &same {
                let _ = write!(out, "  {:<18} {:>12}", row.subject, number(row.value));
                match ours {
                    Some(ours) if row.subject != OURS && ours.value > 0.0 && row.value > 0.0 => {
                        // More is better of rates, less of everything else.
                        let ratio = if row.unit.ends_with("/s") {
                            ours.value / row.value
                        } else {
                            row.value / ours.value
                        };
                        let word = if row.subject == FLOOR { "    " } else { "ours" };
                        let _ = write!(out, "  {word} x{ratio:<7.2}");
                    }
                    _ => out.push_str("               "),
                }
                for (name, value) in &row.more {
                    let _ = write!(out, "  {name} {}", number(*value));
                }
                out.push('\n');
            }
        }
        out
    }
}

/// A number with the digits that mean something.
pub fn number(value: f64) -> String {
    if value == 0.0 || value.abs() >= 100.0 || value.fract() == 0.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    }
}

/// The rows that a benchmark has left in its file; none if there is no such file.
pub fn read(bench: &str) -> Vec<(String, String, Value)> {
    let path = kept().join(format!("{bench}.json"));
    let Ok(text) = fs::read_to_string(path) else {
        return Vec::new();
    };
    let whole: Value = serde_json::from_str(&text).unwrap();
    let rows = whole["rows"].as_array().cloned().unwrap_or_default();
    let text = |row: &Value, key: &str| row[key].as_str().unwrap_or_default().to_owned();
    rows.into_iter()
        .map(|row| (text(&row, "what"), text(&row, "subject"), row))
        .collect()
}
