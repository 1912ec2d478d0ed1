//! Long work with a status line beside it.

use std::time::{Duration, Instant};

use sanlab_record::Event;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::LabError;
use crate::terminal::progress::{Progress, Said};
use crate::terminal::{Colour, Terminal};

/// How often the elapsed time is redrawn.
const TICK: Duration = Duration::from_millis(200);
/// How often it is said again, where there is no status line, what goes on by intention.
const REMIND: Duration = Duration::from_secs(60);

/// Does blocking work that reports its steps. When the token is cancelled it is left behind: the process is about to
/// end, and takes it along.
pub(crate) async fn blocking<T: Send + 'static>(
    terminal: &mut Terminal,
    title: &str,
    cancel: &CancellationToken,
    work: impl FnOnce(&(dyn Fn(&str) + Sync)) -> Result<T, LabError> + Send + 'static,
) -> Result<T, LabError> {
    // A step is a line of a build's progress: some dozens.
    let (sender, mut steps) = mpsc::unbounded_channel::<String>();
    let report = move |step: &str| {
        // Nobody listens after a cancellation.
        let _ = sender.send(step.to_owned());
    };
    let mut work = tokio::task::spawn_blocking(move || work(&report));
    let begin = Instant::now();
    let mut tick = tokio::time::interval(TICK);
    let mut step = String::new();
    loop {
        tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(LabError::Interrupted),
            Some(next) = steps.recv() => {
                if !terminal.is_live() {
                    terminal.line(&format!("[{:6.1}] {title}: {next}", begin.elapsed().as_secs_f64()));
                }
                step = next;
            }
            _ = tick.tick(), if terminal.is_live() && !step.is_empty() => {
                terminal.status(&format!("{title} {:.0} s | {step}", begin.elapsed().as_secs_f64()));
            }
            done = &mut work => {
                terminal.clear();
                return done.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
            }
        }
    }
}

/// Shows a run's events while the run goes on, and returns what it returns.
pub async fn run<T>(
    terminal: &mut Terminal,
    scenario: &str,
    mut events: mpsc::UnboundedReceiver<Event>,
    run: impl Future<Output = T>,
) -> T {
    let begin = Instant::now();
    let mut progress = Progress::new(scenario);
    let mut tick = tokio::time::interval(TICK);
    let mut remind = tokio::time::interval(REMIND);
    tokio::pin!(run);
    let done = loop {
        tokio::select! {
            biased;
            Some(event) = events.recv() => show(terminal, progress.apply(&event)),
            _ = tick.tick(), if terminal.is_live() => {
                terminal.status(&progress.status(begin.elapsed().as_secs_f64()));
            }
            _ = remind.tick(), if !terminal.is_live() => {
                if let Some(line) = progress.reminder(begin.elapsed().as_secs_f64()) {
                    terminal.line(&line);
                }
            }
            done = &mut run => break done,
        }
    };
    while let Ok(event) = events.try_recv() {
        show(terminal, progress.apply(&event));
    }
    terminal.clear();
    done
}

/// The same for one of many runs: only the status line, no line that stays.
pub(crate) async fn quietly<T>(
    terminal: &mut Terminal,
    title: &str,
    mut events: mpsc::UnboundedReceiver<Event>,
    run: impl Future<Output = T>,
) -> T {
    let begin = Instant::now();
    let mut progress = Progress::new(title);
    let mut tick = tokio::time::interval(TICK);
    tokio::pin!(run);
    let done = loop {
        tokio::select! {
            biased;
            Some(event) = events.recv() => {
                progress.apply(&event);
            }
            _ = tick.tick(), if terminal.is_live() => {
                terminal.status(&progress.status(begin.elapsed().as_secs_f64()));
            }
            done = &mut run => break done,
        }
    };
    terminal.clear();
    done
}

fn show(terminal: &mut Terminal, said: Said) {
    match said {
        Said::Result(text) => terminal.line(&text),
        Said::Failure(text) => terminal.line_in(Colour::Red, &text),
        Said::KnownFailure(text) => terminal.line_in(Colour::Cyan, &text),
        Said::Detail(text) if !terminal.is_live() => terminal.line(&text),
        Said::Detail(_) | Said::Nothing => {}
    }
}
