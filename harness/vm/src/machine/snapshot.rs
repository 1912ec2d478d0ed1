//! A machine's state out and in.
//!
//! RAM stays where it is, in a file that the next machine maps (`x-ignore-shared`); what is written is the state of the
//! devices and processors, half a megabyte. QEMU sends it as if to another host, through a socket on which the harness
//! listens, and takes it the same way: no shell, no program between, and the digest is taken as it passes. A state that is to
//! leave this host has the RAM in it ([`Machine::save_whole`]).

use std::io::SeekFrom;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fs_err::tokio as fs;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::broadcast::{Receiver, error::RecvError};

use crate::command_line::argv::Way;
use crate::command_line::spec::{MachineSpec, Ram};
use crate::error::{ExecError, VmError, space};
use crate::machine::running::{Listener, MachineEvent, Running};
use crate::machine::{Machine, QMP_DEADLINE};
use crate::process::ProcessGroup;

/// The socket in the machine's folder through which its state goes; no longer than the names of the others.
const STATE_SOCKET: &str = "state.sock";
/// How long QEMU may take over a state of half a megabyte, which takes it a twentieth of a second.
const LOAD_DEADLINE: Duration = Duration::from_secs(30);
/// Bytes of RAM in a second that QEMU takes at least, on a busy host: some hundred MiB on an idle one.
const LOAD_RATE: u64 = 4 << 20;
/// Bytes in a second that QEMU may send: by itself it leaves room on a network for others.
const SEND_RATE: u64 = 1 << 40;
/// For a QEMU that refuses a state to end, and to say why.
const GRACE: Duration = Duration::from_secs(2);
/// How long a save that was broken off may take to be over.
const CANCEL_DEADLINE: Duration = Duration::from_secs(5);
/// Read at once.
const CHUNK: usize = 1 << 18;

/// What was written when a machine was saved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedState {
    /// The length of the file.
    pub bytes: u64,
    /// Its SHA-256, in hexadecimal digits.
    pub sha256: String,
    /// The RAM is in it, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub whole: bool,
}

impl Machine {
    /// Writes the state of a machine that stands still ([`stop`](Self::stop)) and whose RAM is [`Ram::Kept`]: all but the
    /// RAM, which stays in its file. What fails leaves no file. Afterwards, saved or not, the machine may be ended, or go
    /// on ([`cont`](Self::cont)), which it must before it can be saved again; but one that goes on writes to its RAM file,
    /// beneath its forks as well.
    pub async fn save(&self, state: &Path, deadline: Duration) -> Result<SavedState, VmError> {
        if !matches!(self.running.ram, Ram::Kept(_)) {
            let reason = "its RAM is in no file that stays".into();
            return Err(self.not_saved(state, reason));
        }
        self.save_with(state, false, deadline).await
    }

    /// The same of a machine wherever its RAM is, with the RAM in the file. It goes on with memory of its own
    /// ([`Ram::Own`]), on this host or another.
    pub async fn save_whole(
        &self,
        state: &Path,
        deadline: Duration,
    ) -> Result<SavedState, VmError> {
        self.save_with(state, true, deadline).await
    }

    fn not_saved(&self, state: &Path, reason: String) -> VmError {
        VmError::NotSaved {
            node: self.name().to_owned(),
            state: state.to_owned(),
            reason,
        }
    }

    async fn save_with(
        &self,
        state: &Path,
        whole: bool,
        deadline: Duration,
    ) -> Result<SavedState, VmError> {
        let not_saved = |reason| self.not_saved(state, reason);
        let mut events = self.running.events.subscribe();
        let written = self.write_state(state, whole, &mut events);
        match self
            .running
            .unless_ended("migrate", deadline, written)
            .await?
        {
            Some(Ok(saved)) => Ok(saved),
            Some(Err(reason)) => Err(not_saved(reason)),
            None => {
                // QEMU forgets a migration only when it is told to, and takes no other before.
                let _ = self.qmp("migrate_cancel", json!({}), QMP_DEADLINE).await;
                let _ = tokio::time::timeout(CANCEL_DEADLINE, self.migrated(&mut events)).await;
                let limit = deadline.as_secs_f64();
                Err(not_saved(format!("it was not done within {limit} s")))
            }
        }
    }

