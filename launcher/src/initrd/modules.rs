// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a kernel's module directory says about its modules (the files that depmod writes).

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::InitrdError;

/// The modules of one kernel.
///
/// Names are as `lsmod` prints them: `-` and `_` are one.
#[derive(Debug, Default)]
pub struct ModuleIndex {
    dir: PathBuf,
    /// Path below the directory, and the names of what must be there before.
    modules: HashMap<String, (PathBuf, Vec<String>)>,
    built_in: HashSet<String>,
    /// What to load before, if it is there.
    before: HashMap<String, Vec<String>>,
    /// Other names, those without a pattern.
    aliases: HashMap<String, Vec<String>>,
}

impl ModuleIndex {
    /// Reads `modules.dep` of `dir` (as `/lib/modules/RELEASE`), and if they are there
    /// `modules.builtin`, `modules.softdep` and `modules.alias`.
    ///
    /// # Errors
    ///
    /// [`InitrdError::ModuleDir`].
    pub fn read(dir: &Path) -> Result<ModuleIndex, InitrdError> {
        let read = |name: &str| {
            let path = dir.join(name);
            fs::read_to_string(&path).map_err(|why| InitrdError::ModuleDir { path, why })
        };
        let optional = |name: &str| match read(name) {
            Err(InitrdError::ModuleDir { why, .. }) if why.kind() == io::ErrorKind::NotFound => {
                Ok(String::new())
            }
            text => text,
        };
        let mut index = ModuleIndex {
            dir: dir.to_owned(),
            ..ModuleIndex::default()
        };
        for line in read("modules.dep")?.lines() {
            if let Some((path, needs)) = line.split_once(':') {
                let needs = needs.split_whitespace().map(name_of).collect();
                index.modules.insert(name_of(path), (path.into(), needs));
            }
        }
        index.built_in = optional("modules.builtin")?.lines().map(name_of).collect();
        for line in optional("modules.softdep")?.lines() {
            let mut words = line.split_whitespace();
            if let (Some("softdep"), Some(name)) = (words.next(), words.next()) {
                let before = words
                    .skip_while(|word| *word != "pre:")
                    .skip(1)
                    .take_while(|word| *word != "post:");
                index
                    .before
                    .entry(plain(name))
                    .or_default()
                    .extend(before.map(plain));
            }
        }
        for line in optional("modules.alias")?.lines() {
            let mut words = line.split_whitespace();
            if let (Some("alias"), Some(alias), Some(name)) =
                (words.next(), words.next(), words.next())
                && !alias.contains(['*', '?', '[', ':'])
            {
                index
                    .aliases
                    .entry(plain(alias))
                    .or_default()
                    .push(plain(name));
            }
        }
        Ok(index)
    }

    /// Whether the kernel has a module, built in or not.
    pub fn has(&self, name: &str) -> bool {
        let name = plain(name);
        self.built_in.contains(&name) || self.modules.contains_key(&name)
    }

    /// The files (below the directory) of the modules and of all they depend on, in the order in
    /// which to load them. Those built in are left out, and so are those of `wanted` that the
    /// kernel does not have.
    ///
    /// # Errors
    ///
    /// [`InitrdError::NoModule`] for one of `needed`.
    pub fn resolve(
        &self,
        needed: &[String],
        wanted: &[String],
    ) -> Result<Vec<PathBuf>, InitrdError> {
        let missing = needed.iter().find(|name| !self.has(name));
        if let Some(name) = missing {
            return Err(InitrdError::NoModule {
                name: name.clone(),
                dir: self.dir.clone(),
            });
        }
        let mut seen = HashSet::new();
        let mut files = Vec::new();
        for name in needed.iter().chain(wanted) {
            self.visit(&plain(name), &mut seen, &mut files);
        }
        Ok(files)
    }

    fn visit<'a>(&'a self, name: &str, seen: &mut HashSet<&'a str>, files: &mut Vec<PathBuf>) {
        let Some((name, (path, needs))) = self.modules.get_key_value(name) else {
            return;
        };
        if !seen.insert(name) {
            return;
        }
        // modules.dep lists the nearest first.
        for other in needs.iter().rev() {
            self.visit(other, seen, files);
        }
        for other in self.before.get(name).into_iter().flatten() {
            let others = self
                .aliases
                .get(other)
                .map_or(std::slice::from_ref(other), Vec::as_slice);
            for other in others {
                self.visit(other, seen, files);
            }
        }
        files.push(path.clone());
    }
}

/// `kernel/fs/overlayfs/overlay.ko.xz` is `overlay`.
fn name_of(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    plain(file.split_once(".ko").map_or(file, |(name, _)| name))
}

fn plain(name: &str) -> String {
    name.replace('-', "_")
}
