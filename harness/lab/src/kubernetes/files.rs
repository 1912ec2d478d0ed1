//! What pods read: the scenarios with their bases, each at its place below the project's folder.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use sanlab_plan::{Plan, Setting};

use super::KubernetesError;
use crate::LabError;
use crate::lab::overrides::Given;
use crate::lab::scenario;
use crate::terminal::quantity::count;

/// What a `ConfigMap` takes.
const MOST: usize = 1 << 20;

/// Files by their paths below the project's folder.
#[derive(Debug, Default)]
pub(crate) struct Files(BTreeMap<String, String>);

impl Files {
    /// Takes in a scenario and its bases. Returns the scenario's path below the project's folder.
    pub(crate) fn add_scenario(
        &mut self,
        project: &Path,
        file: &Path,
        settings: &[Setting],
    ) -> Result<String, LabError> {
        let read = RefCell::new(Vec::new());
        scenario::load_reading(file, settings, &|path, text| {
            read.borrow_mut().push((path.to_owned(), text.to_owned()));
        })?;
        for (path, text) in read.into_inner() {
            self.0.insert(below(project, &path)?, text);
        }
        Ok(below(project, file)?)
    }

    /// Takes in another file. Returns its path below the project's folder.
    pub(crate) fn add(&mut self, project: &Path, file: &Path) -> Result<String, LabError> {
        let text = fs_err::read_to_string(file).map_err(LabError::Unreadable)?;
        let path = below(project, file)?;
        self.0.insert(path.clone(), text);
        Ok(path)
    }

    /// For a `ConfigMap`: key, path, text. Keys have no `/`.
    pub(crate) fn entries(&self) -> Result<Vec<(String, &str, &str)>, KubernetesError> {
        let mut keys = BTreeSet::new();
        let mut entries = Vec::new();
        let mut bytes = 0;
        for (number, (path, text)) in self.0.iter().enumerate() {
            let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            let mut key = path.replace(|c: char| !fits(c), "_");
            // A key has 253 characters at most, and no two paths have the same.
            let mut further = number;
            while key.len() > 253 || !keys.insert(key.clone()) {
                key = format!("{further}.toml");
                further += 1;
            }
            bytes += key.len() + text.len();
            entries.push((key, path.as_str(), text.as_str()));
        }
        if bytes > MOST {
            return Err(KubernetesError::TooLarge {
                files: count(entries.len(), "file"),
                bytes,
                most: MOST,
            });
        }
        Ok(entries)
    }
}

/// Options of `sanlab run` whose value is a file that a pod can be given.
const OF_FILES: [&str; 2] = ["--durations", "--artefacts"];

/// Arguments of `sanlab run` as they are given in a pod, in the project's folder; and the files that they name.
pub(crate) fn in_pods(
    project: &Path,
    arguments: &[String],
) -> Result<(Vec<String>, Vec<PathBuf>), KubernetesError> {
    let (mut given, mut files) = (Vec::new(), Vec::new());
    let mut names_file = false;
    for argument in arguments {
        let value = argument
            .split_once('=')
            .filter(|(option, _)| OF_FILES.contains(option));
        given.push(match value {
            _ if names_file => {
                files.push(PathBuf::from(argument));
                below(project, Path::new(argument))?
            }
            Some((option, file)) => {
                files.push(PathBuf::from(file));
                format!("{option}={}", below(project, Path::new(file))?)
            }
            None => argument.clone(),
        });
        names_file = !names_file && OF_FILES.contains(&argument.as_str());
    }
    Ok((given, files))
}

/// Refuses what a pod does not have without a volume of the whole project: code under test that is a file, and QEMU's programs of this host.
pub(crate) fn refuse_others(plan: &Plan, given: &Given) -> Result<(), KubernetesError> {
    if let Some(folder) = &given.qemu {
        return Err(KubernetesError::Qemu(folder.clone()));
    }
    match plan.artefacts.iter().find(|one| one.image().is_none()) {
        Some(artefact) => Err(KubernetesError::Artefact {
            scenario: plan.id.clone(),
            artefact: artefact.to_string(),
        }),
        None => Ok(()),
    }
}

/// A file's path below the project's folder, in words that a pod has too.
pub(crate) fn below(project: &Path, file: &Path) -> Result<String, KubernetesError> {
    let failed = |why: String| KubernetesError::File {
        path: file.to_owned(),
        why,
    };
    let mut path = PathBuf::new();
    for part in std::path::absolute(file)
        .map_err(|error| failed(error.to_string()))?
        .components()
    {
        match part {
            Component::ParentDir => drop(path.pop()),
            part => path.push(part),
        }
    }
    let Ok(below) = path.strip_prefix(project) else {
        return Err(failed(format!("it is not below {}", project.display())));
    };
    let text = below.to_str().map(str::to_owned);
    text.ok_or_else(|| failed("its path is not UTF-8".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_below_the_project() {
        let project = std::env::current_dir().unwrap();
        let path = |file: &str| below(&project, Path::new(file)).map_err(|error| error.to_string());
        assert_eq!(
            path("scenarios/a/../base/b.toml").unwrap(),
            "scenarios/base/b.toml"
        );
        insta::assert_snapshot!(path("/nowhere/a.toml").unwrap_err().replace(project.to_str().unwrap(), "PROJECT"), @r"
        give /nowhere/a.toml to the pods: it is not below PROJECT
          help: pods see the scenarios below one folder, the project's; call sanlab in a folder above all of them
        ");
    }

    #[test]
    fn files_of_options_are_named_as_a_pod_finds_them() {
        let project = std::env::current_dir().unwrap();
        let words = [
            "--durations",
            "a/../d.json",
            "--artefacts=own.toml",
            "--set",
            "mtu=1500",
        ];
        let (given, files) = in_pods(&project, &words.map(str::to_owned)).unwrap();
        assert_eq!(
            given,
            [
                "--durations",
                "d.json",
                "--artefacts=own.toml",
                "--set",
                "mtu=1500"
            ]
        );
        assert_eq!(files, [Path::new("a/../d.json"), Path::new("own.toml")]);
        assert!(in_pods(&project, &["--durations=/none.json".to_owned()]).is_err());
    }

    #[test]
    fn keys_are_told_apart_and_a_config_map_has_a_limit() {
        let mut files = Files::default();
        for path in ["a/b.toml", "a_b.toml", "ä.toml"] {
            files.0.insert(path.to_owned(), "x".to_owned());
        }
        let keys = |files: &Files| -> Vec<String> {
            let entries = files.entries().unwrap();
            entries.into_iter().map(|(key, ..)| key).collect()
        };
        assert_eq!(keys(&files), ["a_b.toml", "1.toml", "_.toml"]);
        files.0.insert("long.toml".to_owned(), "x".repeat(MOST));
        insta::assert_snapshot!(files.entries().unwrap_err(), @r"
        put 4 files into a ConfigMap: they have 1048608 bytes, and it takes 1048576
          help: give fewer scenarios to each Job, or have a volume with the whole project, and name its claim: --checkout CLAIM
        ");
    }
}
