//! A side made ready: its plan checked, its images built.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use sanlab_image::Image;
use sanlab_plan::{Action, Arch, Plan};
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
    pub(crate) images: BTreeMap<Arch, Image>,
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
        check_kernels(&plan, &given)?;
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
        self.images = images(lab, &self.plan, &self.given, cancel, terminal).await?;
        Ok(())
    }
}

/// What a plan's guests boot, with the kernels that are given.
pub(crate) async fn images(
    lab: &Lab,
    plan: &Plan,
    given: &Given,
    cancel: &CancellationToken,
    terminal: &mut Terminal,
) -> Result<BTreeMap<Arch, Image>, LabError> {
    check_kernels(plan, given)?;
    let title = plan.image.to_string();
    let (lab, plan, given) = (lab.clone(), plan.clone(), given.clone());
    watch::blocking(terminal, &title, cancel, move |tell| {
        let images = lab.images(&plan, tell)?;
        let mixed = images.len() > 1;
        let with_kernel = |(arch, image): (Arch, Image)| {
            let image = match given.kernel(arch, mixed)? {
                Some(kernel) => image.with_kernel(kernel)?,
                None => image,
            };
            Ok((arch, image))
        };
        images.into_iter().map(with_kernel).collect()
    })
    .await
}

/// Whether every architecture of a plan has the kernel that it is given, or none.
fn check_kernels(plan: &Plan, given: &Given) -> Result<(), LabError> {
    let archs: BTreeSet<Arch> = plan.nodes.iter().map(|node| node.hardware.arch).collect();
    archs
        .iter()
        .try_for_each(|&arch| given.kernel(arch, archs.len() > 1).map(drop))
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
