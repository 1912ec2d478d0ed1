//! A run begins at the last checkpoint that its plan has in common with what was kept.

use std::path::Path;

use libtest_mimic::Failed;
use sanlab::RunFolder;
use sanlab_plan::Plan;
use sanlab_record::{EventKind, Origin, PhaseName, RunRecord};
use sanlab_run::KeepPolicy;

use crate::fixture::{Fixture, Place, Ran, attempt};

/// What may differ from run to run.
#[derive(Clone, Copy)]
struct Words {
    port: u16,
    /// Written to the nodes' memory by the step that has a checkpoint.
    mark: &'static str,
    /// A pattern, looked for in what was written.
    seen: &'static str,
}

/// What a run must have taken from the store, and put there: checkpoints' names.
type Expected = (Option<&'static str>, &'static [&'static str]);

const FIRST: Words = Words {
    port: 4300,
    mark: "one",
    seen: "^one",
};

const RUNS: [(Words, Expected); 6] = [
    (FIRST, (None, &["layers", "marked"])),
    (FIRST, (Some("marked"), &[])),
    // What comes after the checkpoint does not matter to it.
    (
        Words {
            seen: "one",
            ..FIRST
        },
        (Some("marked"), &[]),
    ),
    // Another step before it makes another.
    (
        Words {
            mark: "two",
            seen: "^two",
            ..FIRST
        },
        (Some("layers"), &["marked"]),
    ),
    // Other layers have nothing in common.
    (
        Words {
            port: 4301,
            ..FIRST
        },
        (None, &["layers", "marked"]),
    ),
    // What was kept later took nothing away.
    (FIRST, (Some("marked"), &[])),
];

pub(crate) async fn is_shared(fixture: &Fixture) -> Result<(), Failed> {
    let place = fixture.place(&plan(FIRST)?).await?;
    let run = fixture.lab.new_run()?;
    for (number, (words, expected)) in (1..).zip(RUNS) {
        let ran = fixture
            .run(&place, &plan(words)?, attempt(&run, number))
            .await?;
        expect(&ran, expected)?;
    }
    first_layers_are_shared(fixture, &place, &run).await
}

/// Two stacks that differ above their first layer, run as by one command.
async fn first_layers_are_shared(
    fixture: &Fixture,
    place: &Place,
    run: &RunFolder,
) -> Result<(), Failed> {
    let plans = [stack("striped")?, stack("linear")?];
    let expected: [Expected; 2] = [
        (None, &["layers up to nbd", "layers"]),
        (Some("layers up to nbd"), &["layers"]),
    ];
    let keep = KeepPolicy::of(&plans);
    for (number, (plan, expected)) in (100..).zip(plans.iter().zip(expected)) {
        let mut request = attempt(run, number);
        request.options.keep = keep.clone();
        let ran = fixture.run(place, plan, request).await?;
        expect_store(&ran, expected)?;
    }
    Ok(())
}

/// A disk over the network, and that layer above it. No other run here has its port.
fn stack(above: &str) -> Result<Plan, Failed> {
    parse(&format!(
        r#"
name = "a stack"

[nodes]
vix0 = {{ arch = "x86_64" }}
vix1 = {{ arch = "x86" }}

[[layer]]
nbd = {{ disk = "64MiB", port = 4310 }}

[[layer]]
{above} = {{ name = "san" }}

[[step]]
run = {{ command = "dmsetup table san", output = "{above}" }}
"#
    ))
}

fn parse(text: &str) -> Result<Plan, Failed> {
    let plan = sanlab_plan::parse(Path::new("prefix.toml"), text);
    plan.map_err(|mistakes| mistakes.render(false).into())
}

fn plan(words: Words) -> Result<Plan, Failed> {
    let Words { port, mark, seen } = words;
    let text = format!(
        r#"
name = "a step has a checkpoint"

[nodes]
vix0 = {{ arch = "x86_64" }}
vix1 = {{ arch = "x86" }}

[[layer]]
nbd = {{ disk = "64MiB", port = {port} }}

[[step]]
label = "mark"
run = {{ command = "echo {mark} {{node}} >/tmp/mark" }}
checkpoint = "marked"

[[step]]
run = {{ command = "grep {{node}} /tmp/mark", output = "{seen}" }}
"#
    );
    parse(&text)
}

fn expect_store(ran: &Ran, (from, to): Expected) -> Result<(), Failed> {
    let forked = forked(&ran.record);
    if forked != from {
        return Err(ran.but(&format!("was forked from {forked:?}, expected: {from:?}")));
    }
    let kept = kept(&ran.record);
    if kept != to {
        return Err(ran.but(&format!("kept {kept:?}, expected: {to:?}")));
    }
    Ok(())
}

fn expect(ran: &Ran, expected: Expected) -> Result<(), Failed> {
    expect_store(ran, expected)?;
    let (from, _) = expected;
    let mark = ran
        .record
        .phases
        .iter()
        .find(|one| one.name == PhaseName::step("mark"));
    let mark = mark.ok_or_else(|| ran.but("has no mark"))?;
    if matches!(mark.origin, Origin::Forked { .. }) == (from == Some("marked")) {
        return Ok(());
    }
    Err(ran.but(&format!("has a mark of origin {:?}", mark.origin)))
}

fn forked(record: &RunRecord) -> Option<&str> {
    record.events.iter().find_map(|event| match &event.kind {
        EventKind::Forked { checkpoint, .. } => Some(checkpoint.as_str()),
        _ => None,
    })
}

fn kept(record: &RunRecord) -> Vec<&str> {
    let told = record.events.iter().filter_map(|event| match &event.kind {
        EventKind::Kept { checkpoint, .. } => Some(checkpoint.as_str()),
        _ => None,
    });
    told.collect()
}
