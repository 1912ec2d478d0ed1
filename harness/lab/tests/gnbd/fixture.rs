//! Guests with GNBD's programs: servers that export their disks, and a client.

use std::path::Path;
use std::time::Duration;

use libtest_mimic::Failed;
use sanlab::Lab;
use sanlab_fleet::{
    AcceleratorWish, Command, Condition, DEFAULT_MTU, Fleet, FleetSpec, NetworkSpec, NodeSpec,
    StartMode,
};
use sanlab_image::Store;
use sanlab_plan::{Arch, ByteSize, Hardware, NicModel};
use tokio::sync::mpsc::unbounded_channel;
use tokio::task::spawn_blocking;

/// The nodes, by number.
pub(crate) const CLIENT: &str = "client0";
pub(crate) const SERVERS: [&str; 2] = ["storage0a", "storage0b"];
/// Bytes of a server's disk.
const DISK: u64 = 256 << 20;
/// For one command, unless it says otherwise.
const DEADLINE: Duration = Duration::from_secs(120);

/// A cluster that knows its node's own name, and whose fence agent is a file that the trial writes: servers are no
/// members of it.
const HOOK: &str = "\
mkdir -p /etc/gnbd
cat >/etc/gnbd/membership <<'END'
#!/bin/sh
case $1 in
name) uname -n ;;
state) echo unknown ;;
fence) echo \"$2\" >>/run/asked; [ -e /run/power-off ] ;;
esac
END
chmod 755 /etc/gnbd/membership
";

pub(crate) struct Fixture {
    lab: Lab,
}

/// A running fleet.
pub(crate) struct Guests {
    pub(crate) fleet: Fleet,
}

impl Fixture {
    pub(crate) fn new(lab: Lab) -> Self {
        Self { lab }
    }

    /// A client of so much memory and so many servers, with nothing exported.
    pub(crate) async fn guests(&self, servers: usize, memory_mib: u64) -> Result<Guests, Failed> {
        let text = "name = \"GNBD\"\nnodes = { client0 = { arch = \"x86_64\" } }\n";
        let plan = sanlab_plan::parse(Path::new("gnbd.toml"), text)
            .map_err(|mistakes| mistakes.render(false))?;
        let lab = self.lab.clone();
        let images = spawn_blocking(move || lab.images(&plan, &|_| ())).await??;
        let mut members = vec![node(0, CLIENT, memory_mib, 0)];
        for (number, name) in (1..).zip(&SERVERS[..servers]) {
            members.push(node(number, name, 192, DISK));
        }
        let names: Vec<String> = members.iter().map(|member| member.name.clone()).collect();
        // All boot what the client does.
        let image = images.into_values().next().ok_or("there is no image")?;
        let images = names.iter().map(|name| (name.clone(), image.clone()));
        let spec = FleetSpec {
            images: images.collect(),
            networks: vec![NetworkSpec::main(DEFAULT_MTU)],
            accelerator: AcceleratorWish::Auto,
            qemu: None,
            count_instructions: false,
            logs: self.lab.new_run()?.scenario("gnbd", 1)?,
            start_mode: StartMode::Clone(Store::open_default()?),
            shares_cpus: false,
            disks_survive: false,
            saveable: false,
            volatile_caches: Vec::new(),
            shared_disks: Vec::new(),
            warm: String::new(),
            members,
            absent: Vec::new(),
        };
        let (events, _nobody_listens) = unbounded_channel();
        let fleet = Fleet::start(spec, &names, None, events).await?;
        let guests = Guests { fleet };
        guests.run(CLIENT, HOOK).await?;
        guests
            .run(CLIENT, "modprobe nbd max_part=0 nbds_max=4")
            .await?;
        Ok(guests)
    }
}

impl Guests {
    /// Runs a script, which must succeed; what it says.
    pub(crate) async fn run(&self, node: &str, script: &str) -> Result<String, Failed> {
        let machine = self
            .fleet
            .node(node)
            .ok_or_else(|| format!("{node} is gone"))?;
        let command = Command::script(script).env("LC_ALL", "C");
        Ok(machine.exec(command, DEADLINE).await?.success()?.text())
    }

    /// A number that a script prints.
    pub(crate) async fn number(&self, node: &str, script: &str) -> Result<f64, Failed> {
        let text = self.run(node, script).await?;
        let number = text.trim().parse();
        number.map_err(|_| format!("`{script}` on {node} said {text:?}, no number").into())
    }

    /// Waits until a script succeeds.
    pub(crate) async fn until(&self, node: &str, what: &str, script: &str) -> Result<(), Failed> {
        let machine = self
            .fleet
            .node(node)
            .ok_or_else(|| format!("{node} is gone"))?;
        let condition = Condition {
            what: what.to_owned(),
            script: script.to_owned(),
            interval: Duration::from_millis(200),
            deadline: Duration::from_secs(60),
        };
        Ok(machine.wait_for(&condition).await?)
    }

    /// Starts a server and exports its disk under its node's name.
    pub(crate) async fn serve(&self, server: &str, options: &str) -> Result<(), Failed> {
        self.run(server, HOOK).await?;
        let script = format!("gnbd_serv; gnbd_export -e {server} -d /dev/vdb {options}");
        self.run(server, &script).await.map(drop)
    }

    /// Ends the guests. Called when all went well; what went wrong ends them by being dropped.
    pub(crate) async fn end(self) -> Result<(), Failed> {
        let teardown = self.fleet.shutdown().await;
        match teardown.errors.into_iter().next() {
            Some(error) => Err(error.into()),
            None => Ok(()),
        }
    }
}

fn node(number: u8, name: &str, memory_mib: u64, disk_bytes: u64) -> NodeSpec {
    NodeSpec {
        name: name.to_owned(),
        number,
        hardware: Hardware::new(Arch::X86_64, ByteSize::from_mib(memory_mib)),
        nic: NicModel::VirtioNet,
        nice: 0,
        disk_bytes,
    }
}
