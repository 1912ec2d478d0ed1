//! The layers, a file each. Beside them stands what all have in common (`describe`), targets of device-mapper (`mapping`), and
//! cluster file systems (`volume`).

pub(crate) mod describe;
mod dlm;
pub(crate) mod drbd;
mod gfs2;
mod gnbd;
mod iscsi;
mod linear;
mod lvm;
pub(crate) mod mapping;
mod md;
pub(crate) mod membership;
pub(crate) mod multipath;
mod nbd;
mod o2cb;
mod ocfs2;
mod shared_disk;
mod striped;
pub(crate) mod volume;
