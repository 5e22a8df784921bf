// SPDX-License-Identifier: Apache-2.0 OR MIT
//! `--closure`: what is refused, and what a mount shows.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::mounted::can_mount;
use crate::util::{Place, namespaces, sandbox_arg};

fn name(letter: char) -> String {
    format!("0c5b8vw40d1178xlpddw65q9gf1h218{letter}-x")
}

/// A database beside the store, which knows `a`, which refers to `b`.
fn add_database(place: &Place) {
    let dir = place.path("var/nix/db");
    fs::create_dir_all(&dir).unwrap();
    let (a, b) = (name('a'), name('b'));
    Connection::open(dir.join("db.sqlite"))
        .unwrap()
        .execute_batch(&format!(
            "create table ValidPaths (id integer primary key, path text);
             create table Refs (referrer integer, reference integer);
             insert into ValidPaths values (1, '/nix/store/{a}'), (2, '/nix/store/{b}');
             insert into Refs values (1, 2), (1, 1);"
        ))
        .unwrap();
}

#[track_caller]
fn refused(place: &Place, closure: &str, words: &[&str]) {
    let line = format!("--socket-path s --shared-dir store {closure}");
    let said = place.refused(&line);
    for word in words {
        assert!(said.contains(word), "{closure}: no {word:?} in: {said}");
    }
}

#[test]
fn what_cannot_be_shown_is_refused() {
    let place = Place::new();
    let (a, c) = (name('a'), name('c'));
    let a_path = format!("store/{a}");
    fs::write(
        place.path("list"),
        format!("/nix/store/{a}\n# and\n\n{c}\n"),
    )
    .unwrap();
    let nix = format!("--layout nix --closure {a_path}");
    refused(
        &place,
        &nix,
        &["--closure", "no Nix database", "--nix-database"],
    );
    refused(&place, "--closure gone", &["--closure gone", "neither in"]);
    refused(
        &place,
        "--closure plain",
        &["--closure plain", "neither in"],
    );
    refused(&place, "--closure", &["--closure"]);
    let missing = format!("{a_path}-not");
    refused(
        &place,
        &format!("--closure {missing}"),
        &["--closure store/", "neither in"],
    );
    let missing = format!("/nix/store/{a}-not");
    refused(
        &place,
        &format!("--closure {missing}"),
        &["--closure /nix/store/", "is not in"],
    );
    refused(&place, "--nix-database x", &["--nix-database", "--closure"]);
    refused(
        &place,
        "--closure list --layout plain",
        &["--closure", "--layout plain"],
    );
    refused(
        &place,
        "--closure list --cache never",
        &["--closure", "--cache never"],
    );
    let plain = format!(
        "--socket-path s --shared-dir plain --closure empty{}",
        sandbox_arg()
    );
    fs::write(place.path("empty"), "").unwrap();
    let said = place.refused(&plain);
    assert!(said.contains("--closure: plain is no Nix store"), "{said}");

    fs::write(place.path("list"), format!("{a}\n\nhello\n")).unwrap();
    refused(
        &place,
        "--closure list",
        &["--closure list: line 3", "hello"],
    );
    fs::write(place.path("list"), format!("\n/nix/store/{a}-not\n")).unwrap();
    refused(
        &place,
        "--closure list",
        &["--closure list: line 2", "not in"],
    );

    add_database(&place);
    let not_valid = format!("--closure {a_path} store/{c}");
    refused(&place, &not_valid, &["--closure store/", &c, "not valid"]);
    fs::write(place.path("junk"), "junk ".repeat(1000)).unwrap();
    let junk = format!("--closure {a_path} --nix-database junk");
    refused(
        &place,
        &junk,
        &["--nix-database junk", "not a Nix database"],
    );
    let gone = format!("--closure {a_path} --nix-database gone");
    refused(
        &place,
        &gone,
        &["--nix-database gone", "there is no Nix database"],
    );
}

