//! What a fleet was made from, as text: its scenario with its bases, and what was given in their place.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use sanlab_plan::{Plan, Setting};
use sanlab_run::Enclosure;
use serde::{Deserialize, Serialize};

use super::error::PackError;
use crate::LabError;
use crate::lab::scenario;

/// The file of a saved fleet's folder that holds them.
const FILE: &str = "scenario.json";

/// Everything that its plan follows from. No file is read for it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sources {
    /// The version of sanlab.
    pub(crate) sanlab: String,
    /// The plan's identifier.
    pub(crate) id: String,
    /// The scenario's path, as it was named.
    scenario: String,
    /// Its text and those of its bases, by path.
    files: BTreeMap<String, String>,
    /// `KEY=VALUE`, in order.
    settings: Vec<String>,
}

impl Sources {
    /// Those of a plan that was read from files. It is an error if they have been changed since, and it is another plan.
    pub(crate) fn of(plan: &Plan, settings: &[Setting]) -> Result<Self, LabError> {
        let files = RefCell::new(BTreeMap::new());
        scenario::load_reading(&plan.source, settings, &|path, text| {
            let path = path.display().to_string();
            files.borrow_mut().insert(path, text.to_owned());
        })?;
        let sources = Self {
            sanlab: env!("CARGO_PKG_VERSION").to_owned(),
            id: plan.id.clone(),
            scenario: plan.source.display().to_string(),
            files: files.into_inner(),
            settings: settings.iter().map(ToString::to_string).collect(),
        };
        if sources.plan()? == *plan {
            Ok(sources)
        } else {
            Err(LabError::ScenarioChanged(plan.source.clone()))
        }
    }

    /// Those that lie in a saved fleet's folder.
    pub(crate) fn read(folder: &Path) -> Result<Self, LabError> {
        let not_whole = |why: String| PackError::NotWhole {
            path: folder.to_owned(),
            why,
        };
        let text = fs_err::read(folder.join(FILE));
        let text = text.map_err(|error| not_whole(error.to_string()))?;
        let sources = serde_json::from_slice(&text);
        Ok(sources.map_err(|error| not_whole(format!("{FILE} cannot be read: {error}")))?)
    }

    /// As they lie there.
    pub(crate) fn enclosed(&self) -> Result<Enclosure, LabError> {
        Ok(Enclosure {
            name: FILE,
            text: serde_json::to_vec_pretty(self).map_err(LabError::Record)?,
        })
    }

    /// The settings among them.
    pub(crate) fn settings(&self) -> Result<Vec<Setting>, LabError> {
        let setting = |text: &String| {
            Setting::parse(text).map_err(|_| LabError::Setting {
                text: text.clone(),
                why: "the saved fleet has it, and it is no KEY=VALUE; save or copy the fleet again"
                    .to_owned(),
            })
        };
        self.settings.iter().map(setting).collect()
    }

    /// The plan.
    pub(crate) fn plan(&self) -> Result<Plan, LabError> {
        let text = |path: &Path| {
            let text = self.files.get(&path.display().to_string());
            text.cloned().ok_or_else(|| {
                let why = format!("{} is not among the saved texts", path.display());
                io::Error::new(io::ErrorKind::NotFound, why)
            })
        };
        let path = Path::new(&self.scenario);
        let scenario = text(path).map_err(LabError::Unreadable)?;
        let plan = sanlab_plan::parse_with(path, &scenario, &self.settings()?, &text)?;
        Ok(Plan {
            id: self.id.clone(),
            ..plan
        })
    }
}
