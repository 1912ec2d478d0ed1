//! `sanlab compare` on real guests: what costs more is found, and what is kept can be reported on.
//!
//! `cargo test --test compare`.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use fs_err as fs;
use guest_trials::{Failed, Suite, Tier};
use sanlab::Lab;
use sanlab_report::comparison::Comparison;
use sanlab_report::load;
use sanlab_report::measure::Measure;
use sanlab_report::verdict::{Judgement, Verdict};
use sanlab_vm::{AcceleratorWish, Arch, NotCounted, counter_plugin, qemu_binary};

#[path = "support/program.rs"]
mod program;

use program::sanlab;

/// For a comparison of five pairs with everything that it may have to build first.
const DEADLINE: Duration = Duration::from_secs(600);

fn main() -> ExitCode {
    let lab =
        Lab::find(Path::new(env!("CARGO_MANIFEST_DIR"))).expect("the tests run in a checkout");
    let mut suite = Suite::new(|| lab.require_host()).one_at_a_time();
    let nocapture = suite.arguments.nocapture;
    suite.guests_unless(
        "a_cost_is_found_and_kept",
        Tier::Nightly,
        not_counted,
        move || a_cost_is_found_and_kept(&lab, nocapture),
    );
    suite.run()
}

/// Why translated guests' instructions are not counted here, if that is no fault of the lab's: without them four runs of each
/// side are not enough. What KVM executes is never counted.
fn not_counted() -> Option<String> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let guests = BTreeMap::from(Arch::ALL.map(|arch| (arch, arch.into())));
        let chosen = sanlab_fleet::accelerators(AcceleratorWish::Auto, None, &guests);
        for (arch, choice) in chosen.await.expect("TCG at least") {
            let accelerator = choice.accelerator;
            let program = qemu_binary(arch, accelerator);
            let reason = counter_plugin(accelerator, &program, arch).await.err();
            let excuses = |reason: &NotCounted| !reason.is_a_fault() && *reason != NotCounted::Kvm;
            if let Some(reason) = reason.filter(excuses) {
                return Some(reason.to_string());
            }
        }
        None
    })
}

/// Small frames cost instructions whatever else the machine does: five runs of each side are enough.
fn a_cost_is_found_and_kept(lab: &Lab, nocapture: bool) -> Result<(), Failed> {
    let folder = tempfile::Builder::new()
        .prefix("compare-")
        .tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let runs = folder.path().join("runs");
    let page = folder.path().join("page.html");
    let (code, said) = sanlab(
        lab,
        &runs,
        nocapture,
        &[
            "compare",
            "scenarios/throughput/two-nodes.toml",
            "--pairs=5",
            "--seed=1",
            // Small enough for a trial, large enough for the frames to outnumber everything else.
            "--set=step.write.size=8MiB",
            "--set=step.write.repetitions=2",
            "--a",
            "mtu=16000",
            "--b",
            "mtu=1500",
            "--html",
            &page.display().to_string(),
        ],
        DEADLINE,
    )?;
    let wrong = |why: &str| -> Failed { format!("{why}\nexit code {code:?}\n{said}").into() };
    if code != Some(1) {
        return Err(wrong("an MTU of 1500 did not regress against one of 16000"));
    }
    let loaded = load::load(&[runs])?;
    let [found] = loaded.comparisons.as_slice() else {
        return Err(wrong("not one comparison was kept"));
    };
    let Comparison {
        a, b, judgements, ..
    } = &found.comparison;
    if a.settings.get("mtu").map(String::as_str) != Some("16000") || a == b {
        return Err(wrong("the sides are not told as they were given"));
    }
    // The first of each side prepared the others.
    if (a.records.len(), b.records.len(), loaded.runs.len()) != (6, 6, 12) {
        return Err(wrong("there are not six runs of each side"));
    }
    let beside = |record: &String| found.path.with_file_name("").join(record).is_file();
    if !a.records.iter().chain(&b.records).all(beside) {
        return Err(wrong("a record is not where the comparison says"));
    }
    let is_counted = loaded.runs.iter().all(|run| {
        let nodes = run
            .record
            .measurements
            .iter()
            .flat_map(|it| it.nodes.values());
        let mut counts = nodes.map(|cost| cost.instructions);
        counts.all(|count| count.is_some_and(|count| count > 0))
    });
    let tcg = loaded.runs.iter().all(|run| {
        let mut names = run.record.accelerator.values().map(|it| it.name.as_str());
        names.all(|name| name == "tcg")
    });
    if tcg && !is_counted {
        return Err(wrong("a translated guest's instructions were not counted"));
    }
    let of = |measure: Measure| -> Vec<&Judgement> {
        judgements
            .iter()
            .filter(|it| it.measure == measure)
            .collect()
    };
    let found = |measure: Measure| {
        of(measure)
            .iter()
            .all(|it| it.verdict == Verdict::Regressed)
    };
    if tcg && (of(Measure::Instructions).is_empty() || !found(Measure::Instructions)) {
        return Err(wrong("small frames cost no more instructions on some step"));
    }
    if of(Measure::SwitchBytes).is_empty() {
        return Err(wrong("nothing was carried by the switch"));
    }
    let page = fs::read_to_string(page)?;
    if !page.contains("regressed") {
        return Err(wrong("the page does not have the verdict"));
    }
    Ok(())
}
