//! Settings in place of what a file says: what becomes of the plan, and what is said about wrong ones.

use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::select;
use sanlab_plan::{
    Action, ByteSize, Diagnostics, Joins, Layer, NbdServer, NicModel, NodeName, Plan, Setting,
    parse, parse_with, schema,
};

const FILE: &str = r#"
name = "settings"

[nodes]
first = { arch = "x86_64" }
"vix[1-3]" = { arch = "x86" }

[[layer]]
nbd = { disk = "64MiB" }

[[layer]]
striped = { name = "san", chunk = "16KiB" }

[[layer]]
[layer.o2cb]
cluster = "san"

[[layer]]
ocfs2 = { slots = 4, at = "/mnt/san" }

[[step]]
write = { of = "{node}.a", bs = "4KiB", count = 10 }

[[step]]
label = "a.b c"
write = { of = "{node}.b", bs = "4KiB", count = 10 }

[[step]]
write = { of = "{node}.c", bs = "4KiB", count = 10 }
"#;

fn with(text: &str, settings: &[&str]) -> Result<Plan, Diagnostics> {
    let settings: Vec<Setting> = settings
        .iter()
        .map(|setting| Setting::parse(setting).expect("KEY=VALUE"))
        .collect();
    parse_with(Path::new("folder/file.toml"), text, &settings, &no_files)
}

fn no_files(_: &Path) -> std::io::Result<String> {
    Err(std::io::ErrorKind::NotFound.into())
}

fn set(settings: &[&str]) -> Plan {
    with(FILE, settings).unwrap_or_else(|mistakes| panic!("{}", mistakes.render(false)))
}

fn refused(text: &str, settings: &[&str]) -> String {
    match with(text, settings) {
        Ok(plan) => panic!("accepted: {plan:?}"),
        Err(mistakes) => mistakes.render(false),
    }
}

/// The steps' deadlines and counts of blocks, by label.
fn writes(plan: &Plan) -> Vec<(String, Duration, u64)> {
    let steps = plan.steps.iter().map(|step| {
        let Action::Write(write) = &step.action else {
            panic!("{step:?}")
        };
        (step.label.to_string(), step.deadline, write.count)
    });
    steps.collect()
}

#[test]
fn without_settings_nothing_changes() {
    assert_eq!(with(FILE, &[]), parse(Path::new("folder/file.toml"), FILE));
}

#[test]
fn code_under_test_is_given_to_all_to_an_architecture_or_to_nodes() {
    let plan = set(&[
        "file./usr/bin/nbdkit=/built/nbd.kit",
        "file.vix[1-2]:/etc/x.conf=x.conf",
        "deb.first=/built/a.deb",
        "deb.first=/built/b.deb",
        "module.x86_64=/built/ocfs2.ko",
        "kernel.x86=debian-trixie",
    ]);
    let shown = plan.artefacts.iter().map(|artefact| {
        let on: Vec<&str> = artefact.on.iter().map(NodeName::as_str).collect();
        format!("{}: {artefact}", on.join(" "))
    });
    insta::assert_snapshot!(shown.collect::<Vec<_>>().join("\n"));
    let artefacts: Vec<&str> = plan
        .artefacts_of(&plan.nodes[1].name)
        .map(|artefact| artefact.kind.as_str())
        .collect();
    assert_eq!(artefacts, ["file", "file", "kernel"]);
}

#[test]
fn code_under_test_that_nobody_can_have_is_refused() {
    let said = refused(
        FILE,
        &[
            "file=x",
            "file.fist:/etc/x=x",
            "file./proc/x=x",
            "module=x.ko",
            "deb.arm=x.deb",
        ],
    );
    insta::assert_snapshot!(said);
}

#[test]
fn a_defect_of_a_module_is_not_known_of_another_module() {
    let known = r#"known = { pattern = "lost", because = "it is not synced", source = "a list", module = "ocfs2" }"#;
    let text = format!("{known}\n{FILE}");
    let known = |settings: &[&str]| with(&text, settings).unwrap().known.is_some();
    assert!(known(&[]) && known(&["module.x86=/built/nbd.ko", "file./usr/sbin/x=x"]));
    assert!(!known(&["module.x86=/built/ocfs2.ko"]) && !known(&["kernel=debian-trixie"]));
}

