//! The layers, a file each. Beside them stands what some have in common: `mapping` for targets of device-mapper, `volume` for
//! cluster file systems.

pub(crate) mod dlm;
pub(crate) mod drbd;
pub(crate) mod gfs2;
pub(crate) mod gnbd;
pub(crate) mod iscsi;
pub(crate) mod linear;
pub(crate) mod lvm;
pub(crate) mod mapping;
pub(crate) mod md;
pub(crate) mod membership;
pub(crate) mod multipath;
pub(crate) mod nbd;
pub(crate) mod o2cb;
pub(crate) mod ocfs2;
pub(crate) mod shared_disk;
pub(crate) mod striped;
pub(crate) mod volume;
