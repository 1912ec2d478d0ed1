//! `sanlab up`: starts a supervisor, which is this program once more, and waits until its fleet is up.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use fs_err as fs;
use rustix::process::{Pid, Signal, kill_process, setsid};
use sanlab_plan::{CheckpointName, Plan, did_you_mean};
use sanlab_run::RunOptions;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::commands::cli::Accel;
use crate::commands::time::parse_time;
use crate::lab::changes::Changes;
use crate::lab::runs::{RunFolder, shown, since_1970};
use crate::lab::seed;
use crate::terminal::follow::{Follower, LOOK_AGAIN};
use crate::terminal::quantity::took;
use crate::terminal::{Terminal, interrupt, print};
use crate::up::control_socket::Origin;
use crate::up::protocol::Status;
use crate::up::source::{FleetSource, Prepared};
use crate::up::supervisor::{SUPERVISOR_LOG, Wanted, supervise};
use crate::up::{client, name};
use crate::{Exit, Lab, LabError, RunRequest};

/// Set in a supervisor's environment: the folder of its run.
const SUPERVISES: &str = "SANLAB_SUPERVISES";

/// What the command line says of it.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Scenario file, whose layers are brought up; or a saved fleet, which goes on as it was: a file of `sanlab pack`, or the folder of a run
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Take the scenario's steps, too, up to the one with this label
    #[arg(long, value_name = "STEP")]
    until: Option<String>,
    /// Go on from the checkpoint of this name, which a step of the scenario makes, or `layers`; it is made now where the store lacks it
    #[arg(long, value_name = "CHECKPOINT", conflicts_with_all = ["until", "fresh"])]
    from: Option<String>,
    /// Name of the fleet [default: that of the scenario's file, such as `hot_node_addition`]
    #[arg(long, value_name = "NAME", value_parser = name::parse)]
    name: Option<String>,
    /// How long it stays up at most, such as `30m` or `8h`
    #[arg(long = "for", value_name = "TIME", default_value = "2h", value_parser = parse_time)]
    limit: Duration,
    /// Accelerator
    #[arg(long, value_enum, default_value_t)]
    accel: Accel,
    /// Build everything: fork no checkpoint, clone no template, keep none
    #[arg(long)]
    fresh: bool,
    #[command(flatten)]
    changes: Changes,
}

/// How many steps that is.
fn steps_until(plan: &Plan, label: &str) -> Result<usize, LabError> {
    let labels: Vec<String> = plan
        .steps
        .iter()
        .map(|step| step.label.to_string())
        .collect();
    let place = labels.iter().position(|one| one == label);
    place
        .map(|place| place + 1)
        .ok_or_else(|| LabError::UnknownStep {
            label: label.to_owned(),
            hint: did_you_mean(label, "steps", labels.iter().map(String::as_str)),
        })
}

/// How many steps lead to the checkpoint of that name.
fn steps_to(plan: &Plan, name: &str) -> Result<usize, LabError> {
    let made = (1..).zip(&plan.steps).filter_map(|(steps, step)| {
        let checkpoint = step.checkpoint.as_ref()?;
        Some((checkpoint.to_string(), steps))
    });
    let mut all = vec![(CheckpointName::layers().to_string(), 0)];
    all.extend(made);
    let found = all.iter().find(|(one, _)| one == name);
    found
        .map(|(_, steps)| *steps)
        .ok_or_else(|| LabError::UnknownCheckpoint {
            name: name.to_owned(),
            hint: did_you_mean(
                name,
                "checkpoints",
                all.iter().map(|(name, _)| name.as_str()),
            ),
        })
}

/// Brings a fleet up, or, as its supervisor, keeps it.
pub(crate) async fn execute(arguments: Arguments) -> Result<Exit, LabError> {
    let mut terminal = Terminal::new();
    let given = arguments.changes.given()?;
    let (until, from) = (arguments.until.as_deref(), arguments.from.as_deref());
    let is_plain = until.is_none() && from.is_none() && !arguments.fresh;
    let steps = |plan: &Plan| match (until, from) {
        (Some(label), _) => steps_until(plan, label),
        (None, Some(name)) => steps_to(plan, name),
        (None, None) => Ok(0),
    };
    let source = FleetSource::of(&arguments.file, &given, is_plain, steps)?;
    let supervised = std::env::var_os(SUPERVISES).map(PathBuf::from);
    if supervised.is_some() {
        // Nothing that is typed into the terminal, and no end of it, is for a supervisor.
        setsid().map_err(std::io::Error::from)?;
    }
    let lab = Lab::find(&std::env::current_dir()?)?;
    lab.require_host()?;
    let cancel = interrupt::cancel_on_signal(interrupt::ENDING_GUESTS)?;
    // A supervisor's words are shown, too.
    let tell = |line: &str| {
        if supervised.is_none() {
            Terminal::plain().line(line);
        }
    };
    let wish = arguments.accel.into();
    let prepared = source.prepare(&lab, &given, wish, &cancel, &mut terminal, tell);
    let Prepared {
        plan,
        settings,
        images,
        accelerator,
        when,
        saved,
        held: _held,
    } = prepared.await?;
    let name = arguments.name.clone();
    let name = name.unwrap_or_else(|| name::of(&plan));
    let Some(folder) = supervised else {
        if client::all().await?.iter().any(|found| found.name == name) {
            return Err(LabError::FleetIsUp { name });
        }
        let run = lab.new_run()?;
        let child = start_supervisor(run.path())?;
        return wait(child, &run, &mut terminal, &cancel).await;
    };
    let request = RunRequest {
        fresh: arguments.fresh,
        options: RunOptions {
            accelerator,
            seed: seed::of_environment()?,
            settings: given.words.clone(),
            qemu: given.qemu.clone(),
            saved,
            ..RunOptions::default()
        },
        ..RunRequest::new(&RunFolder::open(&folder)?)
    };
    let origin = Origin {
        plan,
        images: images.clone(),
        settings,
        logs: folder,
        limit: arguments.limit,
    };
    let wanted = Wanted {
        name,
        origin,
        images,
        request,
        when,
    };
    Box::pin(supervise(wanted, cancel)).await
}

