//! A guest's memory as a file that `crash` and `drgn` read.
//!
//! QEMU writes the format of kdump-compressed files (makedumpfile's, version 6), but as a stream of pieces with their places, which
//! only some readers take; and it leaves out whose kernel it is, which others ask for. Here the pieces go to their places, and
//! the names into the header.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom, Write as _};
use std::path::Path;

/// What a stream begins with, in the first of its pages.
const STREAM: &[u8; 12] = b"makedumpfile";
/// Of the stream's own header.
const PAGE: usize = 4096;
/// Where a file's header has the names of `uname`, and how much room for each.
const NAMES: u64 = 12;
const NAME: usize = 65;
/// The names in their order; the machine is the one that QEMU writes.
const SYSTEM: u64 = 0;
const NODE: u64 = 1;
const RELEASE: u64 = 2;
const VERSION: u64 = 3;
/// The kernel's note of where its data are stands near a file's beginning.
const NOTE: u64 = 64 << 10;
/// What stands there before its release.
const RELEASE_KEY: &[u8] = b"OSRELEASE=";
/// At most in one piece: QEMU's are of a page, or of its buffers.
const PIECE: u64 = 64 << 20;

/// Makes `to` of what QEMU wrote, and names the node in it: how many bytes it has.
pub(super) fn assemble(stream: &Path, to: &Path, node: &str) -> io::Result<u64> {
    let mut from = BufReader::new(fs_err::File::open(stream)?.into_parts().0);
    let mut out = fs_err::OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(to)?
        .into_parts()
        .0;
    place(&mut from, &mut out)?;
    let release = release(&mut out)?;
    for (number, name) in [
        (SYSTEM, b"Linux".as_slice()),
        (NODE, node.as_bytes()),
        (RELEASE, &release),
        // The note does not say it, and readers take a header without it for garbage.
        (VERSION, b"unknown"),
    ] {
        // The last byte is a zero.
        let name = &name[..name.len().min(NAME - 1)];
        out.seek(SeekFrom::Start(NAMES + number * NAME as u64))?;
        out.write_all(name)?;
    }
    out.sync_data()?;
    Ok(out.metadata()?.len())
}

/// Puts every piece of a stream to its place.
fn place(from: &mut impl Read, out: &mut File) -> io::Result<()> {
    let mut header = [0; PAGE];
    from.read_exact(&mut header)?;
    if !header.starts_with(STREAM) {
        return Err(invalid("it is no dump"));
    }
    loop {
        let mut head = [[0; 8]; 2];
        from.read_exact(head.as_flattened_mut())?;
        let [place, length] = head.map(i64::from_be_bytes);
        // After the last piece both are negative.
        let Ok(place) = u64::try_from(place) else {
            return Ok(());
        };
        let length = u64::try_from(length).unwrap_or(u64::MAX);
        if length > PIECE {
            return Err(invalid("a piece is too long"));
        }
        out.seek(SeekFrom::Start(place))?;
        let copied = io::copy(&mut from.take(length), out)?;
        if copied < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// The kernel's release, if it has left its note; else nothing.
fn release(file: &mut File) -> io::Result<Vec<u8>> {
    let mut begin = Vec::new();
    file.rewind()?;
    file.take(NOTE).read_to_end(&mut begin)?;
    let mut places = begin.windows(RELEASE_KEY.len());
    let Some(place) = places.position(|bytes| bytes == RELEASE_KEY) else {
        return Ok(Vec::new());
    };
    let rest = &begin[place + RELEASE_KEY.len()..];
    let end = rest.iter().position(|byte| !byte.is_ascii_graphic());
    Ok(rest[..end.unwrap_or(rest.len())].to_vec())
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(pieces: &[(i64, &[u8])]) -> Vec<u8> {
        let mut bytes = STREAM.to_vec();
        bytes.resize(PAGE, 0);
        for (place, piece) in pieces {
            bytes.extend(place.to_be_bytes());
            bytes.extend(i64::try_from(piece.len()).unwrap().to_be_bytes());
            bytes.extend(*piece);
        }
        bytes
    }

    fn assembled(stream: &[u8]) -> io::Result<Vec<u8>> {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("stream"), folder.path().join("vmcore"));
        fs_err::write(&from, stream).unwrap();
        let length = assemble(&from, &to, "vix0")?;
        let bytes = fs_err::read(&to).unwrap();
        assert_eq!(bytes.len() as u64, length);
        Ok(bytes)
    }

    #[test]
    fn pieces_go_to_their_places_and_names_into_the_header() {
        let mut header = b"KDUMP   \x06\0\0\0".to_vec();
        header.resize(12 + 6 * NAME, 0);
        let whole = stream(&[
            (8192, b"pages"),
            (0, &header),
            (
                4096,
                b"VMCOREINFO\0OSRELEASE=6.1.0-50-amd64\nPAGESIZE=4096\n",
            ),
            (-1, b""),
        ]);
        let bytes = assembled(&whole).unwrap();
        assert_eq!(bytes.len(), 8197);
        assert!(bytes.ends_with(b"pages") && bytes.starts_with(b"KDUMP"));
        let name = |number: usize| {
            let begin = 12 + number * NAME;
            String::from_utf8_lossy(&bytes[begin..begin + NAME]).into_owned()
        };
        assert_eq!(name(0).trim_end_matches('\0'), "Linux");
        assert_eq!(name(1).trim_end_matches('\0'), "vix0");
        assert_eq!(name(2).trim_end_matches('\0'), "6.1.0-50-amd64");
        assert_eq!(name(4).trim_end_matches('\0'), "");
    }

    #[test]
    fn what_is_cut_off_or_is_no_stream_is_no_dump() {
        let whole = stream(&[(0, &[1; 100]), (-1, b"")]);
        for cut in [0, 100, PAGE, PAGE + 8, PAGE + 60, whole.len() - 1] {
            let error = assembled(&whole[..cut]).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{cut}");
        }
        let mut other = whole.clone();
        other[0] = b'M';
        assert_eq!(
            assembled(&other).unwrap_err().kind(),
            io::ErrorKind::InvalidData
        );
        let mut long = stream(&[]);
        long.extend([0; 8]);
        long.extend(i64::MAX.to_be_bytes());
        assert_eq!(
            assembled(&long).unwrap_err().kind(),
            io::ErrorKind::InvalidData
        );
    }
}
