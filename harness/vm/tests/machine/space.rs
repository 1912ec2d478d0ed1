//! A file system without space is named when QEMU dies of that.

use std::fs::Permissions;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, ExitCode};

use libtest_mimic::{Completion, Failed, Trial};
use sanlab_vm::{Machine, ProcessGroup, VmError};

use crate::bench::{recorded, spec};
use crate::run;

/// The first argument of a harness with a tmpfs of its own; the folder where that is mounted follows.
pub(crate) const FULL: &str = "full-tmpfs";

/// Larger than what counts as nothing.
const MOUNT: &str = "mount -t tmpfs -o size=64m tmpfs";

pub(crate) fn trials() -> Vec<Trial> {
    vec![Trial::ignorable_test(
        "a_full_tmpfs_is_named_when_qemu_dies_of_sigbus",
        a_full_tmpfs_is_named,
    )]
}

/// Mounts of its own, which nobody else sees: a user may have them where the kernel lets users have namespaces.
fn with_mounts(script: &str, folder: &Path) -> Command {
    let mut command = Command::new("unshare");
    command
        .args(["--map-root-user", "--mount", "sh", "-ec", script, "sh"])
        .arg(folder);
    command
}

fn a_full_tmpfs_is_named() -> Result<Completion, Failed> {
    let folder = tempfile::tempdir()?;
    let tried = with_mounts(&format!("{MOUNT} \"$1\""), folder.path()).output()?;
    if !tried.status.success() {
        let reason = String::from_utf8_lossy(&tried.stderr).trim().to_owned();
        return Ok(Completion::ignored_with(format!(
            "no tmpfs can be mounted: {reason}"
        )));
    }
    let script = format!("{MOUNT} \"$1\"; exec \"$2\" {FULL} \"$1\"");
    let done = with_mounts(&script, folder.path())
        .arg(std::env::current_exe()?)
        .output()?;
    if done.status.success() {
        Ok(Completion::Completed)
    } else {
        Err(String::from_utf8_lossy(&done.stderr).into_owned().into())
    }
}

/// What is done in the folder where a tmpfs is mounted.
pub(crate) fn on_a_full_tmpfs(arguments: &[String]) -> ExitCode {
    let [folder] = arguments else {
        return ExitCode::FAILURE;
    };
    let folder = folder.clone();
    let tried = run(move || async move {
        let folder = Path::new(&folder);
        let group = ProcessGroup::new(folder).expect("a janitor");
        let mut spec = spec(folder, &recorded("idle"));
        spec.qemu = folder.join("qemu");
        fs_err::write(&spec.qemu, "#!/bin/sh\nkill -BUS $$\n").expect("a script");
        fs_err::set_permissions(&spec.qemu, Permissions::from_mode(0o700)).expect("executable");
        let dies = async || match Machine::start(spec.clone(), &group).await {
            Err(VmError::DiedAtStart { full, .. }) => full,
            Err(error) => panic!("{error}"),
            Ok(_) => panic!("it runs"),
        };
        assert_eq!(dies().await, None, "there is space");
        // What the machine's own files need stays.
        let mut filler = fs_err::File::create(folder.join("filler")).expect("a file");
        filler
            .write_all(&vec![1; 60 << 20])
            .expect("there is space");
        let full = dies().await.expect("it is named");
        assert_eq!(
            (full.kind.as_str(), full.mount_point.as_path()),
            ("tmpfs", folder)
        );
        assert!(
            full.to_string().contains(" of 64 MiB free by now"),
            "{full}"
        );
        group.close().await.expect("nothing is left");
    });
    match tried {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
