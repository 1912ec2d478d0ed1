//! The program of another git revision of sanlab: taken from the repository, built once, run as a child.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use fs_err as fs;
use sanlab_report::load::{self, LoadedRun};
use sanlab_run::Extent;
use sanlab_vm::AcceleratorWish;
use tokio::process::{Child, Command};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::course::Ran;
use super::given::Given;
use crate::LabError;
use crate::terminal::Terminal;

/// For git and tar, on a slow disk.
const TAKE: Duration = Duration::from_secs(300);
/// For a release build of everything, with all it depends on, on two busy CPUs.
const BUILD: Duration = Duration::from_secs(3600);
/// For one run; the steps of its plan have deadlines of their own, which end it much earlier.
const RUN: Duration = Duration::from_secs(3600);
/// For a program that was asked to end its guests.
const END: Duration = Duration::from_secs(120);

/// A revision's program, built.
#[derive(Debug)]
pub(crate) struct Program {
    /// The commit's full name.
    commit: String,
    /// Its checkout: images are built from the manifests there.
    checkout: PathBuf,
    binary: PathBuf,
    /// What it says of `run`'s options.
    help: String,
}

/// What a program is told to do.
#[derive(Debug)]
pub(crate) struct Errand<'a> {
    pub(crate) file: &'a Path,
    pub(crate) given: &'a Given,
    /// Where its record goes.
    pub(crate) folder: &'a Path,
    pub(crate) accelerator: AcceleratorWish,
    pub(crate) seed: u64,
    pub(crate) extent: Extent,
}

/// Takes the revision's files to `target/sanlab/revisions/COMMIT` and builds its program there, unless that was done before.
pub(crate) async fn program(
    project: &Path,
    revision: &str,
    cancel: &CancellationToken,
    terminal: &mut Terminal,
) -> Result<Program, LabError> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    built_by(&cargo, project, revision, cancel, terminal).await
}

async fn built_by(
    cargo: &OsStr,
    project: &Path,
    revision: &str,
    cancel: &CancellationToken,
    terminal: &mut Terminal,
) -> Result<Program, LabError> {
    let commit = commit(project, revision, cancel).await?;
    let folder = project.join("target/sanlab/revisions").join(&commit);
    let checkout = folder.join("checkout");
    if !checkout.is_dir() {
        terminal.line(&format!("{revision}: taken from the repository"));
        take(project, &commit, &folder, &checkout, cancel).await?;
    }
    terminal.line(&format!(
        "{revision}: built, which takes minutes the first time"
    ));
    let target = folder.join("target");
    let mut build = Command::new(cargo);
    build
        .args(["build", "--release", "--locked", "--package", "sanlab"])
        .current_dir(&checkout)
        .env("CARGO_TARGET_DIR", &target);
    done(build, &format!("build sanlab {revision}"), BUILD, cancel).await?;
    let binary = target.join("release/sanlab");
    let mut help = Command::new(&binary);
    help.args(["run", "--help"]).current_dir(&checkout);
    let said = done(
        help,
        &format!("ask sanlab {revision} what it can"),
        TAKE,
        cancel,
    )
    .await?;
    Ok(Program {
        commit,
        checkout,
        binary,
        help: String::from_utf8_lossy(&said.stdout).into_owned(),
    })
}

/// Says no when the repository has no such revision.
pub(crate) async fn find(
    project: &Path,
    revision: &str,
    cancel: &CancellationToken,
) -> Result<(), LabError> {
    commit(project, revision, cancel).await.map(drop)
}

/// The full name of a revision's commit.
async fn commit(
    project: &Path,
    revision: &str,
    cancel: &CancellationToken,
) -> Result<String, LabError> {
    let mut git = Command::new("git");
    // The option's end: a revision may not be an option.
    git.args(["rev-parse", "--verify", "--quiet", "--end-of-options"])
        .arg(format!("{revision}^{{commit}}"))
        .current_dir(project);
    let found = done(git, &format!("find the revision {revision}"), TAKE, cancel).await;
    let found = found.map_err(|error| match error {
        LabError::Interrupted => error,
        _ => LabError::Setting {
            text: format!("sanlab={revision}"),
            why: format!("the repository {} has no such revision", project.display()),
        },
    })?;
    Ok(String::from_utf8_lossy(&found.stdout).trim().to_owned())
}

/// The commit's files as a folder, whole or not at all. No git worktree: nothing is left in the repository.
async fn take(
    project: &Path,
    commit: &str,
    folder: &Path,
    checkout: &Path,
    cancel: &CancellationToken,
) -> Result<(), LabError> {
    fs::create_dir_all(folder)?;
    let half = tempfile::Builder::new()
        .prefix("half-")
        .tempdir_in(folder)?;
    let archive = half.path().join("files.tar");
    let mut git = Command::new("git");
    git.args(["archive", "--format=tar", "--output"])
        .arg(&archive)
        .arg(commit)
        .current_dir(project);
    done(git, &format!("take the files of {commit}"), TAKE, cancel).await?;
    let files = half.path().join("files");
    fs::create_dir(&files)?;
    let mut tar = Command::new("tar");
    tar.arg("-xf").arg(&archive).arg("-C").arg(&files);
    done(tar, &format!("unpack the files of {commit}"), TAKE, cancel).await?;
    match fs::rename(&files, checkout) {
        // Another process was first; it has the same files.
        Err(_) if checkout.is_dir() => Ok(()),
        renamed => Ok(renamed?),
    }
}

