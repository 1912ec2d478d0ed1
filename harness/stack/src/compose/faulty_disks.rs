//! Disks that steps let fail: on their nodes layers open a device of device-mapper in place of the raw disk, so that another table
//! can be put below them at any time.

use std::fmt::Write as _;
use std::time::Duration;

use sanlab_plan::{
    ByteSize, DISK, DiskFault, DiskFaultKind, FAULTY_DISK, NodeName, Plan, Requests,
};

use crate::description::probe::{Expect, Probe};
use crate::description::work::{Stage, Work, WorkKind};
use crate::layers::mapping::NO_UDEV;
use crate::nodes::present::those;
use crate::shell::script::script;

const CREATE: Duration = Duration::from_secs(60);
const PROBE: Duration = Duration::from_secs(60);

/// [`FAULTY_DISK`]'s name among device-mapper's devices.
const NAME: &str = "sanlab-disk";
/// A device as long, on which everything fails; there while a part of all requests is sent to it.
const ERROR_NAME: &str = "sanlab-error";
const ERROR: &str = "/dev/mapper/sanlab-error";

/// The disks that steps let fail.
#[derive(Debug)]
pub(crate) struct FaultyDisks {
    on: Vec<NodeName>,
    /// The length of each.
    sectors: u64,
}

impl FaultyDisks {
    pub(crate) fn of(plan: &Plan) -> Self {
        let names = plan.nodes.iter().map(|node| &node.name);
        let faulty = names.filter(|node| plan.has_disk_faults(node));
        Self {
            on: faulty.cloned().collect(),
            sectors: sectors(plan.disk().unwrap_or(ByteSize::from_bytes(0))),
        }
    }

    /// Whether no node has one.
    pub(crate) const fn is_empty(&self) -> bool {
        self.on.is_empty()
    }

    /// Whether a node has one.
    pub(crate) fn is_on(&self, node: &NodeName) -> bool {
        self.on.contains(node)
    }

    /// Makes the devices of those of `nodes` that have one, before any layer opens them.
    pub(crate) fn up(&self, nodes: &[NodeName]) -> Option<Work> {
        let on = those(nodes, &self.on);
        if on.is_empty() {
            return None;
        }
        let text = script(&format!(
            "{NO_UDEV}run modprobe dm-mod\n\
             run dmsetup create {NAME} --table '{}'\n",
            self.whole()
        ));
        let title = format!("put device-mapper before {DISK}");
        let probe = |node: &NodeName| Probe {
            node: node.clone(),
            title: format!("{FAULTY_DISK} has {} sectors", self.sectors),
            script: format!("blockdev --getsize {FAULTY_DISK}\n"),
            expect: Expect::lines([self.sectors.to_string()]),
            deadline: PROBE,
            stall: None,
        };
        Some(Work {
            kind: WorkKind::Disk,
            title: title.clone(),
            probes: on.iter().map(probe).collect(),
            stages: vec![Stage::new(&on, &title, CREATE, &text)],
        })
    }

    /// Removes them, once no layer has them open.
    pub(crate) fn down(&self, nodes: &[NodeName]) -> Option<Work> {
        let on = those(nodes, &self.on);
        if on.is_empty() {
            return None;
        }
        let text = script(&format!(
            "{NO_UDEV}for name in {NAME} {ERROR_NAME}; do\n\
             \x20   [ ! -e /dev/mapper/$name ] || run dmsetup remove --retry $name\n\
             done\n"
        ));
        let title = format!("remove {FAULTY_DISK}");
        Some(Work {
            kind: WorkKind::Disk,
            title: title.clone(),
            stages: vec![Stage::new(&on, &title, CREATE, &text)],
            probes: Vec::new(),
        })
    }

    /// What to collect when something failed.
    pub(crate) fn state() -> (String, String) {
        let text = "dmsetup table || true\ndmsetup status || true\ndmsetup info || true\n";
        ("disk.txt".to_owned(), text.to_owned())
    }

    /// The script that lets a disk fail.
    pub(crate) fn fault(&self, fault: &DiskFault) -> String {
        let mut text = NO_UDEV.to_owned();
        if fault.kind == DiskFaultKind::Slow || fault.of != Requests::All {
            text += "run modprobe dm-delay\n";
        }
        if fault.kind == DiskFaultKind::Error && fault.of != Requests::All {
            let _ = writeln!(
                text,
                "[ -e {ERROR} ] || run dmsetup create {ERROR_NAME} --table '0 {} error'",
                self.sectors
            );
        }
        text += &put(&self.table(fault));
        script(&text)
    }

