//! `sanlab ls` and `sanlab down`: which fleets are up, and their end.

use std::time::Duration;

use sanlab_report::table::Table;
use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;

use crate::lab::runs::{shown, since_1970};
use crate::terminal::print;
use crate::terminal::quantity::took;
use crate::up::client::{self, Found};
use crate::up::protocol::{Reply, Request, Status};
use crate::{Exit, LabError};

/// For the answer of a supervisor.
const ANSWER: Duration = Duration::from_secs(10);
/// How long a fleet may take to end.
const END: Duration = Duration::from_secs(120);

/// What the command line says of an end.
#[derive(Debug, clap::Args)]
pub(crate) struct DownArguments {
    /// Fleets [default: the only one that is up]
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// End all that are up
    #[arg(long, conflicts_with = "names")]
    all: bool,
}

/// Lists the fleets that are up.
pub(crate) async fn list() -> Result<Exit, LabError> {
    let mut states = Vec::new();
    for fleet in client::all().await? {
        // It may end meanwhile.
        if let Ok(status) = fleet.status().await {
            states.push(status);
        }
    }
    print(&listing(&states, since_1970().as_secs_f64()))?;
    Ok(Exit::Success)
}

fn listing(states: &[Status], now: f64) -> String {
    if states.is_empty() {
        return "no fleet is up\n".to_owned();
    }
    let mut table = Table::new(&["fleet", "nodes", ">up", ">ends in", ">process", "scenario"]);
    for state in states {
        let (up, ends) = (state.up, state.ends);
        table.row([
            state.name.clone(),
            if up.is_some() {
                state.nodes.join(" ")
            } else {
                "starting".to_owned()
            },
            up.map_or_else(String::new, |up| took((now - up).max(0.0))),
            ends.map_or_else(String::new, |ends| took((ends - now).max(0.0))),
            state.pid.to_string(),
            shown(&state.scenario).display().to_string(),
        ]);
    }
    table.render(0)
}

/// Ends fleets, and waits until nothing of them is left.
pub(crate) async fn down(arguments: DownArguments) -> Result<Exit, LabError> {
    let fleets = if arguments.all {
        client::all().await?
    } else if arguments.names.is_empty() {
        vec![client::choose(None).await?]
    } else {
        let mut fleets = Vec::new();
        for name in &arguments.names {
            fleets.push(client::choose(Some(name)).await?);
        }
        fleets
    };
    for fleet in fleets {
        end(&fleet).await?;
        print(&format!("{} is down\n", fleet.name))?;
    }
    Ok(Exit::Success)
}

async fn end(fleet: &Found) -> Result<(), LabError> {
    let mut stream = match fleet.ask(&Request::Down, ANSWER).await? {
        (Reply::Ends, stream) => stream,
        (other, _) => return Err(fleet.odd(&other)),
    };
    let mut rest = [0; 1];
    // Its end closes the connection; how, is no matter.
    match timeout(END, stream.read(&mut rest)).await {
        Ok(_) => Ok(()),
        Err(_) => Err(LabError::FleetSilent {
            name: fleet.name.clone(),
            why: format!(
                "it has not ended within {} s; its supervisor's log says what it does",
                END.as_secs()
            ),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_fleets() {
        assert_eq!(listing(&[], 0.0), "no fleet is up\n");
        let up = Status {
            name: "mount".to_owned(),
            scenario: "/project/mount.toml".into(),
            pid: 17,
            nodes: vec!["vix0".to_owned(), "vix1".to_owned()],
            up: Some(1000.0),
            ends: Some(8200.0),
            logs: "/project/runs/x".into(),
        };
        let starting = Status {
            name: "nodes".to_owned(),
            nodes: Vec::new(),
            up: None,
            ends: None,
            ..up.clone()
        };
        insta::assert_snapshot!(listing(&[up, starting], 1100.0));
    }
}
