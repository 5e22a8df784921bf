// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Schema, types and examples agree.
#![allow(clippy::expect_used)] // a test fails by it

use std::fs;
use std::path::Path;

use launcher::check::check;
use launcher::description::{Description, Document};
use launcher::schema::schema;
use launcher::starter::STARTER;
use serde_json::Value;

/// Every default fits the schema, and says the same as nothing.
#[test]
fn defaults_written_down_are_the_defaults() {
    let mut description = Description {
        run: vec!["true".into()],
        ..Description::default()
    };
    let text = serde_json::to_string_pretty(&description).expect("JSON");
    let document = Document::parse("vm.json".into(), text).expect("JSON");
    assert_eq!(document.mistakes, [], "{:#?}", document.mistakes);
    description.anchor(&std::env::current_dir().expect("a directory"));
    assert_eq!(document.description, description);
}

/// What the schema says of each option is understood when files are compared with it: each is
/// wrong as a date, which nothing is.
#[test]
fn every_option_is_compared_with_the_schema() {
    fn tables(table: &Value, path: &str, list: &mut Vec<(String, bool)>) {
        for (name, schema) in table["properties"].as_object().expect("a table") {
            let name = if path.is_empty() {
                name.clone()
            } else {
                format!("{path}.{name}")
            };
            if schema.get("properties").is_some() {
                tables(schema, &name, list);
            } else {
                list.push((name, schema["deprecated"] == true));
            }
        }
    }
    let mut options = Vec::new();
    tables(schema(), "", &mut options);
    assert!(options.len() > 50, "{}", options.len());
    for (option, unused) in options {
        let document =
            Document::parse("vm.toml".into(), format!("{option} = 2024-02-29\n")).expect("TOML");
        assert_eq!(
            document.mistakes.len(),
            usize::from(!unused),
            "{option}: {:?}",
            document.mistakes
        );
    }
}

#[test]
fn the_schema_keeps_strangers_out_and_is_of_a_known_kind() {
    assert_eq!(
        schema()["$schema"],
        "https://json-schema.org/draft/2020-12/schema"
    );
    assert_eq!(schema()["additionalProperties"], false);
    assert_eq!(
        schema()["properties"]["shares"]["items"]["additionalProperties"],
        false
    );
    assert_eq!(
        schema()["properties"]["shares"]["items"]["required"],
        serde_json::json!(["tag", "source", "mountPoint"])
    );
}

#[test]
fn examples_have_no_mistakes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut count = 0;
    for entry in fs::read_dir(folder).expect("examples") {
        let path = entry.expect("an example").path();
        let document = Document::open(&path).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let checked = check(document, None).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        assert_eq!(checked.warnings, [], "{}", path.display());
        count += 1;
    }
    assert_eq!(count, 7);
}

/// All that is commented out in the starter works when it is not.
#[test]
fn the_starter_works_with_everything_switched_on() {
    let on: String = STARTER
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(option) if !option.starts_with(' ') => format!("{option}\n"),
            _ => format!("{line}\n"),
        })
        .filter(|line| {
            !line.starts_with("run ")
                && !line.starts_with("initrd ")
                && !line.starts_with("kernel ")
        })
        .collect();
    for text in [STARTER.to_owned(), on] {
        let document =
            Document::parse("vm.toml".into(), text).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        check(document, None).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    }
}

/// `microvm-nix.json` is what `microvm.nix` in this folder makes of microvm.nix's own options, as of
/// August 2026, with the settings of the complete example.
#[test]
fn what_nix_prints_runs_unchanged() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/microvm-nix.json");
    let document = Document::open(&path).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let checked = check(document, None).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert_eq!(checked.warnings, []);
    let description = checked.description;
    assert_eq!(
        (description.vcpu, description.mem, description.balloon),
        (4, 4096, true)
    );
    assert!(
        description
            .initrd
            .is_some_and(|path| path.ends_with("initrd"))
    );
    assert!(description.qemu.package.is_some());
    assert_eq!(description.guest_init, None);
    assert_eq!(description.guest.enable, Some(true));
    assert_eq!(description.volumes[0].size, Some(8192));
    assert!(description.shares[0].serves_read_only() && !description.shares[1].serves_read_only());
}
