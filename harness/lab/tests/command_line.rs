//! The program as a stranger calls it, as far as no guest is needed.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

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
