//! Two guests: a server with a disk, and a client that has it by GNBD and by NBD.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sanlab_fleet::{
    AcceleratorWish, Birth, Command, DEFAULT_MTU, Fleet, FleetSpec, Image, NodeSpec,
};
use sanlab_image::Store;
use sanlab_plan::{Arch, NicModel, Plan};
use tokio::sync::mpsc::unbounded_channel;

use super::Caching;
use super::figures::{Measured, dd_rate, load_rate};
use crate::LabError;

const SERVER: &str = "server";
const CLIENT: &str = "client";
/// Bytes of the disk that both serve.
const DISK: u64 = 256 << 20;
/// MiB that are written and read in a row.
const STRETCH: u32 = 48;
/// Seconds of random reads.
const RANDOM: u32 = 2;
/// For everything that is done in a guest at once.
const DEADLINE: Duration = Duration::from_secs(120);

/// Whose device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Gnbd,
    Nbd,
}

/// The guests' plan, as far as images are concerned.
pub(super) fn plan() -> Result<Plan, LabError> {
    let text = "name = \"GNBD beside NBD\"\nnodes = { server = { arch = \"x86_64\" } }\n";
    sanlab_plan::parse(Path::new("bench_gnbd.toml"), text).map_err(LabError::from)
}

pub(super) struct Pair {
    fleet: Fleet,
}

impl Pair {
    /// Boots or clones both, exports the disk four times and imports all of them.
    pub(super) async fn start(
        images: BTreeMap<Arch, Image>,
        logs: PathBuf,
    ) -> Result<Self, LabError> {
        let (events, _nobody_listens) = unbounded_channel();
        let members = [(0, SERVER, DISK), (1, CLIENT, 0)];
        let spec = FleetSpec {
            images,
            mtu: DEFAULT_MTU,
            accelerator: AcceleratorWish::Auto,
            qemu: None,
            count_instructions: false,
            logs,
            capture: Vec::new(),
            birth: Birth::Clone(Store::open_default()?),
            disks_survive: false,
            warm: String::new(),
            absent: Vec::new(),
            members: members.map(node).to_vec(),
        };
        let fleet = Fleet::start(spec, &members.map(|it| it.1.to_owned()), None, events).await?;
        let pair = Self { fleet };
        match pair.connect().await {
            Ok(()) => Ok(pair),
            Err(error) => {
                // What went wrong first is told.
                let _ = pair.shutdown().await;
                Err(error)
            }
        }
    }

    async fn connect(&self) -> Result<(), LabError> {
        self.run(SERVER, SERVE).await?;
        let limits = self.run(CLIENT, IMPORT).await?;
        // One line a device, all the same, or the comparison is none.
        let mut lines: Vec<&str> = limits.lines().collect();
        lines.dedup();
        match lines[..] {
            [_] => Ok(()),
            _ => Err(LabError::Measure {
                what: "compare devices of the same limits".to_owned(),
                seen: limits,
            }),
        }
    }

    /// Writes, reads and reads at random.
    pub(super) async fn measure(&self, side: Side, caching: Caching) -> Result<Measured, LabError> {
        let device = device(side, caching);
        let write =
            format!("/bin/dd if=/dev/zero of={device} bs=1M count={STRETCH} oflag=direct 2>&1");
        let read =
            format!("/bin/dd if={device} of=/dev/null bs=1M count={STRETCH} iflag=direct 2>&1");
        let random = format!("gnbd_load -d {device} -b 4096 -q 16 -s {RANDOM}");
        let mib = |bytes: f64| bytes / f64::from(1 << 20);
        Ok(Measured {
            write: mib(self.figure(&write, dd_rate).await?),
            read: mib(self.figure(&read, dd_rate).await?),
            random: self.figure(&random, load_rate).await?,
        })
    }

