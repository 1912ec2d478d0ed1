//! The house rules that no compiler knows. `ci/check` runs this alone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use fs_err as fs;

/// Which crates each crate may use, itself left out: the pipeline, with `record` beside it.
const ARROWS: [(&str, &[&str]); 12] = [
    ("sanlab-lock", &[]),
    ("sanlab-plan", &[]),
    ("sanlab-record", &[]),
    // What QEMU loads into itself.
    ("sanlab-counter", &[]),
    ("sanlab-vm", &["sanlab-counter"]),
    ("sanlab-image", &["sanlab-lock", "sanlab-plan"]),
    (
        "sanlab-fleet",
        &["sanlab-lock", "sanlab-plan", "sanlab-image", "sanlab-vm"],
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
    ("fake-qemu", &[]),
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
            let is_test_double = used == "fake-qemu" && dependency["kind"] == "dev";
            if names.contains(used) && !allowed.contains(&used) && !is_test_double {
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

/// Where time itself is the matter: acted guests, the measuring of the host's clock, and crashes at drawn moments.
const TIMED: [&str; 4] = ["playact.rs", "tests.rs", "clock.rs", "crash.rs"];

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
