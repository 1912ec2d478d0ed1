//! Variants of a scenario: every combination of some values.

use std::path::Path;

use sanlab_plan::{Plan, Setting};

use crate::LabError;

/// More are a mistake: each is a run of its own.
const MOST: usize = 64;

/// A longer name cannot be part of a folder's, bytes.
const LONGEST: usize = 150;

/// One combination.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Variant {
    /// `KEY=VALUE` for each key.
    pub(crate) settings: Vec<String>,
    /// The same as it was written, by which the variant is called.
    written: Vec<String>,
}

impl Variant {
    /// What it is called behind a scenario's name: `[kernel=trixie,mtu=1500]`; nothing of the only one.
    pub(crate) fn suffix(&self) -> String {
        if self.written.is_empty() {
            return String::new();
        }
        // It becomes part of a folder's name.
        let words = self.written.iter().map(|text| text.replace('/', "_"));
        format!("[{}]", words.collect::<Vec<_>>().join(","))
    }
}

/// A key and its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Axis {
    key: String,
    /// As they are set, and as they were written.
    values: Vec<(String, String)>,
}

impl Axis {
    /// From `KEY=VALUE,VALUE`.
    pub(crate) fn parse(text: &str) -> Result<Self, LabError> {
        let Some((key, values)) = text.split_once('=') else {
            let why = "it is no KEY=VALUE,VALUE, such as kernel=bookworm,trixie";
            return Err(wrong(text, why));
        };
        let same = |value: &str| (value.to_owned(), value.to_owned());
        let axis = Self {
            key: key.to_owned(),
            values: values.split(',').map(same).collect(),
        };
        let values = &axis.values;
        match (1..values.len()).find(|at| values[..*at].contains(&values[*at])) {
            Some(again) => Err(wrong(
                text,
                &format!("`{}` stands there twice", values[again].0),
            )),
            None => Ok(axis),
        }
    }

    /// Those of a scenario. Paths of artefacts are taken from its folder on.
    fn of(plan: &Plan) -> impl Iterator<Item = Self> {
        let folder = plan.source.parent().unwrap_or(Path::new(""));
        plan.matrix.iter().map(move |(key, values)| {
            let value = |value: &String| {
                let (key, text) = (key.clone(), value.clone());
                let setting = Setting { key, value: text };
                let set = if setting.is_artefact() && !setting.may_be_name() {
                    folder.join(value).display().to_string()
                } else {
                    value.clone()
                };
                (set, value.clone())
            };
            Self {
                key: key.clone(),
                values: values.iter().map(value).collect(),
            }
        })
    }
}

fn wrong(text: &str, why: &str) -> LabError {
    LabError::Matrix {
        text: text.to_owned(),
        why: why.to_owned(),
    }
}

/// Every combination of a scenario's values and those that are given, which take the place of the scenario's of the same key; one
/// without any settings, if there are none.
pub(crate) fn variants(plan: &Plan, given: &[Axis]) -> Result<Vec<Variant>, LabError> {
    let is_given = |axis: &Axis| given.iter().any(|other| other.key == axis.key);
    let own = Axis::of(plan).filter(|axis| !is_given(axis));
    combine(own.chain(given.iter().cloned()))
}

fn combine(axes: impl Iterator<Item = Axis>) -> Result<Vec<Variant>, LabError> {
    let mut variants = vec![Variant::default()];
    let mut keys: Vec<String> = Vec::new();
    for Axis { key, values } in axes {
        let written: Vec<&str> = values.iter().map(|(_, written)| written.as_str()).collect();
        let text = format!("{key}={}", written.join(","));
        if keys.contains(&key) {
            let why = format!("`{key}` is given twice: name all its values in one place");
            return Err(wrong(&text, &why));
        }
        let count = variants.len().saturating_mul(values.len());
        if count > MOST {
            let why = format!(
                "that makes {count} variants, and at most {MOST} are run: give fewer values"
            );
            return Err(wrong(&text, &why));
        }
        variants = variants
            .iter()
            .flat_map(|variant| {
                values.iter().map(|(set, written)| {
                    let mut variant = variant.clone();
                    variant.settings.push(format!("{key}={set}"));
                    variant.written.push(format!("{key}={written}"));
                    variant
                })
            })
            .collect();
        if variants
            .iter()
            .any(|variant| variant.suffix().len() > LONGEST)
        {
            let why = format!(
                "a variant would be called by more than {LONGEST} characters: give shorter values, such as paths from here on"
            );
            return Err(wrong(&text, &why));
        }
        keys.push(key);
    }
    Ok(variants)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suffixes(axes: &[&str]) -> Result<Vec<String>, String> {
        let axes: Result<Vec<Axis>, LabError> = axes.iter().map(|axis| Axis::parse(axis)).collect();
        match axes.and_then(|axes| combine(axes.into_iter())) {
            Ok(variants) => Ok(variants.iter().map(Variant::suffix).collect()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn every_combination_is_a_variant() {
        assert_eq!(suffixes(&[]).unwrap(), [""]);
        assert_eq!(
            suffixes(&[
                "kernel=bookworm,trixie",
                "file./usr/bin/nbdkit=old/nbdkit,new/nbdkit"
            ])
            .unwrap(),
            [
                "[kernel=bookworm,file._usr_bin_nbdkit=old_nbdkit]",
                "[kernel=bookworm,file._usr_bin_nbdkit=new_nbdkit]",
                "[kernel=trixie,file._usr_bin_nbdkit=old_nbdkit]",
                "[kernel=trixie,file._usr_bin_nbdkit=new_nbdkit]",
            ]
        );
    }

    #[test]
    fn what_is_given_takes_the_place_of_what_the_scenario_says() {
        let text = r#"
            name = "variants"
            nodes = { n = { arch = "x86_64" } }
            matrix = { mtu = ["1500", "9000"], "file./etc/x" = ["old/x", "new/x"], kernel = ["trixie"] }
            step = [{ check = {} }]
        "#;
        let plan = sanlab_plan::parse(Path::new("folder/a.toml"), text).unwrap();
        let given = [Axis::parse("mtu=16000").unwrap()];
        let variants = variants(&plan, &given).unwrap();
        let settings = variants.iter().map(|variant| variant.settings.join(" "));
        insta::assert_snapshot!(settings.collect::<Vec<_>>().join("\n"));
    }

    #[test]
    fn variants_are_called_as_they_were_written() {
        let text = r#"
            name = "variants"
            nodes = { n = { arch = "x86_64" } }
            matrix = { "file./etc/x" = ["old/x"] }
            step = [{ check = {} }]
        "#;
        let plan = sanlab_plan::parse(Path::new("/a/folder/a.toml"), text).unwrap();
        let variants = variants(&plan, &[]).unwrap();
        assert_eq!(variants[0].settings, ["file./etc/x=/a/folder/old/x"]);
        assert_eq!(variants[0].suffix(), "[file._etc_x=old_x]");
    }

    #[test]
    fn what_is_no_matrix_is_refused() {
        let hundred = (0..100)
            .map(|mtu| mtu.to_string())
            .collect::<Vec<_>>()
            .join(",");
        let (one, other) = (format!("mtu={hundred}"), format!("seed={hundred}"));
        let long = format!("module={}/ocfs2.ko", "folder".repeat(30));
        let refused = [
            &["kernel"][..],
            &["mtu=1500,9000", "mtu=16000"],
            &["mtu=1500,1500"],
            &[&one, &other],
            &[&long],
        ]
        .map(|axes| suffixes(axes).unwrap_err());
        insta::assert_snapshot!(refused.join("\n"));
    }
}
