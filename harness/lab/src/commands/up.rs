//! `sanlab up`: starts a supervisor, which is this program once more, and waits until its fleet is up.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use fs_err as fs;
use rustix::process::{Pid, Signal, kill_process, setsid};
use sanlab_plan::{Plan, did_you_mean};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::commands::changes::Changes;
use crate::commands::cli::Accel;
use crate::compare::side::images;
use crate::lab::runs::{RunFolder, shown, since_1970};
use crate::lab::{scenario, seed};
use crate::terminal::follow::{Follower, LOOK_AGAIN};
use crate::terminal::quantity::took;
use crate::terminal::{Terminal, interrupt, print};
use crate::up::client;
use crate::up::door::Origin;
use crate::up::protocol::Status;
use crate::up::supervisor::{SUPERVISOR_LOG, Wanted, supervise};
use crate::{Exit, Lab, LabError, Order};

/// Set in a supervisor's environment: the folder of its run.
const SUPERVISES: &str = "SANLAB_SUPERVISES";

/// What the command line says of it.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Scenario file; its layers are brought up
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Take the scenario's steps, too, up to the one with this label
    #[arg(long, value_name = "STEP")]
    until: Option<String>,
    /// Name of the fleet [default: the scenario's]
    #[arg(long, value_name = "NAME", value_parser = parse_name)]
    name: Option<String>,
    /// How long it stays up at most, such as `30m` or `8h`
    #[arg(long = "for", value_name = "TIME", default_value = "2h", value_parser = parse_limit)]
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

/// A part of a file's name.
fn parse_name(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    if text.is_empty() || text.len() > 40 || !text.chars().all(fits) {
        return Err("a name is made of letters, digits, `-` and `_`, 40 at most".to_owned());
    }
    Ok(text.to_owned())
}

/// What a fleet is called that nobody has named: its scenario's file.
fn name_of(plan: &Plan) -> Result<String, LabError> {
    let (_, name) = plan.id.rsplit_once('/').unwrap_or(("", &plan.id));
    parse_name(name).map_err(|why| LabError::FleetName {
        name: name.to_owned(),
        why,
    })
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

pub(crate) fn parse_limit(text: &str) -> Result<Duration, String> {
    let limit = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if limit.is_zero() {
        return Err("it would end at once".to_owned());
    }
    Ok(limit)
}

/// Brings a fleet up, or, as its supervisor, keeps it.
pub(crate) async fn execute(arguments: Arguments) -> Result<Exit, LabError> {
    let mut terminal = Terminal::new();
    let given = arguments.changes.given()?;
    let plan = scenario::load_with(&arguments.file, &given.settings)?;
    let name = arguments.name.clone();
    let name = name.map_or_else(|| name_of(&plan), Ok)?;
    let steps = match &arguments.until {
        Some(label) => steps_until(&plan, label)?,
        None => 0,
    };
    let supervised = std::env::var_os(SUPERVISES).map(PathBuf::from);
    if supervised.is_some() {
        // Nothing that is typed into the terminal, and no end of it, is for a supervisor.
        setsid().map_err(std::io::Error::from)?;
    }
    let lab = Lab::find(&std::env::current_dir()?)?;
    lab.require_host()?;
    let cancel = interrupt::cancel_on_signal()?;
    let images = images(&lab, &plan, &cancel, &mut terminal).await?;
    let Some(folder) = supervised else {
        if client::all().await?.iter().any(|found| found.name == name) {
            return Err(LabError::FleetIsUp { name });
        }
        let run = lab.new_run()?;
        let child = start_supervisor(run.path())?;
        return wait(child, &run, &mut terminal, &cancel).await;
    };
    let order = Order {
        accelerator: arguments.accel.into(),
        fresh: arguments.fresh,
        seed: seed::of_environment()?,
        settings: given.words.clone(),
        qemu: given.qemu.clone(),
        ..Order::new(&RunFolder::open(&folder)?)
    };
    let origin = Origin {
        plan,
        images: images.clone(),
        settings: given.settings,
        logs: folder,
        limit: arguments.limit,
    };
    let wanted = Wanted {
        name,
        origin,
        images,
        order,
        steps,
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
    fn names_and_times_are_checked() {
        assert!(parse_name("two_nodes-2").is_ok());
        assert!(parse_name("../x").is_err() && parse_name("").is_err());
        assert_eq!(parse_limit("90m"), Ok(Duration::from_secs(5400)));
        assert!(parse_limit("0s").is_err() && parse_limit("soon").is_err());
    }
}
