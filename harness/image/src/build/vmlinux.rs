//! The ELF kernel inside a bzImage: QEMU starts it through its PVH entry, without the time that a guest takes to
//! uncompress itself.
//!
//! The header is described in the kernel's Documentation/arch/x86/boot.rst.

use std::path::Path;

use crate::build::uncompress::uncompress;
use crate::error::ImageError;

const ELF: &[u8] = b"\x7fELF";

/// Offsets in a bzImage's header.
const SETUP_SECTORS: usize = 0x1f1;
const MAGIC: usize = 0x202;
const PROTOCOL: usize = 0x206;
const PAYLOAD_OFFSET: usize = 0x248;
const PAYLOAD_LENGTH: usize = 0x24c;

/// Returns the uncompressed kernel of `image`, which may be one already; `path` is for messages.
pub(crate) fn extract(image: Vec<u8>, path: &Path) -> Result<Vec<u8>, ImageError> {
    let kernel = if image.starts_with(ELF) {
        Ok(image)
    } else {
        unpack(&image)
    };
    kernel.map_err(|reason| ImageError::Kernel {
        path: path.to_owned(),
        reason,
    })
}

fn unpack(image: &[u8]) -> Result<Vec<u8>, String> {
    if image.get(MAGIC..MAGIC + 4) != Some(b"HdrS") {
        return Err("it is neither an ELF file nor a bzImage".to_owned());
    }
    let word = |at: usize| -> Option<usize> {
        let bytes = image.get(at..at + 4)?.try_into().ok()?;
        usize::try_from(u32::from_le_bytes(bytes)).ok()
    };
    let protocol = image
        .get(PROTOCOL..PROTOCOL + 2)
        .map_or(0, |v| u16::from_le_bytes([v[0], v[1]]));
    if protocol < 0x208 {
        return Err(format!(
            "its boot protocol {}.{:02} is older than 2.08",
            protocol >> 8,
            protocol & 0xff
        ));
    }
    let sectors = match image.get(SETUP_SECTORS) {
        Some(0) | None => 4,
        Some(&sectors) => usize::from(sectors),
    };
    let payload = word(PAYLOAD_OFFSET)
        .zip(word(PAYLOAD_LENGTH))
        .and_then(|(offset, length)| {
            let start = (sectors + 1) * 512 + offset;
            image.get(start..start + length)
        });
    let payload = payload.ok_or("its payload lies beyond its end: the file is cut short")?;
    // A payload ends with its uncompressed size, which is no part of the stream.
    let kernel = uncompress(payload).map_err(|why| {
        format!("its payload is {why}\n  help: give the uncompressed vmlinux instead")
    })?;
    if kernel.starts_with(ELF) {
        Ok(kernel)
    } else {
        Err("its payload is not an ELF file".to_owned())
    }
}

/// Whether an uncompressed kernel has the entry through which QEMU starts one: the ELF note `PHYS32_ENTRY` of owner `Xen`, as
/// the kernel's include/xen/interface/elfnote.h numbers it. Debian's i386 kernel without PAE has none.
pub(crate) fn has_pvh_entry(kernel: &[u8]) -> bool {
    let note = |address: u8| {
        [
            4, 0, 0, 0, address, 0, 0, 0, 18, 0, 0, 0, b'X', b'e', b'n', 0,
        ]
    };
    let notes = [note(4), note(8)];
    kernel
        .windows(16)
        .any(|window| notes.iter().any(|note| note == window))
}

/// The release that a kernel says of itself, as `uname -r` will.
pub(crate) fn release(kernel: &[u8], path: &Path) -> Result<String, ImageError> {
    const BANNER: &[u8] = b"Linux version ";
    let mut found = kernel
        .windows(BANNER.len())
        .enumerate()
        .filter(|(_, window)| *window == BANNER);
    found
        .find_map(|(at, _)| {
            let text = &kernel[at + BANNER.len()..];
            let end = text.iter().take(128).position(|byte| *byte == b' ')?;
            let release = str::from_utf8(&text[..end]).ok()?;
            release
                .starts_with(|c: char| c.is_ascii_digit())
                .then(|| release.to_owned())
        })
        .ok_or_else(|| ImageError::Kernel {
            path: path.to_owned(),
            reason: "it does not say its release".to_owned(),
        })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    const KERNEL: &[u8] =
        b"\x7fELF and more: Linux version %s ... Linux version 6.1.0-50-amd64 (gcc)";

    /// A bzImage of two setup sectors with that payload.
    fn image(payload: &[u8]) -> Vec<u8> {
        let mut image = vec![0; 3 * 512 + 16];
        image[SETUP_SECTORS] = 2;
        image[MAGIC..MAGIC + 4].copy_from_slice(b"HdrS");
        image[PROTOCOL..PROTOCOL + 2].copy_from_slice(&0x20f_u16.to_le_bytes());
        image[PAYLOAD_OFFSET..PAYLOAD_OFFSET + 4].copy_from_slice(&16_u32.to_le_bytes());
        let length = u32::try_from(payload.len() + 4).unwrap();
        image[PAYLOAD_LENGTH..PAYLOAD_LENGTH + 4].copy_from_slice(&length.to_le_bytes());
        image.extend_from_slice(payload);
        image.extend_from_slice(&u32::try_from(KERNEL.len()).unwrap().to_le_bytes());
        image.extend_from_slice(b"signature");
        image
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    }

    fn xz(bytes: &[u8]) -> Vec<u8> {
        let mut writer =
            lzma_rust2::XzWriter::new(Vec::new(), lzma_rust2::XzOptions::with_preset(0)).unwrap();
        writer.write_all(bytes).unwrap();
        writer.finish().unwrap()
    }

    #[test]
    fn a_kernel_has_a_pvh_entry_if_its_notes_say_so() {
        let with = |kind: u8| {
            let note = [4, 0, 0, 0, 4, 0, 0, 0, kind, 0, 0, 0, b'X', b'e', b'n', 0];
            [KERNEL, &note, &[0, 0, 0, 1]].concat()
        };
        assert!(has_pvh_entry(&with(18)));
        assert!(!has_pvh_entry(&with(6)), "the version of the guest");
        assert!(!has_pvh_entry(KERNEL));
    }

    #[test]
    fn finds_the_kernel_however_it_is_packed() {
        let path = Path::new("vmlinuz");
        for image in [image(&xz(KERNEL)), image(&gzip(KERNEL)), KERNEL.to_vec()] {
            assert_eq!(extract(image, path).unwrap(), KERNEL);
        }
        assert_eq!(release(KERNEL, path).unwrap(), "6.1.0-50-amd64");
    }

    #[test]
    fn says_what_is_wrong_with_a_file() {
        let mut short = image(&gzip(KERNEL));
        short.truncate(3 * 512 + 20);
        let mut damaged = image(&gzip(KERNEL));
        damaged[3 * 512 + 16 + 20] ^= 0xff;
        let wrong = [
            b"#!/bin/sh".to_vec(),
            short,
            damaged,
            image(b"\x28\xb5\x2f\xfd..."),
            image(&gzip(b"text")),
        ];
        let said = wrong.map(|image| {
            extract(image, Path::new("vmlinuz"))
                .unwrap_err()
                .to_string()
        });
        insta::assert_snapshot!(said.join("\n"));
        assert!(release(b"\x7fELF", Path::new("vmlinux")).is_err());
    }
}
