//! House rules that no compiler checks.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::process::Command;

use fs_err as fs;
use sanlab_plan::{Arch, Plan, Tier};

/// Which crates each crate may use, itself left out: the pipeline, with `record` beside it.
const ARROWS: [(&str, &[&str]); 13] = [
    ("sanlab-lock", &[]),
    ("sanlab-plan", &[]),
    ("sanlab-record", &[]),
    // What QEMU loads into itself.
    ("sanlab-counter", &[]),
    (
        "sanlab-vm",
        &["sanlab-lock", "sanlab-plan", "sanlab-counter"],
    ),
    ("sanlab-image", &["sanlab-lock", "sanlab-plan"]),
    (
        "sanlab-fleet",
        &[
            "sanlab-lock",
            "sanlab-plan",
            "sanlab-record",
            "sanlab-image",
            "sanlab-vm",
        ],
    ),
    ("sanlab-stack", &["sanlab-plan"]),
    (
        "sanlab-run",
        &[
            "sanlab-plan",
            "sanlab-record",
            "sanlab-fleet",
            "sanlab-stack",
        ],
    ),
    // Records alone: it knows neither guests nor fleets.
    ("sanlab-report", &["sanlab-record"]),
    (
        "sanlab",
        &[
            "sanlab-lock",
            "sanlab-plan",
            "sanlab-record",
            "sanlab-image",
            "sanlab-vm",
            "sanlab-fleet",
            "sanlab-stack",
            "sanlab-run",
            "sanlab-report",
        ],
    ),
    // Test support.
    ("fake-qemu", &[]),
    ("guest-trials", &["sanlab-plan"]),
];

const LONGEST_FILE: usize = 600;

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .expect("the tests run in a checkout")
}

/// Every file of the sources, `target` and hidden folders left out.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder that can be listed") {
        let path = entry.expect("an entry").path();
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        if name.starts_with('.') || name == "target" {
            continue;
        }
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
}

