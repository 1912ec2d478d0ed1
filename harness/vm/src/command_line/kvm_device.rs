//! The host's side of KVM: its device, and how its modules are set.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Where KVM is.
pub(crate) const DEVICE: &str = "/dev/kvm";

/// Where modules have their parameters.
const MODULES: &str = "/sys/module";

/// The modules whose parameters say what guests see.
const PARAMETERS_OF: [&str; 3] = ["kvm", "kvm_amd", "kvm_intel"];

/// Who may open a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Permissions {
    mode: u32,
    owner: String,
    group: String,
}

impl Permissions {
    fn of(device: &Path) -> io::Result<Self> {
        let found = fs_err::metadata(device)?;
        Ok(Self {
            mode: found.mode() & 0o7777,
            owner: name("/etc/passwd", found.uid()),
            group: name("/etc/group", found.gid()),
        })
    }
}

impl std::fmt::Display for Permissions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { mode, owner, group } = self;
        write!(f, "it belongs to {owner}:{group} and has mode {mode:04o}")
    }
}

/// Opens the device, as QEMU does: who may open it, or why that does not work and what mends it.
pub(crate) fn open(device: &Path) -> Result<Permissions, String> {
    let permissions = Permissions::of(device);
    match OpenOptions::new().read(true).write(true).open(device) {
        Ok(_) => permissions.map_err(|error| error.to_string()),
        Err(error) => Err(refusal(device, &error, permissions.ok().as_ref())),
    }
}

fn refusal(device: &Path, error: &io::Error, permissions: Option<&Permissions>) -> String {
    let device = device.display();
    let by_whom = permissions
        .map(|permissions| format!(" ({permissions})"))
        .unwrap_or_default();
    match error.kind() {
        io::ErrorKind::NotFound => format!(
            "{device} does not exist: `sudo modprobe kvm_intel` or `sudo modprobe kvm_amd` makes it; where that fails, virtualisation \
             is off in the firmware, or in the host of this virtual machine"
        ),
        io::ErrorKind::PermissionDenied if error.raw_os_error() == Some(1) => format!(
            "{device} may not be opened by any process of this container{by_whom}: give the container the device, as with \
             `--device {device}`"
        ),
        io::ErrorKind::PermissionDenied => {
            let for_good = permissions
                .filter(|permissions| permissions.mode & 0o060 == 0o060)
                .filter(|permissions| permissions.group != "root")
                .map(|Permissions { group, .. }| {
                    format!("`sudo usermod -aG {group} $USER` and a new login mend it, or ")
                })
                .unwrap_or_default();
            format!(
                "{device} may not be opened by this user{by_whom}: {for_good}`sudo chmod 0666 {device}` until the next boot"
            )
        }
        _ => format!("{device} cannot be opened{by_whom}: {error}"),
    }
}

/// What `/etc/passwd` or `/etc/group` calls a number.
fn name(file: &str, number: u32) -> String {
    let text = fs_err::read_to_string(file).unwrap_or_default();
    let named = text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(number)).then(|| name.to_owned())
    });
    named.unwrap_or_else(|| number.to_string())
}

/// KVM's modules that are loaded, and the parameters of those that say what guests see, a line each. Without /sys nothing is
/// known of them, and hosts differ by their processors only.
pub(crate) fn modules() -> String {
    modules_in(Path::new(MODULES))
}

fn modules_in(folder: &Path) -> String {
    let mut lines: Vec<String> = Vec::new();
    for module in names(folder) {
        if !module.starts_with("kvm") {
            continue;
        }
        lines.push(format!("module {module}"));
        if !PARAMETERS_OF.contains(&module.as_str()) {
            continue;
        }
        let parameters = folder.join(&module).join("parameters");
        for parameter in names(&parameters) {
            // Some may be written only.
            if let Ok(value) = fs_err::read_to_string(parameters.join(&parameter)) {
                lines.push(format!("{module}.{parameter}: {}", value.trim_end()));
            }
        }
    }
    lines.iter().fold(String::new(), |mut text, line| {
        // A String takes everything.
        let _ = writeln!(text, "{line}");
        text
    })
}

/// Of a folder's entries, sorted; none if there is no such folder.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs_err::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(errno: i32, mode: u32, group: &str) -> String {
        let permissions = Permissions {
            mode,
            owner: "root".to_owned(),
            group: group.to_owned(),
        };
        let error = io::Error::from_raw_os_error(errno);
        refusal(Path::new(DEVICE), &error, Some(&permissions))
    }

    const EPERM: i32 = 1;
    const EACCES: i32 = 13;
    const ENODEV: i32 = 19;

    #[test]
    fn a_device_that_may_not_be_opened_is_told_with_what_mends_it() {
        insta::assert_snapshot!(refused(EACCES, 0o660, "kvm"), @"/dev/kvm may not be opened by this user (it belongs to root:kvm and has mode 0660): `sudo usermod -aG kvm $USER` and a new login mend it, or `sudo chmod 0666 /dev/kvm` until the next boot");
        // To join root's group would be too much, and that of nobody to no avail.
        insta::assert_snapshot!(refused(EACCES, 0o600, "root"), @"/dev/kvm may not be opened by this user (it belongs to root:root and has mode 0600): `sudo chmod 0666 /dev/kvm` until the next boot");
        insta::assert_snapshot!(refused(EPERM, 0o666, "kvm"), @"/dev/kvm may not be opened by any process of this container (it belongs to root:kvm and has mode 0666): give the container the device, as with `--device /dev/kvm`");
        insta::assert_snapshot!(refused(ENODEV, 0o660, "kvm"), @"/dev/kvm cannot be opened (it belongs to root:kvm and has mode 0660): No such device (os error 19)");
    }

    #[test]
    fn a_device_is_opened() {
        let folder = tempfile::tempdir().expect("a folder");
        let device = folder.path().join("kvm");
        let missing = open(&device).expect_err("there is none");
        assert!(
            missing.contains("kvm does not exist: `sudo modprobe"),
            "{missing}"
        );
        fs_err::write(&device, "").expect("a file");
        let found = open(&device).expect("ours");
        assert_eq!(found, Permissions::of(&device).expect("it is there"));
    }

    #[test]
    fn modules_are_told_with_the_parameters_that_guests_see() {
        let folder = tempfile::tempdir().expect("a folder");
        let set = |module: &str, parameter: &str, value: &str| {
            let parameters = folder.path().join(module).join("parameters");
            fs_err::create_dir_all(&parameters).expect("a folder");
            fs_err::write(parameters.join(parameter), value).expect("a file");
        };
        set("kvm_intel", "nested", "Y\n");
        set("kvm_intel", "ept", "Y\n");
        set("kvm", "ignore_msrs", "N\n");
        set("kvm_other", "stats", "4711\n");
        set("nbd", "max_part", "0\n");
        insta::assert_snapshot!(modules_in(folder.path()), @r"
        module kvm
        kvm.ignore_msrs: N
        module kvm_intel
        kvm_intel.ept: Y
        kvm_intel.nested: Y
        module kvm_other
        ");
        assert_eq!(modules_in(&folder.path().join("none")), "");
    }
}
