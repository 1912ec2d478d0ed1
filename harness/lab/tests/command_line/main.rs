//! The program as a user calls it, as far as no guest is needed.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use sanlab_image::{Kind, Store};
use serde_json::json;

mod action;
mod ci_scripts;
mod comparing;
mod kubernetes;
mod kvm;
mod reports;
mod shards;
mod slurm;

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .expect("the tests run in a checkout")
}

fn sanlab(arguments: &[&str], files: &[PathBuf]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sanlab"));
    command
        .args(arguments)
        .args(files)
        .current_dir(project())
        .output()
        .expect("the binary starts")
}

/// What the program has printed, if it has ended with that code.
fn said(output: &Output, code: i32) -> String {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}{complained}");
    format!("{said}{complained}")
}

/// The scenario files of a folder, relative to the project.
fn files(folder: &str) -> Vec<PathBuf> {
    let project = project();
    let found = sanlab::scenario::find(&project.join(folder)).expect("a folder of the checkout");
    let files: Vec<PathBuf> = found
        .iter()
        .filter_map(|path| path.strip_prefix(&project).ok())
        .map(Path::to_owned)
        .collect();
    assert!(!files.is_empty(), "{folder} is empty");
    files
}

#[test]
fn every_rejected_file_is_named_and_the_exit_code_is_2() {
    let files = files("fixtures/rejected");
    let output = sanlab(&["check"], &files);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    for file in &files {
        assert!(
            said.contains(&format!("{}:", file.display())),
            "{} is not named in:\n{said}",
            file.display()
        );
    }
    assert!(
        said.contains(&format!("{0} of {0} files rejected", files.len())),
        "{said}"
    );
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "");
}

#[test]
fn one_bad_file_among_good_ones_is_enough() {
    let mut files = files("fixtures/accepted");
    let good = files.len();
    files.insert(0, self::files("fixtures/rejected").swap_remove(0));
    let output = sanlab(&["check"], &files);
    assert_eq!(output.status.code(), Some(2));
    let ok = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        ok.lines().filter(|line| line.contains(": ok: ")).count(),
        good,
        "{ok}"
    );
}

#[test]
fn every_scenario_and_accepted_file_passes() {
    let files = [files("scenarios"), files("fixtures/accepted")].concat();
    let output = sanlab(&["check"], &files);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn run_starts_nothing_when_one_file_is_rejected() {
    let files = [
        files("scenarios").swap_remove(0),
        files("fixtures/rejected").swap_remove(0),
    ];
    let output = sanlab(&["run"], &files);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "");
}

#[test]
fn a_file_that_is_not_there_is_wrong_input_and_is_named() {
    let output = sanlab(&["check", "no/such.toml"], &[]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("no/such.toml"), "{said}");
}

#[test]
fn no_arguments_are_wrong_usage() {
    assert_eq!(sanlab(&["check"], &[]).status.code(), Some(2));
    assert_eq!(sanlab(&["frobnicate"], &[]).status.code(), Some(2));
}

#[test]
fn doctor_names_what_is_missing_and_ci_host_packages_installs_it() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sanlab"));
    let output = command
        .arg("doctor")
        .current_dir(project())
        .env("PATH", "/nonexistent")
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(3), "{said}");
    let (_, packages) = said
        .split_once("apt-get install --no-install-recommends ")
        .unwrap();
    let script = fs_err::read_to_string(project().join("ci/host-packages")).unwrap();
    let installed: Vec<&str> = script
        .split(|c: char| c.is_whitespace() || c == ')')
        .collect();
    let packages: Vec<&str> = packages.split_whitespace().collect();
    assert!(packages.contains(&"qemu-system-x86"), "{packages:?}");
    for package in packages {
        assert!(
            installed.contains(&package),
            "ci/host-packages does not install {package}"
        );
    }
}

/// What `sanlab cache` says of a store.
fn cache(store: &Store, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_sanlab"))
        .arg("cache")
        .args(arguments)
        .current_dir(project())
        .env("SANLAB_CACHE", store.root())
        .env_remove("SANLAB_CACHE_LIMIT")
        .output()
        .expect("the binary starts");
    let failed = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{failed}");
    String::from_utf8(output.stdout).expect("it says text")
}

