//! What `gnbd_import` does with devices: import, restart, remove.

use std::time::Duration;

use super::import::unanswered;
use super::{Console, ExitStatus};
use crate::client::{Device, Host, RECEIVER, RequestError, Server};
use crate::error::Error;
use crate::membership::Membership;
use crate::protocol::{ExportRecord, NodeName};

/// Between two looks at a device that somebody still has open.
const PAUSE: Duration = Duration::from_secs(2);

/// What shall be imported, and how.
pub(super) struct Import {
    pub(super) server: Server,
    /// This node.
    pub(super) node: NodeName,
    pub(super) membership: Membership,
    pub(super) fail_fast: FailFast,
    /// Seconds, see [`Device::dead_peer_grace`].
    pub(super) dead_peer_grace: Option<u32>,
    /// Milliseconds, see [`Device::retry`].
    pub(super) retry: Option<u32>,
}

/// Whether requests may fail without fencing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FailFast {
    No,
    /// After the export's own timeout.
    ByExport,
    /// After so many seconds.
    After(u32),
}

fn failed(error: &Error, console: &mut Console<'_>) -> ExitStatus {
    console.error(&format!("failed to {error}"))
}

/// Imports everything that a server exports. `devices` are those that there are already.
pub(super) fn import_all(
    host: &mut dyn Host,
    import: &Import,
    mut devices: Vec<Device>,
    console: &mut Console<'_>,
) -> ExitStatus {
    let records = match import.server.names() {
        Ok(records) => records,
        Err(error) => return unanswered(&import.server, &error, console),
    };
    let uncached = records.iter().any(|record| record.timeout > 0);
    // Nothing is imported rather than a half. With fail-fast nobody has to be fenced.
    if uncached && import.membership == Membership::None && import.fail_fast == FailFast::No {
        return console.error("cannot import uncached devices while using the -n option");
    }
    // Who to fence; only uncached devices need to know.
    let server_node = if uncached {
        match import.server.node_name() {
            Ok(node) => Some(node),
            Err(error) => return unanswered(&import.server, &error, console),
        }
    } else {
        None
    };
    for record in records {
        let mut old = None;
        if let Some(at) = devices.iter().position(|device| device.name == record.name) {
            let known = devices[at].server == import.server;
            if known {
                let device = &devices[at];
                let status = if host.has_relay(device.index) {
                    0
                } else {
                    restart(host, device, console)
                };
                if status != 0 {
                    return status;
                }
                continue;
            }
            // These concern one device and no other.
            if record.timeout > 0 {
                console.error(&format!("cannot reimport uncached GNBD {}", record.name));
                continue;
            }
            if host.is_open(devices[at].index) {
                console.error(&format!(
                    "Cannot reimport GNBD {} until all users have closed it",
                    record.name
                ));
                continue;
            }
            console.say(&format!(
                "reimporting device {} on server {}",
                record.name, import.server
            ));
            old = Some(devices.remove(at));
        }
        if let Some(old) = old {
            if let Err(error) = end(host, &old) {
                return failed(&error, console);
            }
        }
        match import_one(
            host,
            import,
            &record,
            server_node.clone(),
            &devices,
            console,
        ) {
            Ok(device) => devices.push(device),
            Err(status) => return status,
        }
    }
    0
}

