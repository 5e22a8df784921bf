// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is written for microvm.nix: other names for options we have, and options we do not use.

use super::shape::Found;
use super::tree::{Member, Node, Value};
use crate::description::unused::{Quiet, RENAMED, UNUSED};
use crate::mistakes::Mistake;

/// Gives the options which microvm.nix calls otherwise our names.
pub(super) fn rename(tree: &mut Node, found: &mut Found) {
    let Value::Table(members) = &mut tree.value else {
        return;
    };
    for (theirs, ours) in RENAMED {
        let both = members.iter().any(|member| member.name == *ours);
        let Some(index) = members.iter().position(|member| member.name == *theirs) else {
            continue;
        };
        if both {
            let span = members.remove(index).name_span;
            let what = format!("this is `{ours}`, which is there already");
            found.wrong(&span, theirs, what, "leave one of them out");
        } else {
            (*ours).clone_into(&mut members[index].name);
        }
    }
}

/// Takes the options that are not used out of the tree, and says so of those that are set to
/// something that matters.
pub(super) fn take_unused(tree: &mut Node) -> Vec<Mistake> {
    let mut warnings = Vec::new();
    for unused in UNUSED {
        if let Some(member) = take(tree, unused.option)
            && !is_quiet(unused.quiet, &member.node.value)
        {
            warnings.push(Mistake {
                span: Some(member.name_span),
                option: unused.option.to_owned(),
                what: "rofs-vm does not use this option of microvm.nix".into(),
                instead: unused.instead.into(),
            });
        }
    }
    warnings
}

fn take(node: &mut Node, option: &str) -> Option<Member> {
    let (name, deeper) = match option.split_once('.') {
        Some((name, rest)) => (name, Some(rest)),
        None => (option, None),
    };
    let Value::Table(members) = &mut node.value else {
        return None;
    };
    let index = members.iter().position(|member| member.name == name)?;
    match deeper {
        Some(rest) => take(&mut members[index].node, rest),
        None => Some(members.remove(index)),
    }
}

fn is_quiet(quiet: Quiet, value: &Value) -> bool {
    let text = match value {
        Value::Text(text) => text.as_str(),
        _ => "",
    };
    let default = match quiet {
        Quiet::All => true,
        Quiet::Empty => false,
        Quiet::Text(default) => text == default,
        Quiet::FileName(ending) => text.ends_with(ending) && !text.contains('/'),
    };
    default || value.is_empty()
}