    /// Starts QEMU with a saved machine's state and RAM: the guest stands still until [`cont`](Self::cont).
    /// The digest of the state and the size of the RAM file are verified first: where they differ, it is
    /// [`VmError::StateDamaged`] before QEMU starts. Where the RAM is in the state, it is the machine's own.
    pub async fn load(
        spec: MachineSpec,
        state: &Path,
        saved: &SavedState,
        group: &ProcessGroup,
    ) -> Result<Self, VmError> {
        let not_loaded = |reason: &str| VmError::NotLoaded {
            node: spec.name.clone(),
            state: state.to_owned(),
            reason: reason.into(),
        };
        match (&spec.ram, saved.whole) {
            (Ram::Own, true) => {}
            (Ram::Own, false) => return Err(not_loaded("its RAM is in no file")),
            (Ram::Kept(ram) | Ram::Forked(ram), false) => {
                check_ram(ram, spec.hardware.memory.bytes()).await?;
            }
            (Ram::Kept(_) | Ram::Forked(_), true) => {
                return Err(not_loaded("its RAM is in the state, and in a file"));
            }
        }
        let file = intact(state, saved).await?;
        let deadline = LOAD_DEADLINE + Duration::from_secs(saved.bytes / LOAD_RATE);
        let running = Running::start(spec, Way::Load, group).await?;
        let machine = Self { running };
        // Before anything is asked of QEMU: what it says from now on is about this.
        let mut events = machine.running.events.subscribe();
        let taken = machine.take_state(file, saved.whole, &mut events);
        let reason = match machine
            .running
            .unless_ended("migrate-incoming", deadline, taken)
            .await
        {
            Ok(Some(Ok(()))) => return Ok(machine),
            // A QEMU that does not understand a state says so and ends, perhaps while it is asked why.
            Ok(Some(Err(reason))) => {
                let never = std::future::pending::<()>();
                let ended = machine.running.unless_ended("load", GRACE, never);
                ended.await.err().map_or(Ok(reason), exit_reason)?
            }
            Ok(None) => format!("it was not done within {} s", deadline.as_secs()),
            Err(error) => exit_reason(error)?,
        };
        Err(VmError::NotLoaded {
            node: machine.name().to_owned(),
            state: state.to_owned(),
            reason,
        })
    }

    /// Has QEMU send the state and writes it down. The error is a reason.
    async fn write_state(
        &self,
        state: &Path,
        whole: bool,
        events: &mut Receiver<MachineEvent>,
    ) -> Result<SavedState, String> {
        let status = self.asked("query-status", json!({})).await?;
        if status["running"] != false {
            return Err("it runs: stop it first".into());
        }
        let mut file = NewFile::create(state).map_err(words)?;
        let (door, uri) = self.door()?;
        let listener = Listener::new(door).map_err(words)?;
        self.expect_migration(whole).await?;
        if whole {
            let rate = json!({ "max-bandwidth": SEND_RATE });
            self.asked("migrate-set-parameters", rate).await?;
        }
        self.asked("migrate", json!({ "uri": uri })).await?;
        let saved = {
            let copied = async {
                let stream = listener.connection().await?;
                // The stream ends with this: QEMU sees at once when nobody reads on.
                file.copy(stream).await
            };
            let migrated = self.migrated(events);
            tokio::pin!(copied, migrated);
            tokio::select! {
                saved = &mut copied => {
                    let migrated = migrated.await;
                    // QEMU only knows that nobody listened any more.
                    let saved = saved.map_err(words)?;
                    migrated.map(|()| saved)?
                }
                migrated = &mut migrated => {
                    migrated?;
                    copied.await.map_err(words)?
                }
            }
        };
        file.kept = true;
        Ok(SavedState { whole, ..saved })
    }

    /// Gives QEMU a state. The error is a reason.
    async fn take_state(
        &self,
        mut state: fs::File,
        whole: bool,
        events: &mut Receiver<MachineEvent>,
    ) -> Result<(), String> {
        self.expect_migration(whole).await?;
        let (door, uri) = self.door()?;
        self.asked("migrate-incoming", json!({ "uri": uri }))
            .await?;
        let stream = UnixStream::connect(&door).await;
        // QEMU listens for one connection only, and leaves its socket's file.
        let _ = fs::remove_file(&door).await;
        let mut stream = stream.map_err(words)?;
        // A QEMU that does not like what it reads ends, and its own words say why.
        let _ = tokio::io::copy(&mut state, &mut stream).await;
        let _ = stream.shutdown().await;
        self.migrated(events).await
    }

    /// RAM stays in its file unless the state is whole, and the outcome comes as an event.
    async fn expect_migration(&self, whole: bool) -> Result<(), String> {
        let capabilities = [("x-ignore-shared", !whole), ("events", true)]
            .map(|(capability, state)| json!({ "capability": capability, "state": state }));
        let arguments = json!({ "capabilities": capabilities });
        self.asked("migrate-set-capabilities", arguments)
            .await
            .map(drop)
    }