#[test]
fn the_cache_is_listed_and_made_smaller_but_for_what_is_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::at(folder.path()).unwrap();
    assert!(cache(&store, &["ls"]).starts_with("0 entries"));
    let publish = |kind: Kind, key: &str, about: &str| {
        let claim = store.claim(kind, key, |_| ()).unwrap();
        let workspace = claim.workspace().unwrap();
        fs_err::write(workspace.path().join("n0.disk"), vec![7; 3 << 20]).unwrap();
        workspace.publish(&json!({ "about": about })).unwrap()
    };
    let used = publish(Kind::Checkpoint, &"ab".repeat(32), "mount: layers");
    drop(publish(Kind::Template, &"cd".repeat(32), "x86"));

    let listed = cache(&store, &["ls"]);
    let line = |word: &str| {
        let line = listed.lines().find(|line| line.starts_with(word));
        line.unwrap_or_else(|| panic!("no {word} in:\n{listed}"))
    };
    let checkpoint = line("checkpoint");
    for word in ["abababababab ", "3.0 MiB", "in use", "mount: layers"] {
        assert!(checkpoint.contains(word), "no `{word}` in {checkpoint}");
    }
    assert!(line("template").contains("idle"), "{listed}");
    assert!(line("2 entries").contains("limit 16 GiB"), "{listed}");

    let roomy = cache(&store, &["gc"]);
    assert!(roomy.starts_with("removed 0 entries"), "{roomy}");
    let collected = cache(&store, &["gc", "--max-size", "1MiB"]);
    assert!(collected.contains("cdcdcdcdcdcd"), "{collected}");
    assert!(
        collected.contains("removed 1 entry of 3.0 MiB"),
        "{collected}"
    );
    assert!(
        collected.contains("more than 1 MiB, for what is in use stays"),
        "{collected}"
    );
    assert!(used.path().join("n0.disk").exists());
    drop(used);
    let collected = cache(&store, &["gc", "--max-size", "1MiB"]);
    assert!(collected.contains("0 B left"), "{collected}");
}

#[test]
fn a_limit_of_the_cache_that_is_no_size_is_wrong_input() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_sanlab"))
        .args(["cache", "gc"])
        .current_dir(project())
        .env("SANLAB_CACHE", folder.path())
        .env("SANLAB_CACHE_LIMIT", "much")
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("SANLAB_CACHE_LIMIT `much`"), "{said}");
}

#[test]
fn plan_says_whether_a_scenario_is_fresh_and_what_it_leaves_to_the_lab() {
    let plan = |file: &str| {
        let output = sanlab(&["plan", "--accel", "tcg", file], &[]);
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0), "{said}");
        said
    };
    let fresh = plan("scenarios/nbd-striped-ocfs2/mount.toml");
    assert!(fresh.contains("fresh: built from nothing"), "{fresh}");
    let forked = plan("scenarios/nbd-striped-ocfs2/linear.toml");
    assert!(forked.contains("forked from"), "{forked}");
    assert!(forked.contains("MTU 16000, the lab's default"), "{forked}");
}

#[test]
fn a_runtime_folder_that_others_may_enter_is_told_before_images_are_built() {
    let folder = tempfile::tempdir().unwrap();
    let [cache, runs, runtime] = ["cache", "runs", "runtime"].map(|name| folder.path().join(name));
    fs_err::create_dir(&runtime).unwrap();
    fs_err::set_permissions(&runtime, PermissionsExt::from_mode(0o755)).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_sanlab"))
        .args(["run", "scenarios/nbd-striped-ocfs2/mount.toml"])
        .current_dir(project())
        .env("SANLAB_CACHE", &cache)
        .env("SANLAB_RUNS", &runs)
        .env("SANLAB_RUNTIME", &runtime)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("its mode is not 0700"), "{said}");
    assert!(said.contains("set SANLAB_RUNTIME"), "{said}");
    assert!(!cache.exists() && !runs.exists(), "{said}");
}
