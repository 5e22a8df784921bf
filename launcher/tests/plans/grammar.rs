// SPDX-License-Identifier: Apache-2.0 OR MIT
//! cloud-hypervisor's command line: what is generated is checked against its grammar, as of
//! version 53. (With a `cloud-hypervisor` on PATH the end-to-end tests run it.)

use launcher::plan::Plan;

use crate::cases::{all, cloud_hypervisor};

/// What a value has to look like.
#[derive(Clone, Copy)]
enum Value {
    Text,
    Number,
    /// With K, M or G.
    Size,
    Switch,
    OneOf(&'static [&'static str]),
    /// In brackets.
    Numbers,
    Texts,
}

use Value::{Number, Numbers, OneOf, Size, Switch, Text, Texts};

/// The keys of an option's values, and whether they have to be there.
type Keys = &'static [(&'static str, Value, bool)];

/// What follows an option.
enum Takes {
    /// Anything.
    Anything,
    /// One of these words, or the keys.
    Word(&'static [&'static str], Keys),
    /// `KEY=VALUE,...`, this often at most.
    Keys(Keys, usize),
}

const MANY: usize = 16;

fn takes(option: &str) -> Option<Takes> {
    Some(match option {
        "--kernel" | "--initramfs" | "--cmdline" => Takes::Anything,
        "--seccomp" => Takes::Word(&["true", "false", "log"], &[]),
        "--api-socket" => Takes::Keys(&[("path", Text, true)], 1),
        "--console" => Takes::Word(&["off", "null", "pty", "tty"], &[("file", Text, true)]),
        "--serial" => Takes::Word(&["off", "null", "pty", "tty"], &[("socket", Text, true)]),
        "--cpus" => Takes::Keys(&[("boot", Number, true), ("max", Number, false)], 1),
        "--memory" => Takes::Keys(
            &[
                ("size", Size, true),
                ("shared", Switch, false),
                ("mergeable", Switch, false),
                ("hugepages", Switch, false),
                ("hotplug_method", OneOf(&["acpi", "virtio-mem"]), false),
                ("hotplug_size", Size, false),
                ("hotplugged_size", Size, false),
            ],
            1,
        ),
        "--platform" => Takes::Keys(&[("uuid", Text, false), ("oem_strings", Texts, false)], 1),
        "--disk" => Takes::Keys(
            &[
                ("path", Text, true),
                ("readonly", Switch, false),
                ("direct", Switch, false),
                ("image_type", OneOf(&["raw", "qcow2", "vhd", "vhdx"]), true),
                ("serial", Text, false),
                ("num_queues", Number, false),
            ],
            MANY,
        ),
        "--fs" => Takes::Keys(
            &[
                ("tag", Text, true),
                ("socket", Text, true),
                ("num_queues", Number, false),
                ("queue_size", Number, false),
            ],
            MANY,
        ),
        "--net" => Takes::Keys(
            &[
                ("tap", Text, false),
                ("fd", Numbers, false),
                ("mac", Text, false),
                ("num_queues", Number, false),
                ("vhost_user", Switch, false),
                ("vhost_mode", OneOf(&["client", "server"]), false),
                ("socket", Text, false),
            ],
            MANY,
        ),
        "--generic-vhost-user" => Takes::Keys(
            &[
                ("socket", Text, true),
                ("device_type", Text, true),
                ("queue_sizes", Numbers, true),
            ],
            MANY,
        ),
        "--vsock" => Takes::Keys(&[("cid", Number, true), ("socket", Text, true)], 1),
        "--balloon" => Takes::Keys(
            &[
                ("size", Size, true),
                ("deflate_on_oom", Switch, false),
                ("free_page_reporting", Switch, false),
            ],
            1,
        ),
        _ => return None,
    })
}

/// Checks a command line; `extra` arguments at its end are the user's own.
fn check(plan: &Plan, extra: usize) -> Result<(), String> {
    let args = &plan.hypervisor.args[..plan.hypervisor.args.len() - extra];
    let mut seen = Vec::new();
    let mut rest = args;
    while let Some((option, after)) = rest.split_first() {
        if seen.contains(&option) {
            return Err(format!(
                "{option} is given twice: it takes several values at once"
            ));
        }
        seen.push(option);
        let end = match option.as_str() {
            // Its value is the guest's, and begins as it likes.
            "--cmdline" => 1,
            _ => after
                .iter()
                .position(|arg| arg.starts_with("--"))
                .unwrap_or(after.len()),
        };
        let (values, next) = after.split_at(end);
        let takes = takes(option).ok_or_else(|| format!("{option} is unknown"))?;
        check_values(option, values, &takes)?;
        rest = next;
    }
    Ok(())
}

fn check_values(option: &str, values: &[String], takes: &Takes) -> Result<(), String> {
    let most = if let Takes::Keys(_, most) = takes {
        *most
    } else {
        1
    };
    if values.is_empty() || values.len() > most {
        return Err(format!("{option} has {} values", values.len()));
    }
    for value in values {
        let keys = match takes {
            Takes::Anything => continue,
            Takes::Word(words, _) if words.contains(&value.as_str()) => continue,
            Takes::Word(_, keys) | Takes::Keys(keys, _) => *keys,
        };
        check_keys(value, keys).map_err(|why| format!("{option} {value}: {why}"))?;
    }
    Ok(())
}

