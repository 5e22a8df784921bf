// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The JSON schema of a description, made from its types.

use std::sync::LazyLock;

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::description::Description;
use crate::description::unused::{RENAMED, UNUSED};

/// The schema, for editors and other tools. Options of microvm.nix which rofs-vm does not use are in
/// it too, as deprecated.
pub fn schema() -> &'static Value {
    static SCHEMA: LazyLock<Value> = LazyLock::new(generate);
    &SCHEMA
}

fn generate() -> Value {
    // Enumerations and tables are spelt out where they are used: more to print, less to follow.
    let generator = SchemaSettings::draft2020_12()
        .with(|settings| settings.inline_subschemas = true)
        .into_generator();
    let mut schema = generator.into_root_schema_for::<Description>().to_value();
    for unused in UNUSED {
        let mut table = &mut schema;
        let mut names = unused.option.split('.').peekable();
        while let Some(name) = names.next() {
            let properties = &mut table["properties"];
            if names.peek().is_none() {
                properties[name] = json!({ "description": format!("not used: {}", unused.instead), "deprecated": true });
                break;
            }
            table = &mut properties[name];
        }
    }
    for (theirs, ours) in RENAMED {
        let mut same = schema["properties"][ours].clone();
        same["description"] = json!(format!("microvm.nix's name for `{ours}`."));
        schema["properties"][theirs] = same;
    }
    schema
}

/// The properties of a table in the schema.
pub(crate) fn properties(table: &Value) -> impl Iterator<Item = (&String, &Value)> {
    table
        .get("properties")
        .and_then(Value::as_object)
        .into_iter()
        .flat_map(Map::iter)
}
