//! `sanlab gdb`: a debugger of a guest's kernel.

use std::path::PathBuf;
use std::time::Duration;

use tokio::process::Command;

use crate::terminal::print;
use crate::up::client;
use crate::up::protocol::{Reply, Request};
use crate::{Exit, LabError};

/// For the answer of a supervisor, which asks QEMU.
const ANSWER: Duration = Duration::from_secs(40);

/// What the command line says of it.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Node
    #[arg(value_name = "NODE")]
    node: String,
    /// File with the kernel's symbols: a `vmlinux` [default: that of the tree given by `--kernel`, or what `sanlab image symbols` has fetched]
    #[arg(long, value_name = "VMLINUX")]
    symbols: Option<PathBuf>,
    /// Start no gdb: print where one can connect, and wait for Ctrl-C
    #[arg(long)]
    wait: bool,
    /// Fleet [default: the only one that is up]
    #[arg(long, value_name = "NAME")]
    fleet: Option<String>,
    /// Further arguments of gdb
    #[arg(last = true, value_name = "ARGUMENT")]
    further: Vec<String>,
}

/// Runs gdb on the node until it ends.
pub(crate) async fn execute(arguments: Arguments) -> Result<Exit, LabError> {
    let fleet = client::choose(arguments.fleet.as_deref()).await?;
    let node = arguments.node;
    // It is closed when this returns.
    let (socket, architecture, found, _stream) =
        match fleet.ask(&Request::Gdb { node }, ANSWER).await? {
            (
                Reply::Gdb {
                    socket,
                    architecture,
                    symbols,
                },
                stream,
            ) => (socket, architecture, symbols, stream),
            (other, _) => return Err(fleet.odd(&other)),
        };
    let symbols = arguments.symbols.or(found);
    let target = format!("target remote {}", socket.display());
    if arguments.wait {
        let file = symbols.map_or_else(String::new, |path| format!("`file {}`, ", path.display()));
        print(&format!(
            "in gdb: `set architecture {architecture}`, {file}`{target}`; Ctrl-C ends this\n"
        ))?;
        tokio::signal::ctrl_c().await?;
        return Ok(Exit::Success);
    }
    let mut command = Command::new("gdb");
    command
        .arg("-q")
        .arg("-ex")
        .arg(format!("set architecture {architecture}"));
    command.args(&symbols);
    command.arg("-ex").arg(target).args(arguments.further);
    let mut gdb = command.spawn().map_err(LabError::NoGdb)?;
    loop {
        tokio::select! {
            ended = gdb.wait() => {
                let code = ended?.code().and_then(|code| u8::try_from(code).ok());
                return Ok(Exit::OfCommand(code.unwrap_or(1)));
            }
            // It is for gdb, which stops the guest.
            _ = tokio::signal::ctrl_c() => {}
        }
    }
}
