//! `sanlab slurm` with programs in place of Slurm's.

use std::path::Path;
use std::process::{Command, Output};

use fs_err as fs;

const SCENARIO: &str = "scenarios/throughput/two-nodes.toml";

fn program(folder: &Path, name: &str, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.join(name);
    fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("the folder takes a program");
    fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("a mode of its own");
}

fn slurm(bin: &Path, arguments: &[&str]) -> Output {
    let path = std::env::var("PATH").expect("a PATH");
    Command::new(env!("CARGO_BIN_EXE_sanlab"))
        .arg("slurm")
        .args(arguments)
        .current_dir(super::project())
        .env("PATH", format!("{}:{path}", bin.display()))
        .output()
        .expect("the binary starts")
}

#[test]
fn a_task_that_left_no_record_is_missing_in_the_merged_report() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    // Of two shards of one scenario the second has nothing to run, and needs no guest. The first is lost.
    let run = r#"for script; do :; done; SLURM_ARRAY_TASK_ID=2 sh "$script" >&2; echo 7"#;
    program(at, "sbatch", run);
    program(
        at,
        "squeue",
        "echo '1|FAILED|NodeDown|n1'; echo '2|COMPLETED|None|n2'",
    );
    let shared = at.join("shared");
    let shared = shared.to_str().unwrap();
    let output = slurm(at, &["--nodes", "2", "--shared", shared, SCENARIO]);
    let said = String::from_utf8_lossy(&output.stderr);
    let printed = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(3), "{said}{printed}");
    let told = "task 1: last seen as FAILED (NodeDown) on n1";
    assert!(said.contains(told), "{said}");
    assert!(printed.contains("throughput/two_nodes"), "{printed}");
}

#[test]
fn a_job_that_does_not_end_is_cancelled_and_what_was_seen_last_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    program(at, "sbatch", "echo 7");
    let cancelled = at.join("cancelled");
    let noted = cancelled.display();
    program(
        at,
        "squeue",
        &format!(
            "if [ -e {noted} ]; then echo '1|CANCELLED|None|'; else echo '1|PENDING|Resources|'; fi"
        ),
    );
    program(at, "scancel", &format!("echo $1 > {noted}"));
    let shared = at.join("shared");
    let shared = shared.to_str().unwrap();
    let arguments = ["--nodes=1", "--deadline=1s", "--shared", shared, SCENARIO];
    let output = slurm(at, &arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    for told in [
        "seen last: 1 PENDING",
        "task 1: last seen as CANCELLED",
        "no task has left a run folder",
    ] {
        assert!(said.contains(told), "{said}");
    }
    assert_eq!(fs::read_to_string(cancelled).unwrap(), "7\n");
}

#[test]
fn an_argument_that_run_does_not_know_is_refused_before_anything_is_submitted() {
    let folder = tempfile::tempdir().unwrap();
    let output = slurm(
        folder.path(),
        &["--nodes", "2", SCENARIO, "--", "--repaet", "2"],
    );
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("--repeat"), "{said}");
}
