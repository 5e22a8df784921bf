// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What is wrong with a description: where, what, and what to write instead.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use annotate_snippets::{AnnotationKind, Level, Origin, Renderer, Snippet};

/// The text of a file, for showing what is meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// The file.
    pub path: PathBuf,
    /// What is in it.
    pub text: String,
}

impl Source {
    /// Line and column, both from 1, of a byte; the column counts characters.
    pub fn place(&self, byte: usize) -> (usize, usize) {
        let before = &self.text[..self.text.floor_char_boundary(byte)];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (
            before.matches('\n').count() + 1,
            before[line_start..].chars().count() + 1,
        )
    }

    /// The line in which `span` begins, and where in it `span` is, up to its end.
    fn line(&self, span: &Range<usize>) -> (&str, Range<usize>) {
        let start = self.text.floor_char_boundary(span.start);
        let end = self.text.ceil_char_boundary(span.end.max(start));
        let line_start = self.text[..start]
            .rfind('\n')
            .map_or(0, |newline| newline + 1);
        let line = self.text[line_start..]
            .split(['\n', '\r'])
            .next()
            .unwrap_or_default();
        let limit = line.len();
        (
            line,
            (start - line_start).min(limit)..(end - line_start).min(limit),
        )
    }
}

/// Something wrong in a description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where in the file it is, in bytes; `None` for what has no place in a file.
    pub span: Option<Range<usize>>,
    /// The option, as in `shares[1].tag`; empty for the file as a whole.
    pub option: String,
    /// What is wrong.
    pub what: String,
    /// What to write instead, or what to do about it.
    pub instead: String,
}

/// All that is wrong in a description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistakes {
    /// Where they were found.
    pub source: Source,
    /// One at least, in the order of the file.
    pub list: Vec<Mistake>,
}

impl std::error::Error for Mistakes {}

impl fmt::Display for Mistakes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.render(&Renderer::plain()))
    }
}

impl Mistakes {
    /// One mistake that concerns a file as a whole.
    pub fn of_file(path: &Path, what: impl Into<String>, instead: impl Into<String>) -> Self {
        Self {
            source: Source {
                path: path.to_owned(),
                text: String::new(),
            },
            list: vec![Mistake {
                span: None,
                option: String::new(),
                what: what.into(),
                instead: instead.into(),
            }],
        }
    }

    /// For a terminal, with colours.
    pub fn styled(&self) -> String {
        self.render(&Renderer::styled())
    }

    fn render(&self, renderer: &Renderer) -> String {
        render(renderer, Level::ERROR, &self.source, &self.list)
    }
}

/// Warnings, in the same form as mistakes: what is odd, and what to write instead.
pub fn render_warnings(source: &Source, warnings: &[Mistake], styled: bool) -> String {
    let renderer = if styled {
        Renderer::styled()
    } else {
        Renderer::plain()
    };
    render(&renderer, Level::WARNING, source, warnings)
}

fn render(renderer: &Renderer, level: Level<'static>, source: &Source, list: &[Mistake]) -> String {
    let one = |mistake: &Mistake| {
        let path = source.path.display().to_string();
        let title = match mistake.option.as_str() {
            "" => mistake.what.clone(),
            option => format!("{option}: {}", mistake.what),
        };
        let group = level.clone().primary_title(printable(&title));
        let group = match &mistake.span {
            Some(span) => {
                let (line, mark) = source.line(span);
                let (number, _) = source.place(span.start);
                let shown = Snippet::source(printable(line))
                    .path(path)
                    .line_start(number);
                group.element(shown.annotation(AnnotationKind::Primary.span(mark)))
            }
            None => group.element(Origin::path(path)),
        };
        let group = match mistake.instead.as_str() {
            "" => group,
            instead => group.element(Level::HELP.message(printable(instead))),
        };
        renderer.render(&[group])
    };
    list.iter().map(one).collect::<Vec<_>>().join("\n\n")
}

/// `text` without what could play tricks on a terminal; of the same length in bytes, so that spans
/// still fit.
fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|char| {
            let (replace, times) = if char.is_control() && char != '\n' {
                (true, char.len_utf8())
            } else {
                (false, 1)
            };
            std::iter::repeat_n(if replace { ' ' } else { char }, times)
        })
        .collect()
}