/// The same program with the same arguments, which learns from its environment that it is to supervise.
fn start_supervisor(run: &Path) -> Result<Child, LabError> {
    let log = fs::File::create(run.join(SUPERVISOR_LOG))?.into_parts().0;
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(std::env::args_os().skip(1))
        .env(SUPERVISES, run)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log);
    Ok(command.spawn()?)
}

/// Shows what the supervisor says until its fleet is up, or is not to be had.
async fn wait(
    mut child: Child,
    run: &RunFolder,
    terminal: &mut Terminal,
    cancel: &tokio_util::sync::CancellationToken,
) -> Result<Exit, LabError> {
    let begin = std::time::Instant::now();
    let mut log = Follower::open(&run.path().join(SUPERVISOR_LOG))?;
    let output = child.stdout.take();
    let mut output =
        BufReader::new(output.ok_or_else(|| std::io::Error::other("it has no output"))?);
    let mut line = String::new();
    let mut asked = false;
    // A fleet has deadlines of its own for all that it does.
    let read = loop {
        tokio::select! {
            read = output.read_line(&mut line) => break read?,
            () = tokio::time::sleep(LOOK_AGAIN) => log.show(terminal)?,
            () = cancel.cancelled(), if !asked => {
                asked = true;
                let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
                if let Some(pid) = pid {
                    kill_process(pid, Signal::INT).map_err(std::io::Error::from)?;
                }
            }
        }
    };
    log.show(terminal)?;
    if read == 0 {
        let status = child.wait().await?;
        log.show(terminal)?;
        let known = [Exit::Failed, Exit::BadInput, Exit::Interrupted];
        let code = status.code();
        let exit = known
            .into_iter()
            .find(|exit| code == Some(i32::from(exit.code())));
        terminal.line(&format!(
            "the fleet is not up; all that is known is in {}",
            shown(run.path()).display()
        ));
        return Ok(exit.unwrap_or(Exit::Broken));
    }
    let status: Status = serde_json::from_str(&line).map_err(LabError::Record)?;
    print(&greeting(
        &status,
        run.path(),
        begin.elapsed(),
        since_1970().as_secs_f64(),
    ))?;
    Ok(Exit::Success)
}

/// What to do with a fleet that is up.
fn greeting(status: &Status, run: &Path, elapsed: Duration, now: f64) -> String {
    let Status {
        name, nodes, ends, ..
    } = status;
    let node = nodes.first().map_or("NODE", String::as_str);
    format!(
        "{name} is up after {:.1} s: {}\n\
         it ends in {}, or with `sanlab down {name}`; logs: {}\n\
         a shell: `sanlab shell {node}`; a command: `sanlab exec {node} -- uname -r`; a file: `sanlab cp FILE {node}:/tmp/`\n",
        elapsed.as_secs_f64(),
        nodes.join(" "),
        took(ends.unwrap_or(now) - now),
        shown(run).display(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fleet_that_is_up_says_how_it_ends() {
        let status = Status {
            name: "mount".to_owned(),
            scenario: "/project/mount.toml".into(),
            pid: 17,
            nodes: vec!["vix0".to_owned(), "vix1".to_owned()],
            up: Some(1000.0),
            ends: Some(8200.0),
            logs: "/project/runs/x".into(),
        };
        let elapsed = Duration::from_millis(1234);
        let text = greeting(&status, Path::new("/project/runs/x"), elapsed, 1000.0);
        insta::assert_snapshot!(text);
    }

    #[test]
    fn a_checkpoint_is_found_by_its_name() {
        let text = r#"
name = "a stack"
nodes = { "vix[0-1]" = { arch = "x86" } }
[[layer]]
nbd = { disk = "64MiB" }
[[step]]
run = { on = "vix0", command = "true" }
[[step]]
label = "mark"
checkpoint = "marked"
run = { on = "vix0", command = "true" }
"#;
        let plan = sanlab_plan::parse(Path::new("a.toml"), text).unwrap();
        let steps = |name| match steps_to(&plan, name) {
            Ok(steps) => steps.to_string(),
            Err(error) => error.to_string(),
        };
        assert_eq!((&*steps("layers"), &*steps("marked")), ("0", "2"));
        insta::assert_snapshot!(steps("mark"), @"the scenario makes no checkpoint `mark`: the checkpoints are `layers` and `marked`");
    }
}
