// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Where checks put what they find.

use crate::description::Document;
use crate::mistakes::Mistake;
use crate::refusal::Refusal;

/// What was found so far.
#[derive(Debug)]
pub(super) struct Findings<'d> {
    document: &'d Document,
    mistakes: Vec<Mistake>,
    warnings: Vec<Mistake>,
}

impl<'d> Findings<'d> {
    /// Begins with what is known from reading the file.
    pub(super) fn new(document: &'d Document) -> Self {
        Self {
            document,
            mistakes: document.mistakes.clone(),
            warnings: document.warnings.clone(),
        }
    }

    /// Whether an option was given wrongly, so that the description does not have it.
    pub(super) fn is_broken(&self, option: &str) -> bool {
        self.document.is_broken(option)
    }

    /// Something is wrong with an option. Not said of options about which something was said already.
    pub(super) fn wrong(
        &mut self,
        option: &str,
        what: impl Into<String>,
        instead: impl Into<String>,
    ) {
        let mistake = self.place(option, what.into(), instead.into());
        if !self.is_broken(option)
            && !self
                .mistakes
                .iter()
                .any(|known| known.option == mistake.option)
        {
            self.mistakes.push(mistake);
        }
    }

    /// Something is odd about an option.
    pub(super) fn odd(
        &mut self,
        option: &str,
        what: impl Into<String>,
        instead: impl Into<String>,
    ) {
        let warning = self.place(option, what.into(), instead.into());
        self.warnings.push(warning);
    }

    /// Somebody else found something wrong.
    pub(super) fn refused(&mut self, refusals: Vec<Refusal>) {
        for refusal in refusals {
            let instead = if begins_with_option(&refusal.instead) {
                format!("write {}", refusal.instead)
            } else {
                refusal.instead
            };
            self.wrong(&refusal.option, refusal.what, instead);
        }
    }

    /// Mistakes and warnings, in the order of the file.
    pub(super) fn into_lists(self) -> (Vec<Mistake>, Vec<Mistake>) {
        let sorted = |mut list: Vec<Mistake>| {
            list.sort_by_key(|mistake| mistake.span.as_ref().map(|span| span.start));
            list
        };
        (sorted(self.mistakes), sorted(self.warnings))
    }

    fn place(&self, option: &str, what: String, instead: String) -> Mistake {
        let (span, option) = self.document.locate(option);
        let span = Some(span);
        Mistake {
            span,
            option,
            what,
            instead,
        }
    }
}

/// Whether a sentence begins with an option as it is written in a file, and not with a command.
fn begins_with_option(sentence: &str) -> bool {
    let quoted = sentence.strip_prefix('`');
    let quoted = quoted.and_then(|rest| rest.split('`').next());
    quoted.is_some_and(|text| text.contains(" = "))
}

/// For each item whose key an earlier one has too: index of the item, of the earlier one, and the key.
pub(super) fn repeated<T, K: PartialEq>(
    list: &[T],
    key: impl Fn(&T) -> Option<K>,
) -> Vec<(usize, usize, K)> {
    let keys: Vec<Option<K>> = list.iter().map(key).collect();
    let mut repeated = Vec::new();
    let mut seen: Vec<(usize, K)> = Vec::new();
    for (index, key) in keys.into_iter().enumerate() {
        let Some(key) = key else { continue };
        match seen.iter().find(|(_, known)| *known == key) {
            Some((first, _)) => repeated.push((index, *first, key)),
            None => seen.push((index, key)),
        }
    }
    repeated
}
