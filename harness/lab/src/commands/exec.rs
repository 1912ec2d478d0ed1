//! `sanlab exec` and `sanlab shell`: a command in a guest of a fleet that is up, with this terminal's input and output.

use std::io::{IsTerminal as _, Read as _};

use futures_util::future::try_join_all;
use rustix::process::Signal;
use sanlab_plan::guest;
use sanlab_vm::frame::{Ending, Stream, TerminalSize};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use crate::terminal::raw::{self, RawTerminal};
use crate::terminal::{complain_bytes, print, print_bytes};
use crate::up::client::{self, Found};
use crate::up::protocol::Exec;
use crate::up::remote::{Remote, RemoteInput, Said};
use crate::{Exit, LabError};

/// Read at once from standard input.
const CHUNK: usize = 16 << 10;

/// What the command line says of a shell.
#[derive(Debug, clap::Args)]
pub(crate) struct ShellArguments {
    /// Node
    #[arg(value_name = "NODE")]
    node: String,
    /// Fleet [default: the only one that is up]
    #[arg(long, value_name = "NAME")]
    fleet: Option<String>,
}

/// What the command line says of a command.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Nodes; of several each line of output has its node's name before it, and there is no input
    #[arg(required = true, value_name = "NODE")]
    nodes: Vec<String>,
    /// Fleet [default: the only one that is up]
    #[arg(long, value_name = "NAME")]
    fleet: Option<String>,
    /// Run it on a terminal, as what draws on the screen wants it; one node only
    #[arg(short, long)]
    tty: bool,
    /// Program and arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// A shell on a terminal of its own; without a terminal here, one that reads commands.
pub(crate) async fn shell(arguments: ShellArguments) -> Result<Exit, LabError> {
    let fleet = client::choose(arguments.fleet.as_deref()).await?;
    let argv = guest::login_shell();
    with_this_terminal(&fleet, arguments.node, argv, std::io::stdin().is_terminal()).await
}

/// A command on one node or several.
pub(crate) async fn execute(arguments: Arguments) -> Result<Exit, LabError> {
    let fleet = client::choose(arguments.fleet.as_deref()).await?;
    let (tty, command) = (arguments.tty, arguments.command);
    let mut nodes = arguments.nodes;
    match nodes.pop() {
        Some(only) if nodes.is_empty() => with_this_terminal(&fleet, only, command, tty).await,
        _ if tty => Err(LabError::OneTerminal),
        last => {
            nodes.extend(last);
            let all = nodes.iter().map(|node| prefixed(&fleet, node, &command));
            let codes = try_join_all(all).await?;
            Ok(Exit::OfCommand(codes.into_iter().max().unwrap_or_default()))
        }
    }
}

/// What a command on that node is.
pub(crate) fn exec(node: &str, argv: Vec<String>, terminal: Option<TerminalSize>) -> Exec {
    let mut environment = vec![format!("HOME={}", guest::HOME)];
    if terminal.is_some() {
        let term = std::env::var("TERM").unwrap_or_else(|_| "linux".to_owned());
        environment.push(format!("TERM={term}"));
    }
    Exec {
        node: node.to_owned(),
        argv,
        environment,
        terminal: terminal.map(|size| (size.rows, size.columns)),
    }
}

/// The code with which a shell tells of an end.
pub(crate) fn code_of(ending: Ending) -> u8 {
    match ending {
        Ending::Exited(code) => code,
        Ending::Signalled(signal) => signal.saturating_add(128),
    }
}

async fn with_this_terminal(
    fleet: &Found,
    node: String,
    argv: Vec<String>,
    tty: bool,
) -> Result<Exit, LabError> {
    let size = tty.then(raw::size);
    let mut process = Remote::start(fleet, exec(&node, argv, size)).await?;
    // Given back when this returns.
    let raw = if tty { RawTerminal::of_stdin()? } else { None };
    let _input = AbortOnDropHandle::new(tokio::spawn(pass_input(process.input())));
    let _signals = AbortOnDropHandle::new(tokio::spawn(pass_signals(process.input(), tty)));
    let ending = loop {
        match process.next().await? {
            Said::Wrote(Stream::Stdout, bytes) => print_bytes(&bytes)?,
            Said::Wrote(Stream::Stderr, bytes) => complain_bytes(&bytes)?,
            Said::Ended(ending) => break ending,
        }
    };
    drop(raw);
    Ok(Exit::OfCommand(code_of(ending)))
}

/// Standard input, to its end.
async fn pass_input(input: RemoteInput) {
    let mut pieces = input_pieces();
    while let Some(bytes) = pieces.recv().await {
        if !input.write(&bytes).await {
            return;
        }
    }
    input.end();
}

/// What comes on standard input. A thread reads it, which nothing can end: it goes with the process.
fn input_pieces() -> mpsc::Receiver<Vec<u8>> {
    let (sender, pieces) = mpsc::channel(1);
    std::thread::spawn(move || {
        let mut bytes = vec![0; CHUNK];
        // One that cannot be read has ended.
        while let Ok(length @ 1..) = std::io::stdin().lock().read(&mut bytes) {
            if sender.blocking_send(bytes[..length].to_vec()).is_err() {
                break;
            }
        }
    });
    pieces
}

/// What happens to this terminal, or to this process, happens to the command.
async fn pass_signals(input: RemoteInput, tty: bool) -> std::io::Result<()> {
    let mut resized = signal(SignalKind::window_change())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    loop {
        tokio::select! {
            _ = resized.recv(), if tty => input.resize(raw::size()),
            _ = interrupt.recv() => input.signal(Signal::INT),
            _ = terminate.recv() => input.signal(Signal::TERM),
            _ = hang_up.recv() => input.signal(Signal::HUP),
        }
    }
}

/// Runs a command without input; each line that it writes has the node's name before it.
async fn prefixed(fleet: &Found, node: &str, command: &[String]) -> Result<u8, LabError> {
    let mut process = Remote::start(fleet, exec(node, command.to_vec(), None)).await?;
    process.input().end();
    let mut begun = Vec::new();
    loop {
        match process.next().await? {
            Said::Wrote(_, bytes) => {
                begun.extend(bytes);
                while let Some(end) = begun.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = begun.drain(..=end).collect();
                    print(&format!("{node}: {}", String::from_utf8_lossy(&line)))?;
                }
            }
            Said::Ended(ending) => {
                if !begun.is_empty() {
                    print(&format!("{node}: {}\n", String::from_utf8_lossy(&begun)))?;
                }
                return Ok(code_of(ending));
            }
        }
    }
}
