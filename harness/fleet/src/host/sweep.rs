//! Clears away what dead runs left: first their processes, then their folders. Whatever cannot be cleared away is reported
//! and left for a later sweep; it stops nobody.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Signal, pidfd_send_signal};
use sanlab_vm::recorded_processes;

/// A process that was sent SIGKILL ends as soon as the kernel lets go of it; TCG guests take milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// A file in the folder of a dead run whose processes were awaited once and did not end: nobody waits for them again.
const UNKILLABLE: &str = "unkillable.txt";

/// A dead run that was found, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Swept {
    /// Its folder.
    pub run: PathBuf,
    /// Processes of it that still ran, and were killed.
    pub killed: Vec<u32>,
    /// Why its folder is still there, if it is.
    pub left: Option<Remains>,
}

/// What of a dead run could not be cleared away. A later sweep tries it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remains {
    /// These processes do not end.
    Processes(Vec<u32>),
    /// Its folder cannot be read or removed: the system's words.
    Folder(String),
}

impl fmt::Display for Remains {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Processes(pids) => {
                let pids: Vec<_> = pids.iter().map(ToString::to_string).collect();
                write!(f, "SIGKILL does not end its processes: {}", pids.join(", "))
            }
            Self::Folder(error) => f.write_str(error),
        }
    }
}

/// Clears away after these runs, of which nobody is left. It waits for processes to end, and deletes files.
pub(crate) fn sweep(dead: Vec<PathBuf>) -> Vec<Swept> {
    sweep_by(dead, PATIENCE, |process| {
        pidfd_send_signal(process, Signal::KILL)
    })
}

/// The same, with another way to kill.
fn sweep_by(
    dead: Vec<PathBuf>,
    patience: Duration,
    kill: impl Fn(&OwnedFd) -> Result<(), Errno>,
) -> Vec<Swept> {
    // All are killed before one is awaited.
    let dead: Vec<_> = dead
        .into_iter()
        .map(|run| (Orphan::kill_all(&run, &kill), run))
        .collect();
    let end = Instant::now() + patience;
    let cleared = dead
        .into_iter()
        .map(|(orphans, run)| clear(run, orphans, end));
    cleared.collect()
}

/// Removes the folder of a run when its processes have ended.
fn clear(run: PathBuf, orphans: io::Result<Vec<Orphan>>, end: Instant) -> Swept {
    let note = run.join(UNKILLABLE);
    let end = if note.exists() { Instant::now() } else { end };
    let cleared = orphans.and_then(|orphans| {
        let (ended, left): (Vec<_>, Vec<_>) = orphans
            .into_iter()
            .partition(|orphan| orphan.has_ended_by(end));
        let pids = |orphans: Vec<Orphan>| orphans.into_iter().map(|orphan| orphan.pid).collect();
        let (killed, left): (_, Vec<u32>) = (pids(ended), pids(left));
        if left.is_empty() {
            remove_folder(&run)?;
            return Ok((killed, None));
        }
        let remains = Remains::Processes(left);
        fs_err::write(&note, remains.to_string())?;
        Ok((killed, Some(remains)))
    });
    let (killed, left) =
        cleared.unwrap_or_else(|error| (Vec::new(), Some(Remains::Folder(error.to_string()))));
    Swept { run, killed, left }
}

