//! Scenario files and what becomes of them: `fixtures/accepted` and `scenarios` give plans, each file of
//! `fixtures/rejected` the diagnostics that stand beside it.

use std::path::{Path, PathBuf};

use sanlab_plan::{Action, Diagnostics, Plan, Step, parse_with, schema};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The TOML files of a folder with the names that diagnostics show, sorted; never none.
fn files(folder: &str) -> Vec<(PathBuf, String)> {
    let mut names: Vec<PathBuf> = fs_err::read_dir(root().join(folder))
        .expect("the folder is there")
        .map(|entry| Path::new(folder).join(entry.expect("it can be listed").file_name()))
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .collect();
    names.sort();
    assert!(!names.is_empty(), "no scenario files in {folder}");
    names
        .into_iter()
        .map(|name| {
            (
                name.clone(),
                fs_err::read_to_string(root().join(name)).expect("it is text"),
            )
        })
        .collect()
}

fn beside(source: &Path, check: impl FnOnce(&str)) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(root().join(source.parent().expect("a folder")));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| check(&source.file_stem().expect("a name").to_string_lossy()));
}

/// The bases are those of the checkout.
fn parse(source: &Path, text: &str) -> Result<Plan, Diagnostics> {
    let read_base = |base: &Path| fs_err::read_to_string(root().join(base));
    parse_with(source, text, &[], &read_base)
}

fn parsed(source: &Path, text: &str) -> Plan {
    parse(source, text).unwrap_or_else(|mistakes: Diagnostics| panic!("{}", mistakes.render(false)))
}

/// Lists of all layers, of all actions and of a node's keys cut short: a new one changes no file here.
fn without_catalogs(text: &str) -> String {
    let short = |line: &str| {
        let lists = [
            "the layers are `",
            "the actions are `",
            "add one of `",
            "the keys are `arch",
        ];
        let mut ends = lists
            .iter()
            .filter_map(|list| Some(line.find(list)? + list.len()));
        match ends.next() {
            Some(end) => format!("{}...`\n", &line[..end]),
            None => format!("{line}\n"),
        }
    };
    text.lines().map(short).collect()
}

#[test]
fn rejected_files_say_everything_that_is_wrong() {
    for (source, text) in files("fixtures/rejected") {
        let Err(mistakes) = parse(&source, &text) else {
            panic!("{} was accepted", source.display())
        };
        for mistake in mistakes.iter() {
            let complete = ![&mistake.title, &mistake.label, &mistake.help]
                .iter()
                .any(|words| words.is_empty());
            assert!(complete, "{}: {mistake:?}", source.display());
        }
        beside(&source, |name| {
            insta::assert_snapshot!(name, without_catalogs(&mistakes.render(false)));
        });
    }
}

#[test]
fn accepted_files_become_plans() {
    for (source, text) in files("fixtures/accepted") {
        let plan = parsed(&source, &text);
        beside(&source, |name| insta::assert_debug_snapshot!(name, plan));
    }
}

#[test]
fn large_fleets_become_plans() {
    let nodes = |(source, text): &(PathBuf, String)| parsed(source, text).nodes.len();
    let sizes: Vec<usize> = files("fixtures/big").iter().map(nodes).collect();
    assert_eq!(sizes, [128]);
}

#[test]
fn the_scenarios_are_sound_and_short() {
    let mut scenarios = Vec::new();
    for entry in fs_err::read_dir(root().join("scenarios")).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            let folder = Path::new("scenarios").join(entry.file_name());
            scenarios.extend(files(&folder.to_string_lossy()));
        }
    }
    assert!(scenarios.len() >= 6, "{}", scenarios.len());
    for (source, text) in scenarios {
        let plan = parsed(&source, &text);
        assert!(text.lines().count() < 100, "{} is long", source.display());
        let checked = plan
            .steps
            .iter()
            .any(|step| matches!(&step.action, Action::Check(check) if check.kernel_log));
        assert!(checked, "{} looks at no kernel log", source.display());
        assert!(
            text.starts_with("#:schema ../schema.json\n"),
            "{} names no schema for editors",
            source.display()
        );
    }
}

#[test]
fn the_committed_schema_is_the_present_one() {
    let path = root().join("scenarios/schema.json");
    if std::env::var_os("INSTA_UPDATE").is_some_and(|update| update == "always") {
        fs_err::write(&path, schema()).unwrap();
    }
    let committed = fs_err::read_to_string(path).unwrap_or_default();
    assert_eq!(
        committed,
        schema(),
        "run `INSTA_UPDATE=always cargo test -p sanlab-plan` and review the difference"
    );
}

