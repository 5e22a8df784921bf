// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Words of a command, as a shell reads them.

/// Quotes a word so that a shell (and GLib's parser of commands) reads it as it is.
pub fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-+=./:,@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_shell_reads_back_what_was_quoted() {
        for word in [
            "",
            "plain,key=a/b:c",
            "two words",
            "it's",
            "$HOME `id` \\ \"x\" ~ * # ;",
            "new\nline",
            "é",
        ] {
            let script = format!("printf %s {}", quote(word));
            let output = Command::new("sh").args(["-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), word);
        }
    }
}
