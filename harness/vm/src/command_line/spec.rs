//! What one machine is made of: valid, cloneable, decided.

use std::fmt;
use std::path::PathBuf;

use crate::command_line::counting::CounterPlugin;

pub use sanlab_plan::{Arch, ByteSize, Hardware, NicModel};

use crate::command_line::program::QemuVersion;

/// What executes the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Accelerator {
    /// The host's processor.
    Kvm,
    /// QEMU's translator.
    Tcg,
}

impl fmt::Display for Accelerator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        })
    }
}

/// An Ethernet address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MacAddress(pub [u8; 6]);

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.map(|byte| format!("{byte:02x}")).join(":"))
    }
}

/// What a machine does with a disk's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// Reads it, as any number of machines may at once.
    ReadOnly,
    /// Writes to it: the file is this machine's alone.
    Written,
    /// Writes to it, as other machines do at the same time: a disk that they share. The host's page cache is one for all of them.
    Shared,
    /// Reads it and writes to an overlay in its own folder, which ends with the machine: any number of machines may start
    /// from one file.
    Forked,
}

/// Where a machine's memory lives.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Ram {
    /// In memory that ends with the machine.
    Own,
    /// In a file of exactly that size, which stays when the machine ends: a machine that will be saved.
    Kept(PathBuf),
    /// In a private view of the file of a saved machine, which any number of machines share: what one writes is in its own
    /// memory only. QEMU 7.2 opens the file for writing even so, and its `readonly=on` would mean the guest: the file
    /// needs a mode that lets its owner write.
    Forked(PathBuf),
}

/// What a disk is attached to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attachment {
    /// It is a virtio-blk device of its own.
    VirtioBlk,
    /// It is a logical unit behind the virtio-scsi controller of that number, which is its target's number there, too.
    VirtioScsi {
        /// Of the controller, from 0.
        controller: u8,
        /// The logical unit's number.
        lun: u8,
        /// World Wide Name: one for all paths to the same disk.
        wwn: u64,
    },
}

/// A virtio disk on a raw file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drive {
    /// The raw file; it must exist.
    pub file: PathBuf,
    /// What it is attached to.
    pub attachment: Attachment,
    /// What the guest finds under `/sys/block/vdX/serial`, at most 20 bytes.
    pub serial: String,
    /// What is done with the file.
    pub access: Access,
    /// An existing empty file that takes every write and flush of a disk that is written to, in their order and in the format
    /// of the kernel's dm-log-writes: it tells what a disk with a volatile write cache need not have when its power is cut. The
    /// guest sees no difference.
    pub write_log: Option<PathBuf>,
}

impl Drive {
    /// A virtio-blk device; no writes are logged.
    pub fn new(file: impl Into<PathBuf>, serial: impl Into<String>, access: Access) -> Self {
        Self {
            file: file.into(),
            attachment: Attachment::VirtioBlk,
            serial: serial.into(),
            access,
            write_log: None,
        }
    }
}

/// A network card, plugged into a switch port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nic {
    /// Which card the guest sees.
    pub model: NicModel,
    /// Its Ethernet address.
    pub mac: MacAddress,
    /// Unix socket on which the switch listens; frames carry a 4-byte big-endian length.
    pub socket: PathBuf,
}

/// What counts the instructions that a machine executes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Counter {
    /// The plugin of QEMU's translator.
    pub plugin: CounterPlugin,
    /// Where it counts. The file is made when the machine starts, anew if it is there.
    pub file: PathBuf,
}

/// Everything about a machine that is decided before it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineSpec {
    /// The node's name, used in errors and shown by `ps`.
    pub name: String,
    /// What it is made of, network cards and disks apart.
    pub hardware: Hardware,
    /// The QEMU program; [`qemu_binary`](crate::qemu_binary) finds the host's.
    pub qemu: PathBuf,
    /// Its version: older ones need work-arounds.
    pub qemu_version: QemuVersion,
    /// What executes it; [`choose_accelerators`](crate::choose_accelerators) finds what works.
    pub accelerator: Accelerator,
    /// Where its RAM lives.
    pub ram: Ram,
    /// An uncompressed ELF `vmlinux` with a PVH note.
    pub kernel: PathBuf,
    /// The initial RAM file system.
    pub initramfs: PathBuf,
    /// Kernel arguments beyond those every guest gets.
    pub append: Vec<String>,
    /// Disks, in order: `vda`, `vdb`, ...; behind SCSI controllers `sda`, `sdb`, ..., in the order in which the guest finds them.
    pub drives: Vec<Drive>,
    /// Network cards, in order: `eth0`, `eth1`, ...
    pub nics: Vec<Nic>,
    /// An existing private folder with a short path (a Unix socket's path has at most 107 bytes): it takes the channels'
    /// sockets, QEMU's own error output and the overlays of forked disks.
    pub dir: PathBuf,
    /// Where the serial console is logged, after what is there already; it should outlive `dir`.
    pub console_log: PathBuf,
    /// What counts its instructions. Without effect under KVM, and where the plugin does not count so many virtual processors.
    /// It is no part of what the guest sees: a machine may be counted that goes on from one that was not.
    pub counter: Option<Counter>,
}

impl MachineSpec {
    /// What counts its instructions, if it can be counted.
    pub(crate) fn counted(&self) -> Option<&Counter> {
        let translated = self.accelerator == Accelerator::Tcg;
        let counts = |counter: &Counter| {
            let plugin = counter.plugin.clone();
            translated && plugin.for_cpus(self.hardware.cpus).is_ok()
        };
        self.counter.as_ref().filter(|counter| counts(counter))
    }
}
