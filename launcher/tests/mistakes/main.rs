// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a person reads who made a mistake in the description of a VM, word for word: once for TOML,
//! once for the same in JSON. `UPDATE_EXPECT=1 cargo test -p rofs-launcher --test mistakes` writes
//! down what is said now.
#![allow(clippy::expect_used, clippy::panic)] // a test fails by it

mod boot;
mod desktop;
mod files;
mod here;
#[path = "../plans/host.rs"]
#[allow(dead_code, reason = "the tests of plans need more of it")]
mod host;
mod lacking;
mod machine;
mod many;
mod network;
mod options;
mod shares;
mod unused;
mod volumes;

use expect_test::Expect;
use launcher::check::{Checked, check};
use launcher::description::Document;
use launcher::mistakes::Mistakes;

/// Checks a file without looking at this machine.
fn checked(path: &str, text: &str) -> Result<Checked, Mistakes> {
    check(Document::parse(path.into(), text.into())?, None)
}

/// What is said of a file: its mistakes, or if there are none, its warnings.
fn said(path: &str, text: &str) -> String {
    match checked(path, text) {
        Ok(checked) => checked.warnings(false),
        Err(mistakes) => mistakes.to_string(),
    }
}

/// Compares what is said of a TOML file, and of the same as JSON, with what is expected.
fn says(toml: &str, expected: Expect) {
    let value: toml::Table = toml::from_str(toml).expect("TOML");
    let json = serde_json::to_string_pretty(&value).expect("JSON");
    expected.assert_eq(&format!(
        "{}\n\n{}\n",
        said("vm.toml", toml),
        said("vm.json", &json)
    ));
}

/// As [`says`], for a VM that boots something.
fn vm_says(toml: &str, expected: Expect) {
    says(&format!("run = [\"true\"]\n{toml}"), expected);
}

/// For a VM that boots something, whose file needs no word.
fn nothing_is_said(toml: &str) {
    assert_eq!(said("vm.toml", &format!("run = [\"true\"]\n{toml}")), "");
}
