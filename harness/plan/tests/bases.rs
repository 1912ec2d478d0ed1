//! Scenarios with bases: that they are the scenarios that one file would give, and what is said about wrong ones.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use proptest::prelude::*;
use proptest::sample::select;
use sanlab_plan::{Diagnostics, Plan, Setting, parse, parse_with};

const WHOLE: &str = r#"
name = "four nodes"
image = "my-image"
network = { mtu = 1500, capture = "vix1" }
networks = { cluster = { mtu = 9000, capture = "vix1" }, extra = {} }

[nodes]
vix0 = { arch = "x86_64" }
vix1 = { arch = "x86" }
vix2 = { arch = "x86", memory = "512MiB", cpus = 2 }
vix3 = { arch = "x86", cpus = 2 }
vc = { arch = "x86", nic = "e1000", joins = "later" }

[[layer]]
membership = { cluster = "left", on = ["vix0", "vix1"] }

[[layer]]
membership = { cluster = "right", on = ["vix2", "vix3"], token = "4s" }

[[layer]]
nbd = { disk = "64MiB", server = "nbd-server" }

[[layer]]
striped = { name = "san", chunk = "64KiB" }

[[layer]]
o2cb = { cluster = "san" }

[[layer]]
ocfs2 = { slots = 5, at = "/mnt/san" }

[[step]]
add_node = { node = "vc" }
"#;

const SCENARIO: &str = r#"
name = "four nodes"
base = "base/stack.toml"
network = { capture = "vix1" }
networks = { cluster = { mtu = 9000 }, extra = {} }

[nodes]
"vix[2-3]" = { cpus = 2 }
vc = { arch = "x86", nic = "e1000", joins = "later" }

[[layer]]
ocfs2 = { slots = 5 }

[[layer]]
membership = { cluster = "right", token = "4s" }

[[layer]]
striped = { name = "san" }

[[step]]
add_node = { node = "vc" }
"#;

const STACK: &str = r#"
base = "nodes.toml"
mistimed = "never read: no layer here has times that could contradict each other"
nodes = { vix2 = { memory = "512MiB" } }

[[layer]]
nbd = { server = "nbd-server" }

[[layer]]
striped = { name = "other", chunk = "64KiB" }

[[layer]]
o2cb = { cluster = "san" }

[[layer]]
ocfs2 = { slots = 4, at = "/mnt/san" }
"#;

const NODES: &str = r#"
image = "my-image"
network = { mtu = 1500, capture = ["vix0", "vix3"] }
networks = { cluster = { mtu = 1500, capture = "vix1" } }

[nodes]
vix0 = { arch = "x86_64" }
"vix[1-3]" = { arch = "x86" }

[[layer]]
membership = { cluster = "left", on = ["vix0", "vix1"] }

[[layer]]
membership = { cluster = "right", on = ["vix2", "vix3"] }

[[layer]]
nbd = { disk = "64MiB" }
"#;

fn with(scenario: &str, bases: &[(&str, &str)], settings: &[&str]) -> Result<Plan, Diagnostics> {
    let bases: BTreeMap<&Path, &str> = bases
        .iter()
        .map(|(path, text)| (Path::new(*path), *text))
        .collect();
    let settings: Vec<Setting> = settings
        .iter()
        .map(|setting| Setting::parse(setting).expect("KEY=VALUE"))
        .collect();
    let read = |path: &Path| {
        let text = bases.get(path).map(|text| (*text).to_owned());
        text.ok_or_else(|| io::ErrorKind::NotFound.into())
    };
    parse_with(Path::new("folder/file.toml"), scenario, &settings, &read)
}

fn based(settings: &[&str]) -> Result<Plan, Diagnostics> {
    let stack = STACK.replace("mistimed", "# mistimed");
    let bases = [
        ("folder/base/stack.toml", stack.as_str()),
        ("folder/base/nodes.toml", NODES),
    ];
    with(SCENARIO, &bases, settings)
}

