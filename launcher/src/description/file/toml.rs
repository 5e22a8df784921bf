// SPDX-License-Identifier: Apache-2.0 OR MIT
//! TOML.

use std::borrow::Cow;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::input::of_text;
use super::tree::{self, Member, Node, Value};
use crate::mistakes::Mistake;

const WELL: &str =
    "write `option = value`, with text in \"quotes\", lists in [brackets], and each option once";

/// What is written in `text`, as far as it is TOML, and where it is not.
pub(super) fn parse(text: &str) -> (Node, Vec<Mistake>) {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mistake = |error: toml::de::Error| {
        let what = error.message().lines().collect::<Vec<_>>().join("; ");
        let span = error.span().unwrap_or_default();
        of_text(span, format!("this is not TOML: {what}"), WELL)
    };
    let span = table.span();
    let value = members(table.into_inner());
    let mistakes = errors.into_iter().map(mistake).collect();
    (Node { span, value }, mistakes)
}

fn members(table: DeTable<'_>) -> Value {
    let member = |(name, value): (Spanned<Cow<'_, str>>, _)| Member {
        name_span: name.span(),
        name: name.into_inner().into_owned(),
        node: node(value),
    };
    Value::Table(table.into_iter().map(member).collect())
}

fn node(value: Spanned<DeValue<'_>>) -> Node {
    let span = value.span();
    let value = match value.into_inner() {
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Integer(integer) => {
            match i128::from_str_radix(integer.as_str(), integer.radix()) {
                Ok(value) => Value::Integer(value),
                Err(_) => Value::Float(f64::INFINITY),
            }
        }
        DeValue::Float(float) => Value::Float(float.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(value) => Value::Bool(value),
        DeValue::Datetime(date) => Value::Date(date.to_string()),
        DeValue::Array(values) => tree::list(values.into_iter().map(node)),
        DeValue::Table(table) => members(table),
    };
    Node { span, value }
}