    /// The script that makes it whole again.
    pub(crate) fn whole_again(&self) -> String {
        script(&format!(
            "{NO_UDEV}{}[ ! -e {ERROR} ] || run dmsetup remove --retry {ERROR_NAME}\n",
            put(&[self.whole()])
        ))
    }

    fn whole(&self) -> String {
        linear(0, self.sectors)
    }

    /// The faulty part, and what lies before and behind it.
    ///
    /// The target `delay` sends what is read and what is written to two devices: one of them may be that on which everything
    /// fails. `flakey` could do that too, but it also fails flushes of the whole disk, and reads alone only since Linux 6.5; Debian's
    /// kernels have no `dust`.
    fn table(&self, fault: &DiskFault) -> Vec<String> {
        let (from, to) = (sectors(fault.from), sectors(fault.to));
        let length = to - from;
        let late = fault.delay.as_millis();
        let (sound, broken) = (format!("{DISK} {from}"), format!("{ERROR} {from}"));
        let target = match (fault.kind, fault.of) {
            (DiskFaultKind::Error, Requests::All) => "error".to_owned(),
            (DiskFaultKind::Error, Requests::Reads) => format!("delay {broken} 0 {sound} 0"),
            (DiskFaultKind::Error, Requests::Writes) => format!("delay {sound} 0 {broken} 0"),
            (DiskFaultKind::Slow, Requests::All) => format!("delay {sound} {late}"),
            (DiskFaultKind::Slow, Requests::Reads) => format!("delay {sound} {late} {sound} 0"),
            (DiskFaultKind::Slow, Requests::Writes) => format!("delay {sound} 0 {sound} {late}"),
        };
        let mut lines = Vec::new();
        if from > 0 {
            lines.push(linear(0, from));
        }
        lines.push(format!("{from} {length} {target}"));
        if to < self.sectors {
            lines.push(linear(to, self.sectors - to));
        }
        lines
    }
}

fn linear(from: u64, length: u64) -> String {
    format!("{from} {length} linear {DISK} {from}")
}

/// Puts another table in the place of the present one. Requests that are under way below end with the old one; no file system is
/// asked to stand still, since that could wait for the very disk.
fn put(table: &[String]) -> String {
    format!(
        "run dmsetup load {NAME} <<'TABLE'\n\
         {}\n\
         TABLE\n\
         run dmsetup resume --noflush --nolockfs {NAME}\n",
        table.join("\n")
    )
}

const fn sectors(size: ByteSize) -> u64 {
    size.bytes() / 512
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sanlab_plan::{ByteSize, DiskFault, DiskFaultKind, Requests};

    use super::FaultyDisks;

    fn table(kind: DiskFaultKind, of: Requests, from: u64, to: u64) -> String {
        let disks = FaultyDisks {
            on: Vec::new(),
            sectors: 8 << 11,
        };
        let fault = DiskFault {
            on: Vec::new(),
            kind,
            of,
            delay: Duration::from_millis(200),
            from: ByteSize::from_mib(from),
            to: ByteSize::from_mib(to),
            lasts: None,
        };
        disks.table(&fault).join("\n")
    }

    #[test]
    fn only_the_faulty_part_is_another() {
        use DiskFaultKind::{Error, Slow};
        assert_eq!(table(Error, Requests::All, 0, 8), "0 16384 error");
        assert_eq!(
            table(Error, Requests::Writes, 2, 3),
            "0 4096 linear /dev/vdb 0\n\
             4096 2048 delay /dev/vdb 4096 0 /dev/mapper/sanlab-error 4096 0\n\
             6144 10240 linear /dev/vdb 6144"
        );
        assert_eq!(
            table(Error, Requests::Reads, 7, 8),
            "0 14336 linear /dev/vdb 0\n\
             14336 2048 delay /dev/mapper/sanlab-error 14336 0 /dev/vdb 14336 0"
        );
        assert_eq!(
            table(Slow, Requests::All, 0, 8),
            "0 16384 delay /dev/vdb 0 200"
        );
        assert_eq!(
            table(Slow, Requests::Reads, 0, 8),
            "0 16384 delay /dev/vdb 0 200 /dev/vdb 0 0"
        );
    }
}
