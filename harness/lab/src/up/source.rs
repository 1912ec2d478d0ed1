//! What a fleet is brought up from: a scenario, or a fleet that was saved.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sanlab_fleet::{Held, Store};
use sanlab_image::Image;
use sanlab_plan::{NodeName, Plan, Setting};
use sanlab_run::{HoldWhen, Saved};
use sanlab_vm::AcceleratorWish;
use tokio_util::sync::CancellationToken;

use crate::lab::overrides::Given;
use crate::lab::{images, scenario};
use crate::pack::error::PackError;
use crate::pack::ready::Ready;
use crate::pack::{folder, unpack};
use crate::terminal::{Terminal, watch};
use crate::{Lab, LabError};

/// What was asked for on the command line.
pub(crate) enum FleetSource {
    /// A scenario, with so many of its steps taken.
    Scenario { plan: Box<Plan>, steps: usize },
    /// The folder of a fleet that was saved, or of its run.
    Folder(PathBuf),
    /// A file of `sanlab pack`.
    Archive(PathBuf),
}

/// Everything that is needed to bring it up.
pub(crate) struct Prepared {
    pub(crate) plan: Plan,
    pub(crate) settings: Vec<Setting>,
    pub(crate) images: BTreeMap<NodeName, Image>,
    pub(crate) accelerator: AcceleratorWish,
    pub(crate) when: HoldWhen,
    pub(crate) saved: Option<Saved>,
    /// Stays in the store while this lives.
    pub(crate) held: Option<Held>,
}

impl FleetSource {
    /// Reads a scenario with what is given; `steps` says how many of them are wanted, if not everything is to be as it was.
    pub(crate) fn of(
        file: &Path,
        given: &Given,
        is_plain: bool,
        steps: impl FnOnce(&Plan) -> Result<usize, LabError>,
    ) -> Result<Self, LabError> {
        let path = file.to_owned();
        let source = if file.is_dir() {
            Self::Folder(path)
        } else if unpack::is_archive(file) {
            Self::Archive(path)
        } else {
            let plan = scenario::load_with(file, &given.settings)?;
            let (steps, plan) = (steps(&plan)?, Box::new(plan));
            return Ok(Self::Scenario { plan, steps });
        };
        if !is_plain || !given.settings.is_empty() {
            return Err(PackError::AsItWas.into());
        }
        Ok(source)
    }

    /// Builds or unpacks what is lacking. A saved fleet is refused where it does not go on; what is to be told of it nevertheless
    /// goes to `tell`.
    pub(crate) async fn prepare(
        self,
        lab: &Lab,
        given: &Given,
        wish: AcceleratorWish,
        cancel: &CancellationToken,
        terminal: &mut Terminal,
        tell: impl Fn(&str),
    ) -> Result<Prepared, LabError> {
        let store = Store::open_default()?;
        let qemu = given.qemu.as_deref();
        let check = async |ready: &Ready| {
            let wish = wish_of(wish, ready);
            let told = ready.check(&store, wish, qemu).await?;
            for line in &told {
                tell(line);
            }
            Ok(())
        };
        let ready = match self {
            Self::Scenario { plan, steps } => {
                return Ok(Prepared {
                    images: images::ensure(lab, &plan, cancel, terminal).await?,
                    plan: *plan,
                    settings: given.settings.clone(),
                    accelerator: wish,
                    when: HoldWhen::Steps(steps),
                    saved: None,
                    held: None,
                });
            }
            Self::Folder(path) => {
                let ready = Ready::of_folder(&folder::find(&path)?, &store)?;
                check(&ready).await?;
                ready
            }
            Self::Archive(path) => {
                let (file, store) = (path.clone(), store.clone());
                let unpack = async |opened: unpack::Opened| {
                    watch::blocking(terminal, "unpack", cancel, move |tell| {
                        let held = opened.unpacked(&file, &store, tell)?;
                        Ok((opened, held))
                    })
                    .await
                };
                Ready::of_archive(&path, check, unpack).await?
            }
        };
        Ok(Prepared {
            accelerator: wish_of(wish, &ready),
            settings: ready.sources.settings()?,
            plan: ready.plan,
            images: ready.images,
            when: HoldWhen::Saved,
            saved: Some(ready.saved),
            held: ready.held,
        })
    }
}

/// What a saved fleet ran on, unless something else is asked for.
fn wish_of(wish: AcceleratorWish, ready: &Ready) -> AcceleratorWish {
    match wish {
        AcceleratorWish::Auto => ready.accelerator(),
        other => other,
    }
}