fn shown(place: &Place) -> BTreeSet<String> {
    let entries = fs::read_dir(place.path("m")).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[track_caller]
fn shows(place: &Place, letters: &[char]) {
    let wanted: BTreeSet<String> = letters.iter().map(|letter| name(*letter)).collect();
    let end = Instant::now() + Duration::from_secs(20);
    while shown(place) != wanted {
        assert!(Instant::now() < end, "{:?}, not {wanted:?}", shown(place));
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn with_closure(rest: &str, closure: &str) -> (Place, crate::util::Running) {
    let place = Place::new();
    add_database(&place);
    symlink(format!("store/{}/bin", name('a')), place.path("result")).unwrap();
    fs::write(place.path("list"), format!("{}\n", name('a'))).unwrap();
    fs::create_dir(place.path("m")).unwrap();
    let line = format!("--mount m --shared-dir store --layout nix --closure {closure}{rest}");
    let mut running = place.start(&line);
    running.says("Mounted on");
    (place, running)
}

#[test]
fn paths_and_what_they_refer_to() {
    if !can_mount() {
        return;
    }
    // By its name in the store, by its path on this host, by a link to it, and by a list.
    let logical = format!("/nix/store/{}", name('a'));
    let physical = format!("store/{}/bin/run", name('a'));
    for (closure, letters) in [
        (&*logical, &['a', 'b'][..]),
        (&physical, &['a', 'b']),
        ("result", &['a', 'b']),
        ("list", &['a']),
        (&format!("list /nix/store/{}", name('b')), &['a', 'b']),
    ] {
        let (place, running) = with_closure(sandbox_arg(), closure);
        assert_eq!(shown(&place).len(), letters.len(), "{closure}");
        shows(&place, letters);
        for letter in ['a', 'b', 'c'] {
            let run = place.path(&format!("m/{}/bin/run", name(letter)));
            assert_eq!(
                run.exists(),
                letters.contains(&letter),
                "{closure} {letter}"
            );
        }
        running.stop();
    }
}

#[test]
fn lists_are_read_again_when_they_change() {
    if !can_mount() {
        return;
    }
    for rest in ["", " --sandbox none", " --sandbox chroot"] {
        if rest.is_empty() && !namespaces() {
            continue;
        }
        let (place, mut running) = with_closure(rest, "list");
        shows(&place, &['a']);
        // Replaced by another file.
        fs::write(place.path("new"), format!("{}\n{}\n", name('b'), name('c'))).unwrap();
        fs::rename(place.path("new"), place.path("list")).unwrap();
        shows(&place, &['b', 'c']);
        assert!(!place.path(&format!("m/{}", name('a'))).exists());
        // Written anew.
        fs::write(place.path("list"), name('a')).unwrap();
        shows(&place, &['a']);
        // By a link, whose target is written then.
        fs::write(place.path("target"), name('b')).unwrap();
        symlink("target", place.path("link")).unwrap();
        fs::rename(place.path("link"), place.path("list")).unwrap();
        shows(&place, &['b']);
        fs::write(place.path("target"), name('c')).unwrap();
        shows(&place, &['c']);
        // What is wrong is told, and changes nothing; nor does a list that is gone.
        fs::write(place.path("target"), "nonsense\n").unwrap();
        running.says("--closure list: line 1: `nonsense`");
        fs::remove_file(place.path("list")).unwrap();
        shows(&place, &['c']);
        fs::write(place.path("list"), "").unwrap();
        shows(&place, &[]);
        running.stop();
    }
}

/// Shares of one process, one index, and each its own closure.
#[test]
fn each_share_has_its_own() {
    if !can_mount() {
        return;
    }
    let place = Place::new();
    let letters = ['a', 'b'];
    let mut line = String::new();
    for letter in letters {
        fs::write(place.path(&format!("list-{letter}")), name(letter)).unwrap();
        fs::create_dir(place.path(&format!("m-{letter}"))).unwrap();
        line +=
            &format!("--mount m-{letter} --shared-dir store --layout nix --closure list-{letter} ");
    }
    let mut running = place.start(&(line + sandbox_arg()));
    running.says("Mounted on");
    running.says("Mounted on");
    for letter in letters {
        let entries = fs::read_dir(place.path(&format!("m-{letter}"))).unwrap();
        let names: Vec<_> = entries.map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, [name(letter).as_str()]);
    }
    running.stop();

    // The same by a file.
    let config: String = letters
        .iter()
        .map(|letter| {
            format!(
                "[[share]]\nmount = 'm-{letter}'\nshared-dir = 'store'\nlayout = 'nix'\n\
                 closure = ['list-{letter}']\n"
            )
        })
        .collect();
    fs::write(place.path("config"), config).unwrap();
    let mut running = place.start(&format!("--config config{}", sandbox_arg()));
    running.says("Mounted on");
    running.says("Mounted on");
    let entries = fs::read_dir(place.path("m-b")).unwrap();
    assert_eq!(entries.count(), 1);
    assert!(place.path(&format!("m-b/{}", name('b'))).exists());
    running.stop();
}
