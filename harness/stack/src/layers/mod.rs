//! The layers, a file each. Beside them stands what all have in common (`describe`), targets of device-mapper (`mapping`), and
//! cluster file systems (`volume`).

pub(crate) mod describe;
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
