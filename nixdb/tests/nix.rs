// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Against Nix itself, on a store that it made.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nixdb::{Database, Error, GcRoot};

struct Store(tempfile::TempDir);

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/vm")
        .join(name)
}

fn text(command: &mut Command) -> String {
    let output = command.stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

fn sorted(text: &str) -> Vec<String> {
    let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

impl Store {
    fn new() -> Store {
        let store = Store(tempfile::tempdir().unwrap());
        text(
            Command::new(script("make-store"))
                .arg(store.dir())
                .arg("300"),
        );
        // Other users shall get in.
        fs::set_permissions(store.0.path(), fs::Permissions::from_mode(0o755)).unwrap();
        store
    }

    fn dir(&self) -> PathBuf {
        self.0.path().join("store")
    }

    fn database(&self) -> Database {
        Database::beside(&self.dir().join("nix/store"))
    }

    fn nix(&self, args: &[&str]) -> Command {
        let mut command = Command::new(script("store-op"));
        command.arg(self.dir()).arg("nix").args(args);
        command
    }

    fn path(&self, name: &str) -> String {
        text(
            Command::new(script("store-op"))
                .arg(self.dir())
                .args(["path", name]),
        )
        .trim()
        .to_owned()
    }

    /// What is beside the database, with sizes and times: that must not change by reading.
    fn beside(&self) -> Vec<(String, u64, std::time::SystemTime)> {
        let mut files: Vec<_> = fs::read_dir(self.database().file().parent().unwrap())
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let meta = entry.metadata().unwrap();
                let name = entry.file_name().into_string().unwrap();
                (name, meta.len(), meta.modified().unwrap())
            })
            .collect();
        files.sort();
        files
    }

    /// A Nix process that has the database open, so that others leave what they wrote in the log.
    fn daemon(&self) -> Daemon {
        let mut command = self.nix(&["nix-store", "--serve"]);
        // All of it is ended at once.
        command
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null());
        let daemon = Daemon(command.spawn().unwrap());
        let shared = self.database().file().with_extension("sqlite-shm");
        for _ in 0..200 {
            if shared.exists() {
                return daemon;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("Nix does not open its database");
    }

    fn add(&self, content: &str) -> String {
        let file = self.0.path().join("file");
        fs::write(&file, content).unwrap();
        text(&mut self.nix(&["nix-store", "--add", file.to_str().unwrap()]))
            .trim()
            .to_owned()
    }

    /// A path that refers to itself and to `to`.
    fn build_selfish(&self, to: &str) -> String {
        let expr = format!(
            "derivation {{ name = \"selfish\"; system = builtins.currentSystem; builder = \
             \"/bin/sh\"; args = [ \"-c\" \"echo $out ${{builtins.storePath {to}}} > $out\" ]; }}"
        );
        text(&mut self.nix(&["nix-build", "--no-out-link", "--expr", &expr]))
            .trim()
            .to_owned()
    }
}

struct Daemon(Child);

impl Daemon {
    fn kill(&mut self) {
        let group = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let _ = self.0.wait();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What `ask` hears as an ordinary user.
fn as_nobody<R: Send>(ask: impl FnOnce() -> R + Send) -> R {
    const NOBODY: u32 = 65534;
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let (user, group) = (
                rustix::process::Uid::from_raw(NOBODY),
                rustix::process::Gid::from_raw(NOBODY),
            );
            // Of this thread alone.
            rustix::thread::set_thread_groups(&[]).unwrap();
            rustix::thread::set_thread_res_gid(group, group, group).unwrap();
            rustix::thread::set_thread_res_uid(user, user, user).unwrap();
            ask()
        });
        thread.join().unwrap()
    })
}

#[test]
fn closures_are_those_of_nix() {
    let store = Store::new();
    let (everything, hello) = (store.path("everything"), store.path("hello"));
    let selfish = store.build_selfish(&hello);
    let database = store.database();
    assert_eq!(database.store_dir().unwrap().as_deref(), Some("/nix/store"));
    let before = store.beside();
    for paths in [
        vec![&everything],
        vec![&hello],
        vec![&selfish],
        vec![&hello, &selfish, &hello],
    ] {
        let mut args = vec!["nix-store", "--query", "--requisites"];
        args.extend(paths.iter().map(|path| path.as_str()));
        let nix = sorted(&text(&mut store.nix(&args)));
        assert!(nix.len() > 1);
        assert_eq!(database.closure(&paths).unwrap(), nix, "{paths:?}");
    }
    assert!(database.is_valid(&hello).unwrap());
    assert!(!database.is_valid(&format!("{hello}-not")).unwrap());
    let error = database
        .closure(&[&hello, &format!("{hello}-not")])
        .unwrap_err();
    assert!(matches!(error, Error::NotValid { .. }), "{error}");
    assert!(
        error
            .to_string()
            .contains("hello-1.0-not: not a valid path"),
        "{error}"
    );
    // Those of Nix may come to lie there by what Nix did above; we made nothing and wrote nothing.
    let names = |files: Vec<(String, u64, _)>| files.into_iter().map(|f| f.0).collect::<Vec<_>>();
    assert_eq!(names(store.beside()), names(before));
}

