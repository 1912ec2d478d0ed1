//! Measures what a fleet's network carries at several MTUs: how `DEFAULT_MTU` was chosen.
//!
//!     cargo run --release -p sanlab-fleet --example mtu -- IMAGE-X86 IMAGE-X86_64 [MTU...]
//!
//! The first two are folders with `vmlinux`, `initramfs` and `root.erofs`, as the image store has them.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use sanlab_fleet::{
    AcceleratorWish, Command, Fleet, FleetSpec, Image, NetworkSpec, Node, NodeSpec, StartMode,
};
use sanlab_plan::{Arch, ByteSize, Hardware, NicModel};
use tokio::sync::mpsc::unbounded_channel;

const MINUTE: Duration = Duration::from_secs(60);
const MIB: u32 = 192;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(x86), Some(x86_64)) = (arguments.next(), arguments.next()) else {
        return Err("usage: mtu IMAGE-X86 IMAGE-X86_64 [MTU...]".into());
    };
    let images = BTreeMap::from([
        (Arch::X86, image(Arch::X86, Path::new(&x86))),
        (Arch::X86_64, image(Arch::X86_64, Path::new(&x86_64))),
    ]);
    let mut mtus = arguments
        .map(|mtu| mtu.parse())
        .collect::<Result<Vec<u32>, _>>()?;
    if mtus.is_empty() {
        mtus = vec![1500, 9000, 16_000, 32_000, 65_000];
    }
    for mtu in mtus {
        measure(&images, mtu).await?;
    }
    Ok(())
}

async fn measure(images: &BTreeMap<Arch, Image>, mtu: u32) -> Result<(), Box<dyn Error>> {
    let logs = tempfile::tempdir()?;
    let member = |number: u8, name: &str, arch, nic| NodeSpec {
        name: name.to_owned(),
        number,
        hardware: Hardware::new(arch, ByteSize::from_mib(256)),
        nic,
        nice: 0,
        disk_bytes: 1 << 30,
    };
    let members = vec![
        member(0, "vix0", Arch::X86_64, NicModel::VirtioNet),
        member(1, "vix1", Arch::X86, NicModel::VirtioNet),
        member(2, "vix2", Arch::X86, NicModel::VirtioNet),
        member(3, "vix3", Arch::X86, NicModel::VirtioNet),
        member(4, "vc", Arch::X86, NicModel::E1000),
    ];
    let image = |member: &NodeSpec| {
        let image = images[&member.hardware.arch].clone();
        (member.name.clone(), image)
    };
    let spec = FleetSpec {
        images: members.iter().map(image).collect(),
        networks: vec![NetworkSpec::main(mtu)],
        accelerator: AcceleratorWish::Auto,
        qemu: None,
        count_instructions: false,
        logs: logs.path().to_owned(),
        start_mode: StartMode::Boot,
        shares_cpus: false,
        disks_survive: false,
        saveable: false,
        volatile_caches: Vec::new(),
        shared_disks: Vec::new(),
        warm: String::new(),
        absent: Vec::new(),
        members,
    };
    let (events, mut heard) = unbounded_channel();
    let teller = tokio::spawn(async move {
        let begin = Instant::now();
        while let Some(event) = heard.recv().await {
            say(&format!("  {:6.2} {event}", begin.elapsed().as_secs_f64()))?;
        }
        Ok::<_, io::Error>(())
    });
    say(&format!("MTU {mtu}"))?;
    let at_start = ["vix0", "vix1", "vix2", "vix3"].map(str::to_owned);
    let fleet = Fleet::start(spec, &at_start, None, events).await?;
    fleet.join("vc").await?;
    let node = |name: &str| fleet.node(name).ok_or("it was started");
    let (vix0, vix1, vix2, vix3, vc) = (
        node("vix0")?,
        node("vix1")?,
        node("vix2")?,
        node("vix3")?,
        node("vc")?,
    );
    for (title, flows) in [
        ("x86 to x86", vec![(&vix1, &vix2)]),
        ("x86_64 to x86", vec![(&vix0, &vix1)]),
        ("x86 to x86_64", vec![(&vix1, &vix0)]),
        ("x86 to e1000", vec![(&vix1, &vc)]),
        ("e1000 to x86", vec![(&vc, &vix1)]),
        ("two at once", vec![(&vix0, &vix1), (&vix2, &vix3)]),
        (
            "three to one",
            vec![(&vix1, &vix0), (&vix2, &vix0), (&vix3, &vix0)],
        ),
    ] {
        let (begin, before) = (Instant::now(), cpu_seconds(&fleet));
        let rates = try_join_all(
            flows
                .iter()
                .enumerate()
                .map(|(n, (from, to))| flow(from, to, 5001 + n)),
        )
        .await?;
        let mib = f64::from(MIB) * rates.len() as f64;
        let total = mib / begin.elapsed().as_secs_f64();
        let cost = (cpu_seconds(&fleet) - before) * 1024.0 / mib;
        let each = rates
            .iter()
            .map(|rate| format!("{rate:.1}"))
            .collect::<Vec<_>>()
            .join(" ");
        say(&format!(
            "  {title:<16} {each:>20} MiB/s each, {total:6.1} together, {cost:5.1} CPU s a GiB"
        ))?;
    }
    let teardown = fleet.shutdown().await;
    for (name, usage) in &teardown.usage {
        let port = teardown.ports.get(name).copied().unwrap_or_default();
        say(&format!(
            "  {name:<5} {:6.1} CPU s, {:4} MiB peak, {:4} MiB proportional; {} frames out, {} in, {} dropped",
            usage.host_cpu_seconds,
            usage.peak_rss_bytes >> 20,
            usage.pss_bytes >> 20,
            port.sent_frames,
            port.received_frames,
            port.dropped_frames,
        ))?;
    }
    drop(fleet);
    teller.await??;
    match teardown.errors.into_iter().next() {
        Some(error) => Err(error.into()),
        None => Ok(()),
    }
}

