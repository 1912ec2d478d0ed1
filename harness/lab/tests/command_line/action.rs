//! The action of `ci/action`: its scripts, as a runner calls them, with an API of GitHub's on loopback.
#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::thread::JoinHandle;

use fs_err as fs;
use serde_json::{Value, json};

use super::project;

/// An API that gives these answers in turn, each a status and a body; it ends with the request after the last.
struct Api {
    url: String,
    heard: JoinHandle<Vec<String>>,
}

impl Api {
    fn new(answers: impl IntoIterator<Item = (u16, Value)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let mut answers: VecDeque<_> = answers.into_iter().collect();
        let heard = std::thread::spawn(move || {
            let mut heard = Vec::new();
            while let Some((status, body)) = answers.pop_front() {
                let (stream, _) = listener.accept().unwrap();
                heard.push(answer(stream, status, &body));
            }
            heard
        });
        Self { url, heard }
    }
}

/// Answers one request; gives its method, path and body.
fn answer(stream: TcpStream, status: u16, answer: &Value) -> String {
    let mut reader = BufReader::new(stream);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if line.trim().is_empty() {
            break;
        }
        head.push(line.trim().to_owned());
    }
    assert!(
        head.contains(&"Authorization: Bearer secret".to_owned()),
        "{head:?}"
    );
    let length = head
        .iter()
        .find_map(|line| line.strip_prefix("Content-Length: "));
    let length: usize = length.map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let text = answer.to_string();
    let reply = format!(
        "HTTP/1.1 {status} Status\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
        text.len()
    );
    reader.into_inner().write_all(reply.as_bytes()).unwrap();
    let request = head[0].trim_end_matches(" HTTP/1.1");
    format!("{request} {}", String::from_utf8_lossy(&body))
        .trim_end()
        .to_owned()
}

fn comment(folder: &Path, url: &str) -> String {
    let output = script("comment", folder)
        .env("GITHUB_API_URL", url)
        .output();
    said(&output.unwrap())
}

fn script(name: &str, folder: &Path) -> Command {
    let mut command = Command::new(project().join("ci/action").join(name));
    command
        .current_dir(folder)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("TITLE", "storage")
        .env("GITHUB_TOKEN", "secret")
        .env("GITHUB_REPOSITORY", "me/mine")
        .env("GITHUB_EVENT_PATH", folder.join("event.json"));
    command
}

