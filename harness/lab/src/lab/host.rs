//! What the host lacks.

use sanlab_plan::Arch;
use sanlab_vm::Accelerator;

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
    // It runs the guests of 32 bits too.
    let program = sanlab_vm::qemu_binary(Arch::X86_64, Accelerator::Tcg);
    if sanlab_vm::installed(&program).is_none() {
        missing.push(Missing {
            program: program.display().to_string(),
            package: "qemu-system-x86".to_owned(),
            why: "runs guests".to_owned(),
        });
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
