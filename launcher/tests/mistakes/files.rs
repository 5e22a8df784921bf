// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Files that are no description at all, or not quite.

use std::fs;
use std::path::Path;

use expect_test::{Expect, expect};
use launcher::description::Document;

use crate::{checked, said};

/// Writes a file and compares what is said of it.
fn file_says(name: &str, bytes: &[u8], expected: Expect) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join(name);
    fs::write(&path, bytes).expect("a file");
    open_says(&path, expected);
}

fn open_says(path: &Path, expected: Expect) {
    let said = match Document::open(path).map(|document| launcher::check::check(document, None)) {
        Ok(Ok(checked)) => format!("{} {:?}", checked.name(), checked.description.run),
        Ok(Err(mistakes)) | Err(mistakes) => mistakes.to_string(),
    };
    let folder = path.parent().expect("a folder").display().to_string();
    expected.assert_eq(&said.replace(&folder, "DIR"));
}

#[test]
fn no_file() {
    let dir = tempfile::tempdir().expect("a directory");
    open_says(
        &dir.path().join("vm.toml"),
        expect![[r#"
        error: cannot be read: No such file or directory (os error 2)
        --> DIR/vm.toml
         = help: `rofs-vm init FILE` writes one to start from"#]],
    );
}

#[test]
fn a_directory() {
    let dir = tempfile::tempdir().expect("a directory");
    let folder = dir.path().join("vm.toml");
    fs::create_dir(&folder).expect("a directory");
    open_says(
        &folder,
        expect![[r#"
        error: cannot be read: is a directory
        --> DIR/vm.toml
         = help: name the file in it"#]],
    );
}

#[test]
fn an_empty_file() {
    file_says(
        "vm.toml",
        b"",
        expect![[r#"
        error: kernel: there is nothing to boot
         --> DIR/vm.toml:1:1
          |
        1 |
          | ^
          |
          = help: write `system = "/nix/store/...-nixos-system-..."` (what `nixos-rebuild build` makes), or `kernel` and `initrd`, or `run = ["/bin/sh"]` for one program"#]],
    );
    file_says(
        "vm.json",
        b"",
        expect![[r#"
        error: there is nothing in this file
         --> DIR/vm.json:1:1
          |
        1 |
          | ^
          |
          = help: write {"option": value, ...}, without comments and without a comma after the last one; or TOML"#]],
    );
}

#[test]
fn a_program() {
    file_says(
        "vm.toml",
        b"\x7fELF\x02\x01\x01\0\0\0\xff\xfe",
        expect![[r#"
        error: it is not UTF-8 text: this byte belongs to no character
         --> DIR/vm.toml:1:11
          |
        1 |  ELF      ��
          |           ^
          |
          = help: save it as UTF-8 text, in TOML or JSON"#]],
    );
}

#[test]
fn text_in_latin_1() {
    file_says(
        "vm.toml",
        b"run = [\"true\"]\nname = \"m\xfcnchen\"\n",
        expect![[r#"
        error: it is not UTF-8 text: this byte belongs to no character
         --> DIR/vm.toml:2:10
          |
        2 | name = "m�nchen"
          |          ^
          |
          = help: save it as UTF-8 text, in TOML or JSON"#]],
    );
}

#[test]
fn text_in_utf_16() {
    file_says(
        "vm.toml",
        b"\xff\xfev\0c\0p\0u\0",
        expect![[r#"
        error: it is UTF-16 text
        --> DIR/vm.toml
         = help: save it as UTF-8 text, in TOML or JSON"#]],
    );
}

#[test]
fn text_from_an_editor_that_marks_it() {
    file_says(
        "vm.toml",
        b"\xef\xbb\xbfrun = [\"true\"]\r\nmem = 1024\r\n",
        expect![[r#"vm ["true"]"#]],
    );
}

#[test]
fn lines_from_elsewhere() {
    file_says(
        "vm.toml",
        b"run = [\"true\"]\r\nvcpus = 2\r\n",
        expect![[r#"
        error: vcpus: there is no such option
         --> DIR/vm.toml:2:1
          |
        2 | vcpus = 2
          | ^^^^^
          |
          = help: write `vcpu`"#]],
    );
}

#[test]
fn a_file_without_an_ending() {
    file_says(
        "desktop",
        b" { \"run\": [\"true\"] }",
        expect![[r#"desktop ["true"]"#]],
    );
    file_says(
        "desktop",
        b"run = [\"true\"]",
        expect![[r#"desktop ["true"]"#]],
    );
}

#[test]
fn a_file_with_a_name_that_no_vm_can_have() {
    file_says(
        "my vm.toml",
        b"run = [\"true\"]",
        expect![[r#"
        error: name: "my vm" cannot be the name of a VM
         --> DIR/my vm.toml:1:1
          |
        1 | run = ["true"]
          | ^
          |
          = help: write a `name` of letters, digits and hyphens, at most 63 of them: it is the guest's host name"#]],
    );
}

#[test]
fn a_file_that_never_ends() {
    open_says(
        Path::new("/dev/zero"),
        expect![[r#"
        error: it is longer than 4 MiB
        --> DIR/zero
         = help: write a description of a VM; `rofs-vm init FILE` writes one to start from"#]],
    );
}

#[test]
fn not_toml() {
    file_says(
        "vm.toml",
        b"vcpu 4\nname = desktop\nmem = 512\nmem = 1024\n[shares\n",
        expect![[r#"
        error: this is not TOML: key with no value, expected `=`
         --> DIR/vm.toml:1:6
          |
        1 | vcpu 4
          |      ^
          |
          = help: write `option = value`, with text in "quotes", lists in [brackets], and each option once

        error: this is not TOML: unclosed table, expected `]`
         --> DIR/vm.toml:5:8
          |
        5 | [shares
          |        ^
          |
          = help: write `option = value`, with text in "quotes", lists in [brackets], and each option once"#]],
    );
}

/// Not all of them can be found at once.
#[test]
fn not_quite_toml() {
    file_says(
        "vm.toml",
        b"name = desktop\n",
        expect![[r#"
        error: this is not TOML: string values must be quoted, expected literal string
         --> DIR/vm.toml:1:8
          |
        1 | name = desktop
          |        ^^^^^^^
          |
          = help: write `option = value`, with text in "quotes", lists in [brackets], and each option once"#]],
    );
    file_says(
        "vm.toml",
        b"run = [\"true\"]\nmem = 512\nmem = 1024\n",
        expect![[r#"
        error: this is not TOML: duplicate key
         --> DIR/vm.toml:3:1
          |
        3 | mem = 1024
          | ^^^
          |
          = help: write `option = value`, with text in "quotes", lists in [brackets], and each option once"#]],
    );
    file_says(
        "vm.toml",
        b"[[shares]]\ntag = \"a\"\n[shares]\ntag = \"b\"\n",
        expect![[r#"
        error: this is not TOML: duplicate key
         --> DIR/vm.toml:3:2
          |
        3 | [shares]
          |  ^^^^^^
          |
          = help: write `option = value`, with text in "quotes", lists in [brackets], and each option once"#]],
    );
    file_says(
        "vm.toml",
        b"name = \"desktop\n",
        expect![[r#"
        error: this is not TOML: invalid basic string, expected `"`
         --> DIR/vm.toml:1:16
          |
        1 | name = "desktop
          |                ^
          |
          = help: write `option = value`, with text in "quotes", lists in [brackets], and each option once"#]],
    );
    file_says(
        "vm.toml",
        b"{ \"vcpu\": 4 }\n",
        expect![[r#"
        error: this is not TOML: invalid key-value pair, expected key
         --> DIR/vm.toml:1:1
          |
        1 | { "vcpu": 4 }
          | ^
          |
          = help: write `option = value`, with text in "quotes", lists in [brackets], and each option once"#]],
    );
}

#[test]
fn not_json() {
    file_says(
        "vm.json",
        b"{\n  \"vcpu\": 4,\n  // a comment\n}",
        expect![[r#"
        error: this is not JSON: comments are not allowed
         --> DIR/vm.json:3:3
          |
        3 |   // a comment
          |   ^^^^^^^^^^^^
          |
          = help: write {"option": value, ...}, without comments and without a comma after the last one; or TOML"#]],
    );
    file_says(
        "vm.json",
        b"{ \"vcpu\": 4, }",
        expect![[r#"
        error: this is not JSON: trailing commas are not allowed
         --> DIR/vm.json:1:12
          |
        1 | { "vcpu": 4, }
          |            ^
          |
          = help: write {"option": value, ...}, without comments and without a comma after the last one; or TOML"#]],
    );
    file_says(
        "vm.json",
        b"{ \"vcpu\": 4",
        expect![[r#"
        error: this is not JSON: unterminated object
         --> DIR/vm.json:1:1
          |
        1 | { "vcpu": 4
          | ^^^^^^^^^^^
          |
          = help: write {"option": value, ...}, without comments and without a comma after the last one; or TOML"#]],
    );
    file_says(
        "vm.json",
        b"{ vcpu: 4 }",
        expect![[r#"
        error: this is not JSON: expected string for object property
         --> DIR/vm.json:1:3
          |
        1 | { vcpu: 4 }
          |   ^^^^
          |
          = help: write {"option": value, ...}, without comments and without a comma after the last one; or TOML"#]],
    );
}

#[test]
fn an_option_twice() {
    file_says(
        "vm.json",
        b"{ \"mem\": 512,\n  \"run\": [\"true\"],\n  \"mem\": 1024 }",
        expect![[r#"
        error: "mem" is written a second time
         --> DIR/vm.json:3:3
          |
        3 |   "mem": 1024 }
          |   ^^^^^
          |
          = help: write each option once"#]],
    );
}

#[test]
fn json_that_is_no_table() {
    file_says(
        "vm.json",
        b"[1, 2]",
        expect![[r#"
        error: a list does not describe a VM
         --> DIR/vm.json:1:1
          |
        1 | [1, 2]
          | ^^^^^^
          |
          = help: write {"option": value, ...}, without comments and without a comma after the last one; or TOML"#]],
    );
    file_says(
        "vm.json",
        b"null",
        expect![[r#"
        error: null does not describe a VM
         --> DIR/vm.json:1:1
          |
        1 | null
          | ^^^^
          |
          = help: write {"option": value, ...}, without comments and without a comma after the last one; or TOML"#]],
    );
}

#[test]
fn a_line_as_long_as_nix_writes_it() {
    let filler = "\"kernelParams\": [\"quiet\"], \"qemu\": {\"machine\": \"q35\"}, ".to_owned();
    let many = (0..40)
        .map(|index| format!("\"A{index}\": \"value\""))
        .collect::<Vec<_>>()
        .join(", ");
    let text =
        format!("{{{filler}\"environment\": {{{many}}}, \"vcpus\": 4, \"run\": [\"true\"]}}");
    expect![[r#"
        error: vcpus: there is no such option
         --> vm.json:1:704
          |
        1 | ...": "value", "A37": "value", "A38": "value", "A39": "value"}, "vcpus": 4, "run": ["true"]}
          |                                                                 ^^^^^^^
          |
          = help: write `vcpu`"#]].assert_eq(&said("vm.json", &text));
}

/// Depth is a parser's way to run out of stack.
#[test]
fn deep_nesting_is_a_mistake_and_no_crash() {
    for depth in [10, 100, 1_000, 100_000] {
        for (name, open, close) in [
            ("vm.json", "[", "]"),
            ("vm.json", "{\"a\":", "}"),
            ("vm.toml", "[", "]"),
            ("vm.toml", "{a=", "}"),
        ] {
            let (open, close) = (open.repeat(depth), close.repeat(depth));
            let text = match name {
                "vm.toml" => format!("a = {open}1{close}"),
                _ => format!("{{\"a\": {open}1{close}}}"),
            };
            assert!(checked(name, &text).is_err(), "{name} {depth}");
        }
    }
}

/// What would play tricks on a terminal is shown without its effect.
#[test]
fn escapes_do_not_reach_the_terminal() {
    let said = said("vm.toml", "run = [\"true\"]\n\"\\u001b[2J\" = 1\n");
    assert!(!said.contains('\u{1b}'), "{said:?}");
}

/// Every way to cut, double or garble a good file ends in a description or in mistakes.
#[test]
fn garbled_files_do_not_crash() {
    let good = include_str!("../../examples/complete.toml");
    let value: toml::Table = toml::from_str(good).expect("TOML");
    let json = serde_json::to_string(&value).expect("JSON");
    for (name, good) in [("vm.toml", good), ("vm.json", json.as_str())] {
        for at in (0..good.len()).filter(|at| good.is_char_boundary(*at)) {
            let (before, after) = good.split_at(at);
            let rest: String = after.chars().skip(1).collect();
            for text in [
                before.to_owned(),
                format!("{before}{rest}"),
                format!("{before}\"{after}"),
                format!("{before}\u{202e}é\n{after}"),
            ] {
                if let Err(mistakes) = checked(name, &text) {
                    assert!(!mistakes.to_string().is_empty());
                }
            }
        }
    }
}
