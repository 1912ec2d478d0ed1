//! `gnbd_export -U`: a program says what identifies the storage behind a device.

use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::{major, minor};

use super::strerror;
use crate::protocol::Uid;

/// For fuzz targets: any text is taken apart, or refused.
pub(super) fn fuzz_words(command: &str) {
    let device = Device {
        major: 8,
        minor: 0,
        sysfs: "sda".to_owned(),
    };
    if let Ok(words) = words(command, &device) {
        assert!(words.len() <= command.len());
    }
}

/// What `-U` without a command runs.
pub(super) const DEFAULT_COMMAND: &str = "/usr/sbin/gnbd_get_uid %n";

/// A device as `%M`, `%m` and `%n` name it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Device {
    major: u32,
    minor: u32,
    /// `sda`, or for a partition `sda/sda1`.
    sysfs: String,
}

/// Runs the command for the device: the first 63 bytes that it prints, without a newline at the end.
pub(super) fn get_uid(command: &str, path: &Path) -> Result<Uid, String> {
    let device = device(path)?;
    let words = words(command, &device)?;
    let Some((program, arguments)) = words.split_first() else {
        return Err("the uid command is empty".to_owned());
    };
    if !program.starts_with('/') {
        return Err(format!("the uid command '{program}' is not a full path"));
    }
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cannot run '{program}' : {}", strerror(&error)))?;
    if !output.status.success() {
        return Err(format!(
            "the uid command '{program}' failed: {}",
            output.status
        ));
    }
    uid(&output.stdout).ok_or_else(|| format!("the uid command '{program}' did not print a uid"))
}

fn device(path: &Path) -> Result<Device, String> {
    let about = |reason: String| format!("cannot get the uid of {} : {reason}", path.display());
    let metadata = fs_metadata(path).map_err(|error| about(strerror(&error)))?;
    if !metadata.file_type().is_block_device() {
        return Err(about("it is no block device".to_owned()));
    }
    let (major, minor) = (major(metadata.rdev()), minor(metadata.rdev()));
    let link = format!("/sys/dev/block/{major}:{minor}");
    let target = rustix::fs::readlink(&link, Vec::new())
        .map_err(|error| about(format!("{link} : {}", strerror(&error.into()))))?;
    let target = target.to_string_lossy().into_owned();
    Ok(Device {
        major,
        minor,
        sysfs: sysfs_name(&target).to_owned(),
    })
}

fn fs_metadata(path: &Path) -> std::io::Result<std::fs::Metadata> {
    path.metadata()
}

/// What stands behind the last `block/`.
fn sysfs_name(target: &str) -> &str {
    match target.rfind("/block/") {
        Some(at) => &target[at + "/block/".len()..],
        None => target.rsplit('/').next().unwrap_or(target),
    }
}

/// Splits at blanks, but not between single quotes, and fills in the device.
fn words(command: &str, device: &Device) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quoted = false;
    let mut characters = command.chars();
    while let Some(character) = characters.next() {
        match character {
            '\'' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            ' ' | '\t' if !quoted => words.extend(word.take()),
            '%' => {
                let text = match characters.as_str().chars().next() {
                    Some('M') => device.major.to_string(),
                    Some('m') => device.minor.to_string(),
                    Some('n') => device.sysfs.clone(),
                    Some('%') => "%".to_owned(),
                    _ => {
                        word.get_or_insert_default().push('%');
                        continue;
                    }
                };
                characters.next();
                word.get_or_insert_default().push_str(&text);
            }
            other => word.get_or_insert_default().push(other),
        }
    }
    if quoted {
        return Err(format!(
            "the uid command has a quote without an end: {command}"
        ));
    }
    words.extend(word);
    Ok(words)
}

/// `None` if it is no text.
fn uid(output: &[u8]) -> Option<Uid> {
    let output = &output[..output.len().min(Uid::SIZE - 1)];
    let output = output.strip_suffix(b"\n").unwrap_or(output);
    Uid::new(std::str::from_utf8(output).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_split_and_filled_in() {
        let device = Device {
            major: 8,
            minor: 1,
            sysfs: "sda/sda1".to_owned(),
        };
        let split = |command: &str| words(command, &device).unwrap();
        assert_eq!(
            split(DEFAULT_COMMAND),
            ["/usr/sbin/gnbd_get_uid", "sda/sda1"]
        );
        assert_eq!(
            split("  /x 'a b'c  '' %M:%m %d 5% "),
            ["/x", "a bc", "", "8:1", "%d", "5%"]
        );
        assert!(words("/x 'a", &device).is_err());
    }

    #[test]
    fn a_partition_is_named_with_its_disk() {
        assert_eq!(
            sysfs_name("../../devices/pci0/ata1/block/sda/sda1"),
            "sda/sda1"
        );
        assert_eq!(sysfs_name("../../devices/virtual/block/drbd0"), "drbd0");
    }

    #[test]
    fn a_uid_is_cut_and_loses_one_newline() {
        let printed = |bytes: &[u8]| uid(bytes).map(|uid| uid.to_string());
        assert_eq!(printed(b"GNBD--1\n\n"), None);
        assert_eq!(printed(b"GNBD--1\n"), Some("GNBD--1".to_owned()));
        assert_eq!(printed(&[b'x'; 100]), Some("x".repeat(63)));
        assert_eq!(printed(b""), Some(String::new()));
        assert_eq!(printed(&[0xff]), None);
    }
}