#[test]
fn keys_of_further_networks() {
    let text = FILE.replace("[nodes]", "[networks.cluster]\nmtu = 9000\n[nodes]");
    let plan = with(
        &text,
        &["networks.cluster.mtu=1500", "layer.o2cb.network=cluster"],
    );
    let plan = plan.unwrap_or_else(|mistakes| panic!("{}", mistakes.render(false)));
    assert_eq!(plan.networks[1].mtu, Some(1500));
    assert_eq!(plan.layers[2].layer.networks()[0].as_str(), "cluster");
    for (setting, told) in [
        ("networks.clutser.mtu=1500", "did you mean `cluster`?"),
        ("networks.cluster=1500", "write `networks.NAME.KEY=VALUE`"),
        ("networks.cluster.mut=1500", "did you mean `mtu`?"),
    ] {
        let said = refused(&text, &[setting]);
        assert!(said.contains(told), "{setting}: {said}");
    }
    let said = refused(FILE, &["networks.cluster.mtu=1500"]);
    assert!(said.contains("there are no networks"), "{said}");
}

#[test]
fn top_level_keys_and_the_network() {
    let plan = set(&["mtu=1500", "image=my-image", "fresh=true", "name=two words"]);
    assert_eq!(plan.networks[0].mtu, Some(1500));
    assert_eq!(plan.image.as_str(), "my-image");
    assert!(plan.fresh);
    assert_eq!(plan.name, "two words");
    assert_eq!(plan.id, "folder/file");
    let plan = set(&[
        "network.mtu=9000",
        r#"network.capture=["first", "vix[1-2]"]"#,
    ]);
    assert_eq!(plan.networks[0].mtu, Some(9000));
    assert_eq!(plan.networks[0].capture.len(), 3);
    assert_eq!(
        set(&["mtu=1500", "mtu=9000"]).networks[0].mtu,
        Some(9000),
        "the last counts"
    );
    let given = format!("network = {{ mtu = 576, capture = \"first\" }}\n{FILE}");
    let plan = with(&given, &["mtu=1500"]).unwrap();
    assert_eq!(
        (plan.networks[0].mtu, plan.networks[0].capture.len()),
        (Some(1500), 1)
    );
}

#[test]
fn layers_by_kind_and_by_name() {
    let plan = set(&[
        "layer.striped.chunk=64KiB",
        "layer.nbd.server=nbd-server",
        "layer.nbd.block_size = 1KiB",
        "layer.o2cb.heartbeat_threshold=61",
        "layer.o2cb.san.idle_timeout=2m",
        "layer.ocfs2.mount=true",
        r#"layer.ocfs2.features=["xattr"]"#,
    ]);
    for placed in &plan.layers {
        match &placed.layer {
            Layer::Nbd(nbd) => {
                assert_eq!(nbd.server, NbdServer::NbdServer);
                assert_eq!(nbd.block_size, ByteSize::from_bytes(1024));
                assert_eq!(nbd.disk, ByteSize::from_mib(64));
            }
            Layer::Striped(striped) => assert_eq!(striped.chunk, ByteSize::from_bytes(65536)),
            Layer::O2cb(o2cb) => {
                assert_eq!(o2cb.heartbeat_threshold, 61);
                assert_eq!(o2cb.idle_timeout, Duration::from_secs(120));
            }
            Layer::Ocfs2(ocfs2) => assert_eq!(ocfs2.features, ["xattr"]),
            other => panic!("{other:?}"),
        }
    }
    let pairs = include_str!("../../../fixtures/accepted/second-article.toml");
    let timeouts = |settings: &[&str]| -> Vec<u64> {
        let plan = with(pairs, settings).unwrap();
        let drbd = plan.layers.iter().filter_map(|placed| match &placed.layer {
            Layer::Drbd(drbd) => Some(drbd.ping_interval.as_secs()),
            _ => None,
        });
        drbd.collect()
    };
    assert_eq!(timeouts(&["layer.drbd.ping_interval=1s"]), [1, 1]);
    let first = "layer.drbd.r0.ping_interval=1s";
    assert_eq!(timeouts(&[first]), [1, 3]);
}

#[test]
fn nodes_by_name_by_range_and_out_of_a_range() {
    let names = |plan: &Plan| -> Vec<String> {
        plan.nodes
            .iter()
            .map(|node| node.name.to_string())
            .collect()
    };
    let memory = |settings: &[&str]| -> Vec<u64> {
        let plan = set(settings);
        assert_eq!(names(&plan), ["first", "vix1", "vix2", "vix3"]);
        plan.nodes
            .iter()
            .map(|node| node.hardware.memory.mib())
            .collect()
    };
    assert_eq!(memory(&["node.first.memory=512MiB"]), [512, 256, 256, 256]);
    assert_eq!(
        memory(&["nodes.vix[1-3].memory=512MiB"]),
        [256, 512, 512, 512]
    );
    assert_eq!(memory(&["node.vix2.memory=512MiB"]), [256, 256, 512, 256]);
    assert_eq!(
        memory(&["node.vix[2-3].memory=512MiB", "node.vix3.memory=1GiB"]),
        [256, 256, 512, 1024]
    );
    let plan = set(&["node.vix1.nic=e1000", "node.vix1.cpus=2"]);
    assert_eq!(plan.nodes[1].nic, NicModel::E1000);
    assert_eq!(
        (plan.nodes[1].hardware.cpus, plan.nodes[2].hardware.cpus),
        (2, 1)
    );
    assert!(plan.nodes.iter().all(|node| node.joins == Joins::AtStart));
}

