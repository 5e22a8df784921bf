// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `OPTIONS.md` is what the schema says. `UPDATE_EXPECT=1 cargo test -p rofs-launcher --test
//! reference` writes it anew.
#![allow(clippy::expect_used)] // a test fails by it

use std::fmt::Write;

use expect_test::expect_file;
use launcher::schema::schema;
use serde_json::Value;

const TITLE: &str = "# Options of a VM

<!-- Made from the types in src/description; do not edit. -->

As in microvm.nix, if nothing else is said. Options with a dot are in a table: `graphics.enable` is
`enable` in `[graphics]`. Those with `[]` are in each element of a list: `shares[].tag` is `tag` in
`[[shares]]`. Sizes are in MiB. Paths that are not absolute are as seen from the folder of the file;
except images of volumes, which are in the VM's state directory, and sockets, which are in its
runtime directory.

| option | kind | default | meaning |
| --- | --- | --- | --- |
";

#[test]
fn the_reference_is_what_the_schema_says() {
    let mut text = TITLE.to_owned();
    rows(schema(), "", &mut text);
    text.push_str("\nRead, but without effect; a warning says so where one is set to something that matters:\n\n");
    let mut unused = Vec::new();
    collect_unused(schema(), "", &mut unused);
    for (option, meaning) in unused {
        writeln!(text, "- `{option}`: {meaning}").expect("text");
    }
    expect_file!["../OPTIONS.md"].assert_eq(&text);
}

/// The name, schema and meaning of each option in a table.
fn options(table: &Value) -> impl Iterator<Item = (&String, &Value, &str)> {
    let properties = table["properties"].as_object().expect("a table").iter();
    properties.map(|(name, schema)| {
        (
            name,
            schema,
            schema["description"].as_str().expect("a meaning"),
        )
    })
}

fn rows(table: &Value, parent: &str, text: &mut String) {
    for (name, schema, meaning) in options(table) {
        let option = format!("{parent}{name}");
        if schema["deprecated"] == true {
            continue;
        }
        let items = &schema["items"];
        let (nested, parent) = match (schema.get("properties"), items.get("properties")) {
            (Some(_), _) => (Some(schema), format!("{option}.")),
            (None, Some(_)) => (Some(items), format!("{option}[].")),
            (None, None) => (None, String::new()),
        };
        match nested {
            Some(nested) => {
                writeln!(text, "| **`{option}`** | | | {meaning} |").expect("text");
                rows(nested, &parent, text);
            }
            None => {
                let required = table["required"]
                    .as_array()
                    .is_some_and(|names| names.contains(&Value::from(name.as_str())));
                let default = match schema.get("default") {
                    _ if required => "required".to_owned(),
                    None | Some(Value::Null) => String::new(),
                    Some(Value::Array(list)) if list.is_empty() => String::new(),
                    Some(Value::Object(map)) if map.is_empty() => String::new(),
                    Some(value) => code(&value.to_string()),
                };
                writeln!(
                    text,
                    "| `{option}` | {} | {default} | {meaning} |",
                    kind(schema)
                )
                .expect("text");
            }
        }
    }
}

fn kind(schema: &Value) -> String {
    let alternatives = schema
        .get("anyOf")
        .or(schema.get("oneOf"))
        .and_then(Value::as_array);
    if let Some(list) = alternatives {
        let kinds = list
            .iter()
            .filter(|schema| schema["type"] != "null")
            .map(kind);
        return kinds.collect::<Vec<_>>().join(", ");
    }
    if let Some(value) = schema.get("const") {
        return code(&value.to_string());
    }
    let name = match &schema["type"] {
        Value::Array(names) => names[0].as_str(),
        name => name.as_str(),
    };
    match name.expect("a type") {
        "boolean" => "true or false".into(),
        "integer" => "number".into(),
        "array" => format!("list: {}", kind(&schema["items"])),
        "object" => format!("table: {}", kind(&schema["additionalProperties"])),
        name => name.into(),
    }
}

fn code(text: &str) -> String {
    if text.contains('`') {
        format!("`` {text} ``")
    } else {
        format!("`{text}`")
    }
}

fn collect_unused<'s>(table: &'s Value, parent: &str, unused: &mut Vec<(String, &'s str)>) {
    for (name, schema, meaning) in options(table) {
        if schema["deprecated"] == true {
            unused.push((format!("{parent}{name}"), meaning));
        } else if schema.get("properties").is_some() {
            collect_unused(schema, &format!("{parent}{name}."), unused);
        }
    }
}
