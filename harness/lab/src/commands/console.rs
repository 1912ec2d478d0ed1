//! `sanlab console`: what a guest of a fleet that is up writes to its serial console.

use std::pin::pin;
use std::time::Duration;

use fs_err::tokio as fs;
use tokio::io::AsyncReadExt as _;

use crate::terminal::print_bytes;
use crate::up::client;
use crate::up::protocol::{Reply, Request};
use crate::{Exit, LabError};

/// For the answer of a supervisor.
const ANSWER: Duration = Duration::from_secs(10);
/// How soon the log is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// What the command line says of it.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Node
    #[arg(value_name = "NODE")]
    node: String,
    /// Fleet [default: the only one that is up]
    #[arg(long, value_name = "NAME")]
    fleet: Option<String>,
}

/// Shows what it has written so far and what comes, until the fleet ends or Ctrl-C.
pub(crate) async fn execute(arguments: Arguments) -> Result<Exit, LabError> {
    let fleet = client::choose(arguments.fleet.as_deref()).await?;
    let node = arguments.node;
    let (log, mut stream) = match fleet.ask(&Request::Console { node }, ANSWER).await? {
        (Reply::Console { log }, stream) => (log, stream),
        (other, _) => return Err(fleet.odd(&other)),
    };
    let mut file = fs::File::open(log).await?;
    let mut rest = [0; 1];
    let mut ended = false;
    let mut interrupted = pin!(tokio::signal::ctrl_c());
    loop {
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).await?;
        print_bytes(&bytes)?;
        if ended {
            return Ok(Exit::Success);
        }
        tokio::select! {
            // Nothing is ever said on it.
            _ = stream.read(&mut rest) => ended = true,
            // Also where whoever started this has it ignored, as a shell does in the background.
            interrupted = &mut interrupted => {
                interrupted?;
                return Ok(Exit::Success);
            }
            () = tokio::time::sleep(LOOK_AGAIN) => {}
        }
    }
}
