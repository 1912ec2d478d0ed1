//! `sanlab kubernetes`: what it prints, and what it refuses.

use std::path::Path;
use std::process::{Command, Output};

use fs_err as fs;

use super::said;

const SCENARIO: &str = "\
base = \"base/two.toml\"
name = \"mount\"

step = [{ run = { command = \"echo \\\"a\\tb\\\"\" } }]
";

const BASE: &str = "\
nodes = { \"vix[0-1]\" = { arch = \"x86\" } }
layer = [{ nbd = { disk = \"64MiB\" } }]
";

/// A project with two scenarios.
fn project() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let scenarios = folder.path().join("scenarios/base");
    fs::create_dir_all(&scenarios).expect("a folder is made");
    for (path, text) in [
        ("base/two.toml", BASE),
        ("mount.toml", SCENARIO),
        ("a b.toml", SCENARIO),
    ] {
        fs::write(folder.path().join("scenarios").join(path), text).expect("a file is written");
    }
    folder
}

fn kubernetes(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sanlab"))
        .arg("kubernetes")
        .args(arguments)
        .current_dir(folder)
        .output()
        .expect("the binary starts")
}

#[test]
fn scenarios_are_a_job_and_a_config_map() {
    let project = project();
    let files = [
        "scenarios/mount.toml",
        "scenarios/a b.toml",
        "--shards",
        "2",
    ];
    let plain = said(&kubernetes(project.path(), &files), 0);
    insta::assert_snapshot!("plain", plain);
    let options = [
        "--name=night-2",
        "--image=registry.example.org/sanlab:1",
        "--kvm-resource=devices.kubevirt.io/kvm",
        "--store-claim=store",
        "--runs-claim=runs",
        "--checkout=project",
        "--cpus=8",
        "--",
        "--repeat=3",
        "--matrix=mtu=1500,9000",
        "--set=fresh=true",
        "--seed=7",
    ];
    let all = said(
        &kubernetes(project.path(), &[&files, &options[..]].concat()),
        0,
    );
    insta::assert_snapshot!("every_option", all);
}

#[test]
fn what_no_cluster_could_run_is_refused_with_a_way_out() {
    let project = project();
    let file = "scenarios/mount.toml";
    let refused = |arguments: &[&str]| {
        let output = kubernetes(project.path(), arguments);
        assert!(output.stdout.is_empty());
        let said = said(&output, 2);
        said.replace(
            &*fs::canonicalize(project.path())
                .expect("it is there")
                .to_string_lossy(),
            "PROJECT",
        )
    };
    let outside = tempfile::tempdir().expect("a temporary folder");
    let other = outside.path().join("other.toml");
    fs::write(&other, format!("name = \"other\"\n{BASE}")).expect("a file is written");
    let of_file = "\nartefact = [{ file = { to = \"/etc/two\", from = \"base/two.toml\" } }]\n";
    let tested = project.path().join("scenarios/tested.toml");
    fs::write(&tested, format!("{SCENARIO}{of_file}")).expect("a file is written");
    let long = project.path().join("scenarios/long.toml");
    fs::write(&long, format!("{SCENARIO}{}", "# long\n".repeat(200_000)))
        .expect("a file is written");
    let other = other.to_str().expect("a path of letters");
    let told = [
        refused(&["--shards", "2"]),
        refused(&[file]),
        refused(&[file, "--shards", "0"]),
        refused(&[file, "--shards", "2", "--name", "Night_2"]),
        refused(&[file, "--shards", "2", "--kvm-resource", "/dev/kvm"]),
        refused(&["scenarios/tested.toml", "--shards", "2"]),
        refused(&["scenarios/long.toml", "--shards", "2"]),
        refused(&["scenarios/none.toml", "--shards", "2"]),
        refused(&[other, "--shards", "2"]).replace(other, "OTHER"),
        refused(&[file, "--shards", "2", "--", "--set=qemu=scenarios"]),
        refused(&[file, "--shards", "2", "--", "scenarios/a b.toml"]),
    ];
    insta::assert_snapshot!(told.join("\n"));
    for (argument, told) in [
        ("--repaet=2", "--repeat"),
        ("--accel=kvm", "multiple times"),
    ] {
        let refused = refused(&[file, "--shards", "2", "--", argument]);
        assert!(refused.contains(told), "{refused}");
    }
    let checkout = ["--checkout=project", "--", "--set=qemu=scenarios"];
    said(
        &kubernetes(
            project.path(),
            &[&[file, "--shards=2"], &checkout[..]].concat(),
        ),
        0,
    );
    // More shards than scenarios are no mistake: a shard with nothing to run passes.
    said(&kubernetes(project.path(), &[file, "--shards", "3"]), 0);
}