#[test]
fn crates_use_only_what_stands_before_them() {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args([
            "metadata",
            "--no-deps",
            "--offline",
            "--format-version",
            "1",
        ])
        .current_dir(project())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let names: BTreeSet<&str> = packages
        .iter()
        .map(|package| package["name"].as_str().unwrap())
        .collect();
    let arrows = BTreeMap::from(ARROWS);
    let mut wrong = Vec::new();
    for package in packages {
        let name = package["name"].as_str().unwrap();
        let Some(allowed) = arrows.get(name) else {
            wrong.push(format!(
                "{name} has no place in the pipeline: add it to ARROWS"
            ));
            continue;
        };
        for dependency in package["dependencies"].as_array().unwrap() {
            let used = dependency["name"].as_str().unwrap();
            let is_support =
                ["fake-qemu", "guest-trials"].contains(&used) && dependency["kind"] == "dev";
            if names.contains(used) && !allowed.contains(&used) && !is_support {
                wrong.push(format!("{name} must not use {used}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn files_are_short() {
    let mut all = Vec::new();
    files(&project(), &mut all);
    let sources = all
        .iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    let lengths: Vec<(usize, &PathBuf)> = sources
        .map(|path| (fs::read_to_string(path).unwrap().lines().count(), path))
        .collect();
    assert!(
        lengths.len() > 20,
        "found only {} source files",
        lengths.len()
    );
    let long: Vec<_> = lengths
        .iter()
        .filter(|(lines, _)| *lines > LONGEST_FILE)
        .collect();
    assert!(
        long.is_empty(),
        "longer than {LONGEST_FILE} lines: {long:?}"
    );
}

/// Where waiting for time is what is meant: the fake fleet, the measuring of the host's clock, crashes at drawn moments, and faults
/// that last for a time.
const TIMED: [&str; 6] = [
    "fake_fleet.rs",
    "tests.rs",
    "clock.rs",
    "crash.rs",
    "open.rs",
    "pause.rs",
];

#[test]
fn no_sleep_is_bare() {
    let mut all = Vec::new();
    files(&project(), &mut all);
    let mut bare = Vec::new();
    for path in all
        .iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
    {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if TIMED.contains(&name.as_ref()) || name == "house.rs" {
            continue;
        }
        let text = fs::read_to_string(path).unwrap();
        // What follows is the tests of the file.
        let text = text.split("#[cfg(test)]").next().unwrap_or_default();
        for function in text.split("fn ").skip(1) {
            let waits = function.contains("sleep(");
            let looks_again = ["loop {", "while ", "for ", "select!"]
                .iter()
                .any(|word| function.contains(word));
            if waits && !looks_again {
                bare.push(format!(
                    "{}: fn {}",
                    path.display(),
                    function.lines().next().unwrap_or_default()
                ));
            }
        }
    }
    assert!(
        bare.is_empty(),
        "waits for time instead of a condition:\n{}",
        bare.join("\n")
    );
}

/// What a guest's userland is called stands in `plan/src/guest.rs`. A POSIX shell is called so everywhere.
#[test]
fn only_the_guest_adapter_knows_where_programs_are() {
    let mut elsewhere = Vec::new();
    for name in ["vm", "fleet", "stack", "run"] {
        let mut all = Vec::new();
        files(&project().join("harness").join(name).join("src"), &mut all);
        all.retain(|path| path.extension().is_some_and(|extension| extension == "rs"));
        assert!(!all.is_empty(), "{name} has no sources");
        for path in all {
            if path.components().any(|part| part.as_os_str() == "tests")
                || path.ends_with("tests.rs")
            {
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let text = text.split("#[cfg(test)]").next().unwrap_or_default();
            let code = text
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"));
            for line in code {
                let line = line.replace("/bin/sh", "");
                if line.contains("/bin/") || line.contains("/sbin/") {
                    elsewhere.push(format!("{}: {}", path.display(), line.trim()));
                }
            }
        }
    }
    assert!(
        elsewhere.is_empty(),
        "programs of guests:\n{}",
        elsewhere.join("\n")
    );
}

/// Commands use the rest of the lab, and nothing there uses a command, but for tests.
#[test]
fn nothing_below_commands_uses_one() {
    let sources = project().join("harness/lab/src");
    let mut all = Vec::new();
    files(&sources, &mut all);
    all.retain(|path| {
        path.extension().is_some_and(|extension| extension == "rs")
            && !path.starts_with(sources.join("commands"))
            && !path.ends_with("tests.rs")
    });
    assert!(all.len() > 20, "found only {} source files", all.len());
    let upwards = all.iter().filter(|path| {
        let text = fs::read_to_string(path).unwrap();
        text.contains("crate::commands")
    });
    let upwards: Vec<_> = upwards.collect();
    assert!(upwards.is_empty(), "use commands: {upwards:?}");
}

/// What `ci/test` runs has every layer and every step that there is, and both architectures.
#[test]
fn the_test_tier_covers_every_layer_and_step() {
    let files = sanlab::scenario::find(&project().join("scenarios")).unwrap();
    let plans = files.iter().map(|file| {
        let plan = sanlab::scenario::load(file);
        plan.unwrap_or_else(|error| panic!("{}", error.show(false)))
    });
    let plans: Vec<Plan> = plans.filter(|plan| plan.tier == Tier::Test).collect();
    // A variant's name is the key of the file without its underscores.
    let variant = |value: &dyn Debug| {
        let text = format!("{value:?}").to_lowercase();
        text.split('(').next().unwrap_or_default().to_owned()
    };
    let layers = plans.iter().flat_map(|plan| &plan.layers);
    let steps = plans.iter().flat_map(|plan| &plan.steps);
    let used: BTreeSet<String> = layers
        .map(|placed| variant(&placed.layer))
        .chain(steps.map(|step| variant(&step.action)))
        .collect();
    let schema: serde_json::Value = serde_json::from_str(&sanlab_plan::schema()).unwrap();
    let mut lacking = Vec::new();
    for list in ["layer", "step"] {
        let kinds = schema["properties"][list]["items"]["oneOf"].as_array();
        for kind in kinds.expect("the schema lists the kinds") {
            let kind = kind["required"][0].as_str().unwrap();
            if !used.contains(&kind.replace('_', "")) {
                lacking.push(format!("the {list} `{kind}`"));
            }
        }
    }
    let nodes = plans.iter().flat_map(|plan| &plan.nodes);
    let archs: BTreeSet<Arch> = nodes.map(|node| node.hardware.arch).collect();
    for arch in Arch::ALL.iter().filter(|arch| !archs.contains(arch)) {
        lacking.push(format!("nodes of {arch}"));
    }
    assert!(
        lacking.is_empty(),
        "no scenario of `tier = \"test\"` has {}",
        lacking.join(", ")
    );
}

/// Links of Markdown files lead to files and headings that are there. Pages of `docs/` link among themselves only: they are a book,
/// too.
#[test]
fn links_lead_somewhere() {
    let mut pages = Vec::new();
    files(&project(), &mut pages);
    pages.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    let book = project().join("docs");
    let mut links = 0;
    let mut broken = Vec::new();
    for page in &pages {
        for link in links_of(&fs::read_to_string(page).unwrap()) {
            if link.contains("://") {
                continue;
            }
            links += 1;
            let (path, heading) = link.split_once('#').unwrap_or((&link, ""));
            let target = match path {
                "" => page.clone(),
                path => page.parent().unwrap().join(path),
            };
            let leads = target.canonicalize().is_ok_and(|target| {
                (heading.is_empty() || headings(&target).contains(heading))
                    && (!page.starts_with(&book) || target.starts_with(&book))
            });
            if !leads {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(links > 50, "found only {links} links");
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    let summary = fs::read_to_string(book.join("SUMMARY.md")).unwrap();
    let listed: BTreeSet<PathBuf> = links_of(&summary).map(|link| book.join(link)).collect();
    let unlisted = pages.iter().filter(|page| {
        page.starts_with(&book) && !page.ends_with("SUMMARY.md") && !listed.contains(*page)
    });
    let unlisted: Vec<_> = unlisted.collect();
    assert!(unlisted.is_empty(), "not in SUMMARY.md: {unlisted:?}");
}

/// What stands in `](...)`, outside of code.
fn links_of(text: &str) -> impl Iterator<Item = String> {
    let mut inside = false;
    let lines = text.lines().filter(move |line| {
        let fence = line.starts_with("```");
        inside ^= fence;
        !inside && !fence && !line.starts_with("    ")
    });
    let joined = lines.collect::<Vec<_>>().join("\n");
    let ends: Vec<String> = joined
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'))
        .map(|(link, _)| link.to_owned())
        .collect();
    ends.into_iter()
}

/// The names by which headings of a page are linked to.
fn headings(page: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(page).expect("a page that is linked to");
    let titles = text.lines().filter_map(|line| line.strip_prefix('#'));
    let name = |title: &str| {
        let title = title.trim_start_matches('#').trim().to_lowercase();
        let kept = title
            .chars()
            .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    titles.map(name).collect()
}
