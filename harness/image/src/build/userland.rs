//! mmdebstrap's command line: from mirror to root image, kernel package and modules, in one run.

use std::ffi::OsString;
use std::path::Path;

use sanlab_plan::guest::PROGRAMS;
use sanlab_plan::{Arch, quote};

use crate::build::mmdebstrap::{Argv, EPOCH, Isolation};
use crate::build::programs::archive;
use crate::manifest::{KernelSource, Manifest};

/// The whole command line. Results are left in `out`, which exists; `programs` is the store's entry of what was compiled.
pub(crate) fn argv(
    manifest: &Manifest,
    arch: Arch,
    mirror: Option<&str>,
    isolation: Isolation,
    programs: Option<&Path>,
    out: &Path,
) -> Vec<OsString> {
    let section = &manifest.arches[&arch];
    let mut argv = Argv::new(isolation, "essential", arch.debian());
    argv.add([format!("--include={}", section.packages.join(","))]);
    for pattern in &manifest.exclude {
        argv.add([format!("--dpkgopt=path-exclude={pattern}")]);
    }
    // The usrmerge package would bring all of Perl.
    argv.add(["--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr"]);
    argv.add([concat!(
        "--setup-hook=mkdir -p \"$1/etc/apt/preferences.d\" && ",
        "printf 'Package: usrmerge\\nPin: release *\\nPin-Priority: -1\\n' > \"$1/etc/apt/preferences.d/sanlab\""
    )]);
    argv.add(["--customize-hook=mkdir -p \"$1/sanlab/overlay\" \"$1/sanlab/kernel/lib/modules\""]);
    argv.add([format!(
        "--customize-hook=sync-in {} /sanlab/overlay",
        quote(manifest.overlay.to_string_lossy().as_ref())
    )]);
    for (file, folder) in &manifest.files {
        let inside = format!("/sanlab/overlay{}", folder.display());
        argv.add([
            format!("--customize-hook=mkdir -p \"$1\"{}", quote(&inside)),
            format!(
                "--customize-hook=copy-in {} {}",
                quote(&file.to_string_lossy()),
                quote(&inside)
            ),
        ]);
    }
    if let Some(entry) = programs {
        argv.add([format!(
            "--customize-hook=tar-in {} {PROGRAMS}",
            quote(&entry.join(archive(arch)).to_string_lossy())
        )]);
    }
    if let KernelSource::Files {
        modules: Some(modules),
        ..
    } = &section.kernel
    {
        let release = modules.file_name().unwrap_or_default().to_string_lossy();
        let inside = quote(&format!("/sanlab/kernel/lib/modules/{release}"));
        argv.add([format!("--customize-hook=mkdir \"$1\"{inside}")]);
        argv.add([format!(
            "--customize-hook=sync-in {} {inside}",
            quote(&modules.to_string_lossy())
        )]);
    }
    argv.add(["--customize-hook=sh -c \"$SANLAB_HOOK\" hook \"$1\""]);
    argv.add([format!(
        "--customize-hook=sync-out /.sanlab-out {}",
        quote(&out.to_string_lossy())
    )]);
    argv.end(manifest, mirror)
}

/// What the command line refers to: the hook's text.
pub(crate) fn environment(manifest: &Manifest, arch: Arch) -> [(&'static str, String); 1] {
    [(
        "SANLAB_HOOK",
        hook(manifest, &manifest.arches[&arch].kernel),
    )]
}

fn hook(manifest: &Manifest, kernel: &KernelSource) -> String {
    let (package, has_modules) = match kernel {
        KernelSource::Package(name) => (name.as_str(), true),
        KernelSource::Files { modules, .. } => ("", modules.is_some()),
    };
    let remove = manifest.remove.iter().map(|pattern| format!(".{pattern}"));
    let settings = [
        ("kernel_package", package),
        ("kernel_modules", if has_modules { "1" } else { "" }),
        ("modules", &manifest.modules.join(" ")),
        ("boot_modules", &manifest.boot_modules.join(" ")),
        ("remove", &remove.collect::<Vec<_>>().join(" ")),
        ("epoch", EPOCH),
    ];
    let mut text = String::new();
    for (name, value) in settings {
        text.extend([name, "=", &quote(value), "\n"]);
    }
    text + include_str!("hook.sh")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(arch: Arch, isolation: Isolation, mirror: Option<&str>) -> String {
        let manifest = Manifest::example();
        let out = Path::new("/tmp/o'ut");
        let programs = Some(Path::new("/cache/programs/00ff"));
        let argv = argv(&manifest, arch, mirror, isolation, programs, out);
        let words: Vec<_> = argv
            .iter()
            .map(|word| word.to_string_lossy().into_owned())
            .collect();
        let [(_, hook)] = environment(&manifest, arch);
        let settings = hook.strip_suffix(include_str!("hook.sh")).unwrap();
        format!("{}\n\n{settings}", words.join("\n"))
    }

    /// The part of the hook that links applets, in a root with `kill` as a file, `ls` as a link into the root, and no more.
    fn link_applets(busybox: &str) -> (bool, tempfile::TempDir) {
        let hook = include_str!("hook.sh");
        let from = hook.find("applets=$(").unwrap();
        let to = hook.find("# What only the build used").unwrap();
        let root = tempfile::tempdir().unwrap();
        for folder in ["usr/sbin", "usr/bin", "sbin", "bin"] {
            fs_err::create_dir_all(root.path().join(folder)).unwrap();
        }
        fs_err::write(root.path().join("sbin/kill"), "").unwrap();
        fs_err::os::unix::fs::symlink("/nowhere/ls", root.path().join("bin/ls")).unwrap();
        let script = format!(
            "set -eu\nroot=$1\nchroot() {{ {busybox}; }}\n{}",
            &hook[from..to]
        );
        let mut shell = std::process::Command::new("sh");
        let status = shell.args(["-c", &script, "sh"]).arg(root.path()).status();
        (status.unwrap().success(), root)
    }

    #[test]
    fn applets_stand_in_for_missing_files_and_not_for_builtins() {
        let (done, root) = link_applets("printf 'kill\\nls\\ntrue\\n[\\n'");
        assert!(done);
        let mut linked: Vec<_> = fs_err::read_dir(root.path().join("usr/bin"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        linked.sort();
        assert_eq!(linked, ["[", "true"]);
        let (done, _root) = link_applets("return 1");
        assert!(!done, "a list that cannot be had ends the build");
    }

    #[test]
    fn command_line_as_root() {
        insta::assert_snapshot!(lines(Arch::X86, Isolation::Namespaces, None));
    }

    #[test]
    fn command_line_without_root_and_with_an_own_kernel() {
        insta::assert_snapshot!(lines(
            Arch::X86_64,
            Isolation::MappedUser,
            Some("http://mirror.example/debian")
        ));
    }
}
