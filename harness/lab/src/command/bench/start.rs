//! `sanlab bench start`: how fast the lab starts, as a table. Nothing else should run on the host meanwhile.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use sanlab_fleet::{
    AcceleratorWish, Birth, DEFAULT_MTU, Fleet, FleetEvent, FleetSpec, Image, NodeSpec,
};
use sanlab_image::{Kind, Store};
use sanlab_plan::{Arch, NicModel, Plan};
use sanlab_record::{EventKind, Outcome, RunRecord};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_util::sync::CancellationToken;

use crate::table::Table;
use crate::terminal::{Terminal, print};
use crate::{Exit, Lab, LabError, Order, RunFolder, interrupt, watch};

/// Guests of the large fleet, half of them i386.
const MANY: u8 = 32;
/// Steps after which the fleet is kept, one after another.
const SAVES: usize = 5;
/// MiB, as scenarios have it by default.
const MEMORY_MIB: u32 = 256;

/// A row of the table: figures in `unit`, one a round.
struct Row {
    what: &'static str,
    unit: &'static str,
    at_most: f64,
    figures: Vec<f64>,
}

impl Row {
    fn new(what: &'static str, unit: &'static str, at_most: f64) -> Self {
        Self {
            what,
            unit,
            at_most,
            figures: Vec::new(),
        }
    }
}

/// Measures every start `rounds` times and prints medians beside what they should be at most.
pub(crate) async fn start(rounds: u32) -> Result<Exit, LabError> {
    let mut terminal = Terminal::new();
    let lab = Lab::find(&std::env::current_dir()?)?;
    lab.require_host()?;
    let cancel = interrupt::cancel_on_signal()?;
    let run = lab.new_run()?;
    let plan = mounted_cluster()?;
    let images = {
        let (lab, plan) = (lab.clone(), plan.clone());
        watch::blocking(&mut terminal, "images", &cancel, move |tell| {
            lab.images(&plan, tell)
        })
        .await?
    };
    let bench = Bench {
        lab,
        run,
        images,
        store: Store::open_default()?,
        rounds,
        cancel,
    };
    let mut rows = bench.clones(&mut terminal).await?;
    rows.extend(bench.cluster(&mut terminal, plan).await?);
    rows.extend(bench.many(&mut terminal).await?);
    print(&render(&rows))?;
    Ok(if bench.cancel.is_cancelled() {
        Exit::Interrupted
    } else {
        Exit::Success
    })
}

struct Bench {
    lab: Lab,
    run: RunFolder,
    images: BTreeMap<Arch, Image>,
    store: Store,
    rounds: u32,
    cancel: CancellationToken,
}

/// What was seen of a fleet that was cloned.
struct Cloned {
    /// From the call to the last node's readiness.
    seconds: f64,
    /// From each QEMU's start to its agent's answer.
    answered: Vec<f64>,
    /// Of each idle guest.
    pss_mib: Vec<f64>,
}

impl Bench {
    /// One clone of each architecture, and a mixed fleet of five.
    async fn clones(&self, terminal: &mut Terminal) -> Result<Vec<Row>, LabError> {
        let mut one_x86 = Row::new("one x86 clone, command line to answered agent", "s", 0.25);
        let mut one_x86_64 = Row::new("one x86_64 clone, the same", "s", 0.25);
        let mut five = Row::new("mixed fleet of five, answered, networked, named", "s", 0.8);
        let mut memory = Row::new("proportional set size of an idle clone", "MiB", 50.0);
        let alone = |arch| vec![node(0, "alone", arch, NicModel::VirtioNet)];
        let mixed = vec![
            node(0, "vix0", Arch::X86_64, NicModel::VirtioNet),
            node(1, "vix1", Arch::X86, NicModel::VirtioNet),
            node(2, "vix2", Arch::X86, NicModel::VirtioNet),
            node(3, "vix3", Arch::X86, NicModel::VirtioNet),
            node(4, "vc", Arch::X86, NicModel::E1000),
        ];
        terminal.line("templates");
        self.cloned(&mixed).await?;
        for round in 1..=self.rounds {
            if self.cancel.is_cancelled() {
                break;
            }
            terminal.line(&format!("clones, round {round} of {}", self.rounds));
            one_x86
                .figures
                .extend(self.cloned(&alone(Arch::X86)).await?.answered);
            one_x86_64
                .figures
                .extend(self.cloned(&alone(Arch::X86_64)).await?.answered);
            let fleet = self.cloned(&mixed).await?;
            five.figures.push(fleet.seconds);
            memory.figures.extend(fleet.pss_mib);
        }
        Ok(vec![one_x86, one_x86_64, five, memory])
    }

