//! One QEMU process and its channels.
//!
//! In the pipeline this crate stands before `fleet`, which makes many machines out of it; of the lab it uses
//! only `plan`, for architectures, `counter`, and `lock`.
//! [`MachineSpec`] says what a machine is, [`argv`] writes it as a command line, [`Machine::start`] runs it, and
//! [`Machine::exec`] runs a command in the guest:
//!
//! ```no_run
//! # async fn example(spec: sanlab_vm::MachineSpec) -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use sanlab_vm::{Command, Machine, ProcessGroup};
//!
//! let group = ProcessGroup::new(&spec.dir)?;
//! let machine = Machine::start(spec, &group).await?;
//! machine.wait_agent(Duration::from_secs(60)).await?;
//! let output = machine.exec(Command::script("uname -r"), Duration::from_secs(5)).await?.success()?;
//! assert!(!output.stdout.is_empty());
//! machine.shutdown(Duration::from_secs(2)).await?;
//! group.close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! A machine that stands still can be saved ([`Machine::save`]), and any number of machines that are alike, by their
//! [`fingerprint`](fingerprint()), can go on where it stood ([`Machine::load`]): each with a private view of its RAM
//! ([`Ram::Forked`]) and an overlay on its disks ([`Access::Forked`]).
//!
//! Five channels lead into a machine, each a Unix socket on which the harness listens before QEMU starts, so that
//! there is nothing to race for: QMP (QEMU itself), the guest agent, the serial console, the event port, on which
//! programs in the guest report what they have done ([`Machine::guest_events`]), and the lab's own agent, which runs commands on
//! pipes and terminals and pushes what they write ([`Machine::launch`]). No process outlives the harness, however it
//! ends: see [`ProcessGroup`].
//!
//! What a machine costs can be read at any time ([`Machine::cost`]): the host's processor time, and, of a machine with a
//! [`Counter`], the instructions that its guest has executed.
//!
//! Of a guest whose agent does not answer it is found out whether it hangs: QEMU and the guest's kernel are asked
//! ([`Machine::examined`]).
//!
//! A machine can also crash on purpose: as when its power fails ([`Machine::kill`]), or by a kernel panic
//! ([`Machine::panic`]).

mod channels;
mod command_line;
mod error;
mod machine;
mod process;

pub use channels::command::{Command, Output, OutputLine, OutputStream, Printed};
pub use channels::console::{Console, ConsoleLine};
pub use channels::event_port::{EVENT_PORT_PATH, GuestEvent};
pub use channels::frame;
pub use channels::kernel_log::{Trouble, trouble};
pub use channels::lab_agent::GuestSaid;
pub use channels::room::Room;
pub use command_line::accelerator::{AcceleratorChoice, AcceleratorWish, choose_accelerators};
pub use command_line::argv::argv;
pub use command_line::clock::GuestClock;
pub use command_line::counting::{CounterPlugin, NotCounted, counter_plugin, offer_counter_plugin};
pub use command_line::fingerprint::{devices, fingerprint};
pub use command_line::probe_guest::ProbeGuest;
pub use command_line::program::{
    QemuVersion, installed, qemu_binary, qemu_digest, qemu_of, qemu_stamp, qemu_version,
};
pub use command_line::spec::{
    Accelerator, Access, Arch, Attachment, ByteSize, Counter, Drive, Hardware, MacAddress,
    MachineSpec, Nic, NicModel, Ram,
};
pub use error::{ExecError, VmError};
pub use machine::Machine;
pub use machine::examination::Examination;
pub use machine::guest_process::{GuestInput, GuestProcess};
pub use machine::running::{ExitReport, MachineEvent};
pub use machine::snapshot::SavedState;
pub use process::ProcessGroup;
pub use process::cost::Cost;
pub use process::records::{RecordedProcess, recorded_processes};
pub use process::space::FileSystem;
pub use process::status::Status;
pub use process::usage::Usage;
pub use sanlab_counter::Api as PluginApi;
