//! What striped and linear have in common: one device-mapper device over the devices below.

use std::time::Duration;

use sanlab_plan::{Device, LayerKind, NodeName, VolumeName};

use crate::description::layer::LayerCommands;
use crate::description::probe::{Expect, Probe};
use crate::description::work::Stage;
use crate::layers::describe::Hot;
use crate::nodes::present::Peers;
use crate::nodes::topology::Topology;
use crate::shell::script::script;

const CREATE: Duration = Duration::from_secs(60);
const PROBE: Duration = Duration::from_secs(60);

/// Most guests have no udevd: dmsetup must make the nodes under /dev/mapper itself. Where udevd runs it leaves them alone.
pub(crate) const NO_UDEV: &str = "export DM_DISABLE_UDEV=1\n";

/// A device-mapper device that looks the same on every node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mapping {
    /// The layer's key in a scenario file.
    pub(crate) kind: LayerKind,
    /// Under `/dev/mapper`.
    pub(crate) name: VolumeName,
    /// Lines of the table, in device-mapper's own words.
    pub(crate) table: Vec<String>,
    /// What it lies on.
    pub(crate) below: Vec<Device>,
    /// What the next layer sees.
    pub(crate) device: Device,
}

/// What both layers read of the root image.
pub(crate) const HOT: Hot = Hot {
    modules: &["dm-mod"],
    commands: &[("dmsetup", "--version")],
};

/// Prints the table of a device of device-mapper, with the paths of those below. dmsetup prints device numbers, which differ from
/// guest to guest: they are put back into names.
pub(crate) fn table(name: &str, below: &[Device]) -> String {
    let below: Vec<&str> = below.iter().map(|device| device.path.as_str()).collect();
    format!(
        "table=$(dmsetup table {name})\n\
         numbers=$(stat -L -c '%n 0x%t 0x%T' {below})\n\
         while read -r device major minor; do\n\
         \x20   number=$((major)):$((minor))\n\
         \x20   table=${{table// $number / $device }}\n\
         done <<NUMBERS\n\
         $numbers\n\
         NUMBERS\n\
         echo \"$table\"\n",
        below = below.join(" "),
    )
}

impl LayerCommands for Mapping {
    fn kind(&self) -> LayerKind {
        self.kind
    }

    fn title(&self) -> String {
        format!(
            "{} {} over {} devices",
            self.kind,
            self.name,
            self.below.len()
        )
    }

    fn up(&self, there: &[NodeName], _topology: &Topology) -> Vec<Stage> {
        let text = format!(
            "{NO_UDEV}run modprobe dm-mod\n\
             run dmsetup create {} <<'TABLE'\n\
             {}\n\
             TABLE\n",
            self.name,
            self.table.join("\n")
        );
        vec![Stage::new(
            there,
            &format!("create {}", self.device.path),
            CREATE,
            &script(&text),
        )]
    }

    fn join(&self, node: &NodeName, _peers: &Peers, topology: &Topology) -> Vec<Stage> {
        self.up(std::slice::from_ref(node), topology)
    }

    fn probes(&self, node: &NodeName, _peers: &Peers, _topology: &Topology) -> Vec<Probe> {
        let text = table(self.name.as_str(), &self.below)
            + &format!("blockdev --getsize {}\n", self.device.path);
        let mut lines = self.table.clone();
        lines.push(self.device.sectors.to_string());
        vec![Probe {
            node: node.clone(),
            title: format!(
                "{} has its table and {} sectors",
                self.name, self.device.sectors
            ),
            script: text,
            expect: Expect(lines),
            deadline: PROBE,
            stall: None,
        }]
    }

    fn down(&self, there: &[NodeName], _topology: &Topology) -> Vec<Stage> {
        let text = format!(
            "{NO_UDEV}[ ! -e {} ] || run dmsetup remove --retry {}\n",
            self.device.path, self.name
        );
        vec![Stage::new(
            there,
            &format!("remove {}", self.device.path),
            CREATE,
            &script(&text),
        )]
    }

    fn state(&self) -> Vec<(String, String)> {
        let text = format!(
            "dmsetup table {0} || true\ndmsetup status {0} || true\ndmsetup info {0} || true\n",
            self.name
        );
        vec![(format!("dm-{}.txt", self.name), text)]
    }
}