#[test]
fn registrations_are_what_nix_loads() {
    let store = Store::new();
    let hello = store.path("hello");
    let selfish = store.build_selfish(&hello);
    let database = store.database();
    let closure = database.closure(&[&selfish]).unwrap();
    let registration = database.registration(&closure).unwrap();

    // Word for word what Nix says of these paths, but for derivers that are not among them.
    let mut args = vec!["nix-store", "--dump-db"];
    args.extend(closure.iter().map(String::as_str));
    let dumped = text(&mut store.nix(&args));
    let without_derivers: String = dumped
        .lines()
        .map(|line| if line.ends_with(".drv") { "" } else { line })
        .map(|line| format!("{line}\n"))
        .collect();
    assert!(dumped != without_derivers);
    assert_eq!(registration, without_derivers);
    let drv = text(&mut store.nix(&["nix-store", "--query", "--deriver", &hello]));
    let with = database
        .registration(&[hello.as_str(), drv.trim()])
        .unwrap();
    assert_eq!(with.lines().nth(3), Some(drv.trim()), "{with}");

    // Loaded into a database that knows nothing, beside the same files.
    let copy = store.0.path().join("copy");
    fs::create_dir_all(copy.join("nix/store")).unwrap();
    for path in &closure {
        let status = Command::new("cp")
            .arg("-a")
            .arg(store.dir().join(path.trim_start_matches('/')))
            .arg(copy.join("nix/store"))
            .status();
        assert!(status.unwrap().success());
    }
    let nix = |args: &[&str]| {
        let mut command = Command::new(script("store-op"));
        command.arg(&copy).arg("nix").args(args);
        command
    };
    let mut load = nix(&["nix-store", "--load-db"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = load.stdin.take().unwrap();
    stdin.write_all(registration.as_bytes()).unwrap();
    drop(stdin);
    assert!(load.wait().unwrap().success());
    assert_eq!(text(&mut nix(&["nix-store", "--dump-db"])), registration);
    text(&mut nix(&["nix-store", "--verify", "--check-contents"]));
    let loaded = Database::beside(&copy.join("nix/store"));
    assert_eq!(loaded.closure(&[&selfish]).unwrap(), closure);
}

/// With nothing in the log, and with something; its files there or not; as root and as a user who
/// may only read. Never is anything made or changed.
#[test]
fn reading_leaves_no_trace() {
    let store = Store::new();
    let database = store.database();
    let hello = store.path("hello");
    let ask = |path: &str| {
        let before = store.beside();
        for ask in 0..2 {
            let valid = if ask == 0 {
                database.is_valid(path)
            } else {
                as_nobody(|| database.is_valid(path))
            };
            assert!(valid.unwrap(), "{path}, {ask}: {before:?}");
            assert_eq!(store.beside(), before);
        }
        before
    };
    let log = |files: &[(String, u64, std::time::SystemTime)]| {
        files
            .iter()
            .find(|file| file.0.ends_with("-wal"))
            .map(|file| file.1)
    };

    // Closed: this Nix leaves no log, others leave an empty one.
    let files = ask(&hello);
    assert!(log(&files).is_none_or(|len| len == 0), "{files:?}");
    fs::write(database.file().with_extension("sqlite-wal"), "").unwrap();
    ask(&hello);

    // Open elsewhere. The new path is in the log only.
    let mut daemon = store.daemon();
    let new = store.add("new");
    let files = ask(&new);
    assert!(log(&files).is_some_and(|len| len > 0), "{files:?}");

    // Its owner was killed.
    daemon.kill();
    let files = ask(&new);
    assert!(log(&files).is_some_and(|len| len > 0), "{files:?}");

    // And what the log was shared through is lost.
    fs::remove_file(database.file().with_extension("sqlite-shm")).unwrap();
    let before = store.beside();
    let error = database.is_valid(&new).unwrap_err();
    assert!(matches!(error, Error::Unrecovered(_)), "{error}");
    assert_eq!(store.beside(), before);
    // Doing what the message says helps.
    text(&mut store.nix(&["nix-store", "--verify"]));
    ask(&new);
}

#[test]
fn what_is_no_database_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("db.sqlite");
    let said = |file: &Path| {
        let error = Database::new(file).is_valid("/nix/store/x").unwrap_err();
        assert!(error.to_string().starts_with(&file.display().to_string()));
        error
    };
    assert!(matches!(said(&file), Error::Missing(_)));
    fs::write(
        &file,
        "no database, but long enough to have a header ".repeat(50),
    )
    .unwrap();
    assert!(matches!(said(&file), Error::Damaged(..)));
    fs::write(&file, "").unwrap();
    assert!(matches!(said(&file), Error::Damaged(..)));
    assert!(matches!(said(dir.path()), Error::Damaged(..)));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

/// A path that is held survives `nix-store --gc`, and does not when it is not held any more.
#[test]
fn a_root_holds_a_path() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    let store = format!("local?root={}", root.display());
    let nix = |args: &[&str]| {
        let mut command = Command::new("nix-store");
        command.args(["--store", &store]).args(args);
        command
    };
    fs::write(dir.path().join("file"), "held").unwrap();
    let file = dir.path().join("file");
    let path = text(&mut nix(&["--add", file.to_str().unwrap()]))
        .trim()
        .to_owned();
    let real = root.join(path.trim_start_matches('/'));

    let link = dir.path().join("link");
    let held = GcRoot::add(&path, &link, Some(&store)).unwrap();
    assert_eq!(held.link(), link);
    text(&mut nix(&["--gc"]));
    assert!(real.exists());
    drop(held);
    assert!(fs::symlink_metadata(&link).is_err());
    text(&mut nix(&["--gc"]));
    assert!(!real.exists());

    let error = GcRoot::add(&path, &link, Some(&store)).unwrap_err();
    assert!(
        error.to_string().contains("do not collect garbage"),
        "{error}"
    );
    assert!(fs::symlink_metadata(&link).is_err());
}
