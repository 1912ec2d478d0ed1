//! Kernels and modules are compressed in one of several ways, which the first bytes tell.

use std::io::Read as _;

/// How data start, by compression.
const COMPRESSIONS: [(&[u8], &str); 7] = [
    (b"\xfd7zXZ\0", "xz"),
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"\x02\x21\x4c\x18", "lz4"),
    (b"\x89LZO", "lzo"),
    (b"BZh", "bzip2"),
    (b"\x5d\0\0", "lzma"),
];

/// The data; bytes behind the compressed ones are left alone. Otherwise why not, in words that follow "its data are".
pub(crate) fn uncompress(packed: &[u8]) -> Result<Vec<u8>, String> {
    let known = COMPRESSIONS
        .iter()
        .find(|(magic, _)| packed.starts_with(magic));
    let (_, compression) = known.ok_or("compressed in an unknown way")?;
    let mut data = Vec::new();
    let damaged = |error: &dyn std::fmt::Display| format!("damaged, as {compression}: {error}");
    let read = match *compression {
        "xz" => lzma_rust2::XzReader::new(packed, false).read_to_end(&mut data),
        "gzip" => flate2::read::GzDecoder::new(packed).read_to_end(&mut data),
        "zstd" => ruzstd::decoding::StreamingDecoder::new(packed)
            .map_err(|error| damaged(&error))?
            .read_to_end(&mut data),
        other => return Err(format!("compressed with {other}, which is not known here")),
    };
    read.map_err(|error| damaged(&error))?;
    Ok(data)
}
