//! What a run is given in place of what its scenario's file says, as `KEY=VALUE`.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};

use sanlab_plan::Setting;

use crate::LabError;

/// A key that is the lab's and not the plan's.
const QEMU: &str = "qemu";

/// What is given to a side, or to a run.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Given {
    /// Settings of the plan, in the order they were given.
    pub(crate) settings: Vec<Setting>,
    /// A folder with QEMU's programs.
    pub(crate) qemu: Option<PathBuf>,
    /// All of it as it was given, for records.
    pub(crate) words: BTreeMap<String, String>,
}

impl Given {
    /// From `KEY=VALUE` texts; paths are taken from the current folder on.
    pub(crate) fn parse<'a>(texts: impl IntoIterator<Item = &'a String>) -> Result<Self, LabError> {
        let mut given = Self::default();
        for text in texts {
            let wrong = |why: &str| LabError::Setting {
                text: text.clone(),
                why: why.to_owned(),
            };
            let setting = Setting::parse(text)
                .map_err(|_| wrong("it is no KEY=VALUE, such as layer.striped.chunk=64KiB"))?;
            let Setting { key, value } = &setting;
            let is_artefact = setting.is_artefact();
            let words = given.words.entry(key.clone());
            match words {
                Entry::Vacant(words) => drop(words.insert(value.clone())),
                // A node may have several packages and modules.
                Entry::Occupied(mut words) if is_artefact => {
                    words.insert(format!("{}, {value}", words.get()));
                }
                Entry::Occupied(_) => return Err(wrong("the key is given twice")),
            }
            let path = || std::path::absolute(value).map_err(|error| wrong(&error.to_string()));
            if key == QEMU {
                given.qemu = Some(existing(&path()?, Path::is_dir, "folder", &wrong)?);
            } else if is_artefact && (!setting.may_be_name() || Path::new(value).exists()) {
                given.settings.push(at_path(&setting, &path()?, &wrong)?);
            } else {
                given.settings.push(setting);
            }
        }
        Ok(given)
    }

    /// `mtu=1500, qemu=/opt/qemu`; `as it is` of nothing.
    pub(crate) fn for_people(&self) -> String {
        if self.words.is_empty() {
            return "as it is".to_owned();
        }
        let words = self
            .words
            .iter()
            .map(|(key, value)| format!("{key}={value}"));
        words.collect::<Vec<_>>().join(", ")
    }
}

/// An artefact of the host's: paths of settings are taken from the current folder on, those of a scenario from its own.
fn at_path(
    setting: &Setting,
    path: &Path,
    wrong: &impl Fn(&str) -> LabError,
) -> Result<Setting, LabError> {
    let path = existing(path, Path::exists, "file", wrong)?;
    let Some(value) = path.to_str() else {
        return Err(wrong("the path is not UTF-8"));
    };
    Ok(Setting {
        key: setting.key.clone(),
        value: value.to_owned(),
    })
}

fn existing(
    path: &Path,
    is: impl Fn(&Path) -> bool,
    what: &str,
    wrong: &impl Fn(&str) -> LabError,
) -> Result<PathBuf, LabError> {
    if is(path) {
        Ok(path.to_owned())
    } else {
        Err(wrong(&format!("there is no {what} {}", path.display())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(texts: &[&str]) -> Result<Given, String> {
        let texts: Vec<String> = texts.iter().map(ToString::to_string).collect();
        Given::parse(&texts).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_the_labs_is_told_from_what_is_the_plans() {
        let given = parse(&[
            "layer.striped.chunk=64KiB",
            "kernel.x86_64=debian-trixie",
            "module.x86=/proc/version",
            "module.x86=/proc/uptime",
            "qemu=/",
        ])
        .unwrap();
        let settings = given.settings.iter().map(ToString::to_string);
        assert_eq!(
            settings.collect::<Vec<_>>(),
            [
                "layer.striped.chunk=64KiB",
                "kernel.x86_64=debian-trixie",
                "module.x86=/proc/version",
                "module.x86=/proc/uptime",
            ]
        );
        assert_eq!(given.qemu.as_deref(), Some(Path::new("/")));
        assert_eq!(
            given.for_people(),
            "kernel.x86_64=debian-trixie, layer.striped.chunk=64KiB, module.x86=/proc/version, /proc/uptime, qemu=/"
        );
        assert_eq!(parse(&[]).unwrap().for_people(), "as it is");
    }

    #[test]
    fn paths_of_artefacts_are_taken_from_the_current_folder() {
        let given = parse(&["file./usr/x=Cargo.toml"]).unwrap();
        let path = Path::new(&given.settings[0].value);
        assert!(path.is_absolute() && path.ends_with("Cargo.toml"));
    }

    #[test]
    fn mistakes_say_what_is_wrong_with_which_text() {
        let refused = [
            &["mtu"][..],
            &["mtu=1500", "mtu=9000"],
            &["kernel=/no/such"],
            &["file./usr/x=no/such"],
            &["qemu=/proc/version"],
        ]
        .map(|texts| parse(texts).unwrap_err());
        let here = format!("{}/", std::env::current_dir().unwrap().display());
        let refused = refused.map(|text| text.replace(&here, ""));
        insta::assert_snapshot!(refused.join("\n"));
    }
}
