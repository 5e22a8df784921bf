// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A file as a tree of values, each with its place; the same for TOML and JSON.

use std::ops::Range;

/// A value and where it is in the file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) span: Range<usize>,
    pub(crate) value: Value,
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Integer(i128),
    /// A number with a fraction or an exponent, or one that is too large.
    Float(f64),
    Text(String),
    /// A date, which only TOML knows.
    Date(String),
    List(Vec<Element>),
    Table(Vec<Member>),
}

/// An element of a list.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Element {
    /// Its place in the file's list, which is another one here where elements were taken out.
    pub(crate) index: usize,
    pub(crate) node: Node,
}

/// A name in a table, and its value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) name_span: Range<usize>,
    pub(crate) node: Node,
}

impl Value {
    /// What kind of value it is, with an article.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "true or false",
            Self::Integer(_) => "a number",
            Self::Float(_) => "a number that is not whole",
            Self::Text(_) => "a string",
            Self::Date(_) => "a date",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }

    /// Whether it says nothing: null, false, 0, or empty, also all the way down.
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Bool(value) => !value,
            Self::Integer(value) => *value == 0,
            Self::Float(value) => *value == 0.0,
            Self::Text(text) | Self::Date(text) => text.is_empty(),
            Self::List(list) => list.is_empty(),
            Self::Table(members) => members.iter().all(|member| member.node.value.is_empty()),
        }
    }

    /// The same without places. What JSON has no word for becomes null.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        use serde_json::Value as Json;
        match self {
            Self::Null => Json::Null,
            Self::Bool(value) => Json::Bool(*value),
            Self::Integer(value) => {
                serde_json::Number::from_i128(*value).map_or(Json::Null, Json::Number)
            }
            Self::Float(value) => {
                serde_json::Number::from_f64(*value).map_or(Json::Null, Json::Number)
            }
            Self::Text(text) | Self::Date(text) => Json::String(text.clone()),
            Self::List(list) => list
                .iter()
                .map(|element| element.node.value.to_json())
                .collect(),
            Self::Table(members) => members
                .iter()
                .map(|member| (member.name.clone(), member.node.value.to_json()))
                .collect(),
        }
    }
}

/// A list of these.
pub(crate) fn list(nodes: impl Iterator<Item = Node>) -> Value {
    Value::List(
        nodes
            .enumerate()
            .map(|(index, node)| Element { index, node })
            .collect(),
    )
}

/// The name of an option below `parent`.
pub(crate) fn join(parent: &str, name: &str) -> String {
    let bare = !name.is_empty()
        && name
            .chars()
            .all(|char| char.is_ascii_alphanumeric() || "-_".contains(char));
    let name = if bare {
        name.to_owned()
    } else {
        format!("{name:?}")
    };
    if parent.is_empty() {
        name
    } else {
        format!("{parent}.{name}")
    }
}

/// Where in the file an option is, and its name there; for one that is not given, the place of what
/// is nearest around it. The two names differ where elements of a list were taken out.
pub(crate) fn locate(root: &Node, option: &str) -> (Range<usize>, String) {
    let mut node = root;
    let (mut path, mut name) = (String::new(), String::new());
    let mut span = 0..0;
    'deeper: while path != option {
        match &node.value {
            Value::Table(members) => {
                for member in members {
                    let below = join(&path, &member.name);
                    if is_within(option, &below) {
                        (path, name) = (below, join(&name, &member.name));
                        (node, span) = (&member.node, member.node.span.clone());
                        continue 'deeper;
                    }
                }
            }
            Value::List(list) => {
                for (index, element) in list.iter().enumerate() {
                    let below = format!("{path}[{index}]");
                    if is_within(option, &below) {
                        (path, name) = (below, format!("{name}[{}]", element.index));
                        (node, span) = (&element.node, element.node.span.clone());
                        continue 'deeper;
                    }
                }
            }
            _ => {}
        }
        break;
    }
    name.push_str(option.strip_prefix(path.as_str()).unwrap_or_default());
    (span, name.trim_start_matches('.').to_owned())
}

/// Whether `option` is `parent` or something in it.
pub(crate) fn is_within(option: &str, parent: &str) -> bool {
    let rest = option.strip_prefix(parent);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.') || rest.starts_with('['))
}