fn check_keys(text: &str, keys: Keys) -> Result<(), String> {
    let mut seen = Vec::new();
    for part in split(text)? {
        let (key, value) = part
            .split_once('=')
            .ok_or_else(|| format!("{part} has no value"))?;
        let (_, kind, _) = keys
            .iter()
            .find(|known| known.0 == key)
            .ok_or_else(|| format!("{key} is unknown"))?;
        let fine = match kind {
            Text => !value.is_empty() && !value.contains(['[', ']', '"']),
            Number => value.parse::<u32>().is_ok(),
            Size => value
                .strip_suffix(['K', 'M', 'G'])
                .unwrap_or(value)
                .parse::<u64>()
                .is_ok(),
            Switch => ["on", "off", "true", "false"].contains(&value),
            OneOf(words) => words.contains(&value),
            Numbers => {
                list(value).is_some_and(|list| list.iter().all(|one| one.parse::<u32>().is_ok()))
            }
            Texts => list(value).is_some_and(|list| list.iter().all(|one| !one.is_empty())),
        };
        if !fine || seen.contains(&key) {
            return Err(format!("{key} cannot be {value}"));
        }
        seen.push(key);
    }
    let missing = keys
        .iter()
        .find(|(key, _, needed)| *needed && !seen.contains(key));
    missing.map_or(Ok(()), |(key, ..)| Err(format!("{key} is missing")))
}

/// Splits at commas outside of brackets.
fn split(text: &str) -> Result<Vec<&str>, String> {
    let (mut parts, mut begin, mut depth) = (Vec::new(), 0, 0_u32);
    for (i, c) in text.char_indices() {
        match c {
            '[' => depth += 1,
            ']' => depth = depth.checked_sub(1).ok_or("a bracket too many")?,
            ',' if depth == 0 => {
                parts.push(&text[begin..i]);
                begin = i + 1;
            }
            _ => {}
        }
    }
    if depth > 0 {
        return Err("a bracket is open".to_owned());
    }
    parts.push(&text[begin..]);
    Ok(parts)
}

fn list(value: &str) -> Option<Vec<&str>> {
    Some(
        value
            .strip_prefix('[')?
            .strip_suffix(']')?
            .split(',')
            .collect(),
    )
}

/// What the grammar alone does not say (vmm-specific rules, each of which stops it at its start).
fn check_rules(plan: &Plan, vcpu: u32) {
    let args = &plan.hypervisor.args;
    let memory = value(args, "--memory").expect("memory");
    let vhost_user = ["--fs", "--generic-vhost-user"]
        .iter()
        .any(|option| value(args, option).is_some())
        || args.iter().any(|arg| arg.contains("vhost_user=on"));
    assert_eq!(memory.contains("shared=on"), vhost_user, "{memory}");
    assert!(
        !(memory.contains("shared=on") && memory.contains("mergeable=on")),
        "{memory}"
    );
    let fs: Vec<&String> = args.iter().filter(|arg| arg.starts_with("tag=")).collect();
    for share in fs {
        let queues: u32 = share
            .split("num_queues=")
            .nth(1)
            .and_then(|rest| rest.split(',').next())
            .expect("queues")
            .parse()
            .expect("a number");
        assert!((1..=vcpu).contains(&queues), "{share}");
        assert!(share.contains("queue_size=1024"), "{share}");
    }
}

fn value<'a>(args: &'a [String], option: &str) -> Option<&'a str> {
    let at = args.iter().position(|arg| arg == option)?;
    args.get(at + 1).map(String::as_str)
}

#[test]
fn command_lines_follow_the_grammar() {
    let cases = all()
        .into_iter()
        .filter(|case| case.name.starts_with("ch-"));
    let mut checked = 0;
    for case in cases {
        let plan = case
            .plan()
            .unwrap_or_else(|refusals| panic!("{}: {refusals:#?}", case.name));
        let description = case.description();
        let extra = description.cloud_hypervisor.extra_args.len();
        check(&plan, extra).unwrap_or_else(|why| panic!("{}: {why}", case.name));
        check_rules(&plan, description.vcpu);
        checked += 1;
    }
    assert_eq!(checked, cloud_hypervisor().len());
}

/// The checker finds what it is there for.
#[test]
fn wrong_command_lines_are_found() {
    let plan = cloud_hypervisor()[0].plan().expect("a plan");
    let with = |args: &[&str]| {
        let mut plan = plan.clone();
        plan.hypervisor
            .args
            .extend(args.iter().map(|arg| (*arg).to_owned()));
        check(&plan, 0)
    };
    assert_eq!(with(&[]), Ok(()));
    for wrong in [
        &["--sound", "on"][..],
        &["--disk", "path=/a,readonly=maybe,image_type=raw"],
        &["--disk", "path=/a,readonly=on"],
        &["--disk", "path=/a,image_type=raw,colour=red"],
        &[
            "--disk",
            "path=/a,image_type=raw",
            "--disk",
            "path=/b,image_type=raw",
        ],
        &["--net", "fd=[3,x]"],
        &["--net", "fd=[3,4"],
        &["--balloon"],
    ] {
        assert!(with(wrong).is_err(), "{wrong:?}");
    }
}
