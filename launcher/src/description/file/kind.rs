// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a place in the schema wants. Knows as much of JSON schema as our types need.

use serde_json::Value as Schema;

use super::tree::Value;

/// What a value must be.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind<'s> {
    /// Anything: it is not used.
    Anything,
    Bool,
    Integer {
        min: i128,
        max: i128,
    },
    Text,
    /// An IP address.
    Address,
    /// One of these strings.
    Choice(Vec<&'s str>),
    /// Each of its elements as the schema says.
    List(&'s Schema),
    /// A table with these options.
    Table(&'s Schema),
    /// A table with names of the user's choice, and values as the schema says.
    Map(&'s Schema),
    /// One of several.
    Either(Vec<Kind<'s>>),
}

/// What `schema` wants, and whether null will do as well; `None` for a schema we know nothing of.
pub(crate) fn of(schema: &Schema) -> Option<(Kind<'_>, bool)> {
    if schema["deprecated"] == true {
        return Some((Kind::Anything, true));
    }
    if let Some(list) = schema
        .get("anyOf")
        .or(schema.get("oneOf"))
        .and_then(Schema::as_array)
    {
        let nullable = list.iter().any(|schema| schema["type"] == "null");
        let values: Option<Vec<&str>> =
            list.iter().map(|schema| schema["const"].as_str()).collect();
        if let Some(values) = values {
            return Some((Kind::Choice(values), false));
        }
        let kinds = list
            .iter()
            .filter(|schema| schema["type"] != "null")
            .map(|schema| Some(of(schema)?.0));
        let mut kinds: Vec<Kind<'_>> = kinds.collect::<Option<_>>()?;
        let kind = if kinds.len() == 1 {
            kinds.remove(0)
        } else {
            Kind::Either(kinds)
        };
        return Some((kind, nullable));
    }
    let (name, nullable) = match &schema["type"] {
        Schema::String(name) => (name.as_str(), false),
        Schema::Array(names) => (
            names.first()?.as_str()?,
            names.iter().any(|name| name == "null"),
        ),
        _ => return None,
    };
    let kind = match name {
        "boolean" => Kind::Bool,
        "integer" => {
            let largest = match schema["format"].as_str()? {
                "uint16" => u16::MAX.into(),
                "uint32" => u32::MAX.into(),
                _ => return None,
            };
            let limit = |name: &str| schema[name].as_i64().map(i128::from);
            Kind::Integer {
                min: limit("minimum")?,
                max: limit("maximum").unwrap_or(largest),
            }
        }
        "string" => match schema["format"].as_str() {
            Some("ip") => Kind::Address,
            Some(_) => return None,
            None => Kind::Text,
        },
        "array" => Kind::List(schema.get("items")?),
        "object" => match schema.get("additionalProperties") {
            Some(Schema::Bool(false)) => Kind::Table(schema),
            Some(values) => Kind::Map(values),
            None => return None,
        },
        _ => return None,
    };
    Some((kind, nullable))
}

impl Kind<'_> {
    /// Whether `value` is of this kind, as far as one sees without looking into it.
    pub(crate) fn is(&self, value: &Value) -> bool {
        match self {
            Self::Anything => true,
            Self::Bool => matches!(value, Value::Bool(_)),
            Self::Integer { .. } => matches!(value, Value::Integer(_)),
            Self::Text | Self::Address | Self::Choice(_) => matches!(value, Value::Text(_)),
            Self::List(_) => matches!(value, Value::List(_)),
            Self::Table(_) | Self::Map(_) => matches!(value, Value::Table(_)),
            Self::Either(kinds) => kinds.iter().any(|kind| kind.is(value)),
        }
    }

    /// Its name, with an article.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Anything => "anything".into(),
            Self::Bool => "true or false".into(),
            Self::Integer { .. } => "a number".into(),
            Self::Text => "a string".into(),
            Self::Address => "an IP address".into(),
            Self::Choice(values) => values
                .iter()
                .map(|value| format!("{value:?}"))
                .collect::<Vec<_>>()
                .join(", "),
            Self::List(items) => match of(items) {
                Some((Kind::Table(_), _)) => "a list of tables".into(),
                Some((Kind::Address, _)) => "a list of IP addresses".into(),
                _ => "a list of strings".into(),
            },
            Self::Table(_) => "a table".into(),
            Self::Map(_) => "a table of strings".into(),
            Self::Either(kinds) => kinds
                .iter()
                .map(Kind::name)
                .collect::<Vec<_>>()
                .join(" or "),
        }
    }
}
