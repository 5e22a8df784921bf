// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What to write instead of what does not fit the schema.

use serde_json::Value as Schema;

use super::kind::Kind;
use super::tree::Value;
use crate::schema::properties;

/// What a person may have meant by the name of an option that is none.
pub(super) fn nearest<'s>(table: &'s Schema, name: &str) -> Option<&'s str> {
    let used = properties(table).filter(|(_, schema)| schema["deprecated"] != true);
    alike(name, used.map(|(name, _)| name.as_str()))
}

/// One of several strings.
pub(super) fn one_of(text: &str, values: &[&str]) -> String {
    let quoted: Vec<String> = values.iter().map(|value| format!("{value:?}")).collect();
    let all = quoted.join(", ");
    match alike(text, values.iter().copied()) {
        Some(near) => format!("write {near:?}; there are {all}"),
        None => format!("write one of {all}"),
    }
}

/// What to write for a value of the wrong kind.
pub(super) fn rewrite(kind: &Kind<'_>, given: &Value) -> String {
    match (kind, given) {
        (Kind::Choice(values), _) => one_of("", values),
        (Kind::Text | Kind::Address, Value::Integer(value)) => {
            format!("write \"{value}\", in quotes")
        }
        (Kind::Integer { .. }, Value::Text(text)) if text.parse::<i128>().is_ok() => {
            format!("write {text}, without quotes")
        }
        (Kind::Bool, Value::Text(text)) if text == "true" || text == "false" => {
            format!("write {text}, without quotes")
        }
        (Kind::List(_), Value::Text(text)) => format!("write [{text:?}]"),
        (Kind::List(_), Value::Table(_)) => {
            "write [[double brackets]] around its name in TOML, [{...}] in JSON".into()
        }
        (Kind::Table(table), _) => {
            let mut names = properties(table).map(|(name, _)| name);
            let example = if properties(table).any(|(name, _)| name == "enable") {
                "enable = true".to_owned()
            } else {
                format!("{} = ...", names.next().map_or("...", String::as_str))
            };
            format!("write a table, as {{ {example} }} in TOML")
        }
        (kind, _) => format!("write {}", kind.name()),
    }
}

/// The one of `names` that is most like `text`, if any is.
fn alike<'n>(text: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let plain = |name: &str| name.to_lowercase().replace(['_', '-'], "");
    let wanted = plain(text);
    let likeness = |name: &str| {
        let name = plain(name);
        // All of the shorter in the longer is as good as a few letters mixed up.
        let part = name.starts_with(&wanted) || wanted.starts_with(&name);
        let part = part && name.len().min(wanted.len()) > 2;
        strsim::jaro_winkler(&name, &wanted).max(if part { 0.85 } else { 0.0 })
    };
    let rated = names.map(|name| (likeness(name), name));
    let (best, name) = rated.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (best > 0.8).then_some(name)
}
