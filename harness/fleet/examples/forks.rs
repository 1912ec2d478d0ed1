//! Measures how fast a mixed fleet of five is cloned, saved and forked.
//!
//!     cargo run --release -p sanlab-fleet --example forks -- IMAGE-X86 IMAGE-X86_64 STORE [ROUNDS]
//!
//! The first two are folders with `vmlinux`, `initramfs` and `root.erofs`, as the image store has them; the third is made if
//! need be and keeps the templates.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use sanlab_fleet::{
    AcceleratorWish, Birth, Command, Fleet, FleetSpec, Image, Kind, NodeSpec, Store,
};
use sanlab_plan::{Arch, NicModel};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [x86, x86_64, store, rounds @ ..] = &arguments[..] else {
        return Err("usage: forks IMAGE-X86 IMAGE-X86_64 STORE [ROUNDS]".into());
    };
    let images = BTreeMap::from([
        (Arch::X86, image(Arch::X86, Path::new(x86))),
        (Arch::X86_64, image(Arch::X86_64, Path::new(x86_64))),
    ]);
    let store = Store::at(Path::new(store))?;
    let rounds: u32 = rounds.first().map_or(Ok(3), |rounds| rounds.parse())?;
    for _ in 0..rounds {
        measure(&images, &store).await?;
    }
    Ok(())
}

async fn measure(images: &BTreeMap<Arch, Image>, store: &Store) -> Result<(), Box<dyn Error>> {
    let logs = tempfile::tempdir()?;
    let spec = spec(images, store, logs.path());
    let names: Vec<String> = spec.members.iter().map(|one| one.name.clone()).collect();

    // Not a word of it counts: it makes the templates.
    let fleet = Fleet::start(spec.clone(), &names, None, teller("first")).await?;
    fleet.shutdown().await;

    let begin = Instant::now();
    let fleet = Fleet::start(spec.clone(), &names, None, teller("clone")).await?;
    say("clone: five, named and reached", begin)?;
    let nodes = fleet.nodes();
    let memory: Vec<u64> = nodes
        .iter()
        .map(|one| one.usage().pss_bytes >> 20)
        .collect();
    writeln!(io::stdout(), "proportional set sizes {memory:?} MiB")?;
    let begin = Instant::now();
    fleet.shutdown().await;
    say("shutdown", begin)?;

    let claim = store.claim(Kind::Checkpoint, "measured", |_| ())?;
    let workspace = claim.workspace()?;
    let folder = workspace.path().to_owned();
    let begin = Instant::now();
    let fleet = Fleet::start(spec.clone(), &names, Some(&folder), teller("keep")).await?;
    say("clone with RAM that is kept", begin)?;
    let begin = Instant::now();
    let saved = fleet.save().await?;
    say("save", begin)?;
    let begin = Instant::now();
    fleet.refork(&saved, &folder, None).await?;
    say("refork", begin)?;
    stat_all(&fleet).await?;
    fleet.shutdown().await;

    let begin = Instant::now();
    let fleet = Fleet::fork(spec.clone(), &saved, &folder, None, teller("fork")).await?;
    say("fork, all answered", begin)?;
    stat_all(&fleet).await?;
    fleet.shutdown().await;
    Ok(())
}

async fn stat_all(fleet: &Fleet) -> Result<(), Box<dyn Error>> {
    let begin = Instant::now();
    let nodes = fleet.nodes();
    try_join_all(nodes.iter().map(|node| async move {
        let stat = Command::script("stat /etc/hosts");
        node.exec(stat, MINUTE).await?.success()
    }))
    .await?;
    say("stat on every node", begin)?;
    Ok(())
}

fn spec(images: &BTreeMap<Arch, Image>, store: &Store, logs: &Path) -> FleetSpec {
    let member = |number: u8, name: &str, arch, nic| NodeSpec {
        name: name.to_owned(),
        number,
        arch,
        nic,
        memory_mib: 384,
        cpus: 1,
        disk_bytes: 1 << 30,
    };
    FleetSpec {
        images: images.clone(),
        mtu: sanlab_fleet::DEFAULT_MTU,
        accelerator: AcceleratorWish::Auto,
        logs: logs.to_owned(),
        capture: Vec::new(),
        birth: Birth::Clone(store.clone()),
        warm: String::new(),
        members: vec![
            member(0, "vix0", Arch::X86_64, NicModel::VirtioNet),
            member(1, "vix1", Arch::X86, NicModel::VirtioNet),
            member(2, "vix2", Arch::X86, NicModel::VirtioNet),
            member(3, "vix3", Arch::X86, NicModel::VirtioNet),
            member(4, "vc", Arch::X86, NicModel::E1000),
        ],
    }
}

/// Prints what a fleet tells.
fn teller(what: &'static str) -> UnboundedSender<sanlab_fleet::FleetEvent> {
    let (events, mut heard) = unbounded_channel();
    let begin = Instant::now();
    tokio::spawn(async move {
        while let Some(event) = heard.recv().await {
            let at = begin.elapsed().as_secs_f64();
            let _ = writeln!(io::stdout(), "  {what} {at:6.3} {event}");
        }
    });
    events
}

fn say(what: &str, begin: Instant) -> io::Result<()> {
    let seconds = begin.elapsed().as_secs_f64();
    writeln!(io::stdout(), "{seconds:6.3} s {what}")
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
        sizes: sanlab_image::Sizes::default(),
    }
}
