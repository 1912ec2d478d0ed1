//! mmdebstrap's command line for the guests' programs: Debian's compiler, unpacked; one run of cargo for both
//! architectures.

use std::ffi::OsString;
use std::path::Path;

use sanlab_plan::quote;

use crate::build::mmdebstrap::{Argv, EPOCH, Isolation};
use crate::manifest::{Manifest, Programs};

/// The text of the hook that compiles, without its settings.
pub(crate) const HOOK: &str = include_str!("compile.sh");

/// The whole command line. `source` is a cargo workspace with everything that it needs; results are left in `out`.
pub(crate) fn argv(
    manifest: &Manifest,
    programs: &Programs,
    mirror: Option<&str>,
    isolation: Isolation,
    source: &Path,
    out: &Path,
) -> Vec<OsString> {
    // Nothing is configured: a compiler is files, and the scripts of its packages would take longer than unpacking it.
    let mut argv = Argv::new(isolation, "extract", "amd64,i386");
    let packages: Vec<_> = programs
        .compiler
        .iter()
        .chain(&programs.libraries)
        .collect();
    let packages: Vec<_> = packages.iter().map(|name| name.as_str()).collect();
    argv.add([format!("--include={}", packages.join(","))]);
    argv.add([
        // No package brings them, and without root mmdebstrap mounts the host's devices there.
        "--setup-hook=mkdir -p \"$1/dev\" \"$1/proc\" \"$1/sys\"".to_owned(),
        "--extract-hook=mkdir -p \"$1/sanlab/source\"".to_owned(),
        format!(
            "--extract-hook=sync-in {} /sanlab/source",
            quote(&source.to_string_lossy())
        ),
        "--extract-hook=sh -c \"$SANLAB_HOOK\" hook \"$1\"".to_owned(),
        format!(
            "--extract-hook=sync-out /sanlab/out {}",
            quote(&out.to_string_lossy())
        ),
    ]);
    argv.end(manifest, mirror)
}

/// What the command line refers to: the hook's text.
pub(crate) fn environment(programs: &Programs) -> [(&'static str, String); 1] {
    let libraries = quote(&programs.libraries.join(" "));
    [(
        "SANLAB_HOOK",
        format!("libraries={libraries}\nepoch={EPOCH}\n{HOOK}"),
    )]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(isolation: Isolation, mirror: Option<&str>) -> String {
        let manifest = Manifest::example();
        let programs = manifest.programs.clone().unwrap();
        let (source, out) = (Path::new("/cache/so'urce"), Path::new("/cache/out"));
        let argv = argv(&manifest, &programs, mirror, isolation, source, out);
        let words: Vec<_> = argv.iter().map(|word| word.to_string_lossy()).collect();
        let [(_, hook)] = environment(&programs);
        let settings = hook.strip_suffix(HOOK).unwrap();
        format!("{}\n\n{settings}", words.join("\n"))
    }

    #[test]
    fn command_line_as_root() {
        insta::assert_snapshot!(lines(Isolation::Namespaces, None));
    }

    #[test]
    fn command_line_in_a_container() {
        let mirror = Some("http://mirror.example/debian");
        insta::assert_snapshot!(lines(Isolation::Container, mirror));
    }
}