impl Program {
    /// Whether its `run` has that option.
    pub(crate) fn knows(&self, option: &str) -> bool {
        self.help.split_whitespace().any(|word| word == option)
    }

    /// Has it do a run, and reads the record.
    pub(crate) async fn run(
        &self,
        errand: &Errand<'_>,
        cancel: &CancellationToken,
        terminal: &mut Terminal,
    ) -> Result<Ran, LabError> {
        fs::create_dir_all(errand.folder)?;
        let said = errand.folder.join("said.txt");
        let output = fs::File::create(&said)?.into_parts().0;
        let mut command = Command::new(&self.binary);
        command
            .args(self.arguments(errand)?)
            .current_dir(&self.checkout)
            .env("SANLAB_RUNS", errand.folder)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .kill_on_drop(true);
        let short = self.commit.get(..12).unwrap_or(&self.commit);
        terminal.status(&format!("sanlab {short} runs {}", errand.file.display()));
        let mut child = command.spawn()?;
        let ended = ended(&mut child, cancel).await;
        terminal.clear();
        let status = ended?;
        let what = || format!("have sanlab {short} run {}", errand.file.display());
        let refused = |seen: String| LabError::Measure {
            what: what(),
            seen: format!("{status}; {seen}; what it said: {}", said.display()),
        };
        let loaded = load::load(&[errand.folder.to_owned()])
            .map_err(|error| refused(format!("failed to {error}")))?;
        let [run] = <[LoadedRun; 1]>::try_from(loaded.runs)
            .map_err(|runs| refused(format!("{} records", runs.len())))?;
        Ok(Ran {
            record: run.record,
            path: run.path,
        })
    }

    /// The command line, without what an older program does not know.
    fn arguments(&self, errand: &Errand<'_>) -> Result<Vec<String>, LabError> {
        let Errand {
            file,
            given,
            accelerator,
            seed,
            extent,
            ..
        } = errand;
        let mut arguments = vec!["run".to_owned(), file.display().to_string()];
        let accelerator = match accelerator {
            AcceleratorWish::Auto => "auto",
            AcceleratorWish::Kvm => "kvm",
            AcceleratorWish::Tcg => "tcg",
        };
        arguments.extend(["--accel".to_owned(), accelerator.to_owned()]);
        arguments.extend(["--seed".to_owned(), seed.to_string()]);
        for (key, value) in given.words.iter().filter(|(key, _)| *key != "sanlab") {
            if !self.knows("--set") {
                return Err(LabError::Setting {
                    text: format!("{key}={value}"),
                    why: format!("sanlab {} has no `run --set` yet", self.commit),
                });
            }
            // Paths were relative to the folder that we were started in.
            let value = match given.path(key) {
                Some(path) => path.display().to_string(),
                None => value.clone(),
            };
            arguments.extend(["--set".to_owned(), format!("{key}={value}")]);
        }
        if self.knows("--count-instructions") {
            arguments.push("--count-instructions".to_owned());
        }
        if *extent == Extent::Measures && self.knows("--measures-only") {
            arguments.push("--measures-only".to_owned());
        }
        Ok(arguments)
    }
}

/// Waits for a child; asks it to end when somebody wants that.
async fn ended(
    child: &mut Child,
    cancel: &CancellationToken,
) -> Result<std::process::ExitStatus, LabError> {
    tokio::select! {
        status = timeout(RUN, child.wait()) => {
            if let Ok(status) = status {
                return Ok(status?);
            }
        }
        () = cancel.cancelled() => {}
    }
    let pid = child.id().and_then(|id| i32::try_from(id).ok());
    if let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) {
        // One that has ended meanwhile needs no signal.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
    if timeout(END, child.wait()).await.is_err() {
        child.kill().await?;
    }
    if cancel.is_cancelled() {
        return Err(LabError::Interrupted);
    }
    Err(LabError::Measure {
        what: "have another revision run the scenario".to_owned(),
        seen: format!("it did not end within {} s", RUN.as_secs()),
    })
}