    /// As many as a large scenario might have. Each pings all that were there before it.
    async fn many(&self, terminal: &mut Terminal) -> Result<Vec<Row>, LabError> {
        let mut start = Row::new(
            "fleet of 32, half i386: answered, named, each reached",
            "s",
            30.0,
        );
        let mut memory = Row::new("its proportional set size in all", "MiB", 4096.0);
        let members: Vec<NodeSpec> = (0..MANY)
            .map(|number| {
                let arch = Arch::ALL[usize::from(number % 2)];
                node(number, &format!("n{number}"), arch, NicModel::VirtioNet)
            })
            .collect();
        if !self.cancel.is_cancelled() {
            terminal.line("a fleet of 32");
            let fleet = self.cloned(&members).await?;
            start.figures.push(fleet.seconds);
            memory.figures.push(fleet.pss_mib.iter().sum());
        }
        Ok(vec![start, memory])
    }

    async fn cloned(&self, members: &[NodeSpec]) -> Result<Cloned, LabError> {
        let (events, told) = unbounded_channel();
        let names: Vec<String> = members.iter().map(|member| member.name.clone()).collect();
        let spec = FleetSpec {
            images: self.images.clone(),
            mtu: DEFAULT_MTU,
            accelerator: AcceleratorWish::Auto,
            qemu: None,
            count_instructions: false,
            logs: self.run.scenario("clones", 1)?,
            capture: Vec::new(),
            birth: Birth::Clone(self.store.clone()),
            disks_survive: false,
            warm: String::new(),
            absent: Vec::new(),
            members: members.to_vec(),
        };
        let began = Instant::now();
        let fleet = Fleet::start(spec, &names, None, events).await?;
        let seconds = began.elapsed().as_secs_f64();
        let teardown = fleet.shutdown().await;
        drop(fleet);
        if let Some(error) = teardown.errors.into_iter().next() {
            return Err(error.into());
        }
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        Ok(Cloned {
            seconds,
            answered: answered(told),
            pss_mib: teardown
                .usage
                .values()
                .map(|usage| mib(usage.pss_bytes))
                .collect(),
        })
    }

    /// A four-node cluster with its volume mounted: kept, and forked.
    async fn cluster(&self, terminal: &mut Terminal, plan: Plan) -> Result<Vec<Row>, LabError> {
        let mut save = Row::new("mounted four-node cluster, stop to saved", "s", 0.5);
        let mut fork = Row::new("fork of it, to all guests running", "s", 0.3);
        let mut stat = Row::new(
            "fork of it, until stat has answered on every node",
            "s",
            1.2,
        );
        let mut keys = Vec::new();
        for round in 0..=self.rounds {
            if self.cancel.is_cancelled() {
                break;
            }
            let record = self.run_once(terminal, &plan, round + 1).await?;
            for event in &record.events {
                match &event.kind {
                    EventKind::Kept {
                        checkpoint,
                        key,
                        seconds,
                        ..
                    } if checkpoint != "layers" => {
                        save.figures.push(*seconds);
                        keys.push(key.clone());
                    }
                    // The first round's forks are those of what it has just kept.
                    EventKind::Resumed { seconds } if round > 0 => fork.figures.push(*seconds),
                    _ => {}
                }
            }
            let begin = record.phases.iter().find(|phase| phase.name == "fork");
            let end = record.phases.iter().find(|phase| phase.name == "step stat");
            if let (Some(begin), Some(end)) = (begin, end)
                && round > 0
            {
                stat.figures.push(end.at + end.seconds - begin.at);
            }
        }
        for key in keys {
            self.store.discard(Kind::Checkpoint, &key)?;
        }
        Ok(vec![save, fork, stat])
    }

