//! A run's events as a person follows them: lines that stay and a status line. A pure fold; `terminal` shows it.

use sanlab_record::{Event, EventKind, PhaseName};

/// What an event adds to the lines that stay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said {
    /// A result: always shown.
    Result(String),
    /// The run fails: always shown.
    Failure(String),
    /// It fails in the way that its scenario names as known: always shown.
    KnownFailure(String),
    /// A detail: shown where there is no status line to carry it.
    Detail(String),
    /// Nothing.
    Nothing,
}

/// A phase that has not ended yet.
#[derive(Debug, Clone)]
struct Open {
    name: Option<PhaseName>,
    since: f64,
}

/// The state of one scenario's run.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    scenario: String,
    open: Vec<Open>,
    note: String,
    /// When a fleet that stays up ends.
    ends: Option<f64>,
}

impl Progress {
    /// Before the first event.
    pub(crate) fn new(scenario: &str) -> Self {
        Self {
            scenario: scenario.to_owned(),
            open: Vec::new(),
            note: String::new(),
            ends: None,
        }
    }

    /// Takes an event in.
    pub(crate) fn apply(&mut self, event: &Event) -> Said {
        let phase = event.phase.as_ref();
        let text = || format!("[{:6.1}] {}: {event}", event.at, words(phase));
        match &event.kind {
            EventKind::PhaseStarted => {
                self.open.push(Open {
                    name: phase.cloned(),
                    since: event.at,
                });
                self.note.clear();
                Said::Nothing
            }
            EventKind::Held { seconds, .. } => {
                self.ends = Some(event.at + seconds);
                Said::Result(text())
            }
            EventKind::PhaseEnded { .. } => {
                self.open.retain(|open| open.name.as_ref() != phase);
                self.note.clear();
                Said::Result(text())
            }
            EventKind::Measured { .. }
            | EventKind::Crashed { .. }
            | EventKind::Fenced { .. }
            | EventKind::WriteCacheLost { .. }
            | EventKind::FaultBegan { .. }
            | EventKind::FaultEnded { .. }
            | EventKind::Panicked { .. }
            | EventKind::QemuExited { .. }
            | EventKind::DiskFailed { .. }
            | EventKind::Forked { .. }
            | EventKind::Kept { .. }
            | EventKind::Saved { .. }
            | EventKind::NotSaved { .. }
            | EventKind::NotKept { .. }
            | EventKind::ProvedBefore { .. }
            | EventKind::Discarded { .. }
            | EventKind::TemplateFailed { .. }
            | EventKind::NotSwept { .. }
            | EventKind::FilesInMemory { .. } => Said::Result(text()),
            EventKind::Failed { .. } => Said::Failure(text()),
            EventKind::KnownFailure { .. } => Said::KnownFailure(text()),
            EventKind::KernelSaid { .. } => Said::Detail(text()),
            // Every command has one: they are for whoever looks for its output.
            EventKind::Printed { .. } => Said::Nothing,
            _ => {
                self.note = event.to_string();
                Said::Detail(text())
            }
        }
    }

    /// The status line, `elapsed` seconds after the start: scenario, time, the phases under way, the latest news.
    pub(crate) fn status(&self, elapsed: f64) -> String {
        let open: Vec<String> = self
            .open
            .iter()
            .map(|open| {
                if let Some(left) = self.left(open, elapsed) {
                    return format!("the fleet stays up, {left} left");
                }
                let (name, seconds) = (words(open.name.as_ref()), elapsed - open.since);
                format!("{name} {:.0} s", seconds.max(0.0))
            })
            .collect();
        let mut parts = vec![format!("{} {}", self.scenario, clock(elapsed))];
        parts.push(open.join(" + "));
        parts.push(self.note.clone());
        parts.retain(|part| !part.is_empty());
        parts.join(" | ")
    }
}

impl Progress {
    /// Of a fleet that stays up, how long it still does, `1:05`.
    fn left(&self, open: &Open, elapsed: f64) -> Option<String> {
        let held = open.name == Some(PhaseName::Hold);
        self.ends.filter(|_| held).map(|ends| clock(ends - elapsed))
    }

