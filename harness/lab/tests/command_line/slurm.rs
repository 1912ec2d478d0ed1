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
    slurm_with(bin, arguments, &[])
}

/// The same with variables of the user's.
fn slurm_with(bin: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let path = std::env::var("PATH").expect("a PATH");
    Command::new(env!("CARGO_BIN_EXE_sanlab"))
        .arg("slurm")
        .args(arguments)
        .current_dir(super::project())
        .env("PATH", format!("{}:{path}", bin.display()))
        .envs(environment.iter().copied())
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
fn the_users_environment_neither_filters_what_is_listed_nor_overrides_what_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    let noted = at.join("noted");
    let note = noted.display();
    let sbatch =
        format!("printf '%s\\n' \"$@\" >> {note}; env | grep -e ^SBATCH >> {note}; echo 7");
    program(at, "sbatch", &sbatch);
    // As squeue does: with a filter nothing is listed, and that is no error.
    let squeue = "[ -z \"$SQUEUE_PARTITION$SQUEUE_USERS\" ] || exit 0; echo '1|COMPLETED|None|n1'";
    program(at, "squeue", squeue);
    let shared = at.join("shared");
    let shared = shared.to_str().unwrap();
    let arguments = [
        "--nodes=1",
        "--partition=night",
        "--sbatch=--comment=two words",
        "--shared",
        shared,
        SCENARIO,
    ];
    let environment = [
        ("SQUEUE_PARTITION", "day"),
        ("SQUEUE_USERS", "nobody"),
        ("SBATCH_WAIT", "1"),
        ("SBATCH_ACCOUNT", "tests"),
    ];
    let output = slurm_with(at, &arguments, &environment);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("job 7: 1 COMPLETED"), "{said}");
    let noted = fs::read_to_string(&noted).unwrap();
    let lines: Vec<&str> = noted.lines().collect();
    for line in [
        "--array=1-1",
        "--partition=night",
        "--comment=two words",
        "SBATCH_ACCOUNT=tests",
    ] {
        assert!(lines.contains(&line), "{line}: {noted}");
    }
    assert!(!noted.contains("SBATCH_WAIT"), "{noted}");
}

#[test]
fn a_job_of_which_no_task_was_seen_is_not_over() {
    for unseen in [
        "exit 0",
        "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1",
    ] {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        program(at, "sbatch", "echo 7");
        let cancelled = at.join("cancelled");
        let noted = cancelled.display();
        let squeue = format!("[ -e {noted} ] || {{ {unseen}; }}; echo '1|CANCELLED|None|'");
        program(at, "squeue", &squeue);
        program(at, "scancel", &format!("echo \"$@\" > {noted}"));
        let shared = at.join("shared");
        let shared = shared.to_str().unwrap();
        let arguments = ["--nodes=1", "--deadline=1s", "--shared", shared, SCENARIO];
        let output = slurm(at, &arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{said}");
        let told = "seen last: no task was seen; --deadline gives it longer";
        assert!(said.contains(told), "{said}");
        assert_eq!(fs::read_to_string(cancelled).unwrap(), "7\n");
    }
}

#[test]
fn a_job_of_another_cluster_is_looked_for_and_cancelled_there() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    program(at, "sbatch", "echo '7;east'");
    let cancelled = at.join("cancelled");
    let noted = cancelled.display();
    let squeue = format!(
        "case \"$*\" in *--clusters=east*) ;; *) exit 1 ;; esac\n\
         if [ -e {noted} ]; then echo '1|CANCELLED|None|'; else echo '1|PENDING|Resources|'; fi"
    );
    program(at, "squeue", &squeue);
    program(at, "scancel", &format!("echo \"$@\" > {noted}"));
    let shared = at.join("shared");
    let shared = shared.to_str().unwrap();
    let arguments = ["--nodes=1", "--deadline=1s", "--shared", shared, SCENARIO];
    let output = slurm(at, &arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("the end of job 7 of cluster east"), "{said}");
    let cancelled = fs::read_to_string(cancelled).unwrap();
    assert_eq!(cancelled, "--clusters=east 7\n");
}

#[test]
fn a_job_that_slurm_may_have_taken_without_an_answer_is_cancelled_by_its_name() {
    let submitted = |sbatch: &str| {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        program(at, "sbatch", sbatch);
        let cancelled = at.join("cancelled");
        program(
            at,
            "scancel",
            &format!("echo \"$@\" > {}", cancelled.display()),
        );
        let shared = at.join("shared");
        let shared = shared.to_str().unwrap();
        let output = slurm(
            at,
            &["--nodes=1", "--sbatch=-Meast", "--shared", shared, SCENARIO],
        );
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(3), "{said}");
        (said, fs::read_to_string(cancelled).ok())
    };
    let unheard = "Batch job submission failed: Socket timed out on send/recv operation";
    let (said, cancelled) = submitted(&format!("echo '{unheard}' >&2; exit 1"));
    let told = "Slurm may have taken it all the same, and it is cancelled by its name";
    assert!(said.contains(told), "{said}");
    let cancelled = cancelled.unwrap();
    let by_name = "--clusters=east --name=sanlab-2";
    assert!(cancelled.starts_with(by_name), "{cancelled}");
    let (said, cancelled) = submitted("echo 'sbatch: error: invalid partition' >&2; exit 1");
    assert!(said.contains("invalid partition"), "{said}");
    assert_eq!(cancelled, None);
}

#[test]
fn the_command_and_the_script_of_a_job_are_shown() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["--nodes=2", "--dry-run", "--time=1:00", SCENARIO];
    let shown = super::said(&slurm(folder.path(), &arguments), 0);
    assert!(shown.starts_with("#!/bin/sh\ncd "), "{shown}");
    let begin = "\n# sbatch --array=1-2 --requeue --open-mode=append --output=";
    assert!(shown.contains(begin), "{shown}");
    let rest = " --time=1:00 --job-name=sanlab-JOB --parsable ";
    assert!(shown.contains(rest), "{shown}");
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
