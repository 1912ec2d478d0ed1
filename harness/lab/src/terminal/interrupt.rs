//! Ctrl-C and SIGTERM: the first asks for an orderly end, the second ends at once.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::Exit;
use crate::terminal::Terminal;

/// What a command with guests does then.
pub(crate) const ENDING_GUESTS: &str = "collecting and ending the guests";

/// Cancels the token at the first SIGINT, SIGTERM or SIGHUP and ends the process at the second; what runs then is
/// ended by each run's janitor. `then` says what is done at the first. Call within a tokio runtime.
pub(crate) fn cancel_on_signal(then: &'static str) -> io::Result<CancellationToken> {
    let token = CancellationToken::new();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let cancel = token.clone();
    tokio::spawn(async move {
        loop {
            let name = tokio::select! {
                _ = interrupt.recv() => "Ctrl-C",
                _ = terminate.recv() => "SIGTERM",
                _ = hang_up.recv() => "SIGHUP",
            };
            if cancel.is_cancelled() {
                std::process::exit(i32::from(Exit::Interrupted.code()));
            }
            cancel.cancel();
            Terminal::new().line(&format!("\n{name}: {then}; once more ends at once"));
        }
    });
    Ok(token)
}
