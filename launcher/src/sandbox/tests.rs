// SPDX-License-Identifier: Apache-2.0 OR MIT

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use rofs_guest::config::FileKind;

use super::store::Store;
use super::*;

/// A root with a store in which `tools` has a program of many names, and a profile outside of it.
fn root() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let bin = root.path().join("nix/store/aaa-tools/bin");
    fs::create_dir_all(&bin).unwrap();
    fs::write(bin.join("tools"), "#!").unwrap();
    fs::set_permissions(bin.join("tools"), fs::Permissions::from_mode(0o555)).unwrap();
    symlink("tools", bin.join("sh")).unwrap();
    symlink("/nix/store/gone/bin/x", bin.join("broken")).unwrap();
    let profile = root.path().join("profile");
    fs::create_dir_all(&profile).unwrap();
    symlink("/nix/store/aaa-tools/bin", profile.join("bin")).unwrap();
    symlink("/nix/store/aaa-tools/bin/sh", profile.join("sh")).unwrap();
    symlink("loop", profile.join("loop")).unwrap();
    fs::write(profile.join("script"), "#!").unwrap();
    root
}

fn inside(root: &Path, path: &str) -> Option<String> {
    let store = Store::find(Some(root)).unwrap();
    let found = store.inside(&root.join(path.trim_start_matches("ROOT/")));
    found.map(|path| path.to_str().unwrap().to_owned())
}

#[test]
fn a_program_is_found_in_the_store_under_the_name_it_is_called_by() {
    let root = root();
    let path = root.path();
    let sh = Some("/nix/store/aaa-tools/bin/sh".to_owned());
    assert_eq!(inside(path, "/nix/store/aaa-tools/bin/sh"), sh);
    assert_eq!(inside(path, "ROOT/profile/bin/sh"), sh);
    assert_eq!(inside(path, "ROOT/profile/sh"), sh);
    assert_eq!(inside(path, "ROOT/profile/bin/../bin/sh"), sh);
    for nothing in ["bin/broken", "loop", "script", "missing"] {
        assert_eq!(
            inside(path, &format!("ROOT/profile/{nothing}")),
            None,
            "{nothing}"
        );
    }
    // The store's directory can be named, too.
    let store = Store::find(Some(&path.join("nix/store"))).unwrap();
    assert_eq!(store.root, path);
    assert_eq!(
        store
            .canonical(Path::new("/nix/store/aaa-tools/bin/sh"))
            .unwrap(),
        Path::new("/nix/store/aaa-tools/bin/tools")
    );
}

#[test]
fn the_search_path_is_searched_for_what_can_be_run() {
    let root = root();
    let store = Store::find(Some(root.path())).unwrap();
    let path = format!(
        "relative:{0}/profile:{0}/profile/bin",
        root.path().display()
    );
    let find = |name: &str| store.on_path(OsStr::new(name), OsStr::new(&path));
    assert_eq!(find("script"), None);
    assert_eq!(find("tools"), Some(root.path().join("profile/bin/tools")));
}

#[test]
fn scripts_find_a_shell_where_the_store_has_one() {
    let root = root();
    let store = Store::find(Some(root.path())).unwrap();
    let command = Path::new("/nix/store/aaa-tools/bin/tools");
    let files = root::files(&store, Some(command), OsStr::new(""));
    let shell = files
        .iter()
        .find(|file| file.at == Path::new("/bin/sh"))
        .unwrap();
    match &shell.is {
        // On NixOS it is the host's own.
        FileKind::Symlink(target) => assert!(target.starts_with("/nix/store"), "{target:?}"),
        other => panic!("{other:?}"),
    }
    assert!(files.iter().any(|file| file.at == Path::new("/etc/passwd")));
}

fn sandbox(root: &Path, command: &[&str]) -> Sandbox {
    Sandbox {
        command: command.iter().map(Into::into).collect(),
        store: Some(root.to_owned()),
        all: false,
        closure: Vec::new(),
        shares: Vec::new(),
        mem: 512,
        vcpu: 1,
        net: false,
        kernel: None,
        modules: None,
        env: Vec::new(),
        cwd: None,
        timeout: None,
        terminal: None,
    }
}

#[test]
fn what_is_not_in_the_store_is_refused_with_a_remedy() {
    let root = root();
    let message = |command: &str| {
        let error = sandbox(root.path(), &[command]).plan().unwrap_err();
        assert!(error.is_input());
        error.to_string()
    };
    let script = root.path().join("profile/script");
    let script = message(script.to_str().unwrap());
    assert!(
        script.contains("profile/script is not in the Nix store"),
        "{script}"
    );
    assert!(script.contains("--share"), "{script}");
    let missing = message("/nix/store/aaa-tools/bin/missing");
    assert!(
        missing.contains("bin/missing: no such command"),
        "{missing}"
    );
    let missing = message("no-such-command-anywhere");
    assert!(
        missing.starts_with("no-such-command-anywhere: no such command"),
        "{missing}"
    );
    let mut elsewhere = sandbox(root.path(), &["/nix/store/aaa-tools/bin/sh"]);
    elsewhere.store = Some("/nowhere".into());
    assert!(
        elsewhere
            .plan()
            .unwrap_err()
            .to_string()
            .contains("/nowhere: neither a Nix store")
    );
    let mut shares = sandbox(root.path(), &["/nix/store/aaa-tools/bin/sh"]);
    shares.shares = vec![SandboxShare {
        dir: "/nowhere".into(),
        writable: false,
    }];
    assert!(
        shares
            .plan()
            .unwrap_err()
            .to_string()
            .contains("--share /nowhere: No such file")
    );
}
