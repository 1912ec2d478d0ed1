//! A machine on the test bench.

use std::cell::RefCell;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sanlab_vm::{
    Accelerator, Arch, ByteSize, Hardware, Machine, MachineSpec, ProcessGroup, QemuVersion, Ram,
    VmError,
};
use tempfile::TempDir;

/// Long enough for a loaded host: no trial waits for it to pass.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// A run with one machine at most.
pub(crate) struct Bench {
    pub(crate) group: ProcessGroup,
    pub(crate) dir: TempDir,
    /// Into which network cards are plugged; nobody takes their frames.
    pub(crate) ports: RefCell<Vec<UnixListener>>,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("sanlab-vm-")
            .tempdir()
            .expect("a temporary folder");
        Self {
            group: ProcessGroup::new(dir.path()).expect("a janitor"),
            dir,
            ports: RefCell::default(),
        }
    }

    /// Starts a machine that says what the transcript says.
    pub(crate) async fn start(&self, transcript: &str) -> Result<Machine, VmError> {
        Machine::start(spec(self.dir.path(), &recorded(transcript)), &self.group).await
    }

    /// A machine whose agent has answered.
    pub(crate) async fn booted(transcript: &str) -> (Self, Machine) {
        let bench = Self::new();
        let machine = bench.start(transcript).await.expect("it starts");
        machine.wait_agent(SOON).await.expect("its agent answers");
        (bench, machine)
    }

    /// The orderly end.
    pub(crate) async fn end(self, machine: Machine) {
        machine.shutdown(SOON).await.expect("it ends");
        self.group.close().await.expect("nothing is left");
    }
}

/// The path of `fixtures/transcripts/NAME.jsonl`.
pub(crate) fn recorded(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fixtures/transcripts")
        .join(name)
        .with_extension("jsonl")
}

/// A machine whose QEMU is this program, with a transcript for its kernel.
pub(crate) fn spec(dir: &Path, transcript: &Path) -> MachineSpec {
    MachineSpec {
        name: "vix0".into(),
        hardware: Hardware::new(Arch::X86_64, ByteSize::from_mib(384)),
        qemu: std::env::current_exe().expect("this program"),
        qemu_version: QemuVersion::default(),
        accelerator: Accelerator::Tcg,
        ram: Ram::Own,
        kernel: transcript.to_owned(),
        initramfs: "initramfs".into(),
        append: Vec::new(),
        drives: Vec::new(),
        nics: Vec::new(),
        dir: dir.to_owned(),
        console_log: dir.join("console.log"),
        counter: None,
    }
}
