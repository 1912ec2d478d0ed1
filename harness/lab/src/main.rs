//! `sanlab`: see `sanlab --help`.

use std::io;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use sanlab::{Cli, Exit, LabError};
use tracing_subscriber::EnvFilter;

fn main() -> anyhow::Result<ExitCode> {
    let filter = EnvFilter::try_from_env("SANLAB_LOG").unwrap_or_else(|_| EnvFilter::new("off"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .init();
    let cli = Cli::parse();
    let runtime = tokio::runtime::Runtime::new().context("failed to start the async runtime")?;
    let done = runtime.block_on(cli.execute());
    // Work that was left behind at a signal must not hold the process up.
    runtime.shutdown_background();
    Ok(match done {
        Ok(exit) => exit.into(),
        // Whoever closed the pipe has read enough.
        Err(LabError::Io(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            Exit::Success.into()
        }
        Err(error) => {
            sanlab::complain(&error);
            error.exit().into()
        }
    })
}
