//! What the host lacks.

use std::path::Path;

use sanlab_plan::Arch;

use crate::LabError;

/// A program that is not installed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Missing {
    /// The program.
    pub program: String,
    /// The Debian package that has it.
    pub package: String,
    /// What it is for.
    pub why: String,
}

/// Every program that an image build or a guest needs and that is not there.
pub(crate) fn missing() -> Vec<Missing> {
    let tools = sanlab_image::missing_host_tools()
        .into_iter()
        .map(|tool| Missing {
            program: tool.program.to_string(),
            package: tool.package.to_string(),
            why: tool.why.to_string(),
        });
    let mut missing: Vec<Missing> = tools.collect();
    for arch in Arch::ALL {
        let program = sanlab_vm::qemu_binary(arch);
        if !is_installed(&program) {
            missing.push(Missing {
                program: program.display().to_string(),
                package: "qemu-system-x86".to_owned(),
                why: format!("runs {arch} guests"),
            });
        }
    }
    missing
}

/// The one command that installs them.
pub(crate) fn install_command(missing: &[Missing]) -> String {
    let mut packages: Vec<&str> = missing.iter().map(|tool| tool.package.as_str()).collect();
    packages.sort_unstable();
    packages.dedup();
    let sudo = if rustix::process::geteuid().is_root() {
        ""
    } else {
        "sudo "
    };
    format!(
        "{sudo}apt-get install --no-install-recommends {}",
        packages.join(" ")
    )
}

/// An error that names what is missing and the way out, when something is.
pub(crate) fn require_everything() -> Result<(), LabError> {
    let missing = missing();
    if missing.is_empty() {
        return Ok(());
    }
    let command = install_command(&missing);
    Err(LabError::HostLacks {
        missing: missing.into_iter().map(|tool| tool.program).collect(),
        command,
    })
}

/// Whether a program is there.
fn is_installed(program: &Path) -> bool {
    if program.components().count() > 1 {
        return program.is_file();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}
