//! Whose processor an ELF file is for.

use object::elf::{EM_386, EM_X86_64, Machine};
use sanlab_plan::Arch;

/// Where an ELF file of either class says what machine it is for; elf(5).
const MACHINE: std::ops::Range<usize> = 18..20;
/// What kind of file it is, and the kinds of programs and libraries: `ET_EXEC`, `ET_DYN`.
const TYPE: std::ops::Range<usize> = 16..18;
const RUNS: [u16; 2] = [2, 3];

/// The architecture of an ELF file; nothing of what is none. A reason, if no guest has it.
pub(crate) fn arch(bytes: &[u8]) -> Result<Option<Arch>, String> {
    if !bytes.starts_with(b"\x7fELF") {
        return Ok(None);
    }
    let machine = match bytes.get(MACHINE) {
        Some(machine) => Machine(u16::from_le_bytes([machine[0], machine[1]])),
        None => return Err("it is an ELF file that was cut short".to_owned()),
    };
    match machine {
        EM_386 => Ok(Some(Arch::X86)),
        EM_X86_64 => Ok(Some(Arch::X86_64)),
        _ => Err("it is for a processor that no guest has".to_owned()),
    }
}

/// Refuses a program or library of another architecture. Other ELF files, such as firmware or BPF objects, may be for whom they
/// like.
pub(crate) fn check_program(bytes: &[u8], guest: Arch) -> Result<(), String> {
    let kind = bytes.get(TYPE).map(|kind| [kind[0], kind[1]]);
    if kind.is_some_and(|kind| !RUNS.contains(&u16::from_le_bytes(kind))) {
        return Ok(());
    }
    match arch(bytes)? {
        Some(arch) if arch != guest => Err(other(arch, guest)),
        _ => Ok(()),
    }
}

/// Why something for one architecture is of no use to guests of another.
pub(crate) fn other(arch: impl std::fmt::Display, guest: Arch) -> String {
    format!("it is for {arch}, and the guest is {guest}: say by `{arch}:` or `arch` who gets it")
}
