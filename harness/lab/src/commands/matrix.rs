//! Variants of a scenario: every combination of some values.

use crate::LabError;

/// More are a mistake: each is a run of its own.
const MOST: usize = 64;

/// One combination.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Variant {
    /// `KEY=VALUE` for each key.
    pub(crate) settings: Vec<String>,
}

impl Variant {
    /// What it is called behind a scenario's name: `[kernel=trixie,mtu=1500]`; nothing of the only one.
    pub(crate) fn suffix(&self) -> String {
        if self.settings.is_empty() {
            return String::new();
        }
        // It becomes part of a folder's name.
        let words = self.settings.iter().map(|text| text.replace('/', "_"));
        format!("[{}]", words.collect::<Vec<_>>().join(","))
    }
}

/// Every combination of the values of `KEY=VALUE,VALUE` texts; one without any settings, if there are no texts.
pub(crate) fn variants(axes: &[String]) -> Result<Vec<Variant>, LabError> {
    let mut variants = vec![Variant::default()];
    let mut keys: Vec<&str> = Vec::new();
    for axis in axes {
        let wrong = |why: String| LabError::Matrix {
            text: axis.clone(),
            why,
        };
        let Some((key, values)) = axis.split_once('=') else {
            return Err(wrong(
                "it is no KEY=VALUE,VALUE, such as kernel=bookworm,trixie".to_owned(),
            ));
        };
        if keys.contains(&key) {
            return Err(wrong(format!(
                "`{key}` is given twice: name all its values in one place"
            )));
        }
        keys.push(key);
        let values: Vec<&str> = values.split(',').collect();
        if let Some(again) = (1..values.len()).find(|at| values[..*at].contains(&values[*at])) {
            return Err(wrong(format!("`{}` stands there twice", values[again])));
        }
        let count = variants.len().saturating_mul(values.len());
        if count > MOST {
            return Err(wrong(format!(
                "that makes {count} variants, and at most {MOST} are run: give fewer values"
            )));
        }
        variants = variants
            .iter()
            .flat_map(|variant| {
                values.iter().map(move |value| {
                    let mut settings = variant.settings.clone();
                    settings.push(format!("{key}={value}"));
                    Variant { settings }
                })
            })
            .collect();
    }
    Ok(variants)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suffixes(axes: &[&str]) -> Result<Vec<String>, String> {
        let axes: Vec<String> = axes.iter().map(ToString::to_string).collect();
        match variants(&axes) {
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
                "file./usr/sbin/nbdkit=old/nbdkit,new/nbdkit"
            ])
            .unwrap(),
            [
                "[kernel=bookworm,file._usr_sbin_nbdkit=old_nbdkit]",
                "[kernel=bookworm,file._usr_sbin_nbdkit=new_nbdkit]",
                "[kernel=trixie,file._usr_sbin_nbdkit=old_nbdkit]",
                "[kernel=trixie,file._usr_sbin_nbdkit=new_nbdkit]",
            ]
        );
    }

    #[test]
    fn what_is_no_matrix_is_refused() {
        let hundred = (0..100)
            .map(|mtu| mtu.to_string())
            .collect::<Vec<_>>()
            .join(",");
        let (one, other) = (format!("mtu={hundred}"), format!("seed={hundred}"));
        let refused = [
            &["kernel"][..],
            &["mtu=1500,9000", "mtu=16000"],
            &["mtu=1500,1500"],
            &[&one, &other],
        ]
        .map(|axes| suffixes(axes).unwrap_err());
        insta::assert_snapshot!(refused.join("\n"));
    }
}
