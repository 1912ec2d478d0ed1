//! A side made ready: its plan checked, its images built.

use std::collections::BTreeMap;
use std::path::Path;

use sanlab_image::Image;
use sanlab_plan::{Figures, NodeName, Plan};
use tokio_util::sync::CancellationToken;

use crate::lab::overrides::Given;
use crate::lab::{images, scenario};
use crate::terminal::Terminal;
use crate::{Lab, LabError};

/// One of the two.
#[derive(Debug)]
pub(crate) struct Side {
    pub(crate) given: Given,
    pub(crate) plan: Plan,
    /// What its guests boot.
    pub(crate) images: BTreeMap<NodeName, Image>,
}

impl Side {
    /// Reads and checks the plan; starts and builds nothing.
    pub(crate) fn load(file: &Path, given: Given) -> Result<Self, LabError> {
        let plan = scenario::load_with(file, &given.settings)?;
        if !is_comparable(&plan) {
            return Err(LabError::MeasuresNothing {
                scenario: plan.id.clone(),
            });
        }
        Ok(Self {
            given,
            plan,
            images: BTreeMap::new(),
        })
    }

    /// As much of its plan as makes the checkpoints that its runs are forked from; all of it where every run is built from nothing.
    pub(crate) fn preparation(&self) -> Plan {
        let mut plan = self.plan.clone();
        if !plan.fresh {
            let last = plan
                .steps
                .iter()
                .rposition(|step| step.checkpoint.is_some());
            plan.steps.truncate(last.map_or(0, |last| last + 1));
        }
        plan
    }

    /// Builds what it lacks.
    pub(crate) async fn prepare(
        &mut self,
        lab: &Lab,
        cancel: &CancellationToken,
        terminal: &mut Terminal,
    ) -> Result<(), LabError> {
        self.images = images::ensure(lab, &self.plan, cancel, terminal).await?;
        Ok(())
    }
}

/// Whether it has a step whose figures can be compared.
fn is_comparable(plan: &Plan) -> bool {
    let mut figures = plan.steps.iter().map(|step| step.action.figures());
    figures.any(|it| matches!(it, Figures::Once | Figures::Repeated))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_prepares_a_side_ends_with_its_last_checkpoint() {
        let scenarios = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios");
        let labels = |file: &str, settings: &[&str]| -> Vec<String> {
            let given: Vec<String> = settings.iter().map(ToString::to_string).collect();
            let given = Given::parse(given.iter()).unwrap();
            let side = Side::load(&scenarios.join(file), given).unwrap();
            let steps = side.preparation().steps.into_iter();
            steps.map(|step| step.label.to_string()).collect()
        };
        let file = "throughput/two-nodes.toml";
        assert!(labels(file, &[]).is_empty());
        assert_eq!(labels(file, &["fresh=true"]).len(), 2);
    }

    #[test]
    fn a_scenario_that_measures_nothing_is_refused() {
        let scenarios = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios");
        let load = |file: &str| Side::load(&scenarios.join(file), Given::default());
        load("nbd-striped-ocfs2/concurrent-dd.toml").unwrap();
        // All of its writers are in the background, and keep a pace.
        assert!(load("clvm-gfs2/node-addition.toml").is_err());
        let refused = load("gnbd-drbd-multipath/membership.toml").unwrap_err();
        assert_eq!(refused.exit(), crate::Exit::BadInput);
        assert!(
            refused.to_string().contains("measures nothing"),
            "{refused}"
        );
    }
}
