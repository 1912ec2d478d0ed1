//! A fork is what a fleet is that was built from nothing: the same outcome, the same deeds, the same portrait.

use std::collections::BTreeMap;

use libtest_mimic::Failed;
use sanlab::{Lab, LabError, Order, scenario};
use sanlab_image::Store;
use sanlab_plan::{Action, Plan};

use crate::Attempted;
use crate::ground::{Ground, Ran, attempt};
use crate::told;

/// They are compared in every run of the long tier.
const ALWAYS: [&str; 2] = [
    "nbd_striped_ocfs2/hot_node_addition",
    "nbd_striped_ocfs2/linear",
];
/// Set to 1, all are.
const ALL: &str = "SANLAB_CHECK_ALL";

/// By node and by what was looked at, what was seen.
type Portrait = BTreeMap<String, BTreeMap<String, String>>;

pub(crate) struct Scenario {
    pub(crate) name: String,
    plan: Result<Plan, LabError>,
}

impl Scenario {
    fn crashes(&self) -> bool {
        let steps = self.plan.iter().flat_map(|plan| &plan.steps);
        steps
            .map(|step| &step.action)
            .any(|action| matches!(action, Action::Crash(_)))
    }
}

/// Whether everything is to be compared, however long it takes.
pub(crate) fn wants_all() -> bool {
    std::env::var(ALL).is_ok_and(|value| value == "1")
}

/// All scenarios of the checkout but those that crash nodes: what they do hangs on the moment.
pub(crate) fn scenarios(lab: &Lab) -> Result<Vec<Scenario>, LabError> {
    let files = scenario::find(&lab.project().join("scenarios"))?;
    let scenarios = files.into_iter().map(|file| {
        let plan = scenario::load(&file);
        let name = plan.as_ref().map(|plan| plan.id.clone());
        Scenario {
            name: name.unwrap_or_else(|_| file.display().to_string()),
            plan,
        }
    });
    Ok(scenarios.filter(|one| !one.crashes()).collect())
}

/// Runs the scenario from nothing and from a checkpoint.
pub(crate) async fn compare(ground: &Ground, scenario: &Scenario) -> Attempted {
    if !ALWAYS.contains(&scenario.name.as_str()) && !wants_all() {
        return Ok(Some(format!("compared where {ALL} is 1")));
    }
    let plan = match &scenario.plan {
        // Those that want to be fresh could be forked all the same.
        Ok(plan) => Plan {
            fresh: false,
            ..plan.clone()
        },
        Err(error) => return Err(error.show(false).into()),
    };
    let images = ground.images(&plan).await?;
    // What other tests keep is good enough.
    let store = Store::open_default()?;
    let folder = ground.lab.new_run()?;
    let run = async |fresh, number| {
        let order = Order {
            fresh,
            portrait: true,
            ..attempt(&folder, number)
        };
        let ran = ground.run_on(store.clone(), images.clone(), &plan, order);
        ran.await
    };
    let fresh = run(true, 1).await?;
    if let Some(key) = told::forked_from(&fresh.record) {
        return Err(fresh.but(&format!("should be fresh, and was forked from {key}")));
    }
    let mut fork = run(false, 2).await?;
    if told::kept(&fork.record).is_some() {
        // Built, kept and gone on with: not what is compared, and yet it must be the same.
        expect_same(&fresh, &fork)?;
        fork = run(false, 3).await?;
    }
    if told::forked_from(&fork.record).is_none() {
        return Err(fork.but("was not forked"));
    }
    expect_same(&fresh, &fork)?;
    Ok(None)
}

fn expect_same(fresh: &Ran, fork: &Ran) -> Result<(), Failed> {
    let (built, forked) = (told::deeds(&fresh.record), told::deeds(&fork.record));
    if built != forked {
        return Err(fork.but(&format!("did {forked:?}, from nothing it was {built:?}")));
    }
    let (built, forked) = (portrait(fresh)?, portrait(fork)?);
    if built.is_empty() {
        return Err(fresh.but("has no portrait"));
    }
    let mut differences = differences(&built, &forked);
    differences.extend(missing(&built, &forked));
    if differences.is_empty() {
        return Ok(());
    }
    let differences = differences.join("\n");
    let reference = fresh.but("from nothing");
    Err(fork.but(&format!(
        "is not what it is from nothing:\n{differences}\n{}",
        reference.message().unwrap_or_default()
    )))
}

fn portrait(ran: &Ran) -> Result<Portrait, Failed> {
    Ok(serde_json::from_slice(&ran.file(sanlab_run::PORTRAIT)?)?)
}

/// What is in the one and not in the other, or otherwise.
fn differences(one: &Portrait, other: &Portrait) -> Vec<String> {
    let mut found = Vec::new();
    for (node, looks) in one {
        for (what, seen) in looks {
            let other = other.get(node).and_then(|looks| looks.get(what));
            if other != Some(seen) {
                let other = other.map_or("nothing", String::as_str);
                found.push(format!("{what} on {node} was\n{seen}\nand is\n{other}"));
            }
        }
    }
    found
}

/// What is in the other alone.
fn missing(one: &Portrait, other: &Portrait) -> Vec<String> {
    let looks = |portrait: &Portrait| -> Vec<(String, String)> {
        let each = portrait.iter().flat_map(|(node, looks)| {
            let whats = looks.keys();
            whats.map(|what| (node.clone(), what.clone()))
        });
        each.collect()
    };
    let there = looks(one);
    let more = looks(other)
        .into_iter()
        .filter(|look| !there.contains(look));
    more.map(|(node, what)| format!("{what} on {node} is new"))
        .collect()
}
