//! Whether mmdebstrap can work as the user that we are. Outside root it needs a user namespace with rights in it, which not
//! every host grants.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::build::child;

/// It takes a second.
const DEADLINE: Duration = Duration::from_secs(30);

/// `1`: `AppArmor` takes all rights in user namespaces from programs without a profile that allows them, as on Ubuntu since
/// 24.04.
const APPARMOR_LIMIT: &str = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns";

/// What mmdebstrap gets from this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserNamespace {
    /// We are root, which needs none.
    NotNeeded,
    /// It works.
    Granted {
        /// Although `AppArmor` limits other programs.
        apparmor_limits: bool,
    },
    /// It does not work: no image can be built by this user.
    Refused {
        /// `AppArmor` limits programs without a profile.
        apparmor_limits: bool,
        /// What mmdebstrap said of it.
        said: String,
    },
}

/// Lets mmdebstrap enter a user namespace, as it does when it builds. It must be installed.
pub fn user_namespace() -> std::io::Result<UserNamespace> {
    if rustix::process::geteuid().is_root() {
        return Ok(UserNamespace::NotNeeded);
    }
    probe("mmdebstrap".as_ref(), APPARMOR_LIMIT.as_ref())
}

fn probe(mmdebstrap: &Path, apparmor_limit: &Path) -> std::io::Result<UserNamespace> {
    let limit = fs_err::read_to_string(apparmor_limit);
    let apparmor_limits = limit.is_ok_and(|value| value.trim() == "1");
    let mut command = Command::new(mmdebstrap);
    // Mount needs rights in the namespace, which AppArmor's limit leaves none of.
    command.args(["--unshare-helper", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]);
    let ended = child::run(command, DEADLINE, |_| ())?;
    Ok(match ended.status {
        Some(status) if status.success() => UserNamespace::Granted { apparmor_limits },
        Some(_) => UserNamespace::Refused {
            apparmor_limits,
            said: ended.tail.last().cloned().unwrap_or_default(),
        },
        None => UserNamespace::Refused {
            apparmor_limits,
            said: format!("nothing within {} s", DEADLINE.as_secs()),
        },
    })
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn tells_who_refuses() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("mmdebstrap");
        let limit = folder.path().join("limit");
        let probe = |script: &str| {
            // Written under another name, so that nobody has the program open for writing.
            let draft = folder.path().join("draft");
            fs_err::write(&draft, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs_err::set_permissions(&draft, Permissions::from_mode(0o755)).unwrap();
            fs_err::rename(&draft, &program).unwrap();
            probe(&program, &limit).unwrap()
        };
        let granted = |apparmor_limits| UserNamespace::Granted { apparmor_limits };
        let refused = |apparmor_limits, said: &str| UserNamespace::Refused {
            apparmor_limits,
            said: said.to_owned(),
        };
        let script = "echo 'E: unshared command failed' >&2; exit 25";

        assert_eq!(probe("[ \"$1\" = --unshare-helper ]"), granted(false));
        fs_err::write(&limit, "0\n").unwrap();
        assert_eq!(probe(script), refused(false, "E: unshared command failed"));
        fs_err::write(&limit, "1\n").unwrap();
        assert_eq!(probe(script), refused(true, "E: unshared command failed"));
        assert_eq!(probe("exit 0"), granted(true));
    }
}
