//! The list of imported devices, in the historic layout.

use super::device::Device;
use super::remote::Status;

/// One device's paragraph, with the empty line behind it. A relay that is dead has no connection; `pending` is whether
/// the kernel has asked for something that it got no answer to.
pub fn describe(device: &Device, open: bool, pending: bool, status: Option<Status>) -> String {
    let connected = status.is_some_and(|status| status.connected);
    let pending = pending || status.is_some_and(|status| status.pending > 0);
    let word = |yes: bool, one: &'static str, other: &'static str| if yes { one } else { other };
    format!(
        "Device name : {}\n----------------------\n    Minor # : {index}\n sysfs name : /block/nbd{index}\n     \
         Server : {}\n       Port : {}\n      State : {} {} {}\n   Readonly : {}\n    Sectors : {}\n\n",
        device.name,
        device.server.host,
        device.server.port,
        word(open, "Open", "Close"),
        word(connected, "Connected", "Disconnected"),
        word(pending, "Pending", "Clear"),
        word(device.read_only, "Yes", "No"),
        device.sectors,
        index = device.index,
    )
}
