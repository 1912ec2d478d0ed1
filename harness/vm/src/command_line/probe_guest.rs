//! The smallest guest that shows whether an accelerator works: a firmware image of some forty instructions.
//!
//! It goes where a kernel goes: from real mode to protected mode, to paging, and for `x86_64` to long mode, and then reports
//! through QEMU's `isa-debug-exit` device. That a virtual machine can be made, or runs in real mode, proves little: there are
//! hosts whose KVM ends every guest at the first page table, and others where only PAE does not work.

use std::fmt;

use crate::command_line::spec::Arch;

/// Which kernel the probe guest stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProbeGuest {
    /// One of 32 bits with plain page tables.
    X86,
    /// One of 32 bits with physical address extension, as distributions have it.
    X86Pae,
    /// One of 64 bits.
    X86_64,
}

impl ProbeGuest {
    /// The one for a kernel, by what `uname -r` says of it. Of 32-bit kernels only Debian's flavour `686` is known to do without
    /// PAE.
    pub fn for_kernel(arch: Arch, release: &str) -> Self {
        match arch {
            Arch::X86 if release.ends_with("-686") => Self::X86,
            other => other.into(),
        }
    }
}

impl From<Arch> for ProbeGuest {
    fn from(arch: Arch) -> Self {
        match arch {
            Arch::X86 => Self::X86Pae,
            Arch::X86_64 => Self::X86_64,
        }
    }
}

impl fmt::Display for ProbeGuest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::X86 => "x86 without PAE",
            Self::X86Pae => "x86",
            Self::X86_64 => "x86_64",
        })
    }
}

/// The I/O port of the debug-exit device.
pub(crate) const PORT: u8 = 0xf4;

/// QEMU's exit code when the guest has reported: the device makes `value << 1 | 1` of 0x2a.
pub(crate) const REPORTED: i32 = 0x55;

/// QEMU maps a firmware image to end at 1 MiB and at 4 GiB, in units of 64 KiB.
const SIZE: usize = 0x1_0000;
/// Where the processor begins, 16 bytes before the end.
const RESET: usize = 0xfff0;
const TABLES: usize = 0x100;

/// 16 bits at f000:0000, then 32 bits at 0xf0000. Page tables at 0x1000 (pointers) and 0x2000 (one page of 2 MiB).
const TO_TABLES: &[&[u8]] = &[
    &[0xfa],                                                       // cli
    &[0xb8, 0x00, 0xf0],                                           // mov ax, 0xf000
    &[0x8e, 0xd8],                                                 // mov ds, ax
    &[0x66, 0x0f, 0x01, 0x16, 0x20, 0x01],                         // lgdt [0x120]
    &[0x0f, 0x20, 0xc0],                                           // mov eax, cr0
    &[0x0c, 0x01],                                                 // or al, 1: protected mode
    &[0x0f, 0x22, 0xc0],                                           // mov cr0, eax
    &[0x66, 0xea, 0x1c, 0x00, 0x0f, 0x00, 0x08, 0x00], // jmp 0x08:0xf001c, the next instruction
    &[0x66, 0xb8, 0x10, 0x00],                         // mov ax, 0x10
    &[0x8e, 0xd8],                                     // mov ds, ax
    &[0x8e, 0xc0],                                     // mov es, ax
    &[0x31, 0xc0],                                     // xor eax, eax
    &[0xbf, 0x00, 0x10, 0x00, 0x00],                   // mov edi, 0x1000
    &[0xb9, 0x00, 0x0c, 0x00, 0x00],                   // mov ecx, 0xc00
    &[0xfc],                                           // cld
    &[0xf3, 0xab],                                     // rep stosd
    &[0xc7, 0x05, 0x00, 0x10, 0x00, 0x00, 0x01, 0x20, 0x00, 0x00], // mov dword [0x1000], 0x2001: present
    &[0xc7, 0x05, 0x00, 0x20, 0x00, 0x00, 0x83, 0x00, 0x00, 0x00], // mov dword [0x2000], 0x83: present, writable, large
    &[0xc7, 0x05, 0x00, 0x30, 0x00, 0x00, 0x01, 0x10, 0x00, 0x00], // mov dword [0x3000], 0x1001: long mode's top level
];

const WITH_PAE: &[&[u8]] = &[
    &[0xb8, 0x00, 0x10, 0x00, 0x00], // mov eax, 0x1000
    &[0x0f, 0x22, 0xd8],             // mov cr3, eax
    &[0x0f, 0x20, 0xe0],             // mov eax, cr4
    &[0x0c, 0x20],                   // or al, 0x20: physical address extension
    &[0x0f, 0x22, 0xe0],             // mov cr4, eax
];

