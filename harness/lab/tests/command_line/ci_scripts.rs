//! Scripts of `ci/` that change a host: what they call there, on hosts of which everything is a stub. And the report of a job.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use fs_err as fs;
use rustix::fs::{Gid, Uid, chown};

use super::project;

/// What the scripts themselves call.
const TOOLS: [&str; 9] = [
    "bash", "cat", "chmod", "mktemp", "rm", "setpriv", "sh", "sort", "stat",
];

/// A host's root with an os-release and with stubs in place of its programs; they log how they are called. The stubs have a
/// folder of their own, apart from the links to real programs, which nothing must ever write through.
struct Host(tempfile::TempDir);

impl Host {
    fn new(os_release: &str, user: &str) -> Self {
        let host = Self(tempfile::tempdir().expect("a temporary folder"));
        let path = std::env::var_os("PATH").expect("PATH is set");
        for folder in ["etc", "stubs", "tools"] {
            fs::create_dir(host.path().join(folder)).expect("a folder is made");
        }
        for tool in TOOLS {
            let real = std::env::split_paths(&path)
                .map(|folder| folder.join(tool))
                .find(|file| file.is_file());
            symlink(real.expect(tool), host.tool(tool)).expect("a link is made");
        }
        fs::write(host.path().join("etc/os-release"), os_release).expect("a file is written");
        host.stub("id", &format!("echo {user}"));
        host.stub("sudo", "exec \"$@\"");
        host
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn tool(&self, name: &str) -> PathBuf {
        self.path().join("tools").join(name)
    }

    fn stub(&self, name: &str, script: &str) {
        let file = self.path().join("stubs").join(name);
        let log = self.path().join("log");
        let log = format!("echo {name} \"$@\" >>{}", log.display());
        let log = if name == "id" { "" } else { &log };
        fs::write(&file, format!("#!/bin/sh\n{log}\n{script}\n")).expect("a file is written");
        fs::set_permissions(&file, Permissions::from_mode(0o755)).expect("its mode is set");
    }

    /// What was called, whether the script was satisfied, and what it said.
    fn packages(&self) -> (String, bool, String) {
        let mut command = Command::new(self.tool("bash"));
        command.arg(project().join("ci/host-packages"));
        self.run(command)
    }

    fn run(&self, mut command: Command) -> (String, bool, String) {
        let path = ["stubs", "tools"].map(|folder| self.path().join(folder));
        let path = std::env::join_paths(path).expect("paths without colons");
        let output = command
            .env("PATH", path)
            .env("SANLAB_HOST_ROOT", self.path())
            .output()
            .expect("bash starts");
        let calls = fs::read_to_string(self.path().join("log")).unwrap_or_default();
        let said = String::from_utf8(output.stderr).expect("it says text");
        (calls, output.status.success(), said)
    }
}

#[test]
fn fedora_s_packages_are_installed_by_dnf() {
    let host = Host::new("NAME=\"Fedora Linux\"\nID=fedora\nVERSION_ID=43\n", "1000");
    host.stub("dnf", "exit 0");
    let (calls, satisfied, said) = host.packages();
    assert!(satisfied, "{said}");
    insta::assert_snapshot!(calls, @r"
    sudo dnf install -qy --setopt=install_weak_deps=False apt debian-keyring dpkg erofs-utils gcc glibc-devel kmod mmdebstrap python3 qemu-system-x86-core shadow-utils util-linux
    dnf install -qy --setopt=install_weak_deps=False apt debian-keyring dpkg erofs-utils gcc glibc-devel kmod mmdebstrap python3 qemu-system-x86-core shadow-utils util-linux
    ");
}

#[test]
fn arch_s_packages_are_installed_by_pacman_and_what_it_lacks_is_named() {
    let host = Host::new("ID=endeavouros\nID_LIKE=arch\n", "0");
    host.stub("pacman", "exit 0");
    let (calls, satisfied, said) = host.packages();
    assert!(!satisfied);
    assert!(said.contains("no package of mmdebstrap"), "{said}");
    insta::assert_snapshot!(calls, @"pacman -S --needed --noconfirm apt debian-archive-keyring dpkg erofs-utils gcc glibc kmod python qemu-system-x86 util-linux");
}

#[test]
fn debian_s_list_of_packages_is_renewed_when_it_does_not_do() {
    let host = Host::new("ID=ubuntu\nID_LIKE=debian\n", "0");
    let updated = host.path().join("updated");
    host.stub(
        "apt-get",
        &format!(
            "case $1 in update) : >{0} ;; install) [ -e {0} ] ;; esac",
            updated.display()
        ),
    );
    let (calls, satisfied, said) = host.packages();
    assert!(satisfied, "{said}");
    insta::assert_snapshot!(calls, @r"
    apt-get install -qy --no-install-recommends debian-archive-keyring dpkg erofs-utils gcc kmod libc6-dev mmdebstrap python3 qemu-system-x86 util-linux
    apt-get update -q
    apt-get install -qy --no-install-recommends debian-archive-keyring dpkg erofs-utils gcc kmod libc6-dev mmdebstrap python3 qemu-system-x86 util-linux
    ");
}

#[test]
fn a_failure_shows_what_the_installer_said() {
    let host = Host::new("ID=fedora\n", "0");
    host.stub("dnf", "echo 'Error: no network'; exit 1");
    let (_, satisfied, said) = host.packages();
    assert!(!satisfied);
    assert!(
        said.contains("Error: no network\nci/host-packages: dnf could not install "),
        "{said}"
    );
}

#[test]
fn a_host_that_has_everything_is_left_alone() {
    let host = Host::new("ID=arch\n", "0");
    for program in [
        "qemu-system-x86_64",
        "mmdebstrap",
        "apt-get",
        "python3",
        "mkfs.erofs",
        "depmod",
        "dpkg-deb",
        "setpriv",
        "unshare",
        "cc",
    ] {
        host.stub(program, "exit 1");
    }
    for file in [
        "usr/include/stdlib.h",
        "usr/share/keyrings/debian-archive-keyring.gpg",
    ] {
        let file = host.path().join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, "").unwrap();
    }
    assert_eq!(host.packages(), (String::new(), true, String::new()));
}

#[test]
fn a_kvm_device_that_may_not_be_opened_is_opened_to_everybody() {
    let host = Host::new("", "");
    for program in ["tee", "udevadm"] {
        host.stub(program, "while read -r line; do :; done");
    }
    let device = host.path().join("kvm");
    fs::write(&device, "").unwrap();
    // Not as root, who may open everything; and where that user can reach it.
    let script = host.path().join("runner-kvm");
    fs::copy(project().join("ci/runner-kvm"), &script).unwrap();
    fs::write(host.path().join("log"), "").unwrap();
    let mut user = Vec::new();
    if rustix::process::geteuid().is_root() {
        let nobody = (Uid::from_raw(65534), Gid::from_raw(65534));
        for path in [host.path(), &device, &host.path().join("log")] {
            chown(path, Some(nobody.0), Some(nobody.1)).unwrap();
        }
        user.extend([
            "setpriv",
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
        ]);
    }
    let run = |device: &Path| {
        let mut command = Command::new(host.tool("bash"));
        command
            .args(["-c", "exec \"$@\" </dev/null", "sh"])
            .args(&user)
            .arg(host.tool("bash"))
            .args([&script, device]);
        host.run(command)
    };

    fs::set_permissions(&device, Permissions::from_mode(0o000)).unwrap();
    let (calls, satisfied, said) = run(&device);
    assert!(satisfied, "{said}");
    let calls = calls.replace(host.path().to_str().unwrap(), "");
    insta::assert_snapshot!(calls, @r"
    sudo tee /etc/udev/rules.d/99-sanlab-kvm.rules
    tee /etc/udev/rules.d/99-sanlab-kvm.rules
    sudo udevadm control --reload-rules
    udevadm control --reload-rules
    sudo udevadm trigger --name-match=kvm --settle
    udevadm trigger --name-match=kvm --settle
    sudo chmod 666 /kvm
    ");
    let mode = fs::metadata(&device).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o666);

    let before = fs::read_to_string(host.path().join("log")).unwrap();
    let (calls, satisfied, _) = run(&device);
    assert_eq!((calls, satisfied), (before, true), "it is open already");
    let (_, satisfied, said) = run(&host.path().join("none"));
    assert!(!satisfied);
    assert!(said.contains("offers no hardware virtualisation"), "{said}");
}

#[test]
fn a_job_s_report_is_in_its_summary() {
    let folder = tempfile::tempdir().unwrap();
    let summary = folder.path().join("summary");
    let report = |runs: &Path| {
        let output = Command::new(project().join("ci/runner-report"))
            .arg(folder.path().join("report"))
            .env("SANLAB", env!("CARGO_BIN_EXE_sanlab"))
            .env("SANLAB_RUNS", runs)
            .env("GITHUB_STEP_SUMMARY", &summary)
            .env("GITHUB_JOB", "a night")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
    };
    report(folder.path());
    assert!(!summary.exists(), "nothing was run");
    let run = folder.path().join("runs/20261122T020304Z-x7f3/a/b");
    fs::create_dir_all(&run).unwrap();
    let records = fs::read_dir(project().join("fixtures/records")).unwrap();
    let record = records.map(|entry| entry.unwrap().path()).next().unwrap();
    fs::copy(record, run.join("record.json")).unwrap();
    report(&folder.path().join("runs"));
    let summary = fs::read_to_string(summary).unwrap();
    assert!(summary.contains("a night"), "{summary}");
    for file in ["index.html", "junit.xml"] {
        assert!(folder.path().join("report").join(file).is_file(), "{file}");
    }
}
