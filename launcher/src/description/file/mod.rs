// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The file of a description: TOML or JSON.
//!
//! A file is read into a tree of values with their places ([`tree`]), compared with the schema
//! ([`shape`]) and only then made a [`Description`], so that everything that is wrong can be said at
//! once, and where.

mod advice;
mod input;
mod json;
mod kind;
mod shape;
mod theirs;
mod toml;
mod tree;

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use self::input::STDIN;
use self::shape::Found;
use self::tree::{Node, is_within};
use super::Description;
use crate::mistakes::{Mistake, Mistakes, Source};
use crate::schema::schema;

/// A description and where it is written.
#[derive(Clone, Debug)]
pub struct Document {
    /// What is described, without what is wrong.
    pub description: Description,
    /// The file.
    pub source: Source,
    /// Options that have no effect.
    pub warnings: Vec<Mistake>,
    /// What is wrong in the file's form.
    pub mistakes: Vec<Mistake>,
    meant: Vec<String>,
    tree: Node,
}

impl Document {
    /// Reads a file; `-` is the standard input.
    ///
    /// # Errors
    /// Only if there is nothing to read, or if it is neither TOML nor JSON: other mistakes are in
    /// the document.
    pub fn open(path: &Path) -> Result<Self, Mistakes> {
        let Source { path, text } = input::read(path)?;
        Self::parse(path, text)
    }

    /// Reads text. Whether it is JSON or TOML, the ending of its path says, or else its first
    /// character.
    ///
    /// # Errors
    /// If it is neither.
    pub fn parse(path: PathBuf, text: String) -> Result<Self, Mistakes> {
        let json = match path.extension().and_then(|ending| ending.to_str()) {
            Some("json") => true,
            Some("toml") => false,
            _ => text.trim_start().starts_with('{'),
        };
        let (mut tree, list) = if json {
            json::parse(&text)
        } else {
            toml::parse(&text)
        };
        let source = Source { path, text };
        if !list.is_empty() {
            return Err(Mistakes { source, list });
        }
        let mut found = Found::default();
        theirs::rename(&mut tree, &mut found);
        let warnings = theirs::take_unused(&mut tree);
        shape::fit(schema(), &mut tree, "", &mut found);
        let read = serde_json::from_value(tree.value.to_json());
        let mut description: Description = read.unwrap_or_else(|error| {
            // Only where the schema promises what the types do not keep.
            found.wrong(&(0..0), "", error.to_string(), "see `rofs-vm schema`");
            Description::default()
        });
        if let Ok(folder) = folder_of(&source.path) {
            description.anchor(&folder);
        }
        let Found { mistakes, meant } = found;
        Ok(Self {
            description,
            source,
            warnings,
            mistakes,
            meant,
            tree,
        })
    }

    /// Where an option of the description is in the file, and its name there; for one that is not
    /// given, the place of what is nearest around it.
    pub fn locate(&self, option: &str) -> (Range<usize>, String) {
        tree::locate(&self.tree, option)
    }

    /// Whether something is wrong with an option, or in it, or around it: it is then not in the
    /// description, at least not as it was meant.
    pub fn is_broken(&self, option: &str) -> bool {
        let (_, option) = self.locate(option);
        let wrong = self.mistakes.iter().map(|mistake| &mistake.option);
        wrong
            .chain(&self.meant)
            .any(|wrong| is_within(wrong, &option) || is_within(&option, wrong))
    }

    /// The name for a VM whose file names none: the file's, or `vm` if it has none of its own.
    pub fn name_from_path(&self) -> &str {
        let path = &self.source.path;
        let elsewhere = [STDIN, "/dev", "/proc"];
        let is_file = !elsewhere.iter().any(|place| path.starts_with(place));
        let stem = path.file_stem().and_then(|name| name.to_str());
        stem.filter(|_| is_file).unwrap_or("vm")
    }
}

/// The folder of a file, as an absolute path; of what is no file, the one we are in.
fn folder_of(path: &Path) -> io::Result<PathBuf> {
    match path.parent() {
        Some(folder) if path != Path::new(STDIN) && folder != Path::new("") => {
            std::path::absolute(folder)
        }
        _ => std::env::current_dir(),
    }
}
