//! One node: its keys in `[nodes]`, and what is decided of it.

use std::fmt;

use crate::diagnostic::{Diagnostic, Mistakes};
use crate::document::table::table;
use crate::document::word::words;
use crate::values::names::{ImageName, NodeName};
use crate::values::units::ByteSize;

const LEAST_MEMORY: ByteSize = ByteSize::from_mib(96);
const MOST_MEMORY: ByteSize = ByteSize::from_mib(16 << 10);
const MOST_CPUS: u8 = 8;
/// The lowest priority that Linux knows.
const MOST_NICE: u8 = 19;

table! {
    /// One node, or several alike.
    Written, "a node", r#"{ arch = "x86_64" }"# {
        /// Instruction set of kernel and programs.
        arch: Arch, required r#""x86""#;
        /// Model of the network cards.
        nic: NicModel, default NicModel::VirtioNet;
        /// RAM, 96MiB to 16GiB.
        memory: ByteSize, default ByteSize::from_mib(256);
        /// Virtual CPUs, 1 to 8.
        cpus: u8, default 1;
        /// How much its QEMU yields the host's CPUs to the other nodes' once it is ready, 0 to 19, as in nice(1).
        nice: u8, default 0;
        /// The manifest under `images/`, without `.toml`, that it boots, in place of the scenario's.
        image: ImageName, optional;
        /// `start`: before the first layer; `later`: in an `add_node` step, or never.
        joins: Joins, default Joins::AtStart;
    }
}

/// One guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Host name in the guest and name in the record.
    pub name: NodeName,
    /// Place in the scenario, from 0: addresses, MACs and OCFS2 node number follow from it.
    pub number: u8,
    /// What its machine is made of.
    pub hardware: Hardware,
    /// Model of its network cards.
    pub nic: NicModel,
    /// The nice value of its QEMU once it is ready.
    pub nice: u8,
    /// When it boots.
    pub joins: Joins,
    /// What it boots in place of the scenario's image.
    pub image: Option<ImageName>,
}

/// What a node's machine is made of, its network cards and disks apart. It is passed as it is to the machine that QEMU runs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Hardware {
    /// Instruction set of kernel and user land.
    pub arch: Arch,
    /// RAM: whole MiB.
    pub memory: ByteSize,
    /// Virtual CPUs, at least 1.
    pub cpus: u8,
}

impl Hardware {
    /// With so much memory, and the defaults of a scenario for the rest.
    pub const fn new(arch: Arch, memory: ByteSize) -> Self {
        Self {
            arch,
            memory,
            cpus: 1,
        }
    }
}

/// Without what is at its default, so that snapshots of plans without a key stay what they are when the key is new.
impl fmt::Debug for Hardware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { arch, memory, cpus } = self;
        let usual = Self::new(*arch, *memory);
        let mut text = f.debug_struct("Hardware");
        text.field("arch", arch).field("memory", memory);
        if *cpus != usual.cpus {
            text.field("cpus", cpus);
        }
        text.finish()
    }
}

impl Written {
    /// Where a value was wrong, a stand-in lets the rest be checked: no plan comes of it.
    pub(crate) fn hardware(&self) -> Hardware {
        let arch = self.arch.as_ref().map_or(Arch::X86, |arch| arch.value);
        let memory = self.memory.as_ref();
        let memory = memory.map_or(MOST_MEMORY, |memory| memory.value);
        Hardware {
            arch,
            memory,
            cpus: self.cpus.as_ref().map_or(1, |cpus| cpus.value),
        }
    }

    pub(crate) fn check(&self, mistakes: &mut Mistakes) {
        if let Some(memory) = &self.memory {
            let whole = memory.bytes().is_multiple_of(1 << 20);
            if !whole || memory.value < LEAST_MEMORY || memory.value > MOST_MEMORY {
                mistakes.note(
                    Diagnostic::at(&memory.span, format!("impossible memory: {}", memory.value))
                        .label("no guest runs with that")
                        .help(format!(
                            "give whole MiB, from {LEAST_MEMORY} to {MOST_MEMORY}"
                        )),
                );
            }
        }
        if let Some(cpus) = &self.cpus
            && !(1..=MOST_CPUS).contains(&cpus.value)
        {
            mistakes.note(
                Diagnostic::at(
                    &cpus.span,
                    format!("impossible number of CPUs: {}", cpus.value),
                )
                .label("no guest runs with that")
                .help(format!("give 1 to {MOST_CPUS}")),
            );
        }
        if let Some(nice) = self.nice.as_ref().filter(|nice| nice.value > MOST_NICE) {
            mistakes.note(
                Diagnostic::at(&nice.span, format!("impossible nice value: {}", nice.value))
                    .label("Linux has no such priority")
                    .help(format!("give 0 to {MOST_NICE}")),
            );
        }
    }
}

words! {
    /// Instruction set of a guest, as in scenario files.
    pub Arch, "architecture", "architectures", "an architecture", r#""x86""# {
        /// 32-bit i386, Debian's 686-pae kernel.
        X86 = "x86",
        /// 64-bit x86, Debian's amd64 kernel.
        X86_64 = "x86_64",
    }
}

impl Arch {
    /// All of them, in the order of listings.
    pub const ALL: [Self; 2] = [Self::X86, Self::X86_64];

    /// Debian's name of the architecture.
    pub const fn debian(self) -> &'static str {
        match self {
            Self::X86 => "i386",
            Self::X86_64 => "amd64",
        }
    }
}

words! {
    /// Network card that QEMU shows to the guest.
    pub NicModel, "network card", "network cards", "a network card", r#""virtio""# {
        /// Paravirtual, carries MTUs up to 65535.
        VirtioNet = "virtio",
        /// Intel 82540EM, emulated register by register; MTU at most 16110.
        E1000 = "e1000",
    }
}

words! {
    /// When a node boots.
    pub Joins, "time to join", "times to join", "a time to join", r#""later""# {
        /// Before the first layer.
        AtStart = "start",
        /// In an `add_node` step, or never: then it is there so that fleets of one shape share what is kept of them.
        Later = "later",
    }
}
