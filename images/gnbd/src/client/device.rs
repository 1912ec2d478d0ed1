//! What is remembered of an imported device: a file `nbdN.env` in the run folder, which udev rules can import, too.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, open, rename};

use super::request::Server;
use crate::membership::Membership;
use crate::protocol::{DeviceName, NodeName, Uid};

/// An imported device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Number of its nbd device, the historic minor.
    pub index: u32,
    /// The export's name, and the device's in `/dev/gnbd`.
    pub name: DeviceName,
    /// Where it is exported.
    pub server: Server,
    /// The server's name in the cluster, if it said one.
    pub server_node: Option<NodeName>,
    /// This node's name, as servers are told.
    pub node: NodeName,
    /// What identifies the storage; kept so that multipath can ask while the server is down.
    pub uid: Uid,
    /// In sectors of 512 bytes; 0 until the first login.
    pub sectors: u64,
    /// Whether writes are refused.
    pub read_only: bool,
    /// Seconds; 0: cached, wait mode.
    pub timeout: u32,
    /// Seconds after which requests fail without fencing, if that is wanted.
    pub fail_fast: Option<u32>,
    /// Seconds after the death of the server's process until requests fail, if that is wanted.
    pub dead_peer_grace: Option<u32>,
    /// Milliseconds between attempts to log in, at most, if not the usual.
    pub retry: Option<u32>,
    /// Whom to ask about fencing.
    pub membership: Membership,
}

impl Device {
    /// The record's file.
    pub fn file(folder: &Path, index: u32) -> PathBuf {
        folder.join(format!("nbd{index}.env"))
    }

    /// The record's text. Values have no line ends: names and uids are checked where they come from, and a host with
    /// one does not resolve.
    pub fn encode(&self) -> String {
        let Self {
            index,
            name,
            server: Server { host, port },
            node,
            uid,
            sectors,
            timeout,
            ..
        } = self;
        let read_only = u8::from(self.read_only);
        let mut text = format!(
            "GNBD_INDEX={index}\nGNBD_NAME={name}\nGNBD_UID={uid}\nGNBD_SERVER={host}\nGNBD_PORT={port}\n\
             GNBD_NODE={node}\nGNBD_SECTORS={sectors}\nGNBD_READ_ONLY={read_only}\nGNBD_TIMEOUT={timeout}\n"
        );
        let mut optional = |key: &str, value: Option<String>| {
            text.extend(value.map(|value| format!("{key}={value}\n")));
        };
        optional(
            "GNBD_SERVER_NODE",
            self.server_node.as_ref().map(NodeName::to_string),
        );
        optional(
            "GNBD_FAIL_FAST",
            self.fail_fast.map(|seconds| seconds.to_string()),
        );
        optional(
            "GNBD_MOURNING",
            self.dead_peer_grace.map(|seconds| seconds.to_string()),
        );
        optional("GNBD_RETRY", self.retry.map(|pause| pause.to_string()));
        if let Membership::Hook(hook) = &self.membership {
            optional("GNBD_MEMBERSHIP", Some(hook.display().to_string()));
        }
        text
    }

    /// Reads a record; `None` if it is none.
    pub fn decode(text: &str) -> Option<Self> {
        let value = |key: &str| {
            let mut lines = text.lines();
            lines.find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
        };
        let number = |key: &str| value(key).map(str::parse).transpose();
        Some(Self {
            index: value("GNBD_INDEX")?.parse().ok()?,
            name: value("GNBD_NAME")?.parse().ok()?,
            server: Server::new(value("GNBD_SERVER")?, value("GNBD_PORT")?.parse().ok()?),
            server_node: value("GNBD_SERVER_NODE").and_then(|node| node.parse().ok()),
            node: value("GNBD_NODE")?.parse().ok()?,
            uid: value("GNBD_UID")?.parse().ok()?,
            sectors: value("GNBD_SECTORS")?.parse().ok()?,
            read_only: value("GNBD_READ_ONLY")? == "1",
            timeout: value("GNBD_TIMEOUT")?.parse().ok()?,
            fail_fast: number("GNBD_FAIL_FAST").ok()?,
            dead_peer_grace: number("GNBD_MOURNING").ok()?,
            retry: number("GNBD_RETRY").ok()?,
            membership: value("GNBD_MEMBERSHIP").map_or(Membership::None, |hook| {
                Membership::Hook(PathBuf::from(hook))
            }),
        })
    }

    /// Writes the record, whole or not at all.
    pub fn save(&self, folder: &Path) -> io::Result<()> {
        let file = Self::file(folder, self.index);
        let draft = file.with_extension("new");
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC;
        // udev reads it.
        let mut target = File::from(open(&draft, flags, Mode::from_raw_mode(0o644))?);
        target.write_all(self.encode().as_bytes())?;
        Ok(rename(&draft, &file)?)
    }

    /// Reads the record of a device; `None` if there is none.
    pub fn load(folder: &Path, index: u32) -> io::Result<Option<Self>> {
        let file = open(
            Self::file(folder, index),
            OFlags::RDONLY | OFlags::CLOEXEC,
            Mode::empty(),
        );
        let file = match file {
            Ok(file) => file,
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut text = String::new();
        File::from(file).read_to_string(&mut text)?;
        Ok(Self::decode(&text))
    }

    /// All records, by index.
    pub fn load_all(folder: &Path) -> io::Result<Vec<Self>> {
        let entries = match folder.read_dir() {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut devices = Vec::new();
        for entry in entries {
            let name = entry?.file_name();
            let name = name.to_string_lossy();
            let number = name
                .strip_prefix("nbd")
                .and_then(|name| name.strip_suffix(".env"));
            if let Some(index) = number.and_then(|number| number.parse().ok()) {
                devices.extend(Self::load(folder, index)?);
            }
        }
        devices.sort_by_key(|device| device.index);
        Ok(devices)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_survives() {
        let folder = tempfile::tempdir().unwrap();
        let mut device = Device {
            index: 3,
            name: "gnbd0a".parse().unwrap(),
            server: Server::new("storage0a", 14567),
            server_node: None,
            node: "client0".parse().unwrap(),
            uid: "a b=c".parse().unwrap(),
            sectors: 2_096_944,
            read_only: false,
            timeout: 60,
            fail_fast: None,
            dead_peer_grace: None,
            retry: None,
            membership: Membership::None,
        };
        assert_eq!(Device::load_all(&folder.path().join("none")).unwrap(), []);
        device.save(folder.path()).unwrap();
        assert_eq!(
            Device::load(folder.path(), 3).unwrap(),
            Some(device.clone())
        );
        device.server_node = Some("storage0a".parse().unwrap());
        device.fail_fast = Some(0);
        device.dead_peer_grace = Some(0);
        device.retry = Some(500);
        device.uid = Uid::none();
        device.membership = Membership::Hook("/etc/gnbd/membership".into());
        device.save(folder.path()).unwrap();
        assert_eq!(Device::load_all(folder.path()).unwrap(), [device]);
        assert_eq!(Device::load(folder.path(), 4).unwrap(), None);
    }
}
