//! `sanlab run`: scenarios one after another, so that none disturbs another's figures.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sanlab_image::{Image, Store};
use sanlab_plan::{Arch, NodeName, Plan};
use sanlab_record::{EventKind, RunRecord};
use sanlab_run::{Enclosure, KeepPolicy, RunOptions};
use sanlab_vm::{AcceleratorWish, ProbeGuest};
use tokio::sync::mpsc;

use crate::commands::cli::Accel;
use crate::commands::sharding::Sharding;
use crate::commands::time::parse_time;
use crate::lab::changes::Changes;
use crate::lab::overrides::Given;
use crate::lab::runs::shown;
use crate::lab::{images, runs, seed, suite};
use crate::pack::sources::Sources;
use crate::terminal::quantity::size;
use crate::terminal::summary::{scenario_table, summary_table};
use crate::terminal::{Terminal, print};
use crate::terminal::{interrupt, watch};
use crate::up::control_socket::Origin;
use crate::up::hold_on_failure::HoldOnFailure;
use crate::{Exit, Lab, LabError, RunRequest, run_on};

/// What the command line says of it.
#[derive(Debug, clap::Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option of the command line"
)]
pub(crate) struct Arguments {
    /// Scenario files
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Accelerator
    #[arg(long, value_enum, default_value_t)]
    accel: Accel,
    /// Build everything: fork no checkpoint, clone no template, keep none
    #[arg(long)]
    fresh: bool,
    /// Run each scenario N times, and report how many passed
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=9999))]
    repeat: u32,
    /// Continue after a scenario that did not pass
    #[arg(long)]
    keep_going: bool,
    /// Seed of random moments, as in an earlier record; each repetition adds one [default: `$SANLAB_SEED`, else random]
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Run every combination of some values, such as `mtu=1500,9000` or `kernel=bookworm,trixie`; repeatable
    #[arg(long, value_name = "KEY=VALUE,VALUE...")]
    matrix: Vec<String>,
    /// When a scenario fails, keep its fleet up so long, such as `30m`, to look inside; then go on
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    hold: Option<Duration>,
    /// When a scenario fails, save its fleet beside its record, to be brought up again with `sanlab up`; --hold holds it after that
    #[arg(long)]
    save_on_failure: bool,
    #[command(flatten)]
    sharding: Sharding,
    #[command(flatten)]
    changes: Changes,
    /// Count guests' instructions even without a `throughput` step
    #[arg(long)]
    count_instructions: bool,
}

impl Arguments {
    /// The scenarios with all that they are given, if they can be divided as is asked for; `None` when a mistake was shown.
    pub(crate) fn load_divided(&self) -> Result<Option<Vec<(Plan, Given)>>, LabError> {
        let axes = suite::axes(&self.matrix)?;
        let loaded = suite::load(&self.files, &self.changes, &axes, &mut Terminal::new())?;
        if let Some(loaded) = &loaded {
            let plans = loaded.iter().map(|(plan, _)| plan);
            self.sharding.of(plans, self.repeat)?;
        }
        Ok(loaded)
    }

    /// The scenario files.
    pub(crate) fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// What all scenarios are given.
    pub(crate) const fn changes(&self) -> &Changes {
        &self.changes
    }
}

/// A scenario that is to be run.
struct Wanted {
    plan: Plan,
    given: Given,
    images: BTreeMap<NodeName, Image>,
    /// What is saved with its fleet, where that is wanted.
    save_failed: Option<Enclosure>,
}