/// What is a page of 2 MiB to PAE is one of 4 MiB here.
const WITHOUT_PAE: &[&[u8]] = &[
    &[0xb8, 0x00, 0x20, 0x00, 0x00], // mov eax, 0x2000
    &[0x0f, 0x22, 0xd8],             // mov cr3, eax
    &[0x0f, 0x20, 0xe0],             // mov eax, cr4
    &[0x0c, 0x10],                   // or al, 0x10: page size extension
    &[0x0f, 0x22, 0xe0],             // mov cr4, eax
];

const PAGING: &[&[u8]] = &[
    &[0x0f, 0x20, 0xc0],             // mov eax, cr0
    &[0x0d, 0x00, 0x00, 0x00, 0x80], // or eax, 0x80000000: paging
    &[0x0f, 0x22, 0xc0],             // mov cr0, eax
    &[0xeb, 0x00],                   // jmp to the next instruction
];

const TO_LONG_MODE: &[&[u8]] = &[
    &[0x25, 0xff, 0xff, 0xff, 0x7f], // and eax, 0x7fffffff: no paging
    &[0x0f, 0x22, 0xc0],             // mov cr0, eax
    &[0x80, 0x0d, 0x00, 0x10, 0x00, 0x00, 0x02], // or byte [0x1000], 2: writable
    &[0xba, 0x00, 0x30, 0x00, 0x00], // mov edx, 0x3000
    &[0x0f, 0x22, 0xda],             // mov cr3, edx
    &[0xb9, 0x80, 0x00, 0x00, 0xc0], // mov ecx, 0xc0000080: the EFER register
    &[0x89, 0xc3],                   // mov ebx, eax
    &[0x0f, 0x32],                   // rdmsr
    &[0x80, 0xcc, 0x01],             // or ah, 1: long mode
    &[0x0f, 0x30],                   // wrmsr
    &[0x81, 0xcb, 0x00, 0x00, 0x00, 0x80], // or ebx, 0x80000000: paging
    &[0x0f, 0x22, 0xc3],             // mov cr0, ebx
    &[0xea, 0xa3, 0x00, 0x0f, 0x00, 0x18, 0x00], // jmp 0x18:0xf00a3, the next instruction, in 64 bits
];

const REPORT: &[&[u8]] = &[
    &[0xb0, 0x2a], // mov al, 0x2a
    &[0xe6, PORT], // out PORT, al
    &[0xf4],       // hlt
    &[0xeb, 0xfd], // jmp to the hlt
];

/// Segment descriptors, none, 32-bit code, data, 64-bit code, and what lgdt reads: their size and linear address.
const DESCRIPTORS: [u64; 5] = [
    0,
    0x00cf_9b00_0000_ffff,
    0x00cf_9300_0000_ffff,
    0x00af_9b00_0000_ffff,
    0x000f_0100 << 16 | 31,
];

/// The guest's firmware image.
pub(crate) fn firmware(guest: ProbeGuest) -> Vec<u8> {
    let parts: &[&[&[u8]]] = match guest {
        ProbeGuest::X86 => &[TO_TABLES, WITHOUT_PAE, PAGING, REPORT],
        ProbeGuest::X86Pae => &[TO_TABLES, WITH_PAE, PAGING, REPORT],
        ProbeGuest::X86_64 => &[TO_TABLES, WITH_PAE, PAGING, TO_LONG_MODE, REPORT],
    };
    let program = parts.concat().concat();
    let mut image = vec![0xf4; SIZE];
    image[..program.len()].copy_from_slice(&program);
    for (place, descriptor) in image[TABLES..].chunks_exact_mut(8).zip(DESCRIPTORS) {
        place.copy_from_slice(&descriptor.to_le_bytes());
    }
    // jmp to offset 0: the distance counts from the instruction's end.
    image[RESET..RESET + 3].copy_from_slice(&[0xe9, 0x0d, 0x00]);
    image
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_absolute_jumps_lead_to_the_next_instruction() {
        let before_protected = TO_TABLES[..8].concat().len();
        let to_long = [TO_TABLES, WITH_PAE, PAGING, TO_LONG_MODE];
        let before_long = to_long.concat().concat().len();
        assert_eq!((before_protected, before_long), (0x1c, 0xa3));
        let image = firmware(ProbeGuest::X86_64);
        assert_eq!((image.len(), image[0xa3]), (SIZE, 0xb0));
        assert!(before_long + REPORT.concat().len() < TABLES);
    }
    #[test]
    fn a_kernel_of_32_bits_needs_pae_unless_it_is_known_not_to() {
        let of = |arch, release| ProbeGuest::for_kernel(arch, release);
        assert_eq!(of(Arch::X86, "6.1.0-50-686"), ProbeGuest::X86);
        assert_eq!(of(Arch::X86, "6.1.0-50-686-pae"), ProbeGuest::X86Pae);
        assert_eq!(of(Arch::X86, "6.9.0-own"), ProbeGuest::X86Pae);
        assert_eq!(of(Arch::X86_64, "6.1.0-50-686"), ProbeGuest::X86_64);
    }
}