fn import_one(
    host: &mut dyn Host,
    import: &Import,
    record: &ExportRecord,
    server_node: Option<NodeName>,
    devices: &[Device],
    console: &mut Console<'_>,
) -> Result<Device, ExitStatus> {
    let uid = match import.server.uid(&record.name) {
        Ok(uid) => uid,
        Err(error @ RequestError::Connect { .. }) => {
            return Err(unanswered(&import.server, &error, console));
        }
        // Not every server knows of uids; the device is of use without.
        Err(_) => crate::protocol::Uid::none(),
    };
    match host.make_nodes() {
        Ok(true) => console.say(&format!("created directory {}", host.nodes().display())),
        Ok(false) => {}
        Err(error) => return Err(failed(&error, console)),
    }
    let taken: Vec<u32> = devices.iter().map(|device| device.index).collect();
    let index = host
        .free_index(&taken)
        .map_err(|error| failed(&error, console))?;
    let device = Device {
        index,
        name: record.name.clone(),
        server: import.server.clone(),
        server_node,
        node: import.node.clone(),
        uid,
        sectors: 0,
        read_only: record.read_only,
        timeout: record.timeout,
        fail_fast: match import.fail_fast {
            FailFast::No => None,
            FailFast::ByExport => Some(record.timeout),
            FailFast::After(seconds) => Some(seconds),
        },
        dead_peer_grace: import.dead_peer_grace,
        retry: import.retry,
        membership: import.membership.clone(),
    };
    // Before the device appears: udev rules read the record.
    device
        .save(host.folder())
        .map_err(|source| failed(&Error::host("write a device record", source), console))?;
    console.say(&format!("created gnbd device {}", device.name));
    if device.timeout > 0 && devices.iter().all(|other| other.timeout == 0) {
        let text = format!("gnbd_monitor started. Monitoring device #{index}");
        console.speaking_as("gnbd_monitor").say(&text);
    }
    let result = start(host, &device, false, console);
    if let Err(status) = result {
        host.forget(&device);
        return Err(status);
    }
    if let Err(error) = host.link(&device) {
        return Err(failed(&error, console));
    }
    host.announce(index);
    Ok(device)
}

/// Starts the receiver and says what it says.
fn start(
    host: &mut dyn Host,
    device: &Device,
    again: bool,
    console: &mut Console<'_>,
) -> Result<(), ExitStatus> {
    match host.start_relay(device.index, again) {
        Ok(Ok(text)) => {
            console.speaking_as(RECEIVER).say(&text);
            Ok(())
        }
        Ok(Err(text)) => Err(console.speaking_as(RECEIVER).error(&text)),
        Err(error) => Err(failed(&error, console)),
    }
}

fn restart(host: &mut dyn Host, device: &Device, console: &mut Console<'_>) -> ExitStatus {
    if let Err(status) = start(host, device, true, console) {
        return status;
    }
    console.say(&format!(
        "restarted gnbd_recvd for gnbd device {}",
        device.name
    ));
    0
}

/// Restarts receivers that are dead; where that does not work, and it is wished, the device goes. Those that live
/// and were refused for good try again.
pub(super) fn restart_all(
    host: &mut dyn Host,
    devices: &[Device],
    overriding: bool,
    console: &mut Console<'_>,
) -> ExitStatus {
    let mut status = 0;
    for device in devices {
        if host.has_relay(device.index) {
            host.retry(device.index);
            continue;
        }
        let mut result = restart(host, device, console);
        if result != 0 && overriding {
            result = remove(host, device, false, console);
        }
        status = status.max(result);
    }
    status
}

/// Removes a device that nobody uses; with `wait`, as soon as nobody does.
pub(super) fn remove(
    host: &mut dyn Host,
    device: &Device,
    wait: bool,
    console: &mut Console<'_>,
) -> ExitStatus {
    if host.is_open(device.index) {
        if !wait {
            return console.error(&format!(
                "cannot disconnect device #{} : Device or resource busy",
                device.index
            ));
        }
        console.say(&format!(
            "waiting for all users to close device {}",
            device.name
        ));
        while host.is_open(device.index) {
            host.pause(PAUSE);
        }
    }
    if let Err(error) = end(host, device) {
        return failed(&error, console);
    }
    console.say(&format!("removed gnbd device {}", device.name));
    0
}

fn end(host: &mut dyn Host, device: &Device) -> Result<(), Error> {
    host.disconnect(device.index)?;
    host.forget(device);
    Ok(())
}