    async fn run_once(
        &self,
        terminal: &mut Terminal,
        plan: &Plan,
        attempt: u32,
    ) -> Result<RunRecord, LabError> {
        let order = Order {
            attempt,
            cancel: self.cancel.clone(),
            ..Order::new(&self.run)
        };
        let (sender, events) = unbounded_channel();
        let work = self.lab.run(plan, order, sender);
        let (record, kept) = watch::run(terminal, &plan.id, events, work).await?;
        match &record.outcome {
            Outcome::Passed => Ok(record),
            _ if self.cancel.is_cancelled() => Ok(record),
            other => Err(LabError::Bench {
                outcome: other.as_str(),
                record: kept,
            }),
        }
    }
}

/// The scenario that is kept and forked. Its first step differs from bench to bench, so that its checkpoints are made
/// and not found; they are discarded afterwards.
fn mounted_cluster() -> Result<Plan, LabError> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_nanos();
    let text = format!(
        r#"
name = "a mounted cluster is kept and forked"
[nodes]
vix0 = {{ arch = "x86_64" }}
"vix[1-3]" = {{ arch = "x86" }}
[[layer]]
nbd = {{ disk = "1GiB" }}
[[layer]]
striped = {{ name = "nbdsan" }}
[[layer]]
o2cb = {{ cluster = "nbdsan" }}
[[layer]]
ocfs2 = {{ slots = 4, at = "/mnt/nbdsan" }}
[[step]]
label = "write"
run = {{ on = "vix0", command = "echo {now} >/mnt/nbdsan/file; sync" }}
"#
    );
    let save = |number| {
        format!(
            "[[step]]\nlabel = \"save {number}\"\nrun = {{ command = \"true\" }}\ncheckpoint = \"bench-{number}\"\n"
        )
    };
    let saves: String = (1..=SAVES).map(save).collect();
    let stat = "[[step]]\nlabel = \"stat\"\nrun = { command = \"stat /mnt/nbdsan/file\" }\n";
    let text = text + &saves + stat;
    sanlab_plan::parse(Path::new("bench_start.toml"), &text).map_err(LabError::from)
}

fn node(number: u8, name: &str, arch: Arch, nic: NicModel) -> NodeSpec {
    NodeSpec {
        name: name.to_owned(),
        number,
        arch,
        nic,
        memory_mib: MEMORY_MIB,
        cpus: 1,
        disk_bytes: 1 << 30,
    }
}

fn answered(mut told: UnboundedReceiver<FleetEvent>) -> Vec<f64> {
    let mut seconds = Vec::new();
    while let Ok(event) = told.try_recv() {
        if let FleetEvent::Answered { seconds: after, .. } = event {
            seconds.push(after);
        }
    }
    seconds
}

fn render(rows: &[Row]) -> String {
    let mut table = Table::new(&[
        "what", ">at most", ">median", ">least", ">most", ">of", "unit",
    ]);
    for row in rows {
        let mut figures = row.figures.clone();
        figures.sort_by(f64::total_cmp);
        let digits = if row.unit == "s" { 2 } else { 0 };
        let show = |figure: Option<&f64>| {
            figure.map_or("not measured".to_owned(), |figure| {
                format!("{figure:.digits$}")
            })
        };
        table.row([
            row.what.to_owned(),
            show(Some(&row.at_most)),
            show(figures.get(figures.len() / 2)),
            show(figures.first()),
            show(figures.last()),
            figures.len().to_string(),
            row.unit.to_owned(),
        ]);
    }
    table.render(0)
}