    /// What is to be said again from time to time where there is no status line.
    pub(crate) fn reminder(&self, elapsed: f64) -> Option<String> {
        let left = self.open.iter().find_map(|open| self.left(open, elapsed))?;
        Some(format!(
            "[{elapsed:6.1}] hold: the fleet stays up, {left} left"
        ))
    }
}

/// What happens in no phase is the run's.
fn words(phase: Option<&PhaseName>) -> String {
    phase.map_or_else(|| "run".to_owned(), ToString::to_string)
}

/// `1:05` for 65 seconds.
fn clock(seconds: f64) -> String {
    let whole = seconds.max(0.0).floor();
    format!("{:.0}:{:02.0}", (whole / 60.0).floor(), whole % 60.0)
}

#[cfg(test)]
mod tests {
    use super::{Progress, Said};
    use sanlab_record::{Event, EventKind};

    fn event(at: f64, phase: &str, node: Option<&str>, kind: EventKind) -> Event {
        Event {
            at,
            phase: Some(phase.into()),
            node: node.map(str::to_owned),
            kind,
        }
    }

    #[test]
    fn a_run_reads_as_a_story() {
        let mut progress = Progress::new("mount");
        let events = [
            event(0.0, "boot", None, EventKind::PhaseStarted),
            event(
                0.1,
                "boot",
                None,
                EventKind::Waiting {
                    what: "2 CPUs, held by process 77".to_owned(),
                },
            ),
            event(
                9.1,
                "boot",
                Some("vix0"),
                EventKind::Answered { seconds: 8.2 },
            ),
            event(9.5, "boot", None, EventKind::PhaseEnded { seconds: 9.5 }),
            event(9.5, "layer ocfs2", None, EventKind::PhaseStarted),
            event(
                12.0,
                "layer ocfs2",
                Some("vix1"),
                EventKind::Progress {
                    text: "mounts".to_owned(),
                },
            ),
        ];
        let mut story = Vec::new();
        for event in &events {
            let said = match progress.apply(event) {
                Said::Result(text) => text,
                Said::Detail(text) => format!("{text} (detail)"),
                Said::Nothing => "(nothing)".to_owned(),
                other => panic!("{other:?}"),
            };
            story.push(said);
            story.push(format!("    {}", progress.status(event.at + 1.0)));
        }
        insta::assert_snapshot!(story.join("\n"), @r"
        (nothing)
            mount 0:01 | boot 1 s
        [   0.1] boot: waits for 2 CPUs, held by process 77 (detail)
            mount 0:01 | boot 1 s | waits for 2 CPUs, held by process 77
        [   9.1] boot: vix0: answered after 8.2 s (detail)
            mount 0:10 | boot 10 s | vix0: answered after 8.2 s
        [   9.5] boot: done in 9.5 s
            mount 0:10
        (nothing)
            mount 0:10 | layer ocfs2 1 s
        [  12.0] layer ocfs2: vix1: mounts (detail)
            mount 0:13 | layer ocfs2 4 s | vix1: mounts
        ");
    }

    #[test]
    fn what_the_store_and_the_host_gave_and_took_is_said() {
        let mut progress = Progress::new("mount");
        let key = "3f2a91c04d5e".repeat(6);
        let events = [
            EventKind::Discarded {
                kind: "checkpoint".to_owned(),
                key: key.clone(),
                reason: "vix0.ram is too short".to_owned(),
            },
            EventKind::Forked {
                checkpoint: "layers".to_owned(),
                key: key.clone(),
                age_seconds: 725.0,
            },
            EventKind::Kept {
                checkpoint: "written".to_owned(),
                key,
                seconds: 0.31,
                bytes: 480 << 20,
            },
            EventKind::NotKept {
                checkpoint: "read".to_owned(),
                reason: "the store is full".to_owned(),
            },
            EventKind::TemplateFailed {
                about: "x86".to_owned(),
                reason: "boot it".to_owned(),
            },
            EventKind::NotSwept {
                run: "/tmp/sanlab-0/r2".to_owned(),
                reason: "SIGKILL does not end its processes: 7".to_owned(),
            },
            EventKind::FilesInMemory {
                folder: "/dev/shm/r3".to_owned(),
                mib: 400,
            },
        ];
        let said = events.map(
            |kind| match progress.apply(&event(1.0, "fork", None, kind)) {
                Said::Result(text) => text,
                other => panic!("{other:?}"),
            },
        );
        insta::assert_snapshot!(said.join("\n"), @r"
        [   1.0] fork: checkpoint 3f2a91c04d5e was discarded: vix0.ram is too short
        [   1.0] fork: `layers` forked from 3f2a91c04d5e of 12 min 05 s ago
        [   1.0] fork: `written` kept as 3f2a91c04d5e in 0.31 s, 480 MiB on disk
        [   1.0] fork: `read` was not kept: the store is full
        [   1.0] fork: without a template of x86 its nodes boot: failed to boot it
        [   1.0] fork: the dead run /tmp/sanlab-0/r2 was not cleared away: SIGKILL does not end its processes: 7
        [   1.0] fork: /dev/shm/r3 lies in memory: what the fleet writes there counts as 400 MiB more; SANLAB_RUNTIME (running fleets) and SANLAB_CACHE (the store) choose other folders
        ");
    }

    #[test]
    fn the_time_of_a_fleet_that_stays_up_runs_down() {
        let mut progress = Progress::new("mount");
        progress.apply(&event(20.0, "hold", None, EventKind::PhaseStarted));
        let held = EventKind::Held {
            fleet: "mount".to_owned(),
            seconds: 1800.0,
            attach: "`sanlab shell --fleet mount vix0`".to_owned(),
        };
        let said = match progress.apply(&event(20.1, "hold", None, held)) {
            Said::Result(text) => text,
            other => panic!("{other:?}"),
        };
        insta::assert_snapshot!(said, @"[  20.1] hold: the fleet stays up as `mount` for 30 min 00 s: `sanlab shell --fleet mount vix0`");
        insta::assert_snapshot!(progress.status(80.1), @"mount 1:20 | the fleet stays up, 29:00 left");
        insta::assert_snapshot!(progress.reminder(140.1).unwrap(), @"[ 140.1] hold: the fleet stays up, 28:00 left");
        progress.apply(&event(
            150.0,
            "hold",
            None,
            EventKind::PhaseEnded { seconds: 130.0 },
        ));
        assert_eq!(progress.reminder(151.0), None);
    }

    #[test]
    fn a_nodes_end_is_a_result() {
        let mut progress = Progress::new("failover");
        let mut said = |kind| {
            let event = event(2.0, "step crash", Some("storage0a"), kind);
            match progress.apply(&event) {
                Said::Result(text) => text,
                other => panic!("{other:?}"),
            }
        };
        let crashed = EventKind::Crashed {
            how: sanlab_record::CrashKind::Power,
            after_seconds: 1.25,
        };
        assert_eq!(
            said(crashed),
            "[   2.0] step crash: storage0a: crashed (power) after 1.2 s"
        );
        let by = "client0".to_owned();
        assert_eq!(
            said(EventKind::Fenced { by }),
            "[   2.0] step crash: storage0a: fenced by client0"
        );
    }

    #[test]
    fn a_failure_that_is_known_is_not_said_to_be_another() {
        let mut progress = Progress::new("md_raid");
        let mut said = |kind| progress.apply(&event(2.0, "step check", None, kind));
        let message = "exited with 1".to_owned();
        let known = EventKind::KnownFailure { message };
        assert_eq!(
            said(known),
            Said::KnownFailure("[   2.0] step check: KNOWN FAILURE: exited with 1".to_owned())
        );
        let message = "exited with 1".to_owned();
        assert_eq!(
            said(EventKind::Failed { message }),
            Said::Failure("[   2.0] step check: FAILED: exited with 1".to_owned())
        );
    }

    #[test]
    fn a_background_step_stays_in_the_status_line_until_it_ends() {
        let mut progress = Progress::new("hot_node_addition");
        progress.apply(&event(60.0, "step load", None, EventKind::PhaseStarted));
        progress.apply(&event(60.2, "step add_node", None, EventKind::PhaseStarted));
        assert_eq!(
            progress.status(65.0),
            "hot_node_addition 1:05 | step load 5 s + step add_node 5 s"
        );
        progress.apply(&event(
            80.0,
            "step load",
            None,
            EventKind::PhaseEnded { seconds: 20.0 },
        ));
        assert_eq!(
            progress.status(80.0),
            "hot_node_addition 1:20 | step add_node 20 s"
        );
    }
}