/// The run's own janitor may be removing it at the same time, or another sweep.
fn remove_folder(run: &Path) -> io::Result<()> {
    match fs_err::remove_dir_all(run) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A process of a dead run.
struct Orphan {
    pid: u32,
    handle: OwnedFd,
    /// Whether it was sent the signal.
    told: bool,
}

impl Orphan {
    /// Kills those processes of a run that have not ended.
    fn kill_all(run: &Path, kill: impl Fn(&OwnedFd) -> Result<(), Errno>) -> io::Result<Vec<Self>> {
        let mut orphans = Vec::new();
        for process in recorded_processes(run)? {
            let Some(handle) = process.open()? else {
                continue;
            };
            let mut orphan = Self {
                pid: process.pid,
                handle,
                told: false,
            };
            // One that has ended may still wait to be reaped.
            if !orphan.ends_within(Duration::ZERO) {
                orphan.told = kill(&orphan.handle).is_ok();
                orphans.push(orphan);
            }
        }
        Ok(orphans)
    }

    /// Waits for its end, but in vain for that of one that could not be told.
    fn has_ended_by(&self, end: Instant) -> bool {
        let left = end.saturating_duration_since(Instant::now());
        self.ends_within(if self.told { left } else { Duration::ZERO })
    }

    fn ends_within(&self, patience: Duration) -> bool {
        let end = Instant::now() + patience;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            // A pidfd is readable when its process has ended.
            let mut fds = [PollFd::new(&self.handle, PollFlags::IN)];
            match poll(&mut fds, Timespec::try_from(left).ok().as_ref()) {
                Err(Errno::INTR) => {}
                ended => return ended.is_ok_and(|ready| ready > 0),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::process::{Child, Command, Stdio};

    use procfs::process::Process;

    use super::*;

    /// Nobody waits as long.
    const FOR_EVER: Duration = Duration::from_secs(600);

    /// A folder of a dead run that has started nothing.
    fn dead_run() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("dead00");
        fs_err::create_dir(&run).unwrap();
        fs_err::write(run.join("disk"), "data").unwrap();
        (folder, run)
    }

    /// Adds a process to the record of a run, as one that started so many clock ticks later than it did.
    fn record(run: &Path, pid: u32, later: u64) {
        let path = run.join("processes.stat");
        let process = Process::new(pid.try_into().unwrap()).unwrap();
        let start = process.stat().unwrap().starttime;
        let line = fs_err::read_to_string(format!("/proc/{pid}/stat")).unwrap();
        let line = line.replace(&format!(" {start} "), &format!(" {} ", start + later));
        if !path.exists() {
            let boot = fs_err::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
            fs_err::write(&path, boot).unwrap();
        }
        let mut file = fs_err::OpenOptions::new().append(true).open(path).unwrap();
        file.write_all(line.as_bytes()).unwrap();
    }

    /// A process that waits until it is killed, with this argument.
    struct Sleeper(Child);

    impl Sleeper {
        fn new(argument: &Path) -> Self {
            let mut command = Command::new("/bin/sh");
            command
                .args(["-c", "read never_comes", "sleeper"])
                .arg(argument)
                .stdin(Stdio::piped());
            Self(command.spawn().unwrap())
        }

        fn runs(&mut self) -> bool {
            self.0.try_wait().unwrap().is_none()
        }
    }

    impl Drop for Sleeper {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[test]
    fn recorded_processes_are_killed_and_those_that_only_name_the_folder_are_not() {
        let (_folder, run) = dead_run();
        let (mut orphan, mut editor) = (Sleeper::new(&run), Sleeper::new(&run.join("disk")));
        record(&run, orphan.0.id(), 0);
        let swept = sweep(vec![run.clone()]);
        let expected = Swept {
            run: run.clone(),
            killed: vec![orphan.0.id()],
            left: None,
        };
        assert_eq!(swept, [expected]);
        assert!(!orphan.runs() && editor.runs() && !run.exists());
    }

    #[test]
    fn whoever_was_given_the_number_since_is_not_touched() {
        let (_folder, run) = dead_run();
        let mut stranger = Sleeper::new(&run);
        record(&run, stranger.0.id(), 1);
        assert!(sweep(vec![run.clone()])[0].killed.is_empty());
        assert!(stranger.runs() && !run.exists());
    }

    #[test]
    fn one_whose_parent_was_killed_before_is_killed() {
        let (_folder, run) = dead_run();
        let script = "exec 3<&0; /bin/sh -c 'echo $$; read never_comes' <&3 & wait";
        let mut parent = Command::new("/bin/sh")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        let mut stdout = BufReader::new(parent.stdout.take().unwrap());
        stdout.read_line(&mut said).unwrap();
        let orphan: u32 = said.trim().parse().unwrap();
        record(&run, orphan, 0);
        // Its standard input stays open, so that it does not end by itself.
        let stdin = parent.stdin.take();
        parent.kill().unwrap();
        parent.wait().unwrap();
        assert_eq!(sweep(vec![run.clone()])[0].killed, [orphan]);
        // Nobody writes any more.
        assert_eq!(stdout.read_line(&mut said).unwrap(), 0);
        assert!(!run.exists());
        drop(stdin);
    }

    #[test]
    fn one_that_ended_and_was_not_reaped_is_no_orphan() {
        let (_folder, run) = dead_run();
        let mut zombie = Sleeper::new(&run);
        record(&run, zombie.0.id(), 0);
        drop(zombie.0.stdin.take());
        let path = format!("/proc/{}/stat", zombie.0.id());
        let end = Instant::now() + Duration::from_secs(20);
        while !fs_err::read_to_string(&path).unwrap().contains(") Z ") {
            assert!(Instant::now() < end, "it has not ended");
            std::thread::yield_now();
        }
        assert!(sweep(vec![run.clone()])[0].killed.is_empty());
        assert!(!run.exists());
    }

    #[test]
    fn one_that_cannot_be_killed_is_awaited_once_and_stops_nobody() {
        let (_folder, run) = dead_run();
        let (_other_folder, other) = dead_run();
        let mut orphan = Sleeper::new(&run);
        let pid = orphan.0.id();
        record(&run, pid, 0);
        let mut expected = [
            Swept {
                run: run.clone(),
                killed: Vec::new(),
                left: Some(Remains::Processes(vec![pid])),
            },
            Swept {
                run: other.clone(),
                killed: Vec::new(),
                left: None,
            },
        ];
        // The kernel takes the signal, and the process does not end.
        let deaf = |patience| sweep_by(vec![run.clone(), other.clone()], patience, |_| Ok(()));
        let began = Instant::now();
        let patience = Duration::from_millis(200);
        assert_eq!(deaf(patience), expected);
        assert!(began.elapsed() >= patience);
        assert!(orphan.runs() && run.join("disk").exists() && !other.exists());
        assert_eq!(
            expected[0].left.as_ref().unwrap().to_string(),
            format!("SIGKILL does not end its processes: {pid}")
        );
        assert_eq!(deaf(FOR_EVER), expected);
        // Once it has ended, nothing is left.
        orphan.0.kill().unwrap();
        orphan.0.wait().unwrap();
        expected[0].left = None;
        assert_eq!(deaf(FOR_EVER), expected);
        assert!(!run.exists());
    }

    #[test]
    fn one_that_may_not_be_killed_is_not_awaited() {
        let (_folder, run) = dead_run();
        let mut orphan = Sleeper::new(&run);
        record(&run, orphan.0.id(), 0);
        let swept = sweep_by(vec![run], FOR_EVER, |_| Err(Errno::PERM));
        let left = Remains::Processes(vec![orphan.0.id()]);
        assert_eq!(swept[0].left, Some(left));
        assert!(orphan.runs());
    }

    #[test]
    fn a_folder_that_cannot_be_removed_is_reported() {
        let folder = tempfile::tempdir().unwrap();
        // A file: as good as a folder that the system does not remove.
        let run = folder.path().join("dead00");
        fs_err::write(&run, "").unwrap();
        let swept = sweep(vec![run]);
        assert!(
            matches!(&swept[0].left, Some(Remains::Folder(reason)) if reason.contains("dead00")),
            "{swept:?}"
        );
    }
}