/// Runs the scenarios of the files and prints a table for each and one for all.
pub(crate) async fn execute(arguments: Arguments) -> Result<Exit, LabError> {
    let mut terminal = Terminal::new();
    let files = &arguments.files;
    let axes = suite::axes(&arguments.matrix)?;
    let Some(mut loaded) = suite::load(files, &arguments.changes, &axes, &mut terminal)? else {
        return Ok(Exit::BadInput);
    };
    let lab = Lab::find(&std::env::current_dir()?)?;
    let plans = loaded.iter().map(|(plan, _)| plan);
    let shard = arguments.sharding.of(plans, arguments.repeat)?;
    if let Some(shard) = &shard {
        loaded.retain(|(plan, _)| shard.has(plan));
        if loaded.is_empty() {
            return shard.run_nothing(&lab.new_run()?);
        }
    }
    let seed = arguments.seed.map_or_else(seed::of_environment, Ok)?;
    lab.require_host()?;
    require_kvm(arguments.accel.into(), &loaded).await?;
    let cancel = interrupt::cancel_on_signal(interrupt::ENDING_GUESTS)?;
    let keep = KeepPolicy::of(loaded.iter().map(|(plan, _)| plan));
    // As they are now: they may be edited while images are built, or others run.
    let enclosures = loaded.iter().map(|(plan, given)| {
        let enclosure = || Sources::of(plan, &given.settings)?.enclosed();
        arguments.save_on_failure.then(enclosure).transpose()
    });
    let enclosures = enclosures.collect::<Result<Vec<_>, _>>()?;
    let mut wanted = Vec::new();
    for ((plan, given), save_failed) in loaded.into_iter().zip(enclosures) {
        let images = images::ensure(&lab, &plan, &cancel, &mut terminal).await?;
        wanted.push(Wanted {
            plan,
            given,
            images,
            save_failed,
        });
    }
    let run = lab.new_run()?;
    if let Some(shard) = &shard {
        terminal.line(&shard.begin(&run)?);
    }
    let mut records: Vec<RunRecord> = Vec::new();
    let mut exit = Exit::Success;
    let attempts = wanted
        .iter()
        .flat_map(|wanted| (1..=arguments.repeat).map(move |attempt| (wanted, attempt)));
    let all = attempts.clone().count();
    for (wanted, attempt) in attempts {
        let Wanted {
            plan,
            given,
            images,
            save_failed,
        } = wanted;
        if exit == Exit::Interrupted || (exit != Exit::Success && !arguments.keep_going) {
            let reason = if exit == Exit::Interrupted {
                "interrupted"
            } else {
                "after one that did not pass; --keep-going runs on"
            };
            let seed = seed.wrapping_add(u64::from(attempt - 1));
            let record = runs::not_run(plan, seed, reason);
            // What an interrupted shard did not come to is missing, and asks for another run of the shard.
            if shard.is_some() && exit != Exit::Interrupted {
                runs::write_record(&run.scenario(&plan.id, attempt)?, &record)?;
            }
            records.push(record);
            continue;
        }
        terminal.line(&format!(
            "{}: {} ({} of {all})",
            plan.id,
            plan.name,
            records.len() + 1,
        ));
        let (sender, events) = mpsc::unbounded_channel();
        let on_failure = arguments.hold.map(|limit| {
            HoldOnFailure::new(Origin {
                plan: plan.clone(),
                images: images.clone(),
                settings: given.settings.clone(),
                logs: run.path().to_owned(),
                limit,
            })
        });
        let (on_failure, hold) = on_failure.unzip();
        let request = RunRequest {
            run: run.clone(),
            attempt,
            fresh: arguments.fresh,
            options: RunOptions {
                accelerator: arguments.accel.into(),
                // Each attempt has moments of its own, and can be repeated alone.
                seed: seed.wrapping_add(u64::from(attempt - 1)),
                settings: given.words.clone(),
                qemu: given.qemu.clone(),
                count_instructions: arguments.count_instructions.then_some(true),
                keep: keep.clone(),
                hold,
                save_failed: save_failed.clone(),
                cancel: cancel.clone(),
                ..RunOptions::default()
            },
        };
        let work = run_on(
            Store::open_default()?,
            images.clone(),
            plan,
            request,
            sender,
        );
        // Boxed: it holds a whole run's state.
        let work = Box::pin(held_on_failure(on_failure, work));
        let title = runs::attempt_name(&plan.id, attempt);
        let (record, kept) = watch::run(&mut terminal, &title, events, work).await?;
        print(&scenario_table(&record, shown(&kept)))?;
        print(&about_saved(&record, &kept))?;
        exit = exit.max(Exit::of(&record.outcome, &cancel));
        records.push(record);
    }
    print(&summary_table(&records))?;
    Ok(exit)
}

async fn held_on_failure<T>(
    on_failure: Option<HoldOnFailure>,
    work: impl Future<Output = Result<T, LabError>>,
) -> Result<T, LabError> {
    match on_failure {
        Some(on_failure) => on_failure.around(work).await,
        None => work.await,
    }
}

/// Fails where guests must run on KVM and cannot, before images are built. Which kernels they have is not known by then: that the
/// least demanding ones run is necessary.
async fn require_kvm(wish: AcceleratorWish, loaded: &[(Plan, Given)]) -> Result<(), LabError> {
    if !wish.requires_kvm() {
        return Ok(());
    }
    let least = |arch| match arch {
        Arch::X86 => ProbeGuest::X86,
        Arch::X86_64 => ProbeGuest::X86_64,
    };
    let mut guests: BTreeMap<Option<&Path>, BTreeMap<Arch, ProbeGuest>> = BTreeMap::new();
    for (plan, given) in loaded {
        let archs = plan.nodes.iter().map(|node| node.hardware.arch);
        let of_qemu = guests.entry(given.qemu.as_deref()).or_default();
        of_qemu.extend(archs.map(|arch| (arch, least(arch))));
    }
    for (qemu, guests) in guests {
        sanlab_fleet::accelerators(wish, qemu, &guests).await?;
    }
    Ok(())
}

/// How to bring up a fleet that was saved, if one was.
fn about_saved(record: &RunRecord, path: &Path) -> String {
    let saved = record.events.iter().find_map(|event| match &event.kind {
        EventKind::Saved { folder, bytes, .. } => Some((path.with_file_name(folder), *bytes)),
        _ => None,
    });
    saved.map_or_else(String::new, |(folder, bytes)| {
        let name = Path::new(&record.scenario).file_name().unwrap_or_default();
        format!(
            "the fleet as it failed, {}: `sanlab up {folder}` brings it up; to send it to somebody: `sanlab pack {folder} -o {}.tar.zst`\n",
            size(bytes),
            name.display(),
            folder = shown(&folder).display(),
        )
    })
}
