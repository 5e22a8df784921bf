// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Whether a file has the shape which the schema describes: names, types, ranges.
//!
//! Everything that is wrong is collected. What is wrong is also taken out of the tree, so that the
//! rest can be read and looked at further.

use std::net::IpAddr;
use std::ops::Range;

use serde_json::Value as Schema;

use super::advice::{nearest, one_of, rewrite};
use super::kind::{self, Kind};
use super::tree::{Member, Node, Value, is_within, join};
use crate::mistakes::Mistake;

/// What was found so far.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// What is wrong.
    pub(super) mistakes: Vec<Mistake>,
    /// The options that were probably meant by names which are none.
    pub(super) meant: Vec<String>,
}

impl Found {
    pub(super) fn wrong(
        &mut self,
        span: &Range<usize>,
        option: &str,
        what: impl Into<String>,
        instead: impl Into<String>,
    ) {
        self.mistakes.push(Mistake {
            span: Some(span.clone()),
            option: option.to_owned(),
            what: what.into(),
            instead: instead.into(),
        });
    }
}

/// Takes out of `node` what does not fit `schema`, and says so. Returns whether what is left of the
/// node can be used.
pub(super) fn fit(schema: &Schema, node: &mut Node, option: &str, found: &mut Found) -> bool {
    let Some((kind, nullable)) = kind::of(schema) else {
        return true;
    };
    if matches!(node.value, Value::Null) && nullable {
        return true;
    }
    let (what, instead) = match (&kind, &mut node.value) {
        (Kind::Table(table), Value::Table(members)) => {
            members.retain_mut(|member| fit_member(table, member, option, found));
            return has_required(table, node, option, found);
        }
        (Kind::Map(values), Value::Table(members)) => {
            members.retain_mut(|member| {
                let option = join(option, &member.name);
                fit(values, &mut member.node, &option, found)
            });
            return true;
        }
        (Kind::List(items), Value::List(list)) => {
            list.retain_mut(|element| {
                let option = format!("{option}[{}]", element.index);
                fit(items, &mut element.node, &option, found)
            });
            return true;
        }
        (Kind::Integer { min, .. }, Value::Integer(value)) if *value < *min => {
            let what = format!("{value} is too small");
            (what, format!("write {min} or more"))
        }
        (Kind::Integer { max, .. }, Value::Integer(value)) if *value > *max => {
            let what = format!("{value} is too large");
            (what, format!("write {max} or less"))
        }
        (Kind::Address, Value::Text(text)) if text.parse::<IpAddr>().is_err() => (
            format!("{text:?} is not an IP address"),
            "write one, as \"192.0.2.1\" or \"2001:db8::1\"".into(),
        ),
        (Kind::Choice(values), Value::Text(text)) if !values.contains(&text.as_str()) => {
            (format!("there is no {text:?}"), one_of(text, values))
        }
        (Kind::Text, Value::Text(text)) if text.contains('\0') => (
            "there is a NUL character in it".into(),
            "leave it out".into(),
        ),
        (kind, value) if kind.is(value) => return true,
        (kind, value) => (
            format!("{} where {} belongs", value.kind(), kind.name()),
            rewrite(kind, value),
        ),
    };
    found.wrong(&node.span, option, what, instead);
    false
}

fn fit_member(table: &Schema, member: &mut Member, parent: &str, found: &mut Found) -> bool {
    let option = join(parent, &member.name);
    match table["properties"].get(&member.name) {
        // Null is how Nix says that something is not given.
        Some(known) if matches!(member.node.value, Value::Null) => {
            kind::of(known).is_some_and(|(_, nullable)| nullable)
        }
        Some(known) => fit(known, &mut member.node, &option, found),
        None => {
            let instead = match nearest(table, &member.name) {
                _ if option == "microvm" => {
                    "write the options in it without `microvm.` before them".into()
                }
                Some(near) => {
                    found.meant.push(join(parent, near));
                    format!("write `{near}`")
                }
                None => "leave it out; `rofs-vm schema` prints all options".into(),
            };
            let what = "there is no such option";
            found.wrong(&member.name_span, &option, what, instead);
            false
        }
    }
}

fn has_required(table: &Schema, node: &Node, parent: &str, found: &mut Found) -> bool {
    let Value::Table(members) = &node.value else {
        return true;
    };
    let names = table["required"].as_array().into_iter().flatten();
    let missing: Vec<&str> = names
        .filter_map(Schema::as_str)
        .filter(|name| !members.iter().any(|member| member.name == *name))
        .collect();
    for name in &missing {
        let option = join(parent, name);
        // It may be there, but wrong: that has been said.
        let wrong = |mistake: &Mistake| is_within(&mistake.option, &option);
        if !found.mistakes.iter().any(wrong) && !found.meant.contains(&option) {
            let kind = kind::of(&table["properties"][*name]);
            let kind = kind.map_or_else(String::new, |(kind, _)| kind.name());
            let instead = format!("write `{name} = ...`: {kind}");
            found.wrong(&node.span, &option, "it is missing", instead);
        }
    }
    missing.is_empty()
}