/// What a command said, when it succeeded in time.
async fn done(
    mut command: Command,
    what: &str,
    deadline: Duration,
    cancel: &CancellationToken,
) -> Result<Output, LabError> {
    command.stdin(Stdio::null()).kill_on_drop(true);
    let failed = |seen: String| LabError::Measure {
        what: what.to_owned(),
        seen,
    };
    let output = tokio::select! {
        output = timeout(deadline, command.output()) => output,
        () = cancel.cancelled() => return Err(LabError::Interrupted),
    };
    let output = output
        .map_err(|_| failed(format!("not done within {} s", deadline.as_secs())))?
        .map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(output);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last: Vec<&str> = said.lines().rev().take(20).collect();
    let last: Vec<&str> = last.into_iter().rev().collect();
    Err(failed(format!("{}\n{}", output.status, last.join("\n"))))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cargo whose sanlab leaves a record that was kept, and says what it was asked for.
    const CARGO: &str = r#"#!/bin/sh
set -e
mkdir -p "$CARGO_TARGET_DIR/release"
cp sanlab.sh "$CARGO_TARGET_DIR/release/sanlab"
chmod +x "$CARGO_TARGET_DIR/release/sanlab"
"#;

    fn sanlab(help: &str, run: &str) -> String {
        format!("#!/bin/sh\nif [ \"$2\" = --help ]; then echo \"{help}\"; exit; fi\n{run}\n")
    }

    /// A repository whose revision has that program.
    struct Repository {
        folder: tempfile::TempDir,
        cargo: PathBuf,
    }

    impl Repository {
        fn with(sanlab: &str) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let cargo = folder.path().join("cargo");
            fs::write(&cargo, CARGO).unwrap();
            fs::set_permissions(&cargo, std::os::unix::fs::PermissionsExt::from_mode(0o755))
                .unwrap();
            fs::write(folder.path().join("sanlab.sh"), sanlab).unwrap();
            let git = |arguments: &[&str]| {
                let done = std::process::Command::new("git")
                    .args(["-c", "user.name=a", "-c", "user.email=a@b.example"])
                    .args(["-c", "commit.gpgsign=false"])
                    .args(arguments)
                    .current_dir(folder.path())
                    .output()
                    .unwrap();
                assert!(done.status.success(), "{done:?}");
            };
            git(&["init", "--quiet"]);
            git(&["add", "sanlab.sh"]);
            git(&["commit", "--quiet", "--message", "one"]);
            git(&["tag", "v1"]);
            // What lies about is not what was committed.
            fs::write(folder.path().join("sanlab.sh"), "exit 9").unwrap();
            Self { folder, cargo }
        }

        async fn program(&self, revision: &str) -> Result<Program, LabError> {
            let cancel = CancellationToken::new();
            let mut terminal = Terminal::plain();
            built_by(
                self.cargo.as_os_str(),
                self.folder.path(),
                revision,
                &cancel,
                &mut terminal,
            )
            .await
        }

        async fn run(&self, program: &Program, given: &Given) -> Result<Ran, LabError> {
            let folder = self.folder.path().join("runs/a-1");
            let errand = Errand {
                file: Path::new("/scenarios/two.toml"),
                given,
                folder: &folder,
                accelerator: AcceleratorWish::Auto,
                seed: 7,
                extent: Extent::Measures,
            };
            let cancel = CancellationToken::new();
            program.run(&errand, &cancel, &mut Terminal::plain()).await
        }
    }

    const KEEP: &str = "mkdir -p \"$SANLAB_RUNS/r/s\" && cp ";

    #[tokio::test]
    async fn a_revision_is_built_from_what_was_committed_and_does_what_it_can() {
        let record =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/records/format-1.json");
        let keep = format!(
            "{KEEP}'{}' \"$SANLAB_RUNS/r/s/record.json\"; echo \"$@\"",
            record.display()
        );
        let repository = Repository::with(&sanlab("--set --count-instructions", &keep));
        let program = repository.program("v1").await.unwrap();
        assert!(program.knows("--set") && !program.knows("--measures-only"));
        let given = Given::parse(&["mtu=1500".to_owned(), "sanlab=v1".to_owned()]).unwrap();
        let ran = repository.run(&program, &given).await.unwrap();
        assert_eq!(ran.record.format, 1);
        assert!(ran.path.ends_with("a-1/r/s/record.json"));
        let said = fs::read_to_string(repository.folder.path().join("runs/a-1/said.txt")).unwrap();
        assert_eq!(
            said.trim(),
            "run /scenarios/two.toml --accel auto --seed 7 --set mtu=1500 --count-instructions"
        );
        // The second time nothing is taken from the repository.
        let again = repository.program("HEAD").await.unwrap();
        assert_eq!(again.commit, program.commit);
    }

    #[tokio::test]
    async fn what_a_revision_cannot_do_is_said() {
        let repository = Repository::with(&sanlab("--seed", "echo nothing runs; exit 3"));
        let unknown = repository.program("v2").await.unwrap_err().to_string();
        assert!(
            unknown.contains("`sanlab=v2`") && unknown.contains("no such revision"),
            "{unknown}"
        );
        let option = repository.program("--all").await.unwrap_err().to_string();
        assert!(option.contains("no such revision"), "{option}");
        let program = repository.program("v1").await.unwrap();
        let given = Given::parse(&["mtu=1500".to_owned()]).unwrap();
        let refused = repository
            .run(&program, &given)
            .await
            .unwrap_err()
            .to_string();
        assert!(refused.contains("no `run --set` yet"), "{refused}");
        let failed = repository
            .run(&program, &Given::default())
            .await
            .unwrap_err()
            .to_string();
        assert!(
            failed.contains("exit status: 3") && failed.contains("said.txt"),
            "{failed}"
        );
    }
}