fn said(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A project whose runs have a report.
fn reported(text: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("target/sanlab/report");
    fs::create_dir_all(&report).unwrap();
    fs::write(report.join("summary.md"), text).unwrap();
    fs::write(
        folder.path().join("event.json"),
        r#"{"pull_request": {"number": 7}}"#,
    )
    .unwrap();
    folder
}

#[test]
fn the_first_report_is_a_comment_and_the_next_takes_its_place() {
    let folder = reported("2 passed\n");
    let api = Api::new([(200, json!([])), (201, json!({}))]);
    assert_eq!(comment(folder.path(), &api.url), "");
    insta::assert_snapshot!(api.heard.join().unwrap().join("\n"), @r#"
    GET /repos/me/mine/issues/7/comments?per_page=100&page=1
    POST /repos/me/mine/issues/7/comments {"body": "<!-- sanlab: storage -->\n2 passed\n"}
    "#);

    let others = |count: usize| vec![json!({"id": 1, "body": "storage is slow"}); count];
    let mut second = others(3);
    second.push(json!({"id": 42, "body": "<!-- sanlab: storage -->\n1 failed"}));
    let api = Api::new([
        (200, Value::from(others(100))),
        (200, Value::from(second)),
        (200, json!({})),
    ]);
    assert_eq!(comment(folder.path(), &api.url), "");
    insta::assert_snapshot!(api.heard.join().unwrap().join("\n"), @r#"
    GET /repos/me/mine/issues/7/comments?per_page=100&page=1
    GET /repos/me/mine/issues/7/comments?per_page=100&page=2
    PATCH /repos/me/mine/issues/comments/42 {"body": "<!-- sanlab: storage -->\n2 passed\n"}
    "#);
}

#[test]
fn a_report_that_is_too_long_is_cut() {
    let folder = reported(&"ä".repeat(70_000));
    let api = Api::new([(200, json!([])), (201, json!({}))]);
    comment(folder.path(), &api.url);
    let heard = api.heard.join().unwrap();
    let (_, body) = heard[1].split_once("comments ").unwrap();
    let body: Value = serde_json::from_str(body).unwrap();
    let body = body["body"].as_str().unwrap();
    assert_eq!(body.chars().count(), 65_536);
    assert!(body.ends_with("the whole report is in the job's summary)\n"));
}

#[test]
fn a_comment_that_is_refused_is_a_warning_with_the_way_out() {
    let folder = reported("2 passed\n");
    let forbidden = json!({"message": "Resource not accessible by integration"});
    let api = Api::new([(200, json!([])), (403, forbidden)]);
    let refused = comment(folder.path(), &api.url);
    api.heard.join().unwrap();
    let api = Api::new([(502, json!({}))]);
    let broken = comment(folder.path(), &api.url);
    fs::remove_file(folder.path().join("target/sanlab/report/summary.md")).unwrap();
    let nothing = comment(folder.path(), "http://127.0.0.1:1");
    insta::assert_snapshot!([refused, broken, nothing].join("\n"), @r#"
    ::warning::no comment: the API refuses it (403 Status). The job needs `permissions: pull-requests: write`; a pull request from a fork has a token that may only read. The report is in the job's summary.
    ::warning::no comment: the API answers 502 Status. The report is in the job's summary.
    ::warning::no comment: there is no target/sanlab/report/summary.md, since no run has left a record
    "#);
}

#[test]
fn scenarios_and_arguments_are_given_a_line_each() {
    let folder = reported("");
    let path = folder.path();
    fs::create_dir_all(path.join("scenarios")).unwrap();
    for name in ["b", "a", "with space"] {
        fs::write(path.join(format!("scenarios/{name}.toml")), "").unwrap();
    }
    let stub = path.join("sanlab");
    fs::write(&stub, "#!/bin/sh\nprintf '<%s>' \"$@\"\n").unwrap();
    fs::set_permissions(&stub, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let tools = std::env::var("PATH").unwrap();
    let run = |scenarios: &str| {
        let mut run = script("run", path);
        run.env("PATH", format!("{}:{tools}", path.display()))
            .env("SCENARIOS", scenarios)
            .env("ARGUMENTS", "--module\nx86_64:build dir/ocfs2.ko\n")
            .env("HOLD", "30m");
        run.output().unwrap()
    };
    let given = said(&run("scenarios/*.toml\n"));
    insta::assert_snapshot!(given, @"<run><--keep-going><--module><x86_64:build dir/ocfs2.ko><--hold><30m><--><scenarios/a.toml><scenarios/b.toml><scenarios/with space.toml>");
    let shard = |shard: &str, shards: &str| {
        let mut run = script("run", path);
        run.env("PATH", format!("{}:{tools}", path.display()))
            .env("SCENARIOS", "scenarios/a.toml")
            .env("ARGUMENTS", "")
            .env("SHARD", shard)
            .env("SHARDS", shards);
        run.output().unwrap()
    };
    insta::assert_snapshot!(said(&shard("2", "3")), @"<run><--keep-going><--shard><2/3><--><scenarios/a.toml>");
    insta::assert_snapshot!(said(&shard("", "")), @"<run><--keep-going><--><scenarios/a.toml>");
    for (one, other) in [("2", ""), ("", "3")] {
        let alone = shard(one, other);
        assert_eq!(alone.status.code(), Some(2));
        let said = String::from_utf8_lossy(&alone.stdout);
        assert_eq!(
            said.trim(),
            "::error::shard and shards go together, such as shard: ${{ matrix.shard }} and shards: 3"
        );
    }
    let none = run("scenarios/c*.toml");
    assert_eq!(none.status.code(), Some(2));
    let said = String::from_utf8_lossy(&none.stdout);
    assert_eq!(
        said.trim(),
        "::error::no scenario is called scenarios/c*.toml"
    );
}

#[test]
fn what_shards_have_uploaded_is_merged_and_reported() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    fs::create_dir_all(path.join("scenarios")).unwrap();
    let scenario = "name = \"a\"\nnodes = { \"vix[0-1]\" = { arch = \"x86\" } }\n\
                    layer = [{ nbd = { disk = \"64MiB\" } }]\n";
    fs::write(path.join("scenarios/a.toml"), scenario).unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_sanlab"));
    let tools = std::env::var("PATH").unwrap();
    let tools = format!("{}:{tools}", program.parent().unwrap().display());
    let merge = || {
        let mut merge = script("merge", path);
        merge.env("PATH", &tools).env("HOME", path);
        let output = merge.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), format!("{said}{errors}"))
    };
    let (code, none) = merge();
    assert_eq!(code, Some(2), "{none}");
    assert!(none.contains("find the run folder of a shard"), "{none}");
    // The shard with nothing to run needs no guest; the other one has left nothing.
    let mut run = script("run", path);
    run.env("PATH", &tools)
        .env("HOME", path)
        .env("SCENARIOS", "scenarios/a.toml")
        .env("ARGUMENTS", "")
        .env("SHARD", "2")
        .env("SHARDS", "2")
        .env("SANLAB_RUNS", "target/sanlab/shards/storage-shard-2/runs");
    said(&run.output().unwrap());
    let (code, lacking) = merge();
    assert_eq!(code, Some(3), "{lacking}");
    assert!(
        lacking.contains("1/2          0        1  not there"),
        "{lacking}"
    );
    let report = project().join("ci/runner-report");
    let mut report = Command::new(report);
    report
        .current_dir(path)
        .env("SANLAB", program)
        .env("TITLE", "storage")
        .env_remove("SANLAB_RUNS")
        .env_remove("GITHUB_STEP_SUMMARY");
    said(&report.output().unwrap());
    let junit = fs::read_to_string(path.join("target/sanlab/report/junit.xml")).unwrap();
    assert!(junit.contains("shard 1/2 is not there"), "{junit}");
}

#[test]
fn a_cache_s_key_follows_from_what_is_cached() {
    let folder = tempfile::tempdir().unwrap();
    let lab = folder.path().join("lab");
    fs::create_dir_all(lab.join("ci/action")).unwrap();
    fs::copy(project().join("ci/action/keys"), lab.join("ci/action/keys")).unwrap();
    for file in [
        "Cargo.toml",
        "Cargo.lock",
        "images/a.lock",
        "images/target/made",
        "harness/lab/src/main.rs",
        "harness/image/src/lib.rs",
    ] {
        let file = lab.join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, "").unwrap();
    }
    let keys = || {
        let out = folder.path().join("output");
        let status = Command::new(lab.join("ci/action/keys"))
            .env("GITHUB_OUTPUT", &out)
            .status();
        assert!(status.unwrap().success());
        let text = fs::read_to_string(&out).unwrap();
        fs::remove_file(out).unwrap();
        let keys: Vec<String> = text.lines().map(str::to_owned).collect();
        <[String; 2]>::try_from(keys).unwrap()
    };
    let first = keys();
    assert!(first[0].starts_with("program=") && first[1].starts_with("images="));
    fs::write(lab.join("images/target/made"), "again").unwrap();
    assert_eq!(keys(), first);
    fs::write(lab.join("harness/lab/src/main.rs"), "fn main() {}").unwrap();
    let [program, images] = keys();
    assert!(program != first[0] && images == first[1]);
    fs::write(lab.join("images/a.lock"), "a newer package").unwrap();
    let [_, images] = keys();
    assert_ne!(images, first[1]);
}
