//! What the host lacks.

use std::path::Path;

use sanlab_image::UserNamespace;
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

/// The one command that installs them. The names of packages are Debian's; the script knows those of others.
pub(crate) fn install_command(missing: &[Missing]) -> String {
    let has = |program: &str| sanlab_vm::installed(Path::new(program)).is_some();
    if !has("apt-get") && (has("dnf") || has("pacman")) {
        return "ci/host-packages".to_owned();
    }
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

/// The profile that Ubuntu's package `apparmor` has for mmdebstrap.
pub(crate) const APPARMOR_PROFILE: &str = "/etc/apparmor.d/mmdebstrap";

/// What there is to say of the user namespace that mmdebstrap works in, and where it has none, the way out.
pub(crate) fn about_namespace(
    namespace: &UserNamespace,
    has_profile: bool,
) -> Option<(String, Option<String>)> {
    match namespace {
        UserNamespace::NotNeeded
        | UserNamespace::Granted {
            apparmor_limits: false,
        } => None,
        UserNamespace::Granted {
            apparmor_limits: true,
        } => Some((
            "can be built: AppArmor limits user namespaces to programs with a profile, and mmdebstrap has one"
                .to_owned(),
            None,
        )),
        UserNamespace::Refused {
            apparmor_limits: false,
            said,
        } => Some((
            format!("cannot be built by this user: mmdebstrap gets no user namespace ({said})"),
            Some(
                "let this user have user namespaces with more than one user, and log in again\n\n    \
                 sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 \"$USER\"\n"
                    .to_owned(),
            ),
        )),
        UserNamespace::Refused {
            apparmor_limits: true,
            said,
        } => {
            let write = if has_profile {
                ""
            } else {
                "printf 'abi <abi/4.0>,\\nprofile mmdebstrap /usr/bin/mmdebstrap flags=(unconfined) {\\n  userns,\\n}\\n' |\n        \
                 sudo tee /etc/apparmor.d/mmdebstrap\n    "
            };
            Some((
                format!(
                    "cannot be built by this user: AppArmor limits user namespaces to programs with a profile \
                     (kernel.apparmor_restrict_unprivileged_userns = 1), and mmdebstrap has none that is loaded ({said})"
                ),
                Some(format!(
                    "load a profile that lets mmdebstrap have user namespaces\n\n    {write}\
                     sudo apparmor_parser --replace {APPARMOR_PROFILE}\n\n\
                     or lift the limit for all programs, until the next boot\n\n    \
                     sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0\n"
                )),
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_limits_user_namespaces_and_the_way_out() {
        let refused = |apparmor_limits| UserNamespace::Refused {
            apparmor_limits,
            said: "E: unshared command failed".to_owned(),
        };
        let granted = |apparmor_limits| UserNamespace::Granted { apparmor_limits };
        let said = [
            (granted(true), true),
            (refused(true), true),
            (refused(true), false),
            (refused(false), false),
        ]
        .map(|(namespace, has_profile)| {
            let (line, remedy) = about_namespace(&namespace, has_profile).unwrap();
            format!("{line}\n{}", remedy.unwrap_or_default())
        });
        insta::assert_snapshot!(said.join("---\n"));
        for silent in [granted(false), UserNamespace::NotNeeded] {
            assert_eq!(about_namespace(&silent, true), None);
        }
    }
}
