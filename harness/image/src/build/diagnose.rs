//! What a failed build means: the tools' own words, taken as one of the few things that go wrong.

use std::io;
use std::time::Duration;

use crate::build::child::Ended;
use crate::error::{ImageError, Product};
use crate::manifest::Manifest;

const DISK_FULL: &[&str] = &["No space left on device", "not enough free space"];

const NOT_THERE: &[&str] = &[
    "Unable to locate package",
    "has no installation candidate",
    "Couldn't find any package",
    "No packages found",
    "which the manifest names",
];

const NO_MIRROR: &[&str] = &[
    "Failed to fetch",
    "does not have a Release file",
    "is not signed",
    "Could not resolve",
    "Could not connect",
    "Unable to connect",
    "Hash Sum mismatch",
];

/// Says why `program` failed, or did not end within `deadline`.
pub(crate) fn explain(
    ended: &Ended,
    program: &'static str,
    manifest: &Manifest,
    product: Product,
    mirror: &str,
    deadline: Duration,
) -> ImageError {
    let said = |marks: &[&str]| {
        let line = ended
            .tail
            .iter()
            .find(|line| marks.iter().any(|mark| line.contains(mark)))?;
        Some(line.trim_start_matches(['E', 'W', ':', ' ']).to_owned())
    };
    if said(DISK_FULL).is_some() {
        return ImageError::Io(io::ErrorKind::StorageFull.into());
    }
    if let Some(detail) = said(NOT_THERE) {
        let path = manifest.path.clone();
        return ImageError::UnknownPackage {
            path,
            product,
            detail,
        };
    }
    if let Some(detail) = said(NO_MIRROR) {
        let mirror = mirror.to_owned();
        return ImageError::Mirror { mirror, detail };
    }
    let tail = ended.tail.join("\n");
    match ended.status {
        Some(status) => ImageError::Tool {
            product,
            program,
            status: status.to_string(),
            tail,
        },
        None => ImageError::TimedOut {
            product,
            program,
            deadline,
            tail,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::path::Path;
    use std::process::ExitStatus;

    use sanlab_plan::Arch;

    use super::*;

    #[test]
    fn names_the_thing_and_the_way_out() {
        let manifest = Manifest::example();
        let failed = Some(ExitStatus::from_raw(25 << 8));
        let explain = |status, line: &str| {
            let tail = vec!["I: running apt-get update...".to_owned(), line.to_owned()];
            let deadline = Duration::from_secs(1200);
            let error = explain(
                &Ended { status, tail },
                "mmdebstrap",
                &manifest,
                Product::Image(Arch::X86),
                "http://mirror.example",
                deadline,
            );
            error
                .while_building(Product::Image(Arch::X86), Path::new("/cache"))
                .to_string()
        };
        let said = [
            explain(
                failed,
                "E: Failed to fetch http://mirror.example/dists/bookworm/InRelease  404  Not Found",
            ),
            explain(failed, "E: Unable to locate package busybox-statik"),
            explain(
                failed,
                "E: the kernel has no module nbdd, which the manifest names",
            ),
            explain(failed, "dpkg: error: cannot write: No space left on device"),
            explain(failed, "Segmentation fault"),
            explain(None, "I: downloading packages with apt..."),
        ];
        insta::assert_snapshot!(said.join("\n"));
    }
}