/// Every key of the schema, with the keys of the tables inside.
fn keys(schema: &serde_json::Value, found: &mut Vec<String>) {
    for (key, inner) in schema["properties"].as_object().into_iter().flatten() {
        found.push(key.clone());
        keys(inner, found);
        keys(&inner["items"], found);
        keys(&inner["additionalProperties"], found);
        for form in inner["anyOf"].as_array().into_iter().flatten() {
            keys(form, found);
        }
    }
}

#[test]
fn the_authors_guide_names_every_key() {
    let guide = fs_err::read_to_string(root().join("docs/reference/scenarios.md")).unwrap();
    let mut found = Vec::new();
    keys(&serde_json::from_str(&schema()).unwrap(), &mut found);
    assert!(found.len() > 50, "{found:?}");
    for key in found {
        let named = guide.contains(&format!("`{key}`")) || guide.contains(&format!("`[{key}]`"));
        assert!(
            named || guide.contains(&format!("`[[{key}]]`")),
            "`{key}` is missing"
        );
    }
}

#[test]
fn the_authors_guide_begins_with_an_example_that_works() {
    let guide = fs_err::read_to_string(root().join("docs/reference/scenarios.md")).unwrap();
    let example: Vec<&str> = guide
        .lines()
        .skip_while(|line| !line.starts_with("    "))
        .take_while(|line| line.starts_with("    "))
        .collect();
    assert!((1..=10).contains(&example.len()), "{example:?}");
    assert_eq!(
        parsed(Path::new("two-nodes.toml"), &example.join("\n"))
            .steps
            .len(),
        2
    );
}

#[test]
fn the_authors_guide_shows_a_base_that_works() {
    let guide = fs_err::read_to_string(root().join("docs/reference/scenarios.md")).unwrap();
    let example = |path: &str| -> String {
        let begin = format!("    # {path}");
        let lines = guide.lines().skip_while(|line| *line != begin);
        let lines = lines.take_while(|line| line.starts_with("    "));
        lines.collect::<Vec<_>>().join("\n")
    };
    let scenario = Path::new("scenarios/san/third-node.toml");
    let read_base = |path: &Path| Ok(example(&path.to_string_lossy()));
    let plan = parse_with(
        scenario,
        &example("scenarios/san/third-node.toml"),
        &[],
        &read_base,
    );
    let plan = plan.unwrap_or_else(|mistakes| panic!("{}", mistakes.render(false)));
    assert_eq!(
        (plan.nodes.len(), plan.layers.len(), plan.steps.len()),
        (3, 4, 2)
    );
}

#[test]
fn measuring_steps_are_told_in_a_line() {
    let source = Path::new("fixtures/accepted/throughput.toml");
    let plan = parsed(
        source,
        &fs_err::read_to_string(root().join(source)).unwrap(),
    );
    let lines: Vec<String> = plan
        .steps
        .iter()
        .map(|step| step.action.describe())
        .collect();
    let at = |number: usize| lines[number].as_str();
    assert_eq!(
        at(0),
        "measure dd: write 64MiB of {node}.throughput on a0, a1 by 1MiB, direct; 1 + 5 times"
    );
    assert_eq!(
        at(1),
        "measure fio: 10 s of randrw among 100MiB of deep/{node}.fio on a0 by 8KiB, direct, 16 at a time, \
         each forced out; 0 + 1 times"
    );
    assert_eq!(
        at(2),
        "measure dd: write 1MiB of {node}.throughput on a1 by 512B, buffered, fsync at the end; 1 + 5 times"
    );
    assert_eq!(
        at(9),
        "what `add_node` did to the writers of `load`, and what `more` adds to them: at most 90 % deep, \
         at most 5 s long, at least -10 % more in the end"
    );
    assert_eq!(at(10), "what `more` did to the writers of `load`");
}

#[test]
fn expectations_are_told_with_their_step() {
    let source = Path::new("fixtures/accepted/expect.toml");
    let plan = parsed(
        source,
        &fs_err::read_to_string(root().join(source)).unwrap(),
    );
    let lines: Vec<String> = plan.steps.iter().map(Step::describe).collect();
    let found = |words: &str| {
        let found = lines.iter().find(|line| line.starts_with(words));
        found.unwrap_or_else(|| panic!("{lines:#?}")).as_str()
    };
    assert_eq!(
        found("cut the power of storage0a"),
        r"cut the power of storage0a, whose disk loses its write cache; expects `I/O error.* sector \d+` in the kernel log of storage0a, storage0b, client0, client1, late"
    );
    assert_eq!(
        found("send KILL to every gnbd_serv on storage0a, storage0b"),
        "send KILL to every gnbd_serv on storage0a, storage0b; expects errors of devices served by storage0a, storage0b, \
         `WARNING` in the kernel log of late"
    );
    assert_eq!(
        found("run `sleep 30` on client0"),
        "run `sleep 30` on client0; expects client0 to fence itself, its own failure (node_down)"
    );
    assert_eq!(found("wait for `journal`"), "wait for `journal`");
}