#[test]
fn steps_by_label_or_word() {
    let before = writes(&set(&[]));
    assert_eq!(
        before
            .iter()
            .map(|(label, ..)| label.as_str())
            .collect::<Vec<_>>(),
        ["write", "a.b c", "write-2"]
    );
    let plan = set(&[
        "step.write.count=11",
        "step.a.b c.count=12",
        "step.a.b c.deadline=5m",
        "step.write-2.count=13",
        r#"step.write-2.expect={ kernel_log = "I/O error" }"#,
    ]);
    let expected: Vec<usize> = plan.steps.iter().map(|step| step.expect.len()).collect();
    assert_eq!(expected, [0, 0, 1]);
    let after = writes(&plan);
    assert_eq!(
        after.iter().map(|step| step.2).collect::<Vec<_>>(),
        [11, 12, 13]
    );
    assert_eq!(after[1].1, Duration::from_secs(300));
    assert_eq!(after[0].1, before[0].1);
}

#[test]
fn values_are_toml_or_text() {
    let name = |value: &str| set(&[&format!("name={value}")]).name;
    assert_eq!(name("plain words = and more"), "plain words = and more");
    assert_eq!(name(r#""quoted # words""#), "quoted # words");
    assert_eq!(name("'7'"), "7");
    assert_eq!(name("a\nimage = 'b'"), "a\nimage = 'b'");
    assert_eq!(
        Setting::parse(" a.b = c=d ").unwrap().to_string(),
        "a.b=c=d"
    );
    for text in ["", "mtu", "=1500", " =1"] {
        let error = Setting::parse(text).unwrap_err().to_string();
        assert!(
            error.starts_with("read the setting `") && error.contains("KEY=VALUE"),
            "{error}"
        );
    }
}

#[test]
fn wrong_settings_are_shown_with_their_own_text() {
    insta::assert_snapshot!(
        "wrong_ways",
        refused(
            FILE,
            &[
                "chunk=64KiB",
                "imgae=x",
                "layer.stripe.chunk=64KiB",
                "layer.gnbd.port=1",
                "layer.nbd.san.port=1",
                "layer.striped.sam.chunk=64KiB",
                "layer.striped.chunk.size=64KiB",
                "step.wriet.count=1",
                "step.a.b d.count=1",
                "node.vix4.memory=1GiB",
                "node.Vix.memory=1GiB",
                "node.vix1=x86",
                "layer=nbd",
                "network=1500",
                "step.write=1",
                "mtu.x=1",
            ]
        )
    );
    insta::assert_snapshot!(
        "wrong_values",
        refused(
            FILE,
            &[
                "mtu=15000000",
                "fresh=maybe",
                "layer.striped.chunk=64kb",
                "layer.striped.chunck=64KiB",
                "layer.o2cb.port=4300",
                "step.write.count=0",
                "step.a.b c.of={node}.a",
                "step.write-2.wait=write",
                "node.vix2.memory=1MiB",
                "node.vix3.joins=later",
                "network.capture=vix9",
            ]
        )
    );
    let both = FILE.replace("slots = 4", "slots = 0");
    insta::assert_snapshot!(
        "wrong_beside_the_file",
        refused(&both, &["layer.ocfs2.journal=1KiB"])
    );
    insta::assert_snapshot!(
        "wrong_without_layers",
        refused(
            "name = \"x\"\nnodes = { a = { arch = \"x86\" } }",
            &["layer.nbd.disk=1GiB", "step.load.count=1"],
        )
    );
}

/// A `wait` given by a setting stands after the file, its step does not.
#[test]
fn the_order_of_steps_is_that_of_the_file() {
    let text = FILE.replace(
        "count = 10 }\n\n[[step]]\nlabel",
        "count = 10 }\n\n[[step]]\nwait = { step = \"nobody\" }\n\n[[step]]\nlabel",
    );
    let said = refused(
        &text,
        &["step.wait.step=write-2", "step.write-2.background=true"],
    );
    assert!(
        said.contains("`write-2` has not begun at this step"),
        "{said}"
    );
    let plan = with(
        &text,
        &["step.wait.step=write", "step.write.background=true"],
    )
    .unwrap();
    assert!(matches!(&plan.steps[1].action, Action::Wait(wait) if wait.step.as_str() == "write"));
}

/// Every key of every kind of layer, but for `on`, stands among the parameters of some plan that gives it.
#[test]
fn parameters_are_the_keys_of_layers() {
    let texts = [
        include_str!("../../../fixtures/accepted/every-key.toml"),
        include_str!("../../../fixtures/accepted/every-layer.toml"),
        include_str!("../../../fixtures/accepted/gnbd-alone.toml"),
        include_str!("../../../fixtures/accepted/iscsi.toml"),
        include_str!("../../../fixtures/accepted/md.toml"),
        include_str!("../../../fixtures/accepted/shared-lvm.toml"),
        include_str!("../../../fixtures/accepted/shared-disk.toml"),
        include_str!("../../../scenarios/gnbd-drbd-multipath/md-striped.toml"),
    ];
    let plans = texts.map(|text| parse(Path::new("every.toml"), text).unwrap());
    let all: Vec<(&str, &str, String)> = plans
        .iter()
        .flat_map(|plan| &plan.layers)
        .flat_map(|placed| {
            let kind = placed.layer.kind().as_str();
            let parameters = placed.layer.parameters().into_iter();
            parameters.map(move |(key, value)| (kind, key, value))
        })
        .collect();
    let schema: serde_json::Value = serde_json::from_str(&schema()).unwrap();
    let kinds = schema["properties"]["layer"]["items"]["properties"]
        .as_object()
        .unwrap();
    assert!(!kinds.is_empty());
    for (kind, table) in kinds {
        let keys = table["properties"].as_object().unwrap();
        for key in keys.keys().filter(|key| *key != "on") {
            assert!(
                all.iter().any(|(of, other, _)| of == kind && other == key),
                "`{key}` of `{kind}` is no parameter"
            );
        }
        for (_, key, _) in all.iter().filter(|(of, ..)| of == kind) {
            assert!(keys.contains_key(*key), "`{kind}` has no key `{key}`");
        }
    }
    let lines: Vec<String> = all
        .iter()
        .map(|(kind, key, value)| format!("{kind}.{key} = {value}"))
        .collect();
    insta::assert_snapshot!("parameters", lines.join("\n"));
}

/// A sound file, and some in which settings find little to stand on.
const TEXTS: [&str; 5] = [
    FILE,
    "",
    "layer = 1\nstep = [1, {}]\nnodes = { \"a[0-1]\" = 1 }",
    "layer = [{ nbd = 1, striped = {} }, 2]\nstep = [{ write = 1 }, { label = 1, write = {} }]\nnodes = 1\nnetwork = 1",
    "é = [",
];

#[test]
fn wrong_files_are_told_as_such_whatever_is_set() {
    for text in &TEXTS[1..] {
        for key in [
            "mtu",
            "network.mtu",
            "node.a.cpus",
            "nodes.a0.cpus",
            "node.a[0-1].cpus",
            "layer.nbd.port",
            "layer.nbd.a.port",
            "layer.striped.name",
            "step.write.count",
            "step.write-2.count",
            "step.step.deadline",
        ] {
            let said = refused(text, &[&format!("{key}=1")]);
            assert!(said.contains("folder/file.toml:"), "{key}: {said}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_setting_is_answered(
        text in select(&TEXTS),
        words in prop::collection::vec(select(&[
            "mtu", "network", "node", "layer", "step", "nbd", "striped", "chunk", "write", "write-2", "a", "b c", "vix2",
            "vix[1-9]", "vix[0-255]", "count", "", " ", "é", "label", "\u{202e}",
        ]), 0..5),
        value in select(&["", "1", "64KiB", "\"", "[", "{}", "{ a = 1 }", "é", "1\nx = 2", "99999999999999999999", "\u{feff}"]),
    ) {
        let setting = Setting { key: words.join("."), value: value.to_owned() };
        if let Err(mistakes) = parse_with(Path::new("any.toml"), text, &[setting.clone(), setting], &no_files) {
            prop_assert!(mistakes.iter().next().is_some(), "rejected without a reason");
            for mistake in mistakes.iter() {
                prop_assert!(!mistake.help.is_empty(), "no way out of: {}", mistake.title);
            }
            prop_assert!(mistakes.render(false).contains("help: "));
        }
    }
}