/// Checkpoints are found by what the plan says: they are shared however it was written.
#[test]
fn a_plan_does_not_tell_how_it_was_written() {
    let whole = parse(Path::new("folder/file.toml"), WHOLE).unwrap();
    let based = based(&[]).unwrap_or_else(|mistakes| panic!("{}", mistakes.render(false)));
    assert_eq!(based, whole);
}

#[test]
fn settings_are_laid_over_what_scenario_and_bases_say_together() {
    let settings = [
        "mtu=9000",
        "image=another",
        "node.vix1.memory=1GiB",
        "node.vix2.memory=1GiB",
        "node.vc.cpus=2",
        "layer.nbd.server=nbdkit",
        "layer.membership.left.token=3s",
        "layer.membership.right.token=3s",
        "layer.ocfs2.slots=6",
        "step.add_node.deadline=5m",
    ];
    assert_eq!(based(&settings), with(WHOLE, &[], &settings));
    let mistakes = based(&[
        "layer.nbd.port=0x",
        "layer.drbd.sync=full",
        "base=base/nodes.toml",
    ]);
    insta::assert_snapshot!("wrong_settings", mistakes.unwrap_err().render(false));
}

/// What contradicts itself across files is shown in both of them, that of the mistake first.
#[test]
fn a_mistake_may_lie_in_two_files() {
    let scenario = SCENARIO.replace("slots = 5", "slots = 5, at = \"here\"");
    let stack = STACK.replace("cluster = \"san\"", "cluster = \"san\", port = 4300");
    let bases = [
        ("folder/base/stack.toml", stack.as_str()),
        ("folder/base/nodes.toml", NODES),
    ];
    insta::assert_snapshot!(
        "two_files",
        with(&scenario, &bases, &[]).unwrap_err().render(false)
    );
}

#[test]
fn parse_alone_reads_no_base() {
    let mistakes = parse(Path::new("folder/file.toml"), SCENARIO).unwrap_err();
    let said = mistakes.render(false);
    assert!(said.contains("folder/file.toml:3:8"), "{said}");
    assert!(
        said.contains("`folder/base/stack.toml` cannot be read"),
        "{said}"
    );
}

/// A byte order mark, no text at all, and what is of a wrong type on either side.
const TEXTS: [&str; 9] = [
    SCENARIO,
    STACK,
    NODES,
    "",
    "\u{feff}nodes = { a = { arch = \"x86\" } }",
    "base = \"base/a.toml\"\nnodes = 1\nlayer = [1, {}, { nbd = 1 }, { drbd = {} }]\nnetwork = []",
    "base = \"base/b.toml\"\nnodes = { \"a[0-1]\" = 1, a = {} }\nlayer = [{ nbd = {}, drbd = {} }, { drbd = { resource = 1 } }]",
    "base = 1\nlayer = {}\nimage = 1",
    "é = [",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_base_is_answered(
        texts in prop::collection::vec(select(&TEXTS), 5),
        settings in prop::collection::vec(
            select(&["node.a0.cpus=1", "nodes.vix1.cpus=2", "layer.drbd.sync=full", "network.mtu=1500", "base=x"]), 0..3,
        ),
    ) {
        let names = ["folder/base/a.toml", "folder/base/b.toml", "folder/base/stack.toml", "folder/base/nodes.toml"];
        let bases: Vec<(&str, &str)> = names.into_iter().zip(texts[1..].iter().copied()).collect();
        if let Err(mistakes) = with(texts[0], &bases, &settings) {
            prop_assert!(mistakes.iter().next().is_some(), "rejected without a reason");
            for mistake in mistakes.iter() {
                prop_assert!(!mistake.help.is_empty(), "no way out of: {}", mistake.title);
            }
            let shown = mistakes.render(false);
            let places = shown.lines().filter(|line| line.trim_start().starts_with("--> "));
            prop_assert_eq!(places.count(), mistakes.iter().count(), "{}", shown);
        }
    }
}
