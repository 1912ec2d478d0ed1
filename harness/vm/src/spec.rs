//! What one machine is made of: valid, cloneable, decided.

use std::fmt;
use std::path::PathBuf;

/// Instruction set of the guest's kernel and user land.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Arch {
    /// 32-bit x86 with PAE, run by `qemu-system-i386`.
    X86,
    /// 64-bit x86, run by `qemu-system-x86_64`.
    X86_64,
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::X86 => "x86",
            Self::X86_64 => "x86_64",
        })
    }
}

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

/// The model of an emulated network card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NicModel {
    /// `virtio-net-pci`: any MTU up to 65535 bytes.
    VirtioNet,
    /// Intel 82540EM: the guest's driver carries an MTU of at most 16110 bytes.
    E1000,
}

/// An Ethernet address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MacAddress(pub [u8; 6]);

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.map(|byte| format!("{byte:02x}")).join(":"))
    }
}

/// A virtio disk on a raw file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drive {
    /// The raw file; it must exist.
    pub file: PathBuf,
    /// What the guest finds under `/sys/block/vdX/serial`, at most 20 bytes.
    pub serial: String,
    /// A read-only file may be shared by any number of machines at once.
    pub read_only: bool,
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
    /// Largest IP packet in bytes; a virtio card tells it to the guest, on an e1000 the guest must set it.
    pub mtu: u32,
}

/// Everything about a machine that is decided before it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineSpec {
    /// The node's name, used in errors and shown by `ps`.
    pub name: String,
    /// Instruction set.
    pub arch: Arch,
    /// The QEMU program; [`qemu_binary`](crate::qemu_binary) finds the host's.
    pub qemu: PathBuf,
    /// What executes it; [`choose_accelerator`](crate::choose_accelerator) finds what works.
    pub accelerator: Accelerator,
    /// Virtual processors, at least 1.
    pub cpus: u8,
    /// RAM in MiB.
    pub memory_mib: u32,
    /// An uncompressed ELF `vmlinux` with a PVH note.
    pub kernel: PathBuf,
    /// The initial RAM file system.
    pub initramfs: PathBuf,
    /// Kernel arguments beyond those every guest gets.
    pub append: Vec<String>,
    /// Disks, in order: `vda`, `vdb`, ...
    pub drives: Vec<Drive>,
    /// Network cards, in order: `eth0`, `eth1`, ...
    pub nics: Vec<Nic>,
    /// An existing private folder with a short path (a Unix socket's path has at most 107 bytes): it takes the channels'
    /// sockets and QEMU's own error output.
    pub dir: PathBuf,
    /// Where the serial console is logged; it should outlive `dir`.
    pub console_log: PathBuf,
}
