//! What a host must have for a build.

use std::env;
use std::path::{Path, PathBuf};

/// A program or file that a build needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostTool {
    /// Name on `PATH`, or an absolute path of a file.
    pub program: &'static str,
    /// The Debian and Ubuntu package that has it.
    pub package: &'static str,
    /// What it is for.
    pub why: &'static str,
}

const TOOLS: [HostTool; 6] = [
    HostTool {
        program: "mmdebstrap",
        package: "mmdebstrap",
        why: "installs the guests' packages",
    },
    HostTool {
        program: "python3",
        package: "python3",
        why: "runs mmdebstrap's tarfilter",
    },
    HostTool {
        program: "mkfs.erofs",
        package: "erofs-utils",
        why: "writes the root image",
    },
    HostTool {
        program: "setpriv",
        package: "util-linux",
        why: "ends a build with its parent",
    },
    HostTool {
        program: "unshare",
        package: "util-linux",
        why: "keeps a build's mounts and processes to itself",
    },
    HostTool {
        program: DEBIAN_KEYS,
        package: "debian-archive-keyring",
        why: "verifies the guests' packages",
    },
];

const DEBIAN_KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Without root, mmdebstrap works as a mapped user.
const MAPPING: HostTool = HostTool {
    program: "newuidmap",
    package: "uidmap",
    why: "lets mmdebstrap work without root",
};

/// What this host lacks for building images; empty when nothing.
pub fn missing_host_tools() -> Vec<HostTool> {
    let mapping = (!rustix::process::geteuid().is_root()).then_some(MAPPING);
    let path = env::var_os("PATH").unwrap_or_default();
    // An ordinary user's PATH often lacks the sbin folders.
    let folders: Vec<PathBuf> = env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .collect();
    TOOLS
        .into_iter()
        .chain(mapping)
        .filter(|tool| !is_there(tool.program, &folders))
        .collect()
}

fn is_there(program: &str, folders: &[PathBuf]) -> bool {
    if Path::new(program).is_absolute() {
        return Path::new(program).exists();
    }
    folders.iter().any(|folder| folder.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_for_files_and_programs() {
        let folder = tempfile::tempdir().unwrap();
        fs_err::write(folder.path().join("tool"), "").unwrap();
        let folders = [folder.path().to_owned()];
        assert!(is_there("tool", &folders));
        assert!(!is_there("other", &folders));
        assert!(is_there("/proc", &folders));
        assert!(!is_there("/nowhere/keys.gpg", &folders));
    }
}
