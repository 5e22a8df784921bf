// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Each plan, byte by byte. `UPDATE_EXPECT=1 cargo test -p rofs-launcher --test plans` writes down
//! what they are now.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use expect_test::expect_file;

use crate::cases::all;

#[test]
fn plans_are_as_written_down() {
    for case in all() {
        let plan = case
            .plan()
            .unwrap_or_else(|refusals| panic!("{}: {refusals:#?}", case.name));
        let text = serde_json::to_string_pretty(&plan).expect("JSON");
        let file = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join(format!("tests/plans/golden/{}.json", case.name));
        expect_file![file].assert_eq(&format!("{text}\n"));
    }
}

#[test]
fn no_plan_is_left_over() {
    let names: BTreeSet<String> = all()
        .iter()
        .map(|case| format!("{}.json", case.name))
        .collect();
    assert_eq!(names.len(), all().len(), "two cases have one name");
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plans/golden");
    for entry in fs::read_dir(dir).expect("the directory of plans") {
        let name = entry
            .expect("an entry")
            .file_name()
            .into_string()
            .expect("a name");
        assert!(names.contains(&name), "{name} belongs to no case");
    }
}

/// A plan as a script has each argument of the plan in it, as a shell reads it.
#[test]
fn scripts_are_read_by_a_shell_as_they_are_meant() {
    for case in all() {
        let plan = case.plan().expect("a plan");
        let script: Vec<&str> = plan
            .commands()
            .leak()
            .lines()
            .filter(|line| !line.starts_with('#'))
            .collect();
        let shown = script.join("\n").replace(
            &plan.hypervisor.program.display().to_string(),
            "printf '%s\\0'",
        );
        let last = shown.rfind("printf").expect("the hypervisor");
        let output = std::process::Command::new("sh")
            .args(["-c", &shown[last..]])
            .output()
            .expect("sh");
        let words: Vec<&str> = std::str::from_utf8(&output.stdout)
            .expect("text")
            .split_terminator('\0')
            .collect();
        assert_eq!(words, plan.hypervisor.args, "{}", case.name);
    }
}
