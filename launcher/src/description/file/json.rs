// SPDX-License-Identifier: Apache-2.0 OR MIT
//! JSON.

use std::collections::HashSet;
use std::ops::Range;

use jsonc_parser::ast;
use jsonc_parser::common::Ranged;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};

use super::input::of_text;
use super::tree::{self, Member, Node, Value};
use crate::mistakes::Mistake;

/// JSON as the standard has it.
const STRICT: ParseOptions = ParseOptions {
    allow_comments: false,
    allow_loose_object_property_names: false,
    allow_trailing_commas: false,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
    allow_bare_decimal_point_numbers: false,
    allow_non_finite_numbers: false,
    allow_extended_string_escapes: false,
};

const WELL: &str = "write {\"option\": value, ...}, without comments and without a comma after the last one; or TOML";

/// What is written in `text`, or where it stops being JSON.
pub(super) fn parse(text: &str) -> (Node, Vec<Mistake>) {
    let nothing = Node {
        span: 0..text.len(),
        value: Value::Table(Vec::new()),
    };
    let mut mistakes = Vec::new();
    let tree = match parse_to_ast(text, &CollectOptions::default(), &STRICT) {
        Ok(parsed) => parsed.value.map(|value| node(value, &mut mistakes)),
        Err(error) => {
            let what = error.kind().to_string().to_lowercase();
            let what = format!("this is not JSON: {what}");
            return (nothing, vec![of_text(span(&error.range()), what, WELL)]);
        }
    };
    match tree {
        Some(tree) if matches!(tree.value, Value::Table(_)) => (tree, mistakes),
        Some(tree) => {
            let what = format!("{} does not describe a VM", tree.value.kind());
            (nothing, vec![of_text(tree.span, what, WELL)])
        }
        None => {
            let what = "there is nothing in this file";
            (nothing, vec![of_text(0..0, what, WELL)])
        }
    }
}

/// A value; what is written twice in it goes to `mistakes`.
fn node(value: ast::Value<'_>, mistakes: &mut Vec<Mistake>) -> Node {
    let span = span(&value.range());
    let value = match value {
        ast::Value::NullKeyword(_) => Value::Null,
        ast::Value::BooleanLit(literal) => Value::Bool(literal.value),
        ast::Value::StringLit(literal) => Value::Text(literal.value.into_owned()),
        ast::Value::NumberLit(literal) => match literal.value.parse() {
            Ok(value) => Value::Integer(value),
            Err(_) => Value::Float(literal.value.parse().unwrap_or(f64::NAN)),
        },
        ast::Value::Array(array) => tree::list(
            array
                .elements
                .into_iter()
                .map(|value| node(value, mistakes)),
        ),
        ast::Value::Object(object) => members(object, mistakes),
    };
    Node { span, value }
}

fn members(object: ast::Object<'_>, mistakes: &mut Vec<Mistake>) -> Value {
    let mut names = HashSet::new();
    let mut members = Vec::new();
    for property in object.properties {
        let name_span = span(&property.name.range());
        let name = property.name.into_string();
        if names.insert(name.clone()) {
            let node = node(property.value, mistakes);
            members.push(Member {
                name,
                name_span,
                node,
            });
        } else {
            let what = format!("{name:?} is written a second time");
            mistakes.push(of_text(name_span, what, "write each option once"));
        }
    }
    Value::Table(members)
}

fn span(range: &jsonc_parser::common::Range) -> Range<usize> {
    range.start..range.end
}