/// CPU seconds of all guests and of this process, the switch among it: unlike a rate, they hold on a busy host.
fn cpu_seconds(fleet: &Fleet) -> f64 {
    let own = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let guests: f64 = fleet
        .nodes()
        .iter()
        .map(|node| node.usage().host_cpu_seconds)
        .sum();
    guests + own.tv_sec as f64 + own.tv_nsec as f64 / 1e9
}

/// Sends zeros over one TCP connection; MiB/s from the connection's begin to its end.
async fn flow(from: &Arc<Node>, to: &Arc<Node>, port: usize) -> Result<f64, Box<dyn Error>> {
    // dd has the socket itself: busybox's nc moves a kilobyte at a time.
    let listen = format!(
        "nc -l -p {port} -e /bin/dd of=/dev/null bs=256k </dev/null >/dev/null 2>&1 &
         until grep -qi ':{port:04X} 0*:0000 0A' /proc/net/tcp /proc/net/tcp6; do usleep 10000; done"
    );
    to.exec(Command::script(listen), MINUTE).await?.success()?;
    let send = format!(
        "nc {}.local {port} -e /bin/dd if=/dev/zero bs=1M count={MIB}",
        to.name()
    );
    let begin = Instant::now();
    from.exec(Command::script(send), 4 * MINUTE)
        .await?
        .success()?;
    Ok(f64::from(MIB) / begin.elapsed().as_secs_f64())
}

fn image(arch: Arch, folder: &Path) -> Image {
    let file = |name: &str| -> PathBuf { folder.join(name) };
    Image {
        arch,
        digest: String::new(),
        kernel: file("vmlinux"),
        initramfs: file("initramfs"),
        root: file("root.erofs"),
        kernel_release: String::new(),
        packages: Vec::new(),
        provides: Vec::new(),
        sizes: sanlab_image::Sizes::default(),
        vermagic: None,
        wanted: sanlab_image::Wanted::default(),
        layer: None,
        artefacts: Vec::new(),
        setup: String::new(),
        base: None,
    }
}

fn say(line: &str) -> io::Result<()> {
    writeln!(io::stdout(), "{line}")
}
