//! How long the parts of a fleet's life may take that more than one file waits for.

use std::time::Duration;

/// From the wish for a place on this machine to having it: other fleets may well run before.
pub(crate) const ROOM: Duration = Duration::from_secs(3600);
/// From QEMU's start to the agent's first answer: 15 s for five guests under TCG on two cores, more on a busy host.
pub(crate) const BOOT: Duration = Duration::from_secs(180);
/// How long a guest may take to install the user's packages and to load the modules: some seconds each under TCG.
pub(crate) const SETUP: Duration = Duration::from_secs(180);
/// How long QEMU may take to write the state of a machine, half a megabyte.
pub(crate) const SAVE: Duration = Duration::from_secs(30);
/// How long QEMU has for each stage of its end: asked, told, killed.
pub(crate) const END: Duration = Duration::from_secs(2);