    /// Proportional set size of a device's relay and its supervisor, the largest of both devices, MiB.
    pub(super) async fn relay_mib(&self) -> Result<f64, LabError> {
        let largest = |text: &str| -> Option<f64> {
            let kib = text.lines().map(str::parse::<f64>);
            let all: Vec<f64> = kib.collect::<Result<_, _>>().ok()?;
            all.into_iter().max_by(f64::total_cmp)
        };
        Ok(self.figure(RELAYS, largest).await? / 1024.0)
    }

    async fn figure(
        &self,
        script: &str,
        read: impl Fn(&str) -> Option<f64>,
    ) -> Result<f64, LabError> {
        let text = self.run(CLIENT, script).await?;
        read(&text).ok_or_else(|| LabError::Measure {
            what: format!("find a figure in what `{script}` says"),
            seen: text,
        })
    }

    async fn run(&self, node: &str, script: &str) -> Result<String, LabError> {
        let node = self.fleet.node(node).ok_or_else(|| LabError::Measure {
            what: format!("find {node}"),
            seen: "it has ended".to_owned(),
        })?;
        let command = Command::script(script).env("LC_ALL", "C");
        let output = node.exec(command, DEADLINE).await.map_err(Box::new)?;
        Ok(output.success().map_err(Box::new)?.text())
    }

    pub(super) async fn shutdown(self) -> Result<(), LabError> {
        let teardown = self.fleet.shutdown().await;
        match teardown.errors.into_iter().next() {
            Some(error) => Err(error.into()),
            None => Ok(()),
        }
    }
}

fn node((number, name, disk_bytes): (u8, &str, u64)) -> NodeSpec {
    NodeSpec {
        name: name.to_owned(),
        number,
        arch: Arch::X86_64,
        nic: NicModel::VirtioNet,
        memory_mib: 256,
        cpus: 1,
        disk_bytes,
    }
}

const fn device(side: Side, caching: Caching) -> &'static str {
    match (side, caching) {
        (Side::Gnbd, Caching::Cached) => "/dev/gnbd/cached",
        (Side::Gnbd, Caching::Uncached) => "/dev/gnbd/uncached",
        (Side::Nbd, Caching::Cached) => "/dev/nbd2",
        (Side::Nbd, Caching::Uncached) => "/dev/nbd3",
    }
}

/// Uncached exports want a cluster, in which these two are all there is.
const SERVE: &str = "\
mkdir -p /etc/gnbd
printf '#!/bin/sh\ncase $1 in name) uname -n ;; state) echo member ;; *) exit 1 ;; esac\n' >/etc/gnbd/membership
chmod 755 /etc/gnbd/membership
gnbd_serv
gnbd_export -e uncached -d /dev/vdb
gnbd_export -e cached -d /dev/vdb -c
nbdkit --port=10809 --filter=fua file /dev/vdb fuamode=force
nbdkit --port=10810 --filter=fua file /dev/vdb cache=none fuamode=force
";

/// Ends with each device's limits.
const IMPORT: &str = "\
mkdir -p /etc/gnbd
printf '#!/bin/sh\ncase $1 in name) uname -n ;; state) echo member ;; *) exit 1 ;; esac\n' >/etc/gnbd/membership
chmod 755 /etc/gnbd/membership
modprobe nbd max_part=0 nbds_max=4
gnbd_import -q -i server
nbd-client server 10809 /dev/nbd2 -b 512 >&2
nbd-client server 10810 /dev/nbd3 -b 512 >&2
for nbd in 0 1 2 3; do
    cd /sys/block/nbd$nbd
    echo $(cat size queue/logical_block_size queue/max_sectors_kb queue/nr_requests queue/scheduler queue/read_ahead_kb)
done
";

/// KiB, one line a device.
const RELAYS: &str = "\
for file in /run/gnbd/gnbd_recvd-*.pid; do
    read -r relay <$file
    supervisor=$(awk '/^PPid:/ { print $2 }' /proc/$relay/status)
    cat /proc/$relay/smaps_rollup /proc/$supervisor/smaps_rollup |
        awk '/^Pss:/ { sum += $2 } END { print sum }'
done
";
