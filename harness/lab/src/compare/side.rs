//! A side made ready: its plan checked, its images built.

use std::collections::BTreeMap;
use std::path::Path;

use sanlab_image::Image;
use sanlab_plan::{Action, NodeName, Plan};
use tokio_util::sync::CancellationToken;

use super::given::Given;
use crate::lab::scenario;
use crate::terminal::Terminal;
use crate::terminal::watch;
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
        if !measures(&plan) {
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

    /// Builds what it lacks.
    pub(crate) async fn prepare(
        &mut self,
        lab: &Lab,
        cancel: &CancellationToken,
        terminal: &mut Terminal,
    ) -> Result<(), LabError> {
        self.images = images(lab, &self.plan, cancel, terminal).await?;
        Ok(())
    }
}

/// What a plan's guests boot.
pub(crate) async fn images(
    lab: &Lab,
    plan: &Plan,
    cancel: &CancellationToken,
    terminal: &mut Terminal,
) -> Result<BTreeMap<NodeName, Image>, LabError> {
    let title = plan.image.to_string();
    let (lab, plan) = (lab.clone(), plan.clone());
    watch::blocking(terminal, &title, cancel, move |tell| {
        lab.images(&plan, tell)
    })
    .await
}

/// Whether it has a step whose figures can be compared. What runs in the background has none: its cost cannot be told from
/// that of others.
fn measures(plan: &Plan) -> bool {
    plan.steps.iter().any(|step| match &step.action {
        Action::Throughput(_) => true,
        Action::Dd(dd) => !dd.background,
        Action::Write(write) => !write.background,
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_that_measures_nothing_is_refused() {
        let scenarios = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios");
        let load = |file: &str| Side::load(&scenarios.join(file), Given::default());
        load("nbd-striped-ocfs2/concurrent-dd.toml").unwrap();
        let refused = load("gnbd-drbd-multipath/membership.toml").unwrap_err();
        assert_eq!(refused.exit(), crate::Exit::BadInput);
        assert!(
            refused.to_string().contains("measures nothing"),
            "{refused}"
        );
    }
}