    /// Waits for the outcome of a migration.
    async fn migrated(&self, events: &mut Receiver<MachineEvent>) -> Result<(), String> {
        loop {
            let status = match events.recv().await {
                Ok(MachineEvent::Qmp { name, data }) if name == "MIGRATION" => {
                    data["status"].clone()
                }
                // What was missed may have been it.
                Err(RecvError::Lagged(_)) => {
                    self.asked("query-migrate", json!({})).await?["status"].take()
                }
                Ok(_) => continue,
                Err(RecvError::Closed) => return Err("QEMU is gone".into()),
            };
            match status.as_str() {
                Some("completed") => return Ok(()),
                Some(status @ ("failed" | "cancelled")) => {
                    let told = self.asked("query-migrate", json!({})).await?;
                    return Err(told["error-desc"].as_str().unwrap_or(status).to_owned());
                }
                _ => {}
            }
        }
    }

    async fn asked(&self, name: &str, arguments: Value) -> Result<Value, String> {
        self.qmp(name, arguments, QMP_DEADLINE).await.map_err(words)
    }

    /// The socket for the state, and its URI.
    fn door(&self) -> Result<(PathBuf, String), String> {
        let door = self.running.dir.join(STATE_SOCKET);
        let text = door.to_str().ok_or("its folder's path is not UTF-8")?;
        let uri = format!("unix:{text}");
        Ok((door, uri))
    }
}

/// The status of a QEMU that has ended, and the end of its standard error.
fn exit_reason(error: ExecError) -> Result<String, ExecError> {
    match error {
        ExecError::QemuDead {
            status,
            full,
            stderr_tail,
            ..
        } => Ok(format!(
            "QEMU {status}{}: {}",
            space(full.as_deref()),
            stderr_tail.replace('\n', "; ")
        )),
        other => Err(other),
    }
}

/// A file that goes away unless it is kept.
struct NewFile {
    file: fs::File,
    path: PathBuf,
    kept: bool,
}

impl NewFile {
    /// At once: a future that is given up while another thread opens the file would leave it.
    fn create(path: &Path) -> std::io::Result<Self> {
        let mut options = fs_err::OpenOptions::new();
        let file = options.write(true).create_new(true).open(path)?;
        Ok(Self {
            file: fs::File::from_std(file),
            path: path.to_owned(),
            kept: false,
        })
    }

    /// Writes down what comes until its end.
    async fn copy(&mut self, mut stream: UnixStream) -> std::io::Result<SavedState> {
        let mut chunk = vec![0; CHUNK];
        let (mut bytes, mut digest) = (0, Sha256::new());
        loop {
            let length = stream.read(&mut chunk).await?;
            if length == 0 {
                break;
            }
            digest.update(&chunk[..length]);
            self.file.write_all(&chunk[..length]).await?;
            bytes += length as u64;
        }
        // Not before this has the last of it been written.
        self.file.flush().await?;
        let sha256 = hex::encode(digest.finalize());
        Ok(SavedState {
            bytes,
            sha256,
            whole: false,
        })
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.kept {
            // Whoever removed it already did our work.
            let _ = fs_err::remove_file(&self.path);
        }
    }
}

/// The state, if it is what was saved, from its beginning on.
async fn intact(state: &Path, saved: &SavedState) -> Result<fs::File, VmError> {
    let damaged = |reason| VmError::StateDamaged {
        path: state.to_owned(),
        reason,
    };
    let unreadable = |error: std::io::Error| damaged(unreadable(&error));
    let mut file = fs::File::open(state).await.map_err(unreadable)?;
    let length = file.metadata().await.map_err(unreadable)?.len();
    if length != saved.bytes {
        let reason = format!("it has {length} bytes and not {}", saved.bytes);
        return Err(damaged(reason));
    }
    let (mut chunk, mut digest) = (vec![0; CHUNK], Sha256::new());
    loop {
        let length = file.read(&mut chunk).await.map_err(unreadable)?;
        if length == 0 {
            break;
        }
        digest.update(&chunk[..length]);
    }
    let sha256 = hex::encode(digest.finalize());
    if sha256 != saved.sha256 {
        let reason = format!("its SHA-256 is {sha256} and not {}", saved.sha256);
        return Err(damaged(reason));
    }
    file.seek(SeekFrom::Start(0)).await.map_err(unreadable)?;
    Ok(file)
}

/// A RAM file is compared by its size only: its digest would take longer than to boot.
async fn check_ram(ram: &Path, wanted: u64) -> Result<(), VmError> {
    let damaged = |reason| VmError::StateDamaged {
        path: ram.to_owned(),
        reason,
    };
    let found = fs::metadata(ram)
        .await
        .map_err(|error| damaged(unreadable(&error)))?;
    let length = found.len();
    if length != wanted {
        return Err(damaged(format!(
            "it has {length} bytes and not {wanted}, the machine's RAM"
        )));
    }
    Ok(())
}

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Without the path, which stands in the message already.
fn unreadable(error: &std::io::Error) -> String {
    format!("it cannot be read: {}", error.kind())
}
