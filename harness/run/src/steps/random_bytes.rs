//! Random bytes in a guest, many made of few: a translated guest draws some five MiB of them a second.

use sanlab_plan::guest::{CAT, HEAD};

/// Those of which all others are made. Their number is odd, so that each time they are repeated they lie otherwise among the
/// blocks: no two blocks of 4 KiB within 8 GiB are alike.
const BASE: u64 = (2 << 20) + 1;

/// A line that draws them, into the file `base`.
pub(super) fn draw() -> String {
    format!("{HEAD} -c {BASE} /dev/urandom >base\n")
}

/// A command that prints so many bytes made of `base`, always the same.
pub(super) fn print(bytes: u64) -> String {
    let times = usize::try_from(bytes.div_ceil(BASE)).unwrap_or(usize::MAX);
    format!("{CAT}{} | {HEAD} -c {bytes}", " base".repeat(times))
}
